//! What PostgreSQL's errors mean for a batch.

use deadpool_postgres::PoolError;
use tokio_postgres::error::{Error as PgError, SqlState};

use crate::error::{Error, ErrorKind};

/// Whether the table may be another one than was described (columns, types or constraints), or the
/// connection leads to a server that does not know its statements, as behind some poolers.
pub(super) fn is_stale(error: &PgError) -> bool {
    let stale = [
        SqlState::INVALID_SQL_STATEMENT_NAME,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_OBJECT,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::DATATYPE_MISMATCH,
        SqlState::CANNOT_COERCE,
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::INVALID_COLUMN_REFERENCE,
        SqlState::GENERATED_ALWAYS,
    ];
    error.code().is_some_and(|code| stale.contains(code))
}

/// The error in our words. The server's detail is left out: it quotes rows.
pub(super) fn translate(error: PgError) -> Error {
    let Some(db) = error.as_db_error() else {
        let timed_out = "connection timed out";
        let kind = match error.to_string() {
            text if text.contains(timed_out) => ErrorKind::Timeout,
            _ => ErrorKind::Unavailable,
        };
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let what = cause.unwrap_or_else(|| error.to_string());
        return Error::new(kind, format!("PostgreSQL: {what}")).with_source(error);
    };
    let code = db.code().code().to_owned();
    let mut what = format!("PostgreSQL: {}", db.message());
    // A constraint is named by the server's own message; a column is not always.
    if let Some(column) = db.column() {
        what += &format!(", column {column:?}");
    }
    let (kind, is_bad) = class(&code);
    let error = Error::new(kind, what).with_code(code);
    match kind {
        ErrorKind::Provider => error.with_retryable(!is_bad),
        _ => error,
    }
}

/// The kind of a SQLSTATE, and whether it speaks of the data.
fn class(code: &str) -> (ErrorKind, bool) {
    match (&code[..2], code) {
        // Data exceptions, cardinality, constraints, check options, what a trigger raises, limits
        // of a row or an index.
        ("21" | "22" | "23" | "44" | "P0" | "54", _) => (ErrorKind::Provider, true),
        ("28", _) => (ErrorKind::Unauthenticated, false),
        (_, "42501") => (ErrorKind::PermissionDenied, false),
        // Cancelled by a statement's or lock's timeout, or by a person.
        (_, "57014" | "55P03") => (ErrorKind::Timeout, false),
        // Connections, resources, conflicts with other transactions, shutdown, the system below.
        ("08" | "53" | "40" | "57" | "58" | "25", _) => (ErrorKind::Unavailable, false),
        // A table that is not as it should be, a bug of the server: the data is not to blame.
        _ => (ErrorKind::Provider, false),
    }
}

/// The error of a connection that could not be had.
pub(super) fn unpooled(error: PoolError) -> Error {
    match error {
        PoolError::Backend(error) => translate(error),
        other => Error::new(ErrorKind::Unavailable, format!("PostgreSQL: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_blamed_only_for_what_it_did() {
        for bad in [
            "22003", "22P02", "23502", "23505", "23514", "21000", "P0001", "54000",
        ] {
            assert!(class(bad).1, "{bad}");
        }
        for away in [
            "08006", "53100", "53300", "40001", "40P01", "57P01", "57014", "25006", "42501",
            "28P01", "42P01", "XX000", "3D000",
        ] {
            assert!(!class(away).1, "{away}");
        }
    }
}
