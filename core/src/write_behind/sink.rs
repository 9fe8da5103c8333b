//! Where entries are written: what a program gives, and what the writer needs to know of it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::entry::Entry;
use crate::error::{Error, ErrorKind, Result};

/// A sink that is a function of the program. Implemented by every
/// `Fn(Vec<Entry>) -> impl Future<Output = Result<Vec<Result<()>>>>`.
pub trait Sink: Send + Sync + 'static {
    /// Writes entries; a key comes once in a batch at most. Result i belongs to entry i.
    ///
    /// An error for the whole means that nothing of the batch was written, or that it may be
    /// written again. What becomes of it depends on the kind, for the whole and for one entry:
    ///
    /// - `InvalidMessage`, `MessageTooLarge`, `InvalidArgument`, and `Provider` that is not
    ///   retryable: something in the batch is bad. It is halved until the bad entries are alone,
    ///   and those are given up.
    /// - Any other error, and a panic: the sink is in trouble. The same entries are tried again,
    ///   after the delay of the retry policy, until they are written.
    fn upsert_many(
        &self,
        entries: Vec<Entry>,
    ) -> impl Future<Output = Result<Vec<Result<()>>>> + Send;
}

impl<F, R> Sink for F
where
    F: Fn(Vec<Entry>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<Result<()>>>> + Send,
{
    fn upsert_many(
        &self,
        entries: Vec<Entry>,
    ) -> impl Future<Output = Result<Vec<Result<()>>>> + Send {
        self(entries)
    }
}

/// What the writer knows of every sink: entries become rows before the sink is asked for anything.
pub(crate) trait Target: Send + Sync + 'static {
    /// An entry, made ready to be written.
    type Row: Send + Sync + 'static;

    /// The row of an entry. An error means that the entry can never be written.
    fn prepare(&self, entry: &Entry) -> Result<Self::Row>;

    /// What makes two rows one: of these the last stands for all.
    fn key(&self, row: &Self::Row) -> Option<Bytes>;

    /// Whether writing a row leaves nothing of an earlier one of its key.
    fn covers(&self, row: &Self::Row, earlier: &Self::Row) -> bool {
        let _ = (row, earlier);
        true
    }

    /// What keeps entries in one lane, read from the entry alone.
    fn lane_key(&self, entry: &Entry) -> Option<Bytes>;

    /// Writes rows of different keys, as [`Sink::upsert_many`].
    fn upsert_many(
        &self,
        rows: &[&Self::Row],
    ) -> impl Future<Output = Result<Vec<Result<()>>>> + Send;

    /// Changes whenever rows prepared before may not fit any more.
    fn version(&self) -> u64 {
        0
    }

    /// Looks whether entries that do not fit would fit by now.
    fn refresh(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}

/// Whether this error says that something in the batch is bad, rather than that the sink is away.
pub(super) fn is_bad(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::InvalidMessage | ErrorKind::MessageTooLarge | ErrorKind::InvalidArgument => true,
        ErrorKind::Provider => !error.retryable(),
        _ => false,
    }
}

/// Writes rows; a panic of the sink and a wrong number of results are errors.
pub(super) async fn upsert<T: Target>(target: &T, rows: &[&T::Row]) -> Result<Vec<Result<()>>> {
    let mut writing = pin!(async { target.upsert_many(rows).await });
    let results = std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| writing.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            let what = "the sink panicked; the panic's own text is in the log of the program";
            Poll::Ready(Err(Error::new(ErrorKind::Panic, what)))
        })
    })
    .await?;
    if results.len() == rows.len() {
        return Ok(results);
    }
    let (given, expected) = (results.len(), rows.len());
    let what = format!("the sink gave {given} results for {expected} entries");
    Err(Error::new(ErrorKind::Panic, what))
}

/// A program's sink as a target: entries are rows already.
pub(super) struct Callback<S>(pub(super) S);

impl<S: Sink> Target for Callback<S> {
    type Row = Entry;

    fn prepare(&self, entry: &Entry) -> Result<Entry> {
        Ok(entry.clone())
    }

    fn key(&self, row: &Entry) -> Option<Bytes> {
        row.get_key().cloned()
    }

    fn lane_key(&self, entry: &Entry) -> Option<Bytes> {
        entry.get_key().cloned()
    }

    async fn upsert_many(&self, rows: &[&Entry]) -> Result<Vec<Result<()>>> {
        let entries = rows.iter().map(|entry| (*entry).clone()).collect();
        self.0.upsert_many(entries).await
    }
}
