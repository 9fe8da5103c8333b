//! What SQLite's errors mean for a batch.

use rusqlite::Error as SqliteError;
use rusqlite::ErrorCode;

use crate::error::{Error, ErrorKind};

/// Whether the row is to blame.
pub(super) fn is_bad(error: &SqliteError) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
    )
}

/// The error in our words.
pub(super) fn translate(error: SqliteError) -> Error {
    let what = format!("SQLite: {error}");
    let bad = is_bad(&error);
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Unavailable,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => ErrorKind::PermissionDenied,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        Some(ErrorCode::SystemIoFailure | ErrorCode::DiskFull | ErrorCode::CannotOpen) => {
            ErrorKind::Io
        }
        _ => ErrorKind::Provider,
    };
    let code = error.sqlite_error().map(|e| e.extended_code.to_string());
    let error_ = Error::new(kind, what).with_source(error);
    let error_ = match code {
        Some(code) => error_.with_code(code),
        None => error_,
    };
    match kind {
        ErrorKind::Provider => error_.with_retryable(!bad),
        _ => error_,
    }
}
