//! Consumers: messages that keep coming, with their locks kept, until a drain that adds up.
//!
//! The pump (`pump.rs`) receives into a bounded buffer (`buffer.rs`), those who ask take out of it
//! (`shared.rs`), and the keeper (`keeper.rs`) keeps every lock meanwhile, of what waits and of what
//! is in hand (`hold.rs`). Instead of the pump a pool may work through held sessions (`sessions/`).
//! How many may be in hand can follow the load (`scale.rs`).

mod adaptive;
mod batches;
mod buffer;
mod drain;
mod gate;
mod gather;
mod groups;
mod hold;
mod keeper;
mod memory;
mod options;
mod process;
mod process_batches;
mod pump;
mod scale;
mod scaling;
mod sessions;
mod shared;
mod take;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::capability::Capability;
use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::error::Error;
use crate::queue::MAX_RECEIVE;
use crate::resilience::BreakerState;
use crate::sessions::SessionHold;

pub use batches::BatchOptions;
pub use drain::DrainReport;
#[doc(hidden)]
pub use gate::Standing;
pub use hold::CancelCause;
pub(crate) use hold::{Held, Hold, Keep, Kept};
pub(crate) use keeper::Keeper;
pub(crate) use memory::{MemoryWatch, ShownMemory};
pub use options::ConsumerOptions;
pub(crate) use options::MAX_LOCK_RENEWAL;
pub use process::{Failure, Worker};
pub use process_batches::{Batch, Failures};
use shared::Shared;

/// Receives from one queue until it is drained or dropped. Any thread; any number may ask at once.
///
/// ```
/// # async fn example() -> queue_runtime_core::Result<()> {
/// use std::time::Duration;
/// use queue_runtime_core::{ConsumerOptions, connect};
///
/// let orders = connect("memory:").await?.queue("orders")?;
/// orders.send("two lattes").await?;
/// let consumer = orders.consume(ConsumerOptions::new())?;
/// if let Some(order) = consumer.next().await {
///     println!("{:?}", order.body()); // for as long as this takes, the lock is kept
///     order.ack().await?;
/// }
/// let report = consumer.drain(Duration::from_secs(30)).await;
/// assert_eq!(report.abandoned, 0);
/// # Ok(())
/// # }
/// # queue_runtime_core::Runtime::shared().unwrap().block_on(example()).unwrap().unwrap();
/// ```
///
/// Deliveries of one session come one at a time and in order: the next when the one before was
/// acknowledged or dead-lettered. After a `nack`, a `release` or a drop, those behind it go back.
/// One that is dropped gives back what nobody began.
#[must_use = "a consumer that is dropped stops"]
pub struct Consumer(Arc<Shared>);

/// How a consumer goes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConsumerStatus {
    /// Whether its last receive succeeded, or none has ended yet, and it was not stopped.
    pub ready: bool,
    /// When a receive last succeeded, with or without messages.
    pub last_receive: Option<Timestamp>,
    /// What the last receive failed with, until one succeeds.
    pub failure: Option<Error>,
    /// Messages received and not begun.
    pub prefetched: u64,
    /// Deliveries in hand.
    pub in_hand: u64,
    /// How many may be in hand now.
    pub concurrency: u64,
    /// Whether it was paused by hand.
    pub paused: bool,
    /// Whether it is held back since the process has more memory than the runtime's `memory_limit`.
    pub over_memory: bool,
    /// Where its breaker stands.
    pub breaker: BreakerState,
    /// Until when its breaker is open, if it is.
    pub open_until: Option<Timestamp>,
    /// Sessions held, by a consumer with `max_sessions` or of a session.
    pub sessions: u64,
}

impl Consumer {
    pub(crate) fn start(queue: crate::Queue, options: ConsumerOptions) -> crate::Result<Self> {
        options.check()?;
        groups::check(&queue, &options)?;
        if options.max_sessions.is_some() {
            queue.check_capability(Capability::Sessions)?;
            queue.check_capability(Capability::SessionNext)?;
            return Ok(Self::start_sessions(queue, options, None));
        }
        let stop = queue.closing().child_token();
        let shared = Self::make(queue, options, stop, None);
        shared.queue.spawn(pump::pump(shared.clone()));
        Ok(Self(shared))
    }

