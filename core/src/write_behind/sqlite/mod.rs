//! SQLite: one transaction for each batch, one prepared statement for each set of columns.

mod error;
mod table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use self::error::{is_bad, translate};
use self::table::{Row, Table};
use super::entry::Entry;
use super::locked;
use super::object::{self, Names};
use super::options::WriteBehindOptions;
use super::sink::Target;
use super::wanted::{Wanted, no_longer};
use crate::config::Address;
use crate::error::{Error, ErrorKind, Result};

/// How long a write waits for another connection's, before the batch is tried again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A table of a SQLite database.
pub(crate) struct Sqlite {
    // SQLite writes one transaction at a time, so one connection serves all writers.
    connection: Arc<Mutex<Connection>>,
    wanted: Arc<Wanted>,
    key: Names,
    table: Mutex<Arc<Table>>,
    version: AtomicU64,
}

impl Sqlite {
    /// Opens the file and looks at the table. `InvalidConfig` says what does not fit.
    pub(super) async fn open(url: &Address, options: &WriteBehindOptions) -> Result<Self> {
        let wanted = Arc::new(Wanted::new(options)?);
        let path = path(url)?;
        let look = wanted.clone();
        let opening = blocking(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)
                .map_err(|e| Error::invalid_config("sink", format!("{path:?}: {e}")))?;
            connection.busy_timeout(BUSY_TIMEOUT).map_err(translate)?;
            let table = Table::describe(&connection, &look)?;
            Ok((connection, table))
        });
        let (connection, table) = opening.await?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            key: wanted.key_names(),
            wanted,
            table: Mutex::new(Arc::new(table)),
            version: AtomicU64::new(0),
        })
    }
}

/// The file that the URL names: `sqlite:/path` and `sqlite:///path`, or from the working folder
/// `sqlite:path`.
fn path(url: &Address) -> Result<String> {
    let invalid = |what| Error::invalid_config("sink", what);
    let rest = url.reveal().split_once(':').map_or("", |(_, rest)| rest);
    if rest.contains(['?', '#']) {
        return Err(invalid("a sqlite: URL has no options"));
    }
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => {
            return Err(invalid(
                "write sqlite:///path, or sqlite:path without a host",
            ));
        }
        None => rest,
    };
    if path.is_empty() {
        return Err(invalid("is not like sqlite:/path/to/file.db"));
    }
    let path = percent_decode_str(path).decode_utf8();
    path.map(Into::into)
        .map_err(|_| invalid("the path is not UTF-8"))
}

/// Runs what waits for a disk on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        let what = format!("writing to SQLite panicked: {e}");
        Err(Error::new(ErrorKind::Panic, what))
    })
}

/// Writes rows in one transaction; a row that SQLite refuses has its error at its place.
fn upsert(connection: &mut Connection, rows: &[Arc<Row>]) -> Result<Vec<Result<()>>> {
    let transaction = connection.transaction().map_err(translate)?;
    let mut results = Vec::with_capacity(rows.len());
    for row in rows {
        let mut statement = transaction
            .prepare_cached(&row.upsert())
            .map_err(translate)?;
        let written = statement.execute(params_from_iter(row.values()));
        results.push(match written {
            Ok(_) => Ok(()),
            // A table can ask for the end of the whole transaction on a conflict.
            Err(error) if is_bad(&error) && !transaction.is_autocommit() => Err(translate(error)),
            Err(error) => return Err(translate(error)),
        });
    }
    transaction.commit().map_err(translate)?;
    Ok(results)
}

impl Target for Sqlite {
    type Row = Arc<Row>;

    fn prepare(&self, entry: &Entry) -> Result<Arc<Row>> {
        let table = locked(&self.table).clone();
        Row::new(table, entry).map(Arc::new)
    }

    fn key(&self, row: &Arc<Row>) -> Option<Bytes> {
        Some(row.key())
    }

    fn covers(&self, row: &Arc<Row>, earlier: &Arc<Row>) -> bool {
        row.covers(earlier)
    }

    fn lane_key(&self, entry: &Entry) -> Option<Bytes> {
        object::lane_key(&self.key, entry)
    }

    async fn upsert_many(&self, rows: &[&Arc<Row>]) -> Result<Vec<Result<()>>> {
        let connection = self.connection.clone();
        let rows: Vec<Arc<Row>> = rows.iter().map(|row| (*row).clone()).collect();
        let written = blocking(move || upsert(&mut locked(&connection), &rows)).await;
        // What SQLite says of a statement that does not fit its table has no code of its own.
        if let Err(error) = &written
            && error.kind() == ErrorKind::Provider
            && error.retryable()
        {
            self.refresh().await?;
        }
        written
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    async fn refresh(&self) -> Result<()> {
        let connection = self.connection.clone();
        let wanted = self.wanted.clone();
        let described = blocking(move || Table::describe(&locked(&connection), &wanted)).await;
        let described = described.map_err(no_longer)?;
        let mut table = locked(&self.table);
        if **table != described {
            tracing::info!(table = described.name, "the table has changed");
            *table = Arc::new(described);
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }
}
