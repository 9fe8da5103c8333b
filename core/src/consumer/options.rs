//! What is asked of a consumer.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::batches::BatchOptions;
use super::hold::CancelCause;
use crate::error::{Error, Result};
use crate::message::MessageId;
use crate::provider::ReceiveRequest;
use crate::queue::{MAX_RECEIVE, ReceiveOptions};
use crate::resilience::{Breaker, Retry};

/// For how long after its receive a lock is kept by default.
pub(crate) const MAX_LOCK_RENEWAL: Duration = Duration::from_secs(10 * 60);
/// For how long a session is held that has nothing.
const SESSION_IDLE: Duration = Duration::from_secs(60);

/// Deliveries in hand at one time, unless said otherwise.
const CONCURRENCY: u32 = 16;

/// How a consumer receives, and how much it has in hand.
///
/// ```
/// # use queue_runtime_core::ConsumerOptions;
/// let options = ConsumerOptions::new().concurrency(4).prefetch(0);
/// ```
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    concurrency: Option<u32>,
    pub(super) min_concurrency: Option<u32>,
    pub(super) scale_cooldown: Option<Duration>,
    pub(super) prefetch: Option<u32>,
    pub(super) prefetch_bytes: u64,
    max_messages: Option<u32>,
    pub(super) wait: Duration,
    pub(super) lock: Option<Duration>,
    pub(super) max_lock_renewal: Duration,
    pub(super) reconnect: Retry,
    pub(super) breaker: Breaker,
    pub(super) idle: Option<Duration>,
    pub(super) on_cancel: OnCancel,
    pub(super) batches: Option<BatchOptions>,
    pub(super) max_sessions: Option<u32>,
    session_idle: Option<Duration>,
    pub(super) session_max_messages: Option<u32>,
    pub(super) session_max_time: Option<Duration>,
    max_in_flight_per_group: Option<u32>,
}

/// Who is told when work on a message is to stop.
#[derive(Clone, Default)]
pub(super) struct OnCancel(Option<Arc<CancelFn>>);

type CancelFn = dyn Fn(&MessageId, CancelCause) + Send + Sync;

impl OnCancel {
    pub(super) fn tell(&self, id: &MessageId, cause: CancelCause) {
        if let Some(tell) = &self.0 {
            tell(id, cause);
        }
    }
}

