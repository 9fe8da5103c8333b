//! Write-behind: entries that are written to a database or to the program in batches.

use std::time::Duration;

use queue_runtime::*;

use crate::abi::{Handle, NOBODY, bytes, call, lend, lend_text, make, text};
use crate::error::{Result, Status};
use crate::op::{Started, start};
use crate::{Breaker, Flags, Queue, Runtime, SettleResults};

/// Something to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// A JSON object for a table, any bytes for a sink of the program.
    pub body: &'a [u8],
    /// Entries of one key keep their order, and the last of them stands for all in a batch. Empty:
    /// none. A table finds the key in the body.
    pub key: &'a [u8],
}

impl Entry<'_> {
    fn lend(&self) -> qrt_entry_t {
        qrt_entry_t {
            body: lend(self.body),
            key: lend(self.key),
        }
    }
}

/// Accepts entries and writes them in batches. Dropping it never waits: what was accepted is still
/// written, in the background.
pub struct WriteBehind(pub(crate) Handle<qrt_write_behind_t>);

impl WriteBehind {
    /// Opens one into the table that `config` names, JSON such as
    /// `{"sink": "postgres://app@db/app", "table": "prices", "key": "item"}`.
    pub fn open(runtime: &Runtime, config: &str) -> Result<Started<Self>> {
        Self::start(runtime, config, std::ptr::null())
    }

    /// Opens one whose batches the program asks for, by [`next`](Self::next).
    pub fn open_asked(runtime: &Runtime, config: &str) -> Result<Started<Self>> {
        let sink = qrt_sink_t {
            struct_size: size_of::<qrt_sink_t>(),
            on_batch: None,
            user_data: std::ptr::null_mut(),
            free: None,
        };
        Self::start(runtime, config, &raw const sink)
    }

    fn start(runtime: &Runtime, config: &str, sink: *const qrt_sink_t) -> Result<Started<Self>> {
        let config = lend_text(Some(config));
        // SAFETY: the handle is owned; text and sink live for the length of the call.
        start(|place, op, error| unsafe {
            qrt_write_behind_open(runtime.0.get(), config, sink, NOBODY, place, op, error)
        })
    }

    /// Accepts an entry; waits while the buffer is full, or fails with `FULL`.
    pub fn enqueue(&self, entry: Entry<'_>, wait: bool, flags: Flags) -> Result<Started<()>> {
        let entry = entry.lend();
        let flags = flags.bits() | if wait { 0 } else { QRT_NO_WAIT };
        // SAFETY: the handle is owned, the entry lives for the length of the call.
        start(|_, op, error| unsafe {
            qrt_write_behind_enqueue(self.0.get(), &raw const entry, flags, NOBODY, op, error)
        })
    }

    /// Accepts entries in their order, waiting for room: result i belongs to entry i.
    pub fn enqueue_many(
        &self,
        entries: &[Entry<'_>],
        flags: Flags,
    ) -> Result<Started<SettleResults>> {
        let entries: Vec<qrt_entry_t> = entries.iter().map(Entry::lend).collect();
        // SAFETY: the handle is owned, the entries live for the length of the call.
        start(|place, op, error| unsafe {
            qrt_write_behind_enqueue_many(
                self.0.get(),
                entries.as_ptr(),
                entries.len(),
                flags.bits(),
                NOBODY,
                place,
                op,
                error,
            )
        })
    }

    /// Asks for the next batch to be written; `None` once this has closed.
    pub fn next(&self) -> Result<Started<Option<WriteBatch>>> {
        // SAFETY: the handle is owned.
        start(|place, op, error| unsafe {
            qrt_write_behind_next(self.0.get(), NOBODY, place, op, error)
        })
    }

    /// Writes everything accepted before this, and ends when it is written or given up.
    pub fn flush(&self) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe { qrt_write_behind_flush(self.0.get(), NOBODY, op, error) })
    }

    /// Writes the messages of a queue, each acknowledged after the sink's commit, until this is
    /// closed or the operation cancelled.
    pub fn feed(&self, queue: &Queue) -> Result<Started<()>> {
        // SAFETY: the handles are owned.
        start(|_, op, error| unsafe {
            qrt_write_behind_feed(self.0.get(), queue.0.get(), NOBODY, op, error)
        })
    }

    /// Accepts nothing more, writes what was accepted, and ends: what is not written by the
    /// deadline is in the report, back in its queue, or in the journal.
    pub fn close(&self, deadline: Duration) -> Result<Started<CloseReport>> {
        let deadline = i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX);
        // SAFETY: the handle is owned.
        start(|place, op, error| unsafe {
            qrt_write_behind_close(self.0.get(), deadline, NOBODY, place, op, error)
        })
    }

    /// Takes the entries that were given up and kept because there is no dead-letter queue.
    pub fn take_rejected(&self) -> Result<Rejected> {
        // SAFETY: the handle is owned.
        make(|place, error| unsafe { qrt_write_behind_take_rejected(self.0.get(), place, error) })
            .map(Rejected)
    }

    /// Counts, all of one moment.
    pub fn metrics(&self) -> Result<WriteBehindMetrics> {
        // SAFETY: the handle is owned.
        let counts: Handle<qrt_write_behind_metrics_t> =
            make(|place, error| unsafe { qrt_write_behind_metrics(self.0.get(), place, error) })?;
        let counts = counts.get();
        // SAFETY: the handle is owned.
        Ok(unsafe {
            WriteBehindMetrics {
                enqueued: qrt_write_behind_metrics_enqueued(counts),
                persisted: qrt_write_behind_metrics_persisted(counts),
                failed: qrt_write_behind_metrics_failed(counts),
                retries: qrt_write_behind_metrics_retries(counts),
                batches: qrt_write_behind_metrics_batches(counts),
                depth: qrt_write_behind_metrics_depth(counts),
                timestamp: qrt_write_behind_metrics_timestamp(counts),
            }
        })
    }

    /// Whether writing goes on or pauses.
    pub fn breaker(&self) -> Breaker {
        // SAFETY: the handle is owned.
        Breaker::of(unsafe { qrt_write_behind_breaker_state(self.0.get()) })
    }
}

