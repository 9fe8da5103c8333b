//! Receive by callback: batches, with credits that bound what is in the caller's hands.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use queue_runtime_core::{
    BatchOptions, BreakerState, CancelCause, Consumer as Source, ConsumerOptions, Delivery, Error,
    ErrorKind, MessageId, Result, Standing, Timestamp,
};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::abi::{borrow, call, duration, free, handle_output, qrt_bytes_t, run, some_duration};
use crate::breaker::code;
use crate::buffer::qrt_buffer_t;
use crate::delivery::qrt_batch_t;
use crate::drain::qrt_drain_report_t;
use crate::error::{qrt_error_t, qrt_status_t, status_of};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start_future};
use crate::options::{Options, read};
use crate::queue::qrt_queue_t;
use crate::runtime::Home;
use crate::session::qrt_session_t;

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
    unsafe fn source(&self) -> Result<ConsumerOptions> {
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
    fn most(&self) -> u32 {
        match self.batch_size {
            0 => self.max_messages,
            size => size,
        }
    }

    fn callbacks(&self) -> Callbacks {
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

/// The most a consumer has in hand.
const MOST_IN_HAND: u32 = 100_000;

/// A message in hand whose lock is gone. There are no more of these than messages in hand.
type Cancelled = (MessageId, CancelCause);

/// Receives until it is stopped. Thread-safe.
pub struct qrt_consumer_t(Arc<Consumer>);

struct Consumer {
    source: Source,
    /// `None` where messages are asked for.
    credits: Option<Semaphore>,
    /// Messages of one batch.
    most: usize,
    /// Whether it was asked to end, so that its end is no failure.
    ending: AtomicBool,
    /// Something happened since somebody was last told.
    changed: Arc<Notify>,
    stop: CancellationToken,
    stopped: CancellationToken,
    home: Home,
}

/// The callbacks of a consumer, on their way between threads.
struct Callbacks {
    on_batch: Option<unsafe extern "C" fn(*mut c_void, *mut qrt_batch_t)>,
    on_state: Option<unsafe extern "C" fn(*mut c_void, qrt_status_t, *const qrt_error_t)>,
    on_lock_lost: Option<unsafe extern "C" fn(*mut c_void, qrt_bytes_t)>,
    on_stall: Option<unsafe extern "C" fn(*mut c_void, qrt_bytes_t)>,
    on_breaker: Option<unsafe extern "C" fn(*mut c_void, u32, i64)>,
    user_data: *mut c_void,
    free: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the contract of `qrt_consumer_options_t` says that they run on other threads.
unsafe impl Send for Callbacks {}
// SAFETY: they are called by one task only.
unsafe impl Sync for Callbacks {}

impl Callbacks {
    fn batch(&self, deliveries: Vec<Delivery>, home: &Home) {
        let Some(on_batch) = self.on_batch else {
            return;
        };
        let batch = Arc::into_raw(qrt_batch_t::new(deliveries, home.clone())).cast_mut();
        // SAFETY: as the contract says; the callee owns the batch.
        unsafe { on_batch(self.user_data, batch) };
    }

    fn state(&self, failure: Option<Error>) {
        let Some(on_state) = self.on_state else {
            return;
        };
        let status = failure.as_ref().map_or(crate::error::QRT_OK, status_of);
        let error = failure.map(qrt_error_t::new);
        let pointer = error.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: as the contract says; the error lives for the length of the call.
        unsafe { on_state(self.user_data, status, pointer) };
    }

    fn breaker(&self, state: BreakerState, until: Option<Timestamp>) {
        if let Some(on_breaker) = self.on_breaker {
            let until = until.map_or(-1, |until| until.0);
            // SAFETY: as the contract says.
            unsafe { on_breaker(self.user_data, code(state), until) };
        }
    }

    fn cancelled(&self, (id, cause): Cancelled) {
        let tell = match cause {
            CancelCause::Stalled => self.on_stall,
            _ => self.on_lock_lost,
        };
        let id = id.to_string();
        if let Some(tell) = tell {
            // SAFETY: as the contract says; the id lives for the length of the call.
            unsafe { tell(self.user_data, qrt_bytes_t::of(id.as_bytes())) };
        }
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: called once, after every callback.
            unsafe { free(self.user_data) };
        }
    }
}

/// Begins to receive from a queue, by callback or to be asked. Locks are kept until a delivery is
/// settled or its batch freed. The caller owns `*consumer`. When the call fails,
/// no callback runs and `user_data` stays the caller's. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_start(
    queue: *mut qrt_queue_t,
    options: *const qrt_consumer_options_t,
    consumer: *mut *mut qrt_consumer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(consumer, "consumer")?;
            let handle = borrow(queue, "queue")?;
            let consume = |options| handle.usable()?.consume(options);
            let consumer = begin(options, &handle.home, consume)?;
            place.0 = Box::into_raw(Box::new(consumer));
            Ok(())
        })
    }
}

