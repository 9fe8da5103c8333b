//! The table: what SQLite says of it, and what JSON becomes for its columns.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use rusqlite::Connection;
use rusqlite::types::Value as SqlValue;

use super::error::translate;
use crate::error::{Error, Result};
use crate::write_behind::entry::Entry;
use crate::write_behind::object::{Names, Value, refused};
use crate::write_behind::wanted::{Found, Wanted, quoted};

/// The table as SQLite described it at some time.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    pub(super) name: String,
    /// Those that are written, the key first.
    columns: Vec<Column>,
    /// How many of them are the key.
    key: usize,
    names: Names,
}

#[derive(Debug, PartialEq)]
struct Column {
    name: Box<str>,
    affinity: Affinity,
}

/// What SQLite prefers to keep in a column.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Affinity {
    /// Declared with "BLOB": JSON's texts are base64.
    Blob,
    Text,
    /// Numbers are kept as numbers, and the rest as it is.
    Other,
}

/// Name, declared type, whether it must have a value and has no default, and whether it is
/// generated.
const COLUMNS: &str = "\
    SELECT name, type, \"notnull\" AND dflt_value IS NULL, hidden IN (2, 3) \
    FROM pragma_table_xinfo(?1) WHERE hidden <> 1";

impl Table {
    /// Looks at it. `InvalidConfig` says what does not fit the options.
    pub(super) fn describe(connection: &Connection, wanted: &Wanted) -> Result<Self> {
        let mut statement = connection.prepare(COLUMNS).map_err(translate)?;
        let mut affinities = Vec::new();
        let rows = statement.query_map([&wanted.table], |row| {
            let declared: String = row.get(1)?;
            let found = Found {
                name: row.get(0)?,
                needed: row.get(2)?,
                generated: row.get(3)?,
            };
            Ok((found, Affinity::of(&declared)))
        });
        let mut found = Vec::new();
        for row in rows.map_err(translate)? {
            let (column, affinity) = row.map_err(translate)?;
            affinities.push((column.name.clone(), affinity));
            found.push(column);
        }
        if found.is_empty() {
            let what = format!("there is no table {:?}", wanted.table);
            return Err(Error::invalid_config("table", what));
        }
        let names = wanted.choose(&found, &wanted.table)?;
        let column = |name: &&str| {
            let known = affinities.iter().find(|(known, _)| known == name);
            Column {
                name: (*name).into(),
                affinity: known.map_or(Affinity::Other, |(_, affinity)| *affinity),
            }
        };
        let table = Self {
            name: wanted.table.clone(),
            columns: names.iter().map(column).collect(),
            key: wanted.key.len(),
            names: Names::new(names.iter().copied(), wanted.columns.is_some()),
        };
        // SQLite itself looks whether the key is one.
        let all: Vec<usize> = (0..table.columns.len()).collect();
        connection.prepare(&table.upsert(&all)).map_err(|e| {
            let what = format!("{} cannot be written by this key: {e}", table.name);
            Error::invalid_config("key", what)
        })?;
        Ok(table)
    }

    /// The statement for a row that has these columns.
    fn upsert(&self, shape: &[usize]) -> String {
        let names: Vec<String> = self.columns.iter().map(|c| quoted(&c.name)).collect();
        let of_shape = || shape.iter().map(|place| names[*place].as_str());
        let set = of_shape().skip(self.key);
        let set: Vec<String> = set
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        let action = match set.is_empty() {
            true => "NOTHING".to_owned(),
            false => format!("UPDATE SET {}", set.join(", ")),
        };
        format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO {action}",
            quoted(&self.name),
            of_shape().collect::<Vec<_>>().join(", "),
            vec!["?"; shape.len()].join(", "),
            names[..self.key].join(", "),
        )
    }
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let any = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
        // In SQLite's own order: a type with "INT" is an integer's, whatever else it says.
        match declared.as_str() {
            _ if any(&["INT"]) => Self::Other,
            _ if any(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            _ if any(&["BLOB"]) => Self::Blob,
            _ => Self::Other,
        }
    }

    fn value(self, value: Value<'_>) -> Result<SqlValue, &'static str> {
        Ok(match (self, value) {
            (_, Value::Null) => SqlValue::Null,
            (Self::Blob, value) => {
                let text = value.text().ok_or("must be base64")?;
                let bytes = BASE64.decode(&*text).map_err(|_| "must be base64")?;
                SqlValue::Blob(bytes)
            }
            (_, Value::Bool(value)) => SqlValue::Integer(value.into()),
            (Self::Other, Value::Number(number)) => match (number.parse(), number.parse()) {
                (Ok(integer), _) => SqlValue::Integer(integer),
                (_, Ok(real)) => SqlValue::Real(real),
                _ => return Err("is not a number"),
            },
            (_, Value::Number(json) | Value::Nested(json)) => SqlValue::Text(json.to_owned()),
            (_, Value::Text(text)) => SqlValue::Text(text.into_owned()),
        })
    }
}

/// An entry in the form of a table.
pub(crate) struct Row {
    table: Arc<Table>,
    /// By column; `None` for those that are not there.
    values: Box<[Option<SqlValue>]>,
}

impl Row {
    pub(super) fn new(table: Arc<Table>, entry: &Entry) -> Result<Self> {
        let members = table.names.members(entry)?;
        let mut values = Vec::with_capacity(members.len());
        for (place, (column, member)) in table.columns.iter().zip(members).enumerate() {
            let value = member.map(|member| column.affinity.value(Value::of(member)));
            let value = value
                .transpose()
                .map_err(|what| refused(&column.name, what))?;
            match value {
                None if place < table.key => {
                    return Err(refused(&column.name, "is missing, and is the key"));
                }
                Some(SqlValue::Null) if place < table.key => {
                    return Err(refused(&column.name, "is null, and is the key"));
                }
                value => values.push(value),
            }
        }
        let values = values.into();
        Ok(Self { table, values })
    }

    pub(super) fn upsert(&self) -> String {
        let there = self.values.iter().enumerate().filter(|(_, v)| v.is_some());
        let shape: Vec<usize> = there.map(|(place, _)| place).collect();
        self.table.upsert(&shape)
    }

    /// The values of the columns that are there.
    pub(super) fn values(&self) -> impl Iterator<Item = &SqlValue> {
        self.values.iter().flatten()
    }

    /// Whether it has every column that the other has.
    pub(super) fn covers(&self, other: &Row) -> bool {
        let mut pairs = self.values.iter().zip(&other.values);
        pairs.all(|(mine, other)| mine.is_some() || other.is_none())
    }

    /// The values of the key. What SQLite takes for equal though its bytes differ is written in
    /// its order, as any other.
    pub(super) fn key(&self) -> Bytes {
        let mut key = Vec::new();
        for value in self.values[..self.table.key].iter().flatten() {
            let (kind, bytes): (u8, Cow<'_, [u8]>) = match value {
                SqlValue::Null => (0, Cow::default()),
                SqlValue::Integer(n) => (1, n.to_be_bytes().to_vec().into()),
                SqlValue::Real(n) => (2, n.to_be_bytes().to_vec().into()),
                SqlValue::Text(text) => (3, text.as_bytes().into()),
                SqlValue::Blob(bytes) => (4, bytes.into()),
            };
            key.push(kind);
            key.extend((bytes.len() as u64).to_be_bytes());
            key.extend(&*bytes);
        }
        key.into()
    }
}
