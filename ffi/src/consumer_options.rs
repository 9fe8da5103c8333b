//! Options of consumers.

use std::ffi::c_void;

use queue_runtime_core::{BatchOptions, ConsumerOptions, Error, Result};

use crate::abi::{duration, qrt_bytes_t, some_duration};
use crate::consumer::MOST_IN_HAND;
use crate::consumer_callbacks::Callbacks;
use crate::delivery::qrt_batch_t;
use crate::error::{qrt_error_t, qrt_status_t};
use crate::options::Options;

/// Options of a consumer. Begin with `QRT_CONSUMER_OPTIONS_INIT`. Callbacks run on threads of the
/// runtime, one at a time for each consumer, with no lock held; they may call every function but
/// those that wait, and should return quickly. They must not throw or unwind.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_consumer_options_t {
    /// `sizeof(qrt_consumer_options_t)` of the caller.
    pub struct_size: usize,
    /// At most this many messages in one batch. Default 64.
    pub max_messages: u32,
    /// Messages that may be in hand. With `on_batch` each one handed over uses up a credit, and
    /// `qrt_consumer_grant` gives more; without it a credit comes back when its delivery is settled
    /// or freed. Default 64.
    pub credits: u32,
    /// How long each receive waits at the provider, in milliseconds. Default 20,000.
    pub wait_ms: i64,
    /// For how long messages are locked, and locked again, in milliseconds; -1: as long as the
    /// queue says. Default -1.
    pub lock_ms: i64,
    /// For how long after its receive a lock is kept, in milliseconds. Default 600,000.
    pub max_lock_renewal_ms: i64,
    /// Messages received ahead of the credits: their attempts are not charged before they are
    /// handed over. `UINT32_MAX`: as many as may be in hand. Default 64.
    pub prefetch: u32,
    /// 0. For later use.
    pub reserved: u32,
    /// No more is received ahead while it has this many bytes. Default 64 MiB.
    pub prefetch_bytes: u64,
    /// Takes a batch, which the callee owns and frees. NULL: messages are asked for, by
    /// `qrt_consumer_next`.
    pub on_batch: Option<unsafe extern "C" fn(user_data: *mut c_void, batch: *mut qrt_batch_t)>,
    /// Told when a receive fails, with the status (`error` borrows for the call), and when
    /// receiving goes on (`QRT_OK`, NULL). May be NULL.
    pub on_state: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            status: qrt_status_t,
            error: *const qrt_error_t,
        ),
    >,
    /// Told that the lock of a message that was handed over and not settled was lost: somebody else
    /// may have it by now. `id` borrows for the length of the call. May be NULL.
    pub on_lock_lost: Option<unsafe extern "C" fn(user_data: *mut c_void, id: qrt_bytes_t)>,
    /// Told that a message is in hand for as long as its lock may be kept, and its lock is let go.
    /// `id` borrows for the length of the call. May be NULL.
    pub on_stall: Option<unsafe extern "C" fn(user_data: *mut c_void, id: qrt_bytes_t)>,
    /// Passed to the callbacks.
    pub user_data: *mut c_void,
    /// Frees `user_data`, once, after the last callback has returned. May be NULL.
    pub free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    /// How long to stay away after failed receives in a row, such as
    /// `exponential:100ms,2,30s,jitter`, which is the default when it is empty. Borrows for the
    /// length of the call.
    pub reconnect: qrt_bytes_t,
    /// `qrt_consumer_next` gives an empty batch when nothing could be handed out for this many
    /// milliseconds; 0: when nothing is there; -1: it waits for ever. Not with `on_batch`. Default
    /// -1.
    pub idle_ms: i64,
    /// When to leave messages alone since their handlers fail: failures in a row, pause, successes
    /// in a row, such as `5,30s,3`; never when it is empty or `none`. A failure is a delivery that is
    /// nacked, or released with a delay; while the breaker is open nothing is handed over, and a nack
    /// is a release: no attempt is used. Borrows for the length of the call.
    pub breaker: qrt_bytes_t,
    /// Told where the breaker stands now, one of `QRT_BREAKER_...`, and until when one that is open
    /// is, in milliseconds since 1970 UTC, else -1. States that were left at once may be skipped. May
    /// be NULL.
    pub on_breaker: Option<unsafe extern "C" fn(user_data: *mut c_void, state: u32, until_ms: i64)>,
    /// Works through held sessions, at most so many at a time; 0: sessions are held by their messages
    /// in hand. Not with `idle_ms`, and not of `qrt_session_consume`. Default 0.
    pub max_sessions: u32,
    /// After so many messages a session makes room for another one; 0: never. Default 0.
    pub session_max_messages: u32,
    /// For how long a session that has nothing is held while no other one waits, in milliseconds.
    /// Default 60,000.
    pub session_idle_ms: i64,
    /// After how long a session makes room for another one, in milliseconds; -1: never. Default -1.
    pub session_max_time_ms: i64,
    /// Messages of a batch, at most, where batches wait for more: one is handed over when it has so
    /// many, or `batch_bytes`, or when its first message has waited for `batch_linger_ms`. No more
    /// than there are credits for. 0: batches are of what is there, up to `max_messages`, and none of
    /// the following counts. Default 0.
    pub batch_size: u32,
    /// The least size of a batch where sizes adapt to `target_batch_duration_ms`. Default 1.
    pub min_batch_size: u32,
    /// Bytes of a batch, at most (one message may have more). Default 4 MiB.
    pub batch_bytes: u64,
    /// How long a batch waits for more, in milliseconds. Default 5.
    pub batch_linger_ms: i64,
    /// How long a batch is to take, in milliseconds, from its hand-over until its last message is
    /// settled: its size adapts to that, after the mean time of a message in the last ten batches. -1:
    /// sizes do not adapt. Default -1.
    pub target_batch_duration_ms: i64,
    /// Of one group at most so many messages are in hand, so that a group with much work leaves hands
    /// to the others; 0: any number. For queues with fair groups. Default 0.
    pub max_in_flight_per_group: u32,
    /// Scales: begins with so many messages in hand, and moves between this number and `credits`: up
    /// while work waits, back when that made handlers slower and got no more done, down when hands lay
    /// idle. 0: it does not. Not with `on_batch`. Default 0.
    pub min_concurrency: u32,
    /// How long each limit of a consumer that scales stays, in milliseconds. Default 5,000.
    pub scale_cooldown_ms: i64,
}