    /// A consumer of one held session.
    pub(crate) fn start_of(
        session: Arc<SessionHold>,
        options: ConsumerOptions,
    ) -> crate::Result<Self> {
        options.check_of_one()?;
        options.check()?;
        let queue = session.queue().clone();
        groups::check(&queue, &options)?;
        Ok(Self::start_sessions(queue, options, Some(session)))
    }

    fn make(
        queue: crate::Queue,
        options: ConsumerOptions,
        stop: CancellationToken,
        pool: Option<Arc<sessions::Pool>>,
    ) -> Arc<Shared> {
        let shared = Arc::new(Shared::new(queue, options, stop, pool));
        if let Some(memory) = shared.queue.memory() {
            memory.add(&shared);
        }
        scaling::start(&shared);
        shared
    }

    fn start_sessions(
        queue: crate::Queue,
        options: ConsumerOptions,
        given: Option<Arc<SessionHold>>,
    ) -> Self {
        let stop = queue.closing().child_token();
        let pool = Arc::new(sessions::Pool::new(options.max_sessions));
        let shared = Self::make(queue, options, stop, Some(pool.clone()));
        let run = sessions::run(shared.clone(), pool, given);
        shared.queue.spawn(run);
        Self(shared)
    }

    /// The next delivery, as soon as there is one and a hand is free; its attempt is charged now.
    /// `None` once the consumer was drained or its client closed, or after [`ConsumerOptions::idle`].
    /// Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Delivery> {
        self.0.next().await
    }

    /// As [`Consumer::next`], with what else is there and free hands are for, up to `max`, of which
    /// no two are of one session. With [`ConsumerOptions::batches`] it waits for more, and is smaller
    /// where they say so. Never empty.
    pub async fn next_batch(&self, max: usize) -> Option<Vec<Delivery>> {
        let max = max.clamp(1, MAX_RECEIVE as usize);
        self.0.next_batch(max).await
    }

    /// How it goes.
    pub fn status(&self) -> ConsumerStatus {
        let failure = self.0.failure.borrow().clone();
        let state = self.0.state();
        let standing = state.gate.standing();
        let timestamp = |tick| self.0.queue.clock().timestamp(tick);
        ConsumerStatus {
            ready: failure.is_none() && !self.0.stop.is_cancelled(),
            last_receive: state.last_receive.map(timestamp),
            failure,
            prefetched: state.buffered() as u64,
            in_hand: state.in_hand() as u64,
            concurrency: state.limit as u64,
            paused: standing.paused,
            over_memory: standing.over_memory,
            breaker: standing.breaker,
            open_until: standing.open_until.map(timestamp),
            sessions: self.0.pool.as_ref().map_or(0, |p| *p.held.borrow() as u64),
        }
    }

    /// What holds it back, as it changes.
    #[doc(hidden)]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Receives nothing and hands nothing out until [`Consumer::resume`]; what is fetched ahead goes
    /// back unblamed, in the background where that takes time. What is in hand goes on, its locks
    /// kept. Again does nothing more.
    pub fn pause(&self) {
        self.0.pause();
    }

    /// Ends the pause. Without one it does nothing. A breaker that is open, or memory that is over
    /// its limit, go on holding the consumer back.
    pub fn resume(&self) {
        self.0.resume();
    }

    /// Closes the breaker by hand, and forgets what failed.
    pub fn reset_breaker(&self) {
        self.0.reset_breaker();
    }

    /// What the last receive failed with, as it changes.
    #[doc(hidden)]
    pub fn failures(&self) -> watch::Receiver<Option<Error>> {
        self.0.failure.subscribe()
    }

    /// Takes no more in and gives back what nobody has begun, in the background where that takes
    /// time; what is in hand goes on.
    #[doc(hidden)]
    pub fn close(&self) {
        let prefetched = self.0.close();
        self.0.give_back(prefetched);
    }

    /// Takes no more in and gives back what nobody has begun; what is in hand goes on.
    pub async fn stop(&self) {
        drain::stop(&self.0).await;
    }

    /// Stops the consumer: takes no more in, gives back what nobody has begun, waits for what is in
    /// hand until the deadline, then cancels that and gives it back too. Attempts of what goes back
    /// are restored, where the provider can.
    pub async fn drain(&self, deadline: Duration) -> DrainReport {
        drain::drain(&self.0, deadline).await
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("queue", &self.0.queue.name())
            .field("status", &self.status())
            .finish()
    }
}
