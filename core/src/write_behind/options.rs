//! What is asked of a write-behind.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::Breaker;
use super::batch::OnRepeat;
use super::buffer::Limits;
use crate::config::options::{self, Options, list, number, put, word};
use crate::config::{Address, duration};
use crate::error::{Error, Result};
use crate::resilience::Retry;

/// Options of a write-behind. `None` takes the default.
///
/// In JSON the options have the names of these fields, and durations are text with a unit, like
/// `100ms`. An unknown name is refused.
///
/// ```
/// use queue_runtime_core::WriteBehindOptions;
///
/// let options = WriteBehindOptions {
///     sink: Some("postgres://app@db/app".into()),
///     table: Some("prices".into()),
///     key: Some(vec!["item".into()]),
///     ..WriteBehindOptions::default()
/// };
/// let json = r#"{"sink": "postgres://app@db/app", "table": "prices", "key": "item"}"#;
/// assert_eq!(options, WriteBehindOptions::from_json(json)?);
/// # Ok::<(), queue_runtime_core::Error>(())
/// ```
///
/// Shown or serialised, URLs are without user, password and the values of their own options.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WriteBehindOptions {
    /// Where entries are written: `postgres://user@host/database` or `sqlite:/path/to/file.db`.
    /// Without one, the program gives a sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Address>,
    /// The table, with its schema where that is not the default: `audit.events`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The columns of a primary key or unique constraint that say which row an entry is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<String>>,
    /// The columns that are written. Members of an entry that are not among them are left out
    /// then. Default: every column of the table, and a member that is none is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The name in metrics, logs and dead letters. Default: the table, else `write-behind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Entries that are accepted and not yet written at most; then `enqueue` waits.
    /// Default: 100,000. Also read by the name `capacity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_entries: Option<u64>,
    /// Bytes that are accepted and not yet written at most; then `enqueue` waits.
    /// Default: 256 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// What becomes of an entry when the buffer is full. Default: it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_full: Option<OnBufferFull>,
    /// Entries of a batch at most; as many are written at once. Default: 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Bytes of a batch at most (one entry may have more); as many are written at once.
    /// Default: 4 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<usize>,
    /// The longest time that an entry waits for its batch to fill. Default: 100 ms.
    #[serde(
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub flush_interval: Option<Duration>,
    /// Batches that are written at the same time, 1 to 64; entries of one key keep their order.
    /// Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writers: Option<usize>,
    /// What becomes of a key that comes again within a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_repeat: Option<OnRepeat>,
    /// When a batch is tried again that failed because the sink was away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// When writing pauses because the sink stays away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// The provider whose queue takes entries that can never be written. Without one they go to
    /// the dead letters of the queue they came from, the journal's among them; else they are kept
    /// for the program to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Address>,
    /// The name of that queue. Default: the write-behind's name with `-dead-letters`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_queue: Option<String>,
    /// The provider whose queue keeps entries until they are written: `file:///path` survives a
    /// crash. It belongs to one write-behind at a time. With `on_full` of `spill` it keeps only
    /// those that the buffer has no room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Address>,
    /// The name of that queue. Default: the write-behind's name with `-journal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_queue: Option<String>,
}

/// What becomes of an entry when the buffer is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBufferFull {
    /// It waits until there is room.
    #[default]
    Wait,
    /// It goes into the journal, and so do those that follow until the journal is empty again.
    Spill,
}

/// The most writers of one sink.
const MAX_WRITERS: usize = 64;
/// The most entries of a batch.
const MAX_BATCH: usize = 100_000;
const MIB: u64 = 1024 * 1024;

impl WriteBehindOptions {
    /// The options of a JSON object, all optional. `InvalidConfig` names the option.
    pub fn from_json(json: &str) -> Result<Self> {
        <Self as Options>::from_json(json)
    }

    /// `InvalidConfig` for an option that means nothing where the program gives the sink.
    pub(super) fn check_for_program(&self) -> Result<()> {
        for (name, given) in [
            ("sink", self.sink.is_some()),
            ("table", self.table.is_some()),
            ("key", self.key.is_some()),
            ("columns", self.columns.is_some()),
        ] {
            if given {
                let what = "means nothing for a sink that the program gives";
                return Err(Error::invalid_config(name, what));
            }
        }
        Ok(())
    }

