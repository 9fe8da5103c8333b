//! The statement that writes rows, and its parameters: one array for each column.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::table::{Row, Table};
use crate::write_behind::wanted::quoted;

/// The statement for rows that have these columns.
pub(super) fn upsert(table: &Table, shape: &[usize]) -> String {
    let columns = || shape.iter().map(|place| &table.columns[*place]);
    let join = |parts: &mut dyn Iterator<Item = String>| parts.collect::<Vec<_>>().join(", ");
    let names = join(&mut columns().map(|column| quoted(&column.name)));
    let values = join(
        &mut columns().enumerate().map(|(n, column)| match &column.cast {
            Some(cast) => format!("r.c{n}::{cast}"),
            None => format!("r.c{n}"),
        }),
    );
    let arrays = join(&mut columns().enumerate().map(|(n, column)| {
        let element = quoted(column.element.name());
        format!("${}::pg_catalog.{element}[]", n + 1)
    }));
    let aliases = join(&mut (0..shape.len()).map(|n| format!("c{n}")));
    let key = join(&mut table.columns[..table.key].iter().map(|c| quoted(&c.name)));
    let set = join(&mut columns().skip(table.key).map(|column| {
        let name = quoted(&column.name);
        format!("{name} = EXCLUDED.{name}")
    }));
    let action = match set.as_str() {
        "" => "NOTHING".to_owned(),
        set => format!("UPDATE SET {set}"),
    };
    format!(
        "INSERT INTO {} ({names}) SELECT {values} FROM UNNEST({arrays}) AS r({aliases}) \
         ON CONFLICT ({key}) DO {action}",
        table.name
    )
}

/// One column of many rows, as an array.
#[derive(Debug)]
pub(super) struct Array<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) column: usize,
    pub(super) element: &'a Type,
}

/// Rows of one shape.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a>(pub(super) &'a [&'a Row]);

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows", self.0.len())
    }
}

impl ToSql for Array<'_> {
    /// The wire form of an array: dimensions, whether there are nulls, the element's type; then
    /// length and lower bound of the one dimension; then the elements.
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        const NULL: [u8; 4] = (-1i32).to_be_bytes();
        let elements = || self.rows.0.iter().map(|row| row.element(self.column));
        let size: usize = elements().map(<[u8]>::len).sum();
        out.reserve(20 + size);
        out.put_i32(1);
        out.put_i32(i32::from(elements().any(|element| element == NULL)));
        out.put_u32(self.element.oid());
        out.put_i32(i32::try_from(self.rows.0.len())?);
        out.put_i32(1);
        for element in elements() {
            out.put_slice(element);
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
