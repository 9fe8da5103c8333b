//! Consumers: messages that keep coming, their locks kept, until a drain that adds up.

use std::time::Duration;

use queue_runtime::*;

use crate::abi::{Handle, NOBODY, call, lend_text, make};
use crate::error::Result;
use crate::op::{Started, start};
use crate::runtime::{ms, some_ms, text_of};
use crate::{Batch, Queue, Session};

/// How a consumer receives, and how much it has in hand.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// Deliveries in hand at one time, at most: handed out and neither settled nor dropped.
    pub concurrency: u32,
    /// The least of `concurrency`, for a consumer that scales; it does not, if not said.
    pub min_concurrency: Option<u32>,
    /// How long each limit of one that scales stays; 5 s if not said.
    pub scale_cooldown: Option<Duration>,
    /// Messages received ahead of those who ask; as many as may be in hand if not said.
    pub prefetch: Option<u32>,
    /// No more is received ahead while it has this many bytes.
    pub prefetch_bytes: u64,
    /// Messages of one receive, at most; as many as are wanted if not said.
    pub max_messages: Option<u32>,
    /// How long each receive waits at the provider.
    pub wait: Duration,
    /// For how long messages are locked, and locked again; as long as the queue says, if not said.
    pub lock: Option<Duration>,
    /// For how long after its receive a lock is kept.
    pub max_lock_renewal: Duration,
    /// How long to stay away after failed receives, as a retry policy is written; the default if
    /// not said.
    pub reconnect: Option<String>,
    /// After how long without a message to hand out it ends; never, if not said.
    pub idle: Option<Duration>,
    /// When to leave messages alone since their handlers fail, such as `5,30s,3`; never, if not
    /// said.
    pub breaker: Option<String>,
    /// How it works through held sessions, if it does.
    pub sessions: Sessions,
    /// How many messages of one group are in hand, at most; any number, if not said.
    pub max_in_flight_per_group: Option<u32>,
    /// How batches wait for more; they are of what is there, if not said.
    pub batches: Option<BatchOptions>,
}

/// How a consumer works through held sessions.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// How many it holds, at most; none of itself, if not said.
    pub max: Option<u32>,
    /// For how long one that has nothing is held; 60 s if not said.
    pub idle: Option<Duration>,
    /// After how many messages one makes room for another; never, if not said.
    pub max_messages: Option<u32>,
    /// After how long one makes room for another; never, if not said.
    pub max_time: Option<Duration>,
}

/// When a batch is handed over.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    /// Messages of a batch, at most.
    pub size: u32,
    /// Their bytes, at most; one message may have more.
    pub bytes: u64,
    /// How long it waits for more.
    pub linger: Duration,
    /// The least size, where sizes adapt.
    pub min_size: u32,
    /// How long a batch is to take; sizes do not adapt, if not said.
    pub target_duration: Option<Duration>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            size: 100,
            bytes: 4 * 1024 * 1024,
            linger: Duration::from_millis(5),
            min_size: 1,
            target_duration: None,
        }
    }
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            min_concurrency: None,
            scale_cooldown: None,
            prefetch: None,
            prefetch_bytes: 64 * 1024 * 1024,
            max_messages: None,
            wait: Duration::from_secs(20),
            lock: None,
            max_lock_renewal: Duration::from_secs(600),
            reconnect: None,
            idle: None,
            breaker: None,
            sessions: Sessions::default(),
            max_in_flight_per_group: None,
            batches: None,
        }
    }
}

/// For how long a session that has nothing is held, unless said otherwise.
const SESSION_IDLE_MS: i64 = 60_000;
/// How long each limit of a consumer that scales stays, unless said otherwise.
const SCALE_COOLDOWN_MS: i64 = 5_000;
/// The `prefetch` that says so.
const AS_MAY_BE_IN_HAND: u32 = u32::MAX;
/// The most messages of one receive.
const MOST: u32 = 100_000;

impl ConsumerOptions {
    /// What borrows from this.
    fn lend(&self) -> qrt_consumer_options_t {
        let batches = self.batches.unwrap_or_default();
        qrt_consumer_options_t {
            struct_size: size_of::<qrt_consumer_options_t>(),
            max_messages: self.max_messages.unwrap_or(MOST),
            credits: self.concurrency,
            wait_ms: ms(self.wait),
            lock_ms: some_ms(self.lock),
            max_lock_renewal_ms: ms(self.max_lock_renewal),
            prefetch: self.prefetch.unwrap_or(AS_MAY_BE_IN_HAND),
            reserved: 0,
            prefetch_bytes: self.prefetch_bytes,
            on_batch: None,
            on_state: None,
            on_lock_lost: None,
            on_stall: None,
            user_data: std::ptr::null_mut(),
            free: None,
            reconnect: lend_text(self.reconnect.as_deref()),
            idle_ms: some_ms(self.idle),
            breaker: lend_text(self.breaker.as_deref()),
            on_breaker: None,
            max_sessions: self.sessions.max.unwrap_or(0),
            session_max_messages: self.sessions.max_messages.unwrap_or(0),
            session_idle_ms: self.sessions.idle.map_or(SESSION_IDLE_MS, ms),
            session_max_time_ms: some_ms(self.sessions.max_time),
            batch_size: self.batches.map_or(0, |batches| batches.size),
            min_batch_size: batches.min_size,
            batch_bytes: batches.bytes,
            batch_linger_ms: ms(batches.linger),
            target_batch_duration_ms: some_ms(batches.target_duration),
            max_in_flight_per_group: self.max_in_flight_per_group.unwrap_or(0),
            min_concurrency: self.min_concurrency.unwrap_or(0),
            scale_cooldown_ms: self.scale_cooldown.map_or(SCALE_COOLDOWN_MS, ms),
        }
    }
}

