//! What the options say of a table, and how that fits what is there.

use super::object::Names;
use super::options::WriteBehindOptions;
use crate::error::{Error, ErrorKind, Result};

/// What the options say of the table.
pub(super) struct Wanted {
    pub(super) table: String,
    pub(super) key: Vec<String>,
    pub(super) columns: Option<Vec<String>>,
}

impl Wanted {
    pub(super) fn new(options: &WriteBehindOptions) -> Result<Self> {
        let needed = |name: &'static str| Error::invalid_config(name, "is needed for a table");
        let table = options.table.clone().ok_or_else(|| needed("table"))?;
        let key = options.key.clone().filter(|key| !key.is_empty());
        Ok(Self {
            table,
            key: key.ok_or_else(|| needed("key"))?,
            columns: options.columns.clone(),
        })
    }

    pub(super) fn key_names(&self) -> Names {
        Names::new(self.key.iter().map(String::as_str), true)
    }

    /// The columns that are written, the key first.
    pub(super) fn choose<'a>(&self, found: &'a [Found], table: &str) -> Result<Vec<&'a str>> {
        let find = |option: &'static str, name: &String| {
            let column = found.iter().find(|column| column.name == *name);
            let what = match column {
                Some(column) if !column.generated => return Ok(&*column.name),
                Some(_) => format!("the server itself writes the column {name:?} of {table}"),
                None => {
                    let all: Vec<_> = found.iter().map(|column| &*column.name).collect();
                    let all = all.join(", ");
                    format!("{table} has no column {name:?}; there are: {all}")
                }
            };
            Err(Error::invalid_config(option, what))
        };
        let key = self.key.iter().map(|name| find("key", name));
        let mut chosen: Vec<&str> = key.collect::<Result<_>>()?;
        let others: Vec<&str> = match &self.columns {
            Some(names) => {
                let names = names.iter().map(|name| find("columns", name));
                names.collect::<Result<_>>()?
            }
            None => {
                let written = found.iter().filter(|column| !column.generated);
                written.map(|column| &*column.name).collect()
            }
        };
        for name in others {
            if !chosen.contains(&name) {
                chosen.push(name);
            }
        }
        let missing = |column: &&Found| column.needed && !chosen.contains(&&*column.name);
        if let Some(column) = found.iter().find(missing) {
            let what = format!("{:?} must be among them: it has no default", column.name);
            return Err(Error::invalid_config("columns", what));
        }
        Ok(chosen)
    }
}

/// A column that is there, and whether it can and must be written.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) generated: bool,
    pub(super) needed: bool,
}

/// A name as SQL takes any.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The options fitted once: what does not fit now is the table's trouble, not the entries'.
pub(super) fn no_longer(error: Error) -> Error {
    match error.field() {
        Some(_) => {
            let what = error.message().to_owned();
            Error::new(ErrorKind::Unavailable, what).with_source(error)
        }
        None => error,
    }
}
