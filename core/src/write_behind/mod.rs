//! Write-behind: entries are accepted at once and written to a database or a callback in batches.
//! Nothing that was accepted is dropped.
//!
//! ```
//! use queue_runtime_core::{Entry, Runtime, WriteBehind, WriteBehindOptions};
//!
//! # async fn example() -> queue_runtime_core::Result<()> {
//! let sink = |entries: Vec<Entry>| async move {
//!     Ok(entries.iter().map(|entry| Ok(println!("{:?}", entry.body()))).collect())
//! };
//! let prices = WriteBehind::with_sink(&Runtime::shared()?, WriteBehindOptions::default(), sink)
//!     .await?;
//! prices.enqueue(r#"{"item": "latte", "cents": 420}"#).await?;
//! prices.flush().await?;
//! assert_eq!(prices.metrics().total_persisted, 1);
//! # Ok(())
//! # }
//! # Runtime::shared().unwrap().block_on(example()).unwrap().unwrap();
//! ```

mod batch;
mod buffer;
mod entry;
mod exposition;
mod feed;
mod journal;
mod lanes;
mod metrics;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod object;
mod options;
mod origin;
#[cfg(feature = "postgres")]
mod postgres;
mod rejected;
mod sink;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod wanted;
mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use self::batch::OnRepeat;
pub use self::entry::Entry;
pub(crate) use self::exposition::WriteBehinds;
pub use self::metrics::WriteBehindMetrics;
pub use self::options::{OnBufferFull, WriteBehindOptions};
pub use self::rejected::{RejectedEntry, header};
pub use self::sink::Sink;
pub use crate::resilience::{Breaker, BreakerState};

use self::buffer::{Buffer, Came, full};
use self::journal::Journal;
use self::lanes::LaneOf;
use self::rejected::DeadLetterQueue;
use self::sink::{Callback, Target};
use self::writer::{Shared, Writer};
use crate::error::{Error, Result};
use crate::runtime::Runtime;

/// The schemes of sinks that are built in.
pub const SINKS: &[&str] = &[
    #[cfg(feature = "postgres")]
    "postgres",
    #[cfg(feature = "sqlite")]
    "sqlite",
];

/// A write-behind. Cheap to clone; any thread. When the last clone is dropped, what was accepted
/// is still written in the background, and its runtime stays until then;
/// [`WriteBehind::close`] waits for it.
#[derive(Clone)]
pub struct WriteBehind(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    lane_of: Arc<LaneOf>,
    journal: Option<Journal>,
    /// Whether only what memory has no room for goes into the journal.
    spill: bool,
    /// Closed once every writer has ended.
    running: watch::Sender<()>,
}

/// What a close did.
#[derive(Debug)]
#[non_exhaustive]
pub struct CloseReport {
    /// Counts at the end.
    pub metrics: WriteBehindMetrics,
    /// Entries that could not be written within the deadline, in the order of their coming.
    pub unwritten: Vec<Entry>,
    /// Entries that stay in the journal for the next start.
    pub left_in_journal: u64,
    /// Entries that were given up, and kept because there is no dead-letter queue.
    pub rejected: Vec<RejectedEntry>,
}

impl WriteBehind {
    /// A write-behind into a sink of the program. `InvalidConfig` names the option at fault.
    pub async fn with_sink(
        runtime: &Runtime,
        options: WriteBehindOptions,
        sink: impl Sink,
    ) -> Result<Self> {
        options.check_for_program()?;
        Self::start(runtime, options, Callback(sink)).await
    }