impl Options for qrt_consumer_options_t {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        max_messages: 64,
        credits: 64,
        wait_ms: 20_000,
        lock_ms: -1,
        max_lock_renewal_ms: 600_000,
        prefetch: 64,
        reserved: 0,
        prefetch_bytes: 64 * 1024 * 1024,
        on_batch: None,
        on_state: None,
        on_lock_lost: None,
        on_stall: None,
        user_data: std::ptr::null_mut(),
        free: None,
        reconnect: qrt_bytes_t::EMPTY,
        idle_ms: -1,
        breaker: qrt_bytes_t::EMPTY,
        on_breaker: None,
        max_sessions: 0,
        session_max_messages: 0,
        session_idle_ms: 60_000,
        session_max_time_ms: -1,
        batch_size: 0,
        min_batch_size: 1,
        batch_bytes: 4 * 1024 * 1024,
        batch_linger_ms: 5,
        target_batch_duration_ms: -1,
        max_in_flight_per_group: 0,
        min_concurrency: 0,
        scale_cooldown_ms: 5_000,
    };
}

impl qrt_consumer_options_t {
    /// Where the messages come from.
    ///
    /// # Safety
    /// What the options borrow is good.
    pub(crate) unsafe fn source(&self) -> Result<ConsumerOptions> {
        // Where credits are granted by hand, they bound what is in hand.
        let in_hand = if self.on_batch.is_some() {
            MOST_IN_HAND
        } else {
            self.credits
        };
        let mut options = ConsumerOptions::new()
            .concurrency(in_hand)
            .max_messages(self.max_messages)
            .prefetch_bytes(self.prefetch_bytes)
            .wait(duration(self.wait_ms, "wait_ms")?)
            .max_lock_renewal(duration(self.max_lock_renewal_ms, "max_lock_renewal_ms")?);
        match self.prefetch {
            u32::MAX if self.on_batch.is_some() => options = options.prefetch(self.credits),
            u32::MAX => {}
            messages => options = options.prefetch(messages),
        }
        if let Some(lock) = some_duration(self.lock_ms, "lock_ms")? {
            options = options.lock(lock);
        }
        // SAFETY: passed on.
        let reconnect = unsafe { self.reconnect.text("reconnect")? };
        if !reconnect.is_empty() {
            let retry = reconnect.parse().map_err(|error: Error| {
                Error::invalid_argument("reconnect", error.message().to_owned())
            })?;
            options = options.reconnect(retry);
        }
        // SAFETY: passed on.
        let breaker = unsafe { self.breaker.text("breaker")? };
        if !breaker.is_empty() {
            let breaker = breaker.parse().map_err(|error: Error| {
                Error::invalid_argument("breaker", error.message().to_owned())
            })?;
            options = options.breaker(breaker);
        }
        if let Some(idle) = some_duration(self.idle_ms, "idle_ms")? {
            if self.on_batch.is_some() {
                let what = "is for consumers that are asked, which have no on_batch";
                return Err(Error::invalid_argument("idle_ms", what));
            }
            options = options.idle(idle);
        }
        if self.max_in_flight_per_group > 0 {
            options = options.max_in_flight_per_group(self.max_in_flight_per_group);
        }
        self.sessions(self.scale(options)?)
    }