impl fmt::Debug for OnCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(_)" } else { "None" })
    }
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ConsumerOptions {
    /// 16 at a time, as many prefetched, in at most 64 MiB; locks kept for up to 10 minutes.
    pub fn new() -> Self {
        Self {
            concurrency: None,
            min_concurrency: None,
            scale_cooldown: None,
            prefetch: None,
            prefetch_bytes: 64 * 1024 * 1024,
            max_messages: None,
            // What SQS allows: each empty poll costs.
            wait: Duration::from_secs(20),
            lock: None,
            max_lock_renewal: MAX_LOCK_RENEWAL,
            reconnect: Retry::default(),
            breaker: Breaker::None,
            idle: None,
            on_cancel: OnCancel::default(),
            batches: None,
            max_sessions: None,
            session_idle: None,
            session_max_messages: None,
            session_max_time: None,
            max_in_flight_per_group: None,
        }
    }

    /// Deliveries in hand at one time, at most: handed out and neither settled nor dropped. By
    /// default 16, or as many as the batches of [`ConsumerOptions::batches`] have.
    pub fn concurrency(mut self, deliveries: u32) -> Self {
        self.concurrency = Some(deliveries);
        self
    }

    /// Scales: begins with so many deliveries in hand at most, and moves between this number and
    /// `concurrency`, once in a [`ConsumerOptions::scale_cooldown`] at most. Up while work waits for
    /// hands, twice as many at most; back when that made handlers slower and got no more done; down,
    /// to half at most, when hands lay idle for a whole cool-down. An open breaker, and memory over
    /// its limit, begin with this number again. What is in hand stays there when the limit falls.
    /// [`ConsumerStatus::concurrency`] shows the limit; without this it does not change.
    ///
    /// [`ConsumerStatus::concurrency`]: super::ConsumerStatus::concurrency
    pub fn min_concurrency(mut self, deliveries: u32) -> Self {
        self.min_concurrency = Some(deliveries);
        self
    }

    /// How long each limit of a consumer that scales stays; 5 s.
    pub fn scale_cooldown(mut self, cooldown: Duration) -> Self {
        self.scale_cooldown = Some(cooldown);
        self
    }

    /// Messages received ahead of those who ask, at most; by default as many as may be in hand.
    /// With 0 nothing is received before somebody asks.
    pub fn prefetch(mut self, messages: u32) -> Self {
        self.prefetch = Some(messages);
        self
    }

    /// Nothing more is received while the bodies and headers of prefetched messages have this many
    /// bytes; one receive may go beyond it.
    pub fn prefetch_bytes(mut self, bytes: u64) -> Self {
        self.prefetch_bytes = bytes;
        self
    }

    /// Messages of one receive, at most; by default as many as are wanted, and as the provider
    /// hands over at once.
    pub fn max_messages(mut self, messages: u32) -> Self {
        self.max_messages = Some(messages);
        self
    }

    /// How long each receive waits at the provider; 20 seconds by default.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// For how long messages are locked, and locked again, if not as long as the queue says.
    pub fn lock(mut self, lock: Duration) -> Self {
        self.lock = Some(lock);
        self
    }

    /// For how long after its receive a lock is kept, at most.
    pub fn max_lock_renewal(mut self, longest: Duration) -> Self {
        self.max_lock_renewal = longest;
        self
    }

    /// How long to stay away after the n-th failed receive in a row.
    pub fn reconnect(mut self, retry: Retry) -> Self {
        self.reconnect = retry;
        self
    }

    /// When to leave messages alone since their handlers fail: after so many failures in a row
    /// nothing is handed out for a while, then one delivery at a time. A failure is a delivery that
    /// was nacked, or released with a delay; an `ack` is a success; what else becomes of deliveries
    /// says nothing. Until the breaker is closed again no attempt is used: what is nacked is
    /// released instead, and comes back when the pause is over; the one that was tried alone, a
    /// second later, so that another one is tried next.
    ///
    /// [`Breaker::None`] by default: a message that can never be handled must use up its budget, and
    /// a breaker would take it for handlers that cannot work.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = breaker;
        self
    }

    /// Ends [`Consumer::next`] with `None` when nothing could be handed out for so long; with zero,
    /// when nothing is there. Without it `next` waits for ever. Not for workers.
    ///
    /// [`Consumer::next`]: super::Consumer::next
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Is told when work on a message in hand is to stop, beside [`Delivery::cancelled`]: an alarm.
    /// Runs on the runtime's threads and must not block.
    ///
    /// [`Delivery::cancelled`]: crate::Delivery::cancelled
    pub fn on_cancel(
        mut self,
        tell: impl Fn(&MessageId, CancelCause) + Send + Sync + 'static,
    ) -> Self {
        self.on_cancel = OnCancel(Some(Arc::new(tell)));
        self
    }

    /// How [`Consumer::next_batch`] forms its batches; without it, of what is there at once.
    ///
    /// [`Consumer::next_batch`]: super::Consumer::next_batch
    pub fn batches(mut self, options: BatchOptions) -> Self {
        self.batches = Some(options);
        self
    }

    /// Works through held sessions, at most so many at a time; messages without a session are left
    /// to others. A session that was accepted is held, its lock kept, until it has had nothing for
    /// `session_idle`; or until another one waits for which there is no place: then one that has
    /// nothing makes room at once, and one that has work when it reaches `session_max_messages` or
    /// `session_max_time`. Of what may be fetched ahead, each session has its share, and one message
    /// at least. Not with `idle`.
    pub fn max_sessions(mut self, sessions: u32) -> Self {
        self.max_sessions = Some(sessions);
        self
    }

    /// For how long a session that has nothing is held while no other one waits; 60 s. The time of
    /// handlers does not count.
    pub fn session_idle(mut self, idle: Duration) -> Self {
        self.session_idle = Some(idle);
        self
    }

    /// After so many messages a session makes room for another one that waits, or, if this consumer
    /// sees none, is let go for a moment, so that another consumer may take it. Without it, it goes
    /// on as long as it has work.
    pub fn session_max_messages(mut self, messages: u32) -> Self {
        self.session_max_messages = Some(messages);
        self
    }

    /// As `session_max_messages`, after so long a time. What is fetched by then is handled first.
    pub fn session_max_time(mut self, longest: Duration) -> Self {
        self.session_max_time = Some(longest);
        self
    }

    /// Of one group at most so many deliveries are in hand, so that a group with much work leaves
    /// hands to the others. For queues with [`Capability::FairGroups`]; messages without a group are
    /// not counted. What is fetched ahead of a group that has as many in hand takes none of the room
    /// of `prefetch`, and has at most as much of its own.
    ///
    /// [`Capability::FairGroups`]: crate::Capability::FairGroups
    pub fn max_in_flight_per_group(mut self, deliveries: u32) -> Self {
        self.max_in_flight_per_group = Some(deliveries);
        self
    }

    /// How many deliveries of one group may be in hand, if there is a number.
    pub(super) fn most_of_group(&self) -> Option<NonZeroU32> {
        self.max_in_flight_per_group.and_then(NonZeroU32::new)
    }

    pub(super) fn idle_session(&self) -> Duration {
        self.session_idle.unwrap_or(SESSION_IDLE)
    }

    /// What a worker cannot do.
    pub(crate) fn check_worker(&self) -> Result<()> {
        if self.idle.is_some() {
            let what = "is for consumers that are asked; a worker goes on until it is drained";
            return Err(Error::invalid_argument("idle", what));
        }
        Ok(())
    }

    /// How many deliveries may be in hand.
    pub(super) fn hands(&self) -> u32 {
        let batches = self.batches.as_ref().map(BatchOptions::hands);
        self.concurrency.or(batches).unwrap_or(CONCURRENCY)
    }

    /// One receive of at most `want` messages.
    pub(super) fn receive(&self, want: usize, wait: Duration, begin: bool) -> ReceiveRequest {
        let most = self.max_messages.unwrap_or(MAX_RECEIVE);
        ReceiveRequest {
            max_messages: most.min(want as u32),
            wait,
            lock: self.lock,
            begin,
            session: None,
            without: None,
        }
    }

    /// What cannot be asked of the consumer of a held session.
    pub(super) fn check_of_one(&self) -> Result<()> {
        if self.max_sessions.is_some() {
            let what = "is for the consumer of a queue; this one has its session";
            return Err(Error::invalid_argument("max_sessions", what));
        }
        Ok(())
    }

    fn check_scale(&self) -> Result<()> {
        let (least, most) = (self.min_concurrency, self.hands());
        if least.is_some_and(|least| least == 0 || least > most) {
            let what = format!("must be between 1 and concurrency, {most}");
            return Err(Error::invalid_argument("min_concurrency", what));
        }
        let what = match self.scale_cooldown {
            Some(_) if least.is_none() => "needs min_concurrency",
            Some(Duration::ZERO) => "must be longer than nothing",
            _ => return Ok(()),
        };
        Err(Error::invalid_argument("scale_cooldown", what))
    }

    fn check_sessions(&self) -> Result<()> {
        if self.max_sessions.is_some() {
            if self.idle.is_some() {
                let what =
                    "is not for a consumer with max_sessions: it goes on until it is drained";
                return Err(Error::invalid_argument("idle", what));
            }
            if self.session_max_messages == Some(0) {
                let what = "must be at least 1";
                return Err(Error::invalid_argument("session_max_messages", what));
            }
            if self.session_max_time == Some(Duration::ZERO) {
                let what = "must be longer than nothing";
                return Err(Error::invalid_argument("session_max_time", what));
            }
            return Ok(());
        }
        let asked = [
            ("session_idle", self.session_idle.is_some()),
            ("session_max_messages", self.session_max_messages.is_some()),
            ("session_max_time", self.session_max_time.is_some()),
        ];
        match asked.into_iter().find(|(_, asked)| *asked) {
            Some((field, _)) => Err(Error::invalid_argument(field, "needs max_sessions")),
            None => Ok(()),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if let Some(batches) = &self.batches {
            batches.check()?;
        }
        let counts = [
            ("concurrency", Some(self.hands()), 1),
            ("prefetch", self.prefetch, 0),
            ("max_messages", self.max_messages, 1),
            ("max_sessions", self.max_sessions, 1),
            ("max_in_flight_per_group", self.max_in_flight_per_group, 1),
        ];
        for (field, count, least) in counts {
            if count.is_some_and(|count| count < least || count > MAX_RECEIVE) {
                let what = format!("must be between {least} and {MAX_RECEIVE}");
                return Err(Error::invalid_argument(field, what));
            }
        }
        if self.prefetch_bytes == 0 {
            return Err(Error::invalid_argument(
                "prefetch_bytes",
                "must be at least 1",
            ));
        }
        if self.wait.is_zero() {
            let what = "must not be zero: a consumer that never waits never rests";
            return Err(Error::invalid_argument("wait", what));
        }
        self.check_scale()?;
        self.check_sessions()?;
        self.reconnect.check()?;
        self.breaker.check()?;
        let mut receive = ReceiveOptions::new().wait(self.wait);
        if let Some(lock) = self.lock {
            receive = receive.lock(lock);
        }
        receive.request(None).map(drop)
    }
}
