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
mod breaker;
mod buffer;
mod entry;
mod exposition;
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

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

pub use self::batch::OnRepeat;
pub use self::breaker::{Breaker, BreakerState};
pub use self::entry::Entry;
pub(crate) use self::exposition::WriteBehinds;
pub use self::metrics::WriteBehindMetrics;
pub use self::options::WriteBehindOptions;
pub use self::rejected::{RejectedEntry, header};
pub use self::sink::Sink;

use self::breaker::Circuit;
use self::buffer::{Buffer, Refused};
use self::rejected::DeadLetterQueue;
use self::sink::{Callback, Target};
use self::writer::{Shared, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Runtime;

/// The schemes of sinks that are built in.
pub const SINKS: &[&str] = &[
    #[cfg(feature = "postgres")]
    "postgres",
    #[cfg(feature = "sqlite")]
    "sqlite",
];

/// A write-behind. Cheap to clone; any thread. When the last clone is dropped, what was accepted
/// is still written in the background; [`WriteBehind::close`] waits for it.
#[derive(Clone)]
pub struct WriteBehind(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    lane_of: LaneOf,
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
        for (name, given) in [
            ("sink", options.sink.is_some()),
            ("table", options.table.is_some()),
            ("key", options.key.is_some()),
            ("columns", options.columns.is_some()),
        ] {
            if given {
                let what = "means nothing for a sink that the program gives";
                return Err(Error::invalid_config(name, what));
            }
        }
        Self::start(runtime, options, Callback(sink)).await
    }

    /// A write-behind into the table of a database that the options name. Looks at the table:
    /// `InvalidConfig` says what does not fit, `Unavailable`, `Unauthenticated` and
    /// `PermissionDenied` why the database does not answer.
    pub async fn open(runtime: &Runtime, options: WriteBehindOptions) -> Result<Self> {
        let Some(url) = options.sink.clone() else {
            let what = "give the URL of a database, or the program's own sink";
            return Err(Error::invalid_config("sink", what));
        };
        let scheme = url.reveal().split(':').next().unwrap_or_default();
        let opened = match scheme.to_ascii_lowercase().as_str() {
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
            _ => Err(Error::invalid_config(
                "sink",
                format!(
                    "no sink of this scheme is built in; there are: {}",
                    SINKS.join(", ")
                ),
            )),
        };
        opened.map_err(|error| error.with_operation("write_behind.open"))
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
        let tasks = runtime.tasks().clone();
        let target = Arc::new(target);
        let shared = Arc::new(Shared {
            buffer: Buffer::new(limits, writers, tasks.clone()),
            tasks: tasks.clone(),
            retry,
            on_repeat: options.on_repeat.unwrap_or_default(),
            circuit: Circuit::new(options.breaker.unwrap_or_default()),
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
        Ok(Self(Arc::new(Handle {
            shared,
            lane_of: LaneOf::new(writers, target),
            running,
        })))
    }

    /// Accepts an entry; waits while the buffer is full. Dropping the future before its end takes
    /// nothing in. `Closed` after a close, `MessageTooLarge` for an entry above `max_bytes`.
    pub async fn enqueue(&self, entry: impl Into<Entry>) -> Result<()> {
        let entry = entry.into();
        let lane = self.0.lane_of.lane(&entry);
        let accepted = self.0.shared.buffer.push(lane, entry).await;
        accepted.map_err(|error| self.placed("enqueue", error))
    }

    /// Accepts an entry, or says `Full`.
    pub fn try_enqueue(&self, entry: impl Into<Entry>) -> Result<()> {
        let entry = entry.into();
        let lane = self.0.lane_of.lane(&entry);
        let error = match self.0.shared.buffer.try_push(lane, entry) {
            Ok(()) => return Ok(()),
            Err(Refused::Error(error)) => error,
            Err(Refused::Full(_)) => Error::new(ErrorKind::Full, "the buffer is full"),
        };
        Err(self.placed("try_enqueue", error))
    }

    /// Accepts entries in their order, and waits while the buffer is full. Result i belongs to
    /// entry i. Dropping the future before its end leaves out those that were not taken in yet.
    pub async fn enqueue_many(&self, entries: impl IntoIterator<Item = Entry>) -> Vec<Result<()>> {
        let entries = entries.into_iter();
        let mut results = Vec::with_capacity(entries.size_hint().0);
        for entry in entries {
            results.push(self.enqueue(entry).await);
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
        origin::release(unwritten.iter()).await;
        let own = unwritten.into_iter().filter(|q| q.origin.is_none());
        CloseReport {
            unwritten: own.map(|queued| queued.entry).collect(),
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

/// The key of an entry, if it has one.
type KeyOf = dyn Fn(&Entry) -> Option<Bytes> + Send + Sync;

/// Which lane an entry goes by: always the same for one key.
enum LaneOf {
    One,
    Many {
        lanes: usize,
        key: Box<KeyOf>,
        hasher: RandomState,
        /// Where the next entry without a key goes.
        next: AtomicUsize,
    },
}

impl LaneOf {
    fn new<T: Target>(lanes: usize, target: Arc<T>) -> Self {
        if lanes == 1 {
            return Self::One;
        }
        Self::Many {
            lanes,
            key: Box::new(move |entry| target.lane_key(entry)),
            hasher: RandomState::new(),
            next: AtomicUsize::new(0),
        }
    }

    #[inline]
    fn lane(&self, entry: &Entry) -> usize {
        match self {
            Self::One => 0,
            Self::Many {
                lanes,
                key,
                hasher,
                next,
            } => match key(entry) {
                Some(key) => hasher.hash_one(key) as usize % lanes,
                None => next.fetch_add(1, Relaxed) % lanes,
            },
        }
    }
}

/// Locks a mutex whose data is whole at every moment, so that a panic elsewhere did not harm it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