    /// A write-behind into the table of a database that the options name. Looks at the table:
    /// `InvalidConfig` says what does not fit, `Unavailable`, `Unauthenticated` and
    /// `PermissionDenied` why the database does not answer.
    pub async fn open(runtime: &Runtime, options: WriteBehindOptions) -> Result<Self> {
        let opened = Self::open_table(runtime, options).await;
        opened.map_err(|error| error.with_operation("write_behind.open"))
    }

    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(unused_variables)
    )]
    async fn open_table(runtime: &Runtime, options: WriteBehindOptions) -> Result<Self> {
        let Some(url) = options.sink.clone() else {
            let what = "give the URL of a database, or the program's own sink";
            return Err(Error::invalid_config("sink", what));
        };
        match url.scheme() {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => {
                let target = postgres::Postgres::open(&url, &options).await?;
                Self::start(runtime, options, target).await
            }
            #[cfg(feature = "sqlite")]
            "sqlite" => {
                let target = sqlite::Sqlite::open(&url, &options).await?;
                Self::start(runtime, options, target).await
            }
            _ => {
                let known = SINKS.join(", ");
                let what = format!("no sink of this scheme is built in; there are: {known}");
                Err(Error::invalid_config("sink", what))
            }
        }
    }

    async fn start(
        runtime: &Runtime,
        options: WriteBehindOptions,
        target: impl Target,
    ) -> Result<Self> {
        let name = options.name()?;
        let limits = options.limits()?;
        let writers = options.writers()?;
        let retry = options.retry.clone().unwrap_or_default();
        retry.check()?;
        let dead_letters = match &options.dead_letter {
            Some(url) => Some(DeadLetterQueue::open(runtime, url, &options, &name).await?),
            None => None,
        };
        let journal = match &options.journal {
            Some(url) => Some(journal::open(runtime, url, &options, &name).await?),
            None => None,
        };
        let tasks = runtime.tasks().clone();
        let target = Arc::new(target);
        let lane_of = Arc::new(LaneOf::new(writers, target.clone()));
        let shared = Arc::new(Shared {
            buffer: Buffer::new(limits, writers, tasks.clone()),
            tasks: tasks.clone(),
            _runtime: runtime.clone(),
            retry,
            on_repeat: options.on_repeat.unwrap_or_default(),
            circuit: writer::circuit(options.breaker.unwrap_or_default()),
            dead_letters,
            stop: runtime.closing().child_token(),
            name,
        });
        runtime.telemetry().write_behinds().add(&shared);
        let (running, ended) = watch::channel(());
        for lane in 0..writers {
            let writer = Writer {
                lane,
                target: target.clone(),
                shared: shared.clone(),
                _running: ended.clone(),
            };
            tasks.spawn(writer.run());
        }
        let journal = journal.map(|opened| {
            let (journal, reader) = Journal::start(opened, &shared, lane_of.clone(), ended);
            tasks.spawn(reader.run());
            journal
        });
        Ok(Self(Arc::new(Handle {
            shared,
            lane_of,
            journal,
            spill: limits.spill,
            running,
        })))
    }

    /// Accepts an entry; waits while the buffer is full. With a journal that it does not only spill
    /// into, it is durable once this returns. Dropping the future before its end takes nothing in, unless it is on its way to
    /// the journal. `Closed` after a close, `MessageTooLarge` for an entry above `max_bytes`.
    pub async fn enqueue(&self, entry: impl Into<Entry>) -> Result<()> {
        let accepted = self.accept(entry.into(), true).await;
        accepted.map_err(|error| self.placed("enqueue", error))
    }

    /// As [`WriteBehind::enqueue`], but says `Full` instead of waiting for room.
    pub async fn try_enqueue(&self, entry: impl Into<Entry>) -> Result<()> {
        let accepted = self.accept(entry.into(), false).await;
        accepted.map_err(|error| self.placed("try_enqueue", error))
    }

    async fn accept(&self, entry: Entry, wait: bool) -> Result<()> {
        let entry = match self.enqueue_now(entry) {
            Ok(()) => return Ok(()),
            Err(entry) => entry,
        };
        if let Some(journal) = &self.0.journal {
            return only(journal.enqueue(vec![entry], wait).await);
        }
        let lane = self.0.lane_of.lane(&entry);
        let buffer = &self.0.shared.buffer;
        let pushed = if wait {
            buffer.push(lane, entry, Came::Here).await
        } else {
            buffer.try_push(lane, entry, Came::Here)
        };
        pushed.map_err(|refused| refused.error.unwrap_or_else(full))
    }

    /// Accepts an entry if that is possible now and takes no journal, else gives it back: for what
    /// stands on the core.
    #[doc(hidden)]
    #[inline]
    pub fn enqueue_now(&self, entry: Entry) -> Result<(), Entry> {
        if self.0.journal.is_some() && !self.0.spill {
            return Err(entry);
        }
        let lane = self.0.lane_of.lane(&entry);
        let pushed = self.0.shared.buffer.try_push(lane, entry, Came::Here);
        pushed.map_err(|refused| refused.entry)
    }

    /// Ends once nothing more will be written: for what stands on the core.
    #[doc(hidden)]
    pub async fn ended(&self) {
        self.0.running.closed().await;
    }

    /// Accepts entries in their order, and waits while the buffer is full. Result i belongs to
    /// entry i. Dropping the future before its end leaves out those that were not taken in yet.
    pub async fn enqueue_many(&self, entries: impl IntoIterator<Item = Entry>) -> Vec<Result<()>> {
        let entries = entries.into_iter();
        let entries = entries.map(|entry| (self.0.lane_of.lane(&entry), entry));
        let mut entries: VecDeque<_> = entries.collect();
        let buffer = &self.0.shared.buffer;
        let mut results = match &self.0.journal {
            None => buffer.push_many(entries).await,
            Some(journal) => {
                let mut results = Vec::with_capacity(entries.len());
                if self.0.spill {
                    buffer.try_push_many(&mut entries, &mut results, 0);
                }
                let rest = entries.into_iter().map(|(_, entry)| entry).collect();
                results.extend(journal.enqueue(rest, true).await);
                results
            }
        };
        for result in &mut results {
            if let Err(error) = result {
                *error = self.placed("enqueue_many", error.clone());
            }
        }
        results
    }

    /// Writes everything that was accepted before this call, and waits until it is written or
    /// given up. As long as the sink is away, that is as long as it takes: bound it by a timeout
    /// of your own. `Closed` when writing was stopped before.
    pub async fn flush(&self) -> Result<()> {
        let flushed = self.0.shared.buffer.flush().await;
        flushed.map_err(|error| self.placed("flush", error))
    }

    /// Accepts nothing more, writes what was accepted, and ends. What is not written after this
    /// time comes back in the report, what a queue delivered goes back to it, and what is in the
    /// journal stays there for the next start.
    ///
    /// A batch whose answer did not come in time comes back too, though it may have been written.
    /// Closing again gives a report without entries. A close that is dropped before its end can be
    /// called again.
    pub async fn close(&self, deadline: Duration) -> CloseReport {
        let Handle {
            shared, running, ..
        } = &*self.0;
        shared.buffer.drain();
        let tasks = &shared.tasks;
        let until = tasks.clock().now() + deadline;
        tokio::select! {
            biased;
            () = running.closed() => {}
            () = tasks.sleep_until(until) => {
                shared.stop.cancel();
                running.closed().await;
            }
        }
        shared.buffer.stop();
        let unwritten = shared.buffer.take_unwritten();
        let fed = unwritten.iter().filter(|q| matches!(q.came, Came::Fed(_)));
        origin::release(fed).await;
        let own = unwritten
            .into_iter()
            .filter(|q| matches!(q.came, Came::Here));
        CloseReport {
            unwritten: own.map(|queued| queued.entry).collect(),
            left_in_journal: shared.buffer.in_journal(),
            rejected: shared.buffer.take_rejected(),
            metrics: shared.metrics(),
        }
    }

    /// Takes the entries that were given up and kept because there is no dead-letter queue. Until
    /// they are taken they count against the bounds.
    pub fn take_rejected(&self) -> Vec<RejectedEntry> {
        self.0.shared.buffer.take_rejected()
    }

    /// Counts, all of one moment.
    pub fn metrics(&self) -> WriteBehindMetrics {
        self.0.shared.metrics()
    }

    /// Whether writing goes on, or pauses because the sink stays away.
    pub fn breaker_state(&self) -> BreakerState {
        let shared = &self.0.shared;
        shared.circuit.state(shared.tasks.clock().now())
    }

    /// The name in metrics, logs and dead letters.
    pub fn name(&self) -> &str {
        &self.0.shared.name
    }

    #[cold]
    fn placed(&self, operation: &'static str, error: Error) -> Error {
        error.with_operation(operation)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.buffer.drain();
    }
}

impl fmt::Debug for WriteBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind")
            .field("name", &self.name())
            .field("metrics", &self.metrics())
            .finish()
    }
}

/// The result of a batch of one.
fn only(mut results: Vec<Result<()>>) -> Result<()> {
    results
        .pop()
        .unwrap_or_else(|| Err(Error::closed("write-behind")))
}

/// Locks a mutex whose data is whole at every moment, so that a panic elsewhere did not harm it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