    fn scale(&self, mut options: ConsumerOptions) -> Result<ConsumerOptions> {
        if self.min_concurrency > 0 {
            if self.on_batch.is_some() {
                let what = "is for consumers that are asked; with on_batch credits are granted";
                return Err(Error::invalid_argument("min_concurrency", what));
            }
            options = options.min_concurrency(self.min_concurrency);
        }
        if self.scale_cooldown_ms != Self::DEFAULT.scale_cooldown_ms {
            let cooldown = duration(self.scale_cooldown_ms, "scale_cooldown_ms")?;
            options = options.scale_cooldown(cooldown);
        }
        Ok(options)
    }

    fn sessions(&self, mut options: ConsumerOptions) -> Result<ConsumerOptions> {
        if self.max_sessions > 0 {
            options = options.max_sessions(self.max_sessions);
        }
        if self.session_max_messages > 0 {
            options = options.session_max_messages(self.session_max_messages);
        }
        if self.session_idle_ms != Self::DEFAULT.session_idle_ms {
            options = options.session_idle(duration(self.session_idle_ms, "session_idle_ms")?);
        }
        if let Some(longest) = some_duration(self.session_max_time_ms, "session_max_time_ms")? {
            options = options.session_max_time(longest);
        }
        Ok(match self.batches()? {
            Some(batches) => options.batches(batches),
            None => options,
        })
    }

    /// How batches wait for more, if they do.
    fn batches(&self) -> Result<Option<BatchOptions>> {
        if self.batch_size == 0 {
            return Ok(None);
        }
        let target = some_duration(self.target_batch_duration_ms, "target_batch_duration_ms")?;
        let options = BatchOptions::new()
            .batch_size(self.batch_size)
            .batch_bytes(self.batch_bytes)
            .batch_linger(duration(self.batch_linger_ms, "batch_linger_ms")?);
        Ok(Some(match target {
            Some(target) => options.adaptive(self.min_batch_size, self.batch_size, target),
            None => options,
        }))
    }

    /// Messages of one batch, at most.
    pub(crate) fn most(&self) -> u32 {
        match self.batch_size {
            0 => self.max_messages,
            size => size,
        }
    }

    pub(crate) fn callbacks(&self) -> Callbacks {
        Callbacks {
            on_batch: self.on_batch,
            on_state: self.on_state,
            on_lock_lost: self.on_lock_lost,
            on_stall: self.on_stall,
            on_breaker: self.on_breaker,
            user_data: self.user_data,
            free: self.free,
        }
    }
}