/// Receives from one queue until it is drained, stopped or dropped, which gives back what was not
/// handed out.
pub struct Consumer(Handle<qrt_consumer_t>);

/// What became of the deliveries a consumer had when its drain began.
pub struct DrainReport(pub(crate) Handle<qrt_drain_report_t>);

impl Consumer {
    /// Begins to receive.
    pub fn start(queue: &Queue, options: &ConsumerOptions) -> Result<Self> {
        let options = options.lend();
        // SAFETY: the handle is owned, the options live for the length of the call.
        make(|place, error| unsafe {
            qrt_consumer_start(queue.0.get(), &raw const options, place, error)
        })
        .map(Self)
    }

    /// Begins to receive from a held session, its lock kept.
    pub fn start_of(session: &Session, options: &ConsumerOptions) -> Result<Self> {
        let options = options.lend();
        // SAFETY: the handle is owned, the options live for the length of the call.
        make(|place, error| unsafe {
            qrt_session_consume(session.0.get(), &raw const options, place, error)
        })
        .map(Self)
    }

    /// The next message, as soon as there is one and a hand is free; its attempt is charged now.
    /// An empty batch is the end: it was stopped, its client closed, or it was idle for too long.
    pub fn next(&self) -> Result<Started<Batch>> {
        // SAFETY: the handle is owned.
        start(|place, op, error| unsafe {
            qrt_consumer_next(self.0.get(), 1, NOBODY, place, op, error)
        })
    }

    /// As [`next`](Consumer::next), a whole batch as the options of batches say.
    pub fn next_batch(&self) -> Result<Started<Batch>> {
        // SAFETY: the handle is owned.
        start(|place, op, error| unsafe {
            qrt_consumer_next(self.0.get(), MOST, NOBODY, place, op, error)
        })
    }

    /// Ends when work on a delivery in hand is to stop ([`Delivery::cancelled`]), receiving fails or
    /// goes on, or what holds it back has changed ([`status`](Consumer::status)), since the last one ended; `CLOSED` once the
    /// consumer has stopped. One at a time.
    ///
    /// [`Delivery::cancelled`]: crate::Delivery::cancelled
    pub fn wait_changed(&self) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe { qrt_consumer_wait_changed(self.0.get(), NOBODY, op, error) })
    }

    /// Receives nothing and hands nothing out until [`resume`](Consumer::resume); what was fetched
    /// ahead goes back.
    pub fn pause(&self) -> Result<()> {
        // SAFETY: the handle is owned.
        call(|error| unsafe { qrt_consumer_pause(self.0.get(), error) }).map(drop)
    }

    /// Ends a pause.
    pub fn resume(&self) -> Result<()> {
        // SAFETY: the handle is owned.
        call(|error| unsafe { qrt_consumer_resume(self.0.get(), error) }).map(drop)
    }

    /// Closes its breaker by hand, and forgets what failed.
    pub fn reset_breaker(&self) -> Result<()> {
        // SAFETY: the handle is owned.
        call(|error| unsafe { qrt_consumer_reset_breaker(self.0.get(), error) }).map(drop)
    }

    /// Takes no more in and gives back what was not handed out; what is in hand goes on.
    pub fn stop(&self) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe { qrt_consumer_stop(self.0.get(), NOBODY, op, error) })
    }

    /// Stops it, waits for what is in hand until the deadline, cancels that and gives it back.
    pub fn drain(&self, deadline: Duration) -> Result<Started<DrainReport>> {
        // SAFETY: the handle is owned.
        start(|place, op, error| unsafe {
            qrt_consumer_drain(self.0.get(), ms(deadline), NOBODY, place, op, error)
        })
    }

    /// How it goes, as JSON.
    pub fn status(&self) -> Result<String> {
        // SAFETY: the handle is owned.
        let made = make(|place, error| unsafe { qrt_consumer_status(self.0.get(), place, error) });
        made.map(|buffer| text_of(&buffer))
    }
}

impl DrainReport {
    /// In hand, and settled in time.
    pub fn finished(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_drain_report_finished(self.0.get()) }
    }

    /// Given back with their attempts restored.
    pub fn released(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_drain_report_released(self.0.get()) }
    }

    /// Neither: they come back when their locks end.
    pub fn abandoned(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_drain_report_abandoned(self.0.get()) }
    }
}
