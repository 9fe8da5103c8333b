//! The table: what the server says of it, and what is asked of it.

use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::Client;

use super::column::Column;
use super::error::translate;
use super::statement;
use crate::error::{Error, ErrorKind, Result};
use crate::write_behind::entry::Entry;
use crate::write_behind::object::{Names, refused};
use crate::write_behind::wanted::{Found, Wanted, quoted};

/// The table as the server described it at some time.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    /// Its name, as SQL takes it.
    pub(super) name: String,
    /// Those that are written, the key first.
    pub(super) columns: Vec<Column>,
    /// How many of them are the key.
    pub(super) key: usize,
    names: Names,
}

const DESCRIBE: &str = "\
    SELECT c.oid::regclass::text, c.relkind::text IN ('r', 'p'), \
           has_table_privilege(c.oid, 'INSERT'), has_table_privilege(c.oid, 'UPDATE') \
    FROM pg_class c WHERE c.oid = to_regclass($1)";

const COLUMNS: &str = "\
    SELECT attname::text, attgenerated::text <> '' OR attidentity::text = 'a', \
           attnotnull AND NOT atthasdef AND attidentity::text = '' AND attgenerated::text = '' \
    FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped \
    ORDER BY attnum";

/// Whether an index says which row an entry of these columns is.
const UNIQUE: &str = "\
    SELECT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass($1) \
        AND i.indisunique AND i.indisvalid AND i.indimmediate \
        AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = cardinality($2::text[]) \
        AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid \
            AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
            AND a.attname::text <> ALL ($2::text[])))";

impl Table {
    /// Asks the server. `InvalidConfig` says what does not fit the options.
    pub(super) async fn describe(client: &Client, wanted: &Wanted) -> Result<Self> {
        let found = client
            .query_opt(DESCRIBE, &[&wanted.table])
            .await
            .map_err(translate)?;
        let Some(found) = found else {
            let what = format!("there is no table {:?}", wanted.table);
            return Err(Error::invalid_config("table", what));
        };
        let name: String = found.get(0);
        if !found.get::<_, bool>(1) {
            return Err(Error::invalid_config(
                "table",
                format!("{name} is not a table"),
            ));
        }
        for (place, right) in [(2, "INSERT"), (3, "UPDATE")] {
            if !found.get::<_, bool>(place) {
                let what = format!("the user lacks the right to {right} on {name}");
                return Err(Error::new(ErrorKind::PermissionDenied, what));
            }
        }
        let rows = client.query(COLUMNS, &[&wanted.table]).await;
        let rows = rows.map_err(translate)?;
        let found: Vec<Found> = rows
            .iter()
            .map(|row| Found {
                name: row.get(0),
                generated: row.get(1),
                needed: row.get(2),
            })
            .collect();
        let names = wanted.choose(&found, &name)?;
        let unique = client
            .query_one(UNIQUE, &[&wanted.table, &wanted.key])
            .await;
        if !unique.map_err(translate)?.get::<_, bool>(0) {
            let key = wanted.key.join(", ");
            let what = format!("{name} has no primary key or unique index of exactly {key}");
            return Err(Error::invalid_config("key", what));
        }
        let list: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        let probe = format!("SELECT {} FROM {name} LIMIT 0", list.join(", "));
        let types = client.prepare(&probe).await.map_err(translate)?;
        let columns = types.columns().iter();
        let table = Self {
            columns: columns.map(|c| Column::new(c.name(), c.type_())).collect(),
            key: wanted.key.len(),
            names: Names::new(names.iter().copied(), wanted.columns.is_some()),
            name,
        };
        table.check(client).await?;
        Ok(table)
    }

    /// Lets the server look at the statement for a whole row.
    async fn check(&self, client: &Client) -> Result<()> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let prepared = client.prepare(&statement::upsert(self, &all)).await;
        let Err(error) = prepared else { return Ok(()) };
        let error = translate(error);
        let what = format!("{} cannot be written: {}", self.name, error.message());
        Err(Error::invalid_config("table", what).with_source(error))
    }
}

/// An entry in the form of a table.
pub(crate) struct Row {
    pub(super) table: Arc<Table>,
    /// The values of all columns that are there, each as an element of an array.
    data: Bytes,
    cells: Box<[Cell]>,
}

/// Where a column's value is.
#[derive(Clone, Copy)]
struct Cell {
    start: u32,
    end: u32,
}

impl Cell {
    fn is_there(self) -> bool {
        self.end > self.start
    }
}

impl Row {
    pub(super) fn new(table: &Arc<Table>, entry: &Entry) -> Result<Self> {
        let members = table.names.members(entry)?;
        let mut data = Vec::with_capacity(entry.bytes() + 8 * members.len());
        let mut cells = Vec::with_capacity(members.len());
        for (place, (column, member)) in table.columns.iter().zip(members).enumerate() {
            let refused = |what: &str| refused(&column.name, what);
            let start = data.len();
            match member {
                None if place < table.key => return Err(refused("is missing, and is the key")),
                Some(member) if place < table.key && member.get() == "null" => {
                    return Err(refused("is null, and is the key"));
                }
                None => {}
                Some(member) => column
                    .put(member, &mut data)
                    .map_err(|what| refused(&what))?,
            }
            let place = |offset| u32::try_from(offset).map_err(|_| refused("is too large"));
            cells.push(Cell {
                start: place(start)?,
                end: place(data.len())?,
            });
        }
        Ok(Self {
            table: table.clone(),
            data: data.into(),
            cells: cells.into(),
        })
    }

    /// The values of the key.
    pub(super) fn key(&self) -> Bytes {
        self.data.slice(..self.key_end())
    }

    pub(super) fn key_bytes(&self) -> &[u8] {
        &self.data[..self.key_end()]
    }

    fn key_end(&self) -> usize {
        self.cells[self.table.key - 1].end as usize
    }

    /// The columns that have a value.
    pub(super) fn shape(&self) -> impl Iterator<Item = usize> {
        let there = self
            .cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| cell.is_there());
        there.map(|(place, _)| place)
    }

    pub(super) fn same_shape(&self, other: &Row) -> bool {
        let pairs = || self.cells.iter().zip(&other.cells);
        Arc::ptr_eq(&self.table, &other.table) && pairs().all(|(a, b)| a.is_there() == b.is_there())
    }

    /// Whether it has every column that the other has.
    pub(super) fn covers(&self, other: &Row) -> bool {
        let mut pairs = self.cells.iter().zip(&other.cells);
        pairs.all(|(mine, other)| mine.is_there() || !other.is_there())
    }

    /// A column's value as an element of an array.
    pub(super) fn element(&self, column: usize) -> &[u8] {
        let cell = self.cells[column];
        &self.data[cell.start as usize..cell.end as usize]
    }
}
