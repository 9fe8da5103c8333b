//! PostgreSQL: one statement and one transaction for each batch.

mod column;
mod connect;
mod error;
mod statement;
mod table;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use deadpool_postgres::{GenericClient, Pool};
use tokio_postgres::types::ToSql;

use self::error::{is_stale, translate, unpooled};
use self::statement::{Array, Rows};
use self::table::{Row, Table};
use super::entry::Entry;
use super::locked;
use super::object::{self, Names};
use super::options::WriteBehindOptions;
use super::sink::Target;
use super::wanted::{Wanted, no_longer};
use crate::config::Address;
use crate::error::Result;

/// A connection forgets its prepared statements above this number: each set of columns that
/// entries have is one.
const MAX_STATEMENTS: usize = 64;

/// A table of a PostgreSQL database.
pub(crate) struct Postgres {
    pool: Pool,
    wanted: Wanted,
    key: Names,
    table: Mutex<Arc<Table>>,
    version: AtomicU64,
}

impl Postgres {
    /// Connects and looks at the table. `InvalidConfig` says what does not fit.
    pub(super) async fn open(url: &Address, options: &WriteBehindOptions) -> Result<Self> {
        let wanted = Wanted::new(options)?;
        let pool = connect::pool(url, options.writers()?)?;
        let client = pool.get().await.map_err(unpooled)?;
        let table = Table::describe(&client, &wanted).await?;
        drop(client);
        Ok(Self {
            pool,
            key: wanted.key_names(),
            wanted,
            table: Mutex::new(Arc::new(table)),
            version: AtomicU64::new(0),
        })
    }

    fn table(&self) -> Arc<Table> {
        locked(&self.table).clone()
    }
}

/// Rows of the same columns, each set of them in the order of the rows.
fn by_shape<'a>(rows: &[&'a Row]) -> Vec<Vec<&'a Row>> {
    let mut shapes: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match shapes.iter_mut().find(|shape| shape[0].same_shape(row)) {
            Some(shape) => shape.push(row),
            None => shapes.push(vec![row]),
        }
    }
    shapes
}

/// Writes rows of one shape.
async fn upsert<C: GenericClient>(
    client: &C,
    rows: &[&Row],
) -> std::result::Result<(), tokio_postgres::Error> {
    let table = &rows[0].table;
    let shape: Vec<usize> = rows[0].shape().collect();
    let statement = client
        .prepare_cached(&statement::upsert(table, &shape))
        .await?;
    let arrays: Vec<Array<'_>> = shape
        .iter()
        .map(|column| Array {
            rows: Rows(rows),
            column: *column,
            element: &table.columns[*column].element,
        })
        .collect();
    let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as _).collect();
    client.execute(&statement, &parameters).await?;
    Ok(())
}

impl Target for Postgres {
    type Row = Row;

    fn prepare(&self, entry: &Entry) -> Result<Row> {
        Row::new(&self.table(), entry)
    }

    fn key(&self, row: &Row) -> Option<Bytes> {
        Some(row.key())
    }

    fn covers(&self, row: &Row, earlier: &Row) -> bool {
        row.covers(earlier)
    }

    fn lane_key(&self, entry: &Entry) -> Option<Bytes> {
        object::lane_key(&self.key, entry)
    }

    async fn upsert_many(&self, rows: &[&Row]) -> Result<Vec<Result<()>>> {
        // In the order of their keys, so that two writers lock rows in the same order.
        let mut sorted = rows.to_vec();
        sorted.sort_unstable_by(|one, other| one.key_bytes().cmp(other.key_bytes()));
        let shapes = by_shape(&sorted);
        let mut client = self.pool.get().await.map_err(unpooled)?;
        if client.statement_cache.size() > MAX_STATEMENTS {
            client.statement_cache.clear();
        }
        let written = match &shapes[..] {
            [rows] => upsert(&client, rows).await,
            shapes => {
                async {
                    let transaction = client.transaction().await?;
                    for rows in shapes {
                        upsert(&transaction, rows).await?;
                    }
                    transaction.commit().await
                }
                .await
            }
        };
        match written {
            Ok(()) => Ok(rows.iter().map(|_| Ok(())).collect()),
            Err(error) => {
                if is_stale(&error) {
                    client.statement_cache.clear();
                    drop(client);
                    self.refresh().await?;
                }
                Err(translate(error))
            }
        }
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    async fn refresh(&self) -> Result<()> {
        let client = self.pool.get().await.map_err(unpooled)?;
        let described = Table::describe(&client, &self.wanted).await;
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