/// Begins to receive from a held session alone, its lock kept, as `qrt_consumer_start`. When that is
/// lost, or the session closed, the consumer ends, and `qrt_consumer_next` fails with
/// `QRT_ERR_SESSION_LOCK_LOST`. The session may be freed before it; it is let go when both are, or by
/// `qrt_session_close`. The caller owns `*consumer`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_consume(
    session: *mut qrt_session_t,
    options: *const qrt_consumer_options_t,
    consumer: *mut *mut qrt_consumer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(consumer, "consumer")?;
            let handle = borrow(session, "session")?;
            let consume = |options| handle.usable()?.consume(options);
            let consumer = begin(options, handle.home(), consume)?;
            place.0 = Box::into_raw(Box::new(consumer));
            Ok(())
        })
    }
}

/// # Safety
/// The options are NULL or good.
unsafe fn begin(
    options: *const qrt_consumer_options_t,
    home: &Home,
    consume: impl FnOnce(ConsumerOptions) -> Result<Source>,
) -> Result<qrt_consumer_t> {
    // SAFETY: passed on.
    let options = unsafe { read(options)? };
    check_credits(options.credits as usize)?;
    let (cancelled, told) = mpsc::unbounded_channel();
    let changed = Arc::new(Notify::new());
    let tell = changed.clone();
    // SAFETY: passed on.
    let source = unsafe { options.source()? }.on_cancel(move |id, cause| {
        // Nobody listens to a consumer that has stopped.
        let _ = cancelled.send((id.clone(), cause));
        tell.notify_one();
    });
    let by_callback = options.on_batch.is_some();
    let shared = Arc::new(Consumer {
        source: consume(source)?,
        credits: by_callback.then(|| Semaphore::new(options.credits as usize)),
        most: options.most() as usize,
        ending: AtomicBool::new(false),
        changed,
        stop: home.closing().child_token(),
        stopped: CancellationToken::new(),
        home: home.clone(),
    });
    let consumer = qrt_consumer_t(shared.clone());
    home.clone()
        .spawn(shared.call_back(options.callbacks(), told));
    Ok(consumer)
}

fn check_credits(credits: usize) -> Result<()> {
    let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize) / 2;
    if credits > most {
        return Err(Error::invalid_argument(
            "credits",
            format!("must be at most {most}"),
        ));
    }
    Ok(())
}

impl Consumer {
    /// Calls back until the consumer is stopped or its client closed.
    async fn call_back(
        self: Arc<Self>,
        callbacks: Callbacks,
        mut cancelled: UnboundedReceiver<Cancelled>,
    ) {
        let mut failures = self.source.failures();
        if failures.borrow().is_some() {
            // The first receive has failed before anybody listened.
            failures.mark_changed();
        }
        let mut standing = self.source.standing();
        if *standing.borrow() != Standing::default() {
            standing.mark_changed();
        }
        let mut breaker = BreakerState::Closed;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(lost) = cancelled.recv() => callbacks.cancelled(lost),
                Ok(()) = failures.changed() => {
                    let failure = failures.borrow_and_update().clone();
                    callbacks.state(failure);
                    self.changed.notify_one();
                }
                Ok(()) = standing.changed() => {
                    standing.mark_unchanged();
                    let status = self.source.status();
                    if std::mem::replace(&mut breaker, status.breaker) != status.breaker {
                        callbacks.breaker(status.breaker, status.open_until);
                    }
                    self.changed.notify_one();
                }
                deliveries = self.granted() => match deliveries {
                    Some(deliveries) => callbacks.batch(deliveries, &self.home),
                    None => {
                        if !self.ending.load(Ordering::Acquire) {
                            callbacks.state(Some(Error::closed("client")));
                        }
                        break;
                    }
                },
            }
        }
        self.source.stop().await;
        drop(callbacks);
        self.stopped.cancel();
    }

    /// As many deliveries as there are, and credits for; `None` once the source has ended.
    async fn granted(&self) -> Option<Vec<Delivery>> {
        let Some(credits) = &self.credits else {
            return std::future::pending().await;
        };
        let mut permits = credits.acquire().await.ok()?;
        let more = credits.available_permits().min(self.most - 1);
        // Nobody else takes credits, so that these are still there.
        if let Ok(more) = credits.try_acquire_many(more as u32) {
            permits.merge(more);
        }
        let deliveries = self.source.next_batch(permits.num_permits()).await?;
        if let Some(used) = permits.split(deliveries.len()) {
            used.forget();
        }
        Some(deliveries)
    }

    /// What who asks is told at the end: nothing more, or that the session was lost.
    fn end(&self) -> Result<Vec<Delivery>> {
        match self.source.status().failure {
            Some(error) if error.kind() == ErrorKind::SessionLockLost => Err(error),
            _ => Ok(Vec::new()),
        }
    }

    /// The credits of a consumer that calls back.
    fn credits(&self) -> Result<&Semaphore> {
        self.credits.as_ref().ok_or_else(|| {
            Error::invalid_argument(
                "consumer",
                "has no on_batch: its credits come back by themselves",
            )
        })
    }
}