/// Counts of a write-behind, all of one moment: enqueued is the sum of persisted, failed and depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteBehindMetrics {
    /// Entries that were accepted.
    pub enqueued: u64,
    /// Entries that are in the sink, or for which a later one of their key is.
    pub persisted: u64,
    /// Entries that were given up.
    pub failed: u64,
    /// How often an entry was tried again.
    pub retries: u64,
    /// Batches that the sink answered.
    pub batches: u64,
    /// Entries that were accepted and are neither persisted nor failed.
    pub depth: u64,
    /// When this was so, in milliseconds since 1970 UTC.
    pub timestamp: i64,
}

/// Entries for the program to write: a key comes once at most. One that is dropped unfinished
/// comes again.
pub struct WriteBatch(pub(crate) Handle<qrt_write_batch_t>);

impl WriteBatch {
    /// The entries.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        let batch = self.0.get();
        // SAFETY: the handle is owned, and what it lends lives as long.
        let count = unsafe { qrt_write_batch_count(batch) };
        (0..count).map(move |index| unsafe {
            // SAFETY: as above.
            Entry {
                body: bytes(qrt_write_batch_body(batch, index)),
                key: bytes(qrt_write_batch_key(batch, index)),
            }
        })
    }

    /// Says that an entry is not written, and why: a status that blames it gives it up, any other
    /// has it tried again.
    pub fn refuse(&self, index: usize, status: Status, message: &str) -> Result<()> {
        let message = lend_text(Some(message));
        // SAFETY: the handle is owned, the text lives for the length of the call.
        call(|error| unsafe {
            qrt_write_batch_refuse(self.0.get(), index, status.0, message, error)
        })
        .map(drop)
    }

    /// Every entry is written that was not refused.
    pub fn finish(self) -> Result<()> {
        self.end(QRT_OK, "")
    }

    /// Nothing is written, or it may be written again: a status that blames the entries brings
    /// them again in halves, any other brings them again whole, after a while.
    pub fn fail(self, status: Status, message: &str) -> Result<()> {
        self.end(status.0, message)
    }

    fn end(self, status: qrt_status_t, message: &str) -> Result<()> {
        let message = lend_text(Some(message));
        // SAFETY: the handle is owned, and taken when the call succeeds.
        call(|error| unsafe { qrt_write_batch_finish(self.0.get(), status, message, error) })?;
        std::mem::forget(self);
        Ok(())
    }
}

/// Entries that can never be written, with why.
pub struct Rejected(Handle<qrt_rejected_t>);

/// An entry that can never be written.
#[derive(Clone, Copy, Debug)]
pub struct RejectedEntry<'a> {
    /// The entry, whole.
    pub entry: Entry<'a>,
    /// Why, in a word: the sink's own code, or the error's kind.
    pub reason: &'a str,
    /// Why, at length.
    pub description: &'a str,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was accepted, in milliseconds since 1970 UTC.
    pub enqueued_at: i64,
}

impl Rejected {
    /// The entries, in the order of their giving up.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RejectedEntry<'_>> {
        // SAFETY: the handle is owned, and what it lends lives as long.
        unsafe { rejected(self.0.get()) }
    }
}

/// # Safety
/// The handle is good for `'a`.
unsafe fn rejected<'a>(
    all: *const qrt_rejected_t,
) -> impl ExactSizeIterator<Item = RejectedEntry<'a>> {
    // SAFETY: the caller vouches for the handle.
    let count = unsafe { qrt_rejected_count(all) };
    (0..count).map(move |index| unsafe {
        // SAFETY: as above.
        RejectedEntry {
            entry: Entry {
                body: bytes(qrt_rejected_body(all, index)),
                key: bytes(qrt_rejected_key(all, index)),
            },
            reason: text(qrt_rejected_reason(all, index)),
            description: text(qrt_rejected_description(all, index)),
            attempts: qrt_rejected_attempts(all, index),
            enqueued_at: qrt_rejected_enqueued_at(all, index),
        }
    })
}

/// What a close did not write.
pub struct CloseReport(pub(crate) Handle<qrt_close_report_t>);

impl CloseReport {
    /// Entries that could not be written in time, in the order of their coming.
    pub fn unwritten(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        let report = self.0.get();
        // SAFETY: the handle is owned, and what it lends lives as long.
        let count = unsafe { qrt_close_report_unwritten_count(report) };
        (0..count).map(move |index| unsafe {
            // SAFETY: as above.
            Entry {
                body: bytes(qrt_close_report_unwritten_body(report, index)),
                key: bytes(qrt_close_report_unwritten_key(report, index)),
            }
        })
    }

    /// Entries that stay in the journal for the next start.
    pub fn left_in_journal(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_close_report_left_in_journal(self.0.get()) }
    }

    /// Entries that were given up, and kept because there is no dead-letter queue.
    pub fn rejected(&self) -> impl ExactSizeIterator<Item = RejectedEntry<'_>> {
        // SAFETY: the handle is owned, and what it lends lives as long.
        unsafe { rejected(qrt_close_report_rejected(self.0.get())) }
    }
}