    pub(super) fn name(&self) -> Result<Box<str>> {
        let name = self.name.as_deref().or(self.table.as_deref());
        let name = name.unwrap_or("write-behind");
        crate::message::check_id("name", name)
            .map_err(|e| Error::invalid_config("name", e.message().to_owned()))?;
        Ok(name.into())
    }

    pub(super) fn writers(&self) -> Result<usize> {
        within("writers", self.writers.unwrap_or(1), MAX_WRITERS)
    }

    pub(super) fn limits(&self) -> Result<Limits> {
        let max_entries = self.max_entries.unwrap_or(100_000);
        let max_bytes = self.max_bytes.unwrap_or(256 * MIB);
        let batch_bytes = self.batch_bytes.unwrap_or(4 * MIB as usize);
        for (name, zero) in [
            ("max_entries", max_entries == 0),
            ("max_bytes", max_bytes == 0),
            ("batch_bytes", batch_bytes == 0),
        ] {
            if zero {
                return Err(Error::invalid_config(name, "must be at least 1"));
            }
        }
        let spill = self.on_full.unwrap_or_default() == OnBufferFull::Spill;
        if spill && self.journal.is_none() {
            let what = "spill needs a journal: give one, or let entries wait";
            return Err(Error::invalid_config("on_full", what));
        }
        Ok(Limits {
            max_entries,
            max_bytes,
            spill,
            batch_entries: within("batch_size", self.batch_size.unwrap_or(1000), MAX_BATCH)?,
            batch_bytes,
            interval: self.flush_interval.unwrap_or(Duration::from_millis(100)),
        })
    }
}

fn within(name: &'static str, value: usize, most: usize) -> Result<usize> {
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    let what = format!("must be between 1 and {most}");
    Err(Error::invalid_config(name, what))
}

impl Options for WriteBehindOptions {
    fn names() -> impl Iterator<Item = &'static str> {
        [
            "sink",
            "table",
            "key",
            "columns",
            "name",
            "max_entries",
            "max_bytes",
            "on_full",
            "batch_size",
            "batch_bytes",
            "flush_interval",
            "writers",
            "on_repeat",
            "retry",
            "breaker",
            "dead_letter",
            "dead_letter_queue",
            "journal",
            "journal_queue",
        ]
        .into_iter()
    }

    fn set(&mut self, name: &str, text: &str) -> std::result::Result<bool, String> {
        let own = |text: &str| Ok(text.to_owned());
        let names = |text: &str| Ok(list(text).map(str::to_owned).collect());
        match name {
            "sink" => put(&mut self.sink, Ok(text.into())),
            "table" => put(&mut self.table, own(text)),
            "key" => put(&mut self.key, names(text)),
            "columns" => put(&mut self.columns, names(text)),
            "name" => put(&mut self.name, own(text)),
            "max_entries" | "capacity" => put(&mut self.max_entries, number(text)),
            "max_bytes" => put(&mut self.max_bytes, number(text)),
            "on_full" => put(&mut self.on_full, word(text)),
            "batch_size" => put(&mut self.batch_size, number(text)),
            "batch_bytes" => put(&mut self.batch_bytes, number(text)),
            "flush_interval" => put(&mut self.flush_interval, duration::parse(text)),
            "writers" => put(&mut self.writers, number(text)),
            "on_repeat" => put(&mut self.on_repeat, word(text)),
            "retry" => put(&mut self.retry, parsed(text)),
            "breaker" => put(&mut self.breaker, parsed(text)),
            "dead_letter" => put(&mut self.dead_letter, Ok(text.into())),
            "dead_letter_queue" => put(&mut self.dead_letter_queue, own(text)),
            "journal" => put(&mut self.journal, Ok(text.into())),
            "journal_queue" => put(&mut self.journal_queue, own(text)),
            _ => Ok(false),
        }
    }
}

fn parsed<T: std::str::FromStr<Err = Error>>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|e: Error| e.message().to_owned())
}

impl<'de> Deserialize<'de> for WriteBehindOptions {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        options::deserialize(d)
    }
}