/// Asks for the next messages of a consumer without `on_batch`: as soon as one is there and a
/// credit is free, with what else there is, up to `max`, or as `batch_size` and the options after it
/// say, each a delivery whose attempt is charged
/// now. `QRT_OK`: `*batch` has them, or is empty when the consumer has stopped, its client was
/// closed, or `idle_ms` are over; the caller owns it. `QRT_PENDING`: `done` will run, and
/// `qrt_op_take_batch` gives the batch. One that is cancelled, or that nobody takes the result of,
/// gives its messages back unblamed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_next(
    consumer: *mut qrt_consumer_t,
    max: u32,
    done: qrt_completion_t,
    batch: *mut *mut qrt_batch_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(batch, "batch")?;
            let consumer = borrow(consumer, "consumer")?.0.clone();
            consumer.home.check()?;
            if consumer.credits.is_some() {
                return Err(Error::invalid_argument(
                    "consumer",
                    "has on_batch, which is given all its messages",
                ));
            }
            if max == 0 {
                return Err(Error::invalid_argument("max", "must be at least 1"));
            }
            let home = consumer.home.clone();
            let next = async move {
                let deliveries = match consumer.source.next_batch(max as usize).await {
                    Some(deliveries) => deliveries,
                    None => consumer.end()?,
                };
                Ok(qrt_batch_t::new(deliveries, consumer.home.clone()))
            };
            start_future(&home, next, done, place, op)
        })
    }
}

/// Lets a consumer hand over `messages` more. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_grant(
    consumer: *mut qrt_consumer_t,
    messages: u32,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let consumer = &borrow(consumer, "consumer")?.0;
            consumer.home.check()?;
            let credits = consumer.credits()?;
            check_credits(credits.available_permits() + messages as usize)?;
            credits.add_permits(messages as usize);
            Ok(())
        })
    }
}

/// Stops a consumer: no new batch; ends when the last callback has returned and `user_data` is
/// freed. Ends at once or pends, as `qrt_op_take_unit` tells. From a callback of the consumer
/// itself it pends; do not wait for it there. Again does nothing more. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_stop(
    consumer: *mut qrt_consumer_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let consumer = &borrow(consumer, "consumer")?.0;
            consumer.home.check()?;
            consumer.stop.cancel();
            let stopped = consumer.stopped.clone();
            let stopping = async move {
                stopped.cancelled().await;
                Ok(())
            };
            start_future(&consumer.home, stopping, done, &mut (), op)
        })
    }
}

/// Drains a consumer: takes no more in, gives back what was not handed over, waits for what is in
/// hand until `deadline_ms` milliseconds have passed, then cancels that (`qrt_delivery_cancelled`)
/// and gives it back too. `QRT_OK`: `*report` counts what became of each; the caller owns it.
/// `QRT_PENDING`: `qrt_op_take_drain_report`. Callbacks end as with `qrt_consumer_stop`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_drain(
    consumer: *mut qrt_consumer_t,
    deadline_ms: i64,
    done: qrt_completion_t,
    report: *mut *mut qrt_drain_report_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(report, "report")?;
            let consumer = borrow(consumer, "consumer")?.0.clone();
            consumer.home.check()?;
            let deadline = duration(deadline_ms, "deadline_ms")?;
            let home = consumer.home.clone();
            let drain = async move {
                consumer.ending.store(true, Ordering::Release);
                let report = consumer.source.drain(deadline).await;
                consumer.stop.cancel();
                Ok(qrt_drain_report_t::new(report))
            };
            start_future(&home, drain, done, place, op)
        })
    }
}

