//! Entries that can never be written, and where they go.

use std::sync::Arc;

use super::entry::Entry;
use super::options::WriteBehindOptions;
use crate::clock::Timestamp;
use crate::config::Address;
use crate::error::{Error, Result};
use crate::message::{MAX_HEADER_VALUE_BYTES, MAX_ID_BYTES, Message};
use crate::queue::Queue;
use crate::runtime::Runtime;

/// Headers of an entry in a dead-letter queue.
pub mod header {
    /// Why it was given up, in a word.
    pub const REASON: &str = "qrt-reason";
    /// Why, at length.
    pub const DESCRIPTION: &str = "qrt-description";
    /// How often it was tried.
    pub const ATTEMPTS: &str = "qrt-attempts";
    /// The write-behind it came from.
    pub const SOURCE: &str = "qrt-source";
    /// When it was accepted, in milliseconds since 1970.
    pub const ENQUEUED_AT: &str = "qrt-enqueued-at";
    /// The key that was given with it, percent-encoded.
    pub const KEY: &str = "qrt-key";
}

/// An entry that was given up.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RejectedEntry {
    /// The entry, whole.
    pub entry: Entry,
    /// Why, in a word: the sink's own code (PostgreSQL's SQLSTATE), or the error's kind.
    pub reason: Arc<str>,
    /// Why, at length.
    pub description: Arc<str>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was accepted.
    pub enqueued_at: Timestamp,
}

impl RejectedEntry {
    pub(super) fn new(entry: Entry, error: &Error, attempts: u32, enqueued_at: Timestamp) -> Self {
        let reason = error.code().unwrap_or_else(|| error.kind().name());
        Self {
            entry,
            reason: clean(reason, MAX_ID_BYTES).into(),
            description: clean(&error.to_string(), MAX_HEADER_VALUE_BYTES / 16).into(),
            attempts,
            enqueued_at,
        }
    }

    /// The entry as a dead letter of the write-behind of this name.
    fn message(&self, source: &str) -> Message {
        let message = Message::new(self.entry.body().clone())
            .header(header::REASON, self.reason.clone())
            .header(header::DESCRIPTION, self.description.clone())
            .header(header::ATTEMPTS, self.attempts.to_string())
            .header(header::SOURCE, source)
            .header(header::ENQUEUED_AT, self.enqueued_at.0.to_string());
        with_key(message, &self.entry)
    }
}

/// The message with the entry's key, if it has one.
pub(super) fn with_key(message: Message, entry: &Entry) -> Message {
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
    match entry.get_key() {
        Some(key) => message.header(
            header::KEY,
            percent_encode(key, NON_ALPHANUMERIC).to_string(),
        ),
        None => message,
    }
}

/// At most this many bytes of a text, without what a header cannot hold.
fn clean(text: &str, most: usize) -> String {
    let mut text = text.replace('\0', " ");
    text.truncate(text.floor_char_boundary(most));
    text
}

/// A queue for entries that were given up.
pub(super) struct DeadLetterQueue(Queue);

impl DeadLetterQueue {
    pub(super) async fn open(
        runtime: &Runtime,
        url: &Address,
        options: &WriteBehindOptions,
        name: &str,
    ) -> Result<Self> {
        let placed = |error: Error| match error.field() {
            Some("url") | None => error.with_field("dead_letter"),
            Some(_) => error,
        };
        let client = runtime.connect(url.reveal()).await.map_err(placed)?;
        let queue = match &options.dead_letter_queue {
            Some(queue) => client.queue(queue),
            None => client.queue(&format!("{name}-dead-letters")),
        };
        Ok(Self(queue?))
    }

    pub(super) async fn send(&self, rejected: &RejectedEntry, source: &str) -> Result<()> {
        self.0.send(rejected.message(source)).await.map(drop)
    }
}