/// Ends when something has happened that is worth a look, since the last such call ended: work on a
/// delivery in hand is to stop (`qrt_delivery_cancelled`), receiving fails or goes on, or what holds
/// the consumer back has changed (`qrt_consumer_status`). So one wait is enough for all deliveries in hand. `QRT_ERR_CLOSED` once
/// the consumer has stopped. One call at a time. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_wait_changed(
    consumer: *mut qrt_consumer_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let consumer = borrow(consumer, "consumer")?.0.clone();
            consumer.home.check()?;
            let home = consumer.home.clone();
            let changed = async move {
                tokio::select! {
                    biased;
                    () = consumer.changed.notified() => Ok(()),
                    () = consumer.stopped.cancelled() => Err(Error::closed("consumer")),
                }
            };
            start_future(&home, changed, done, &mut (), op)
        })
    }
}

/// How a consumer goes, as JSON: `{"ready": true, "last_receive": milliseconds since 1970 UTC or
/// null, "failure": {"kind": ..., "message": ..., "retryable": true} or null, "prefetched": 0,
/// "in_hand": 0, "concurrency": how many may be in hand now, "sessions": 0, "paused": false, "over_memory": false, "breaker": "closed", "half_open" or "open",
/// "open_until": milliseconds since 1970 UTC or null}`. The caller owns it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_status(
    consumer: *const qrt_consumer_t,
    status: *mut *mut qrt_buffer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(status, "status")?;
            let consumer = &borrow(consumer, "consumer")?.0;
            consumer.home.check()?;
            let status = consumer.source.status();
            let failure = status.failure.as_ref();
            let json = serde_json::json!({
                "ready": status.ready,
                "last_receive": status.last_receive.map(|moment| moment.0),
                "failure": failure.map(|error| serde_json::json!({
                    "kind": error.kind().name(),
                    "message": error.message(),
                    "retryable": error.retryable(),
                })),
                "prefetched": status.prefetched,
                "in_hand": status.in_hand,
                "concurrency": status.concurrency,
                "paused": status.paused,
                "over_memory": status.over_memory,
                "breaker": status.breaker.name(),
                "open_until": status.open_until.map(|moment| moment.0),
                "sessions": status.sessions,
            });
            place.0 = Box::into_raw(qrt_buffer_t::boxed(json.to_string()));
            Ok(())
        })
    }
}

/// Receives nothing and hands nothing over until `qrt_consumer_resume`; what was fetched ahead goes
/// back unblamed, in the background. What is in hand goes on, its locks kept. Again does nothing
/// more. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_pause(
    consumer: *mut qrt_consumer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: passed on.
    unsafe { with(consumer, error, Source::pause) }
}

/// Ends a pause. A breaker that is open, or memory that is over the runtime's limit, go on holding
/// the consumer back. Without a pause it does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_resume(
    consumer: *mut qrt_consumer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: passed on.
    unsafe { with(consumer, error, Source::resume) }
}

/// Closes the breaker of a consumer by hand, and forgets what failed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_reset_breaker(
    consumer: *mut qrt_consumer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: passed on.
    unsafe { with(consumer, error, Source::reset_breaker) }
}

/// Tells a consumer something that it does at once.
unsafe fn with(
    consumer: *mut qrt_consumer_t,
    error: *mut *mut qrt_error_t,
    tell: impl FnOnce(&Source),
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let consumer = &borrow(consumer, "consumer")?.0;
            consumer.home.check()?;
            tell(&consumer.source);
            Ok(())
        })
    }
}

/// Frees the caller's hold on a consumer and stops it in the background; what was not handed over
/// goes back. Never waits, and may be called from its own callbacks. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_free(consumer: *mut qrt_consumer_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(consumer) }
}

impl Drop for qrt_consumer_t {
    fn drop(&mut self) {
        if self.0.home.is_here() {
            self.0.ending.store(true, Ordering::Release);
            self.0.source.close();
            self.0.stop.cancel();
        }
    }
}
