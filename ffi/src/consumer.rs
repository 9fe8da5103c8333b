//! Receive by callback: batches, with credits that bound what is in the caller's hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use queue_runtime_core::{
    BreakerState, Consumer as Source, ConsumerOptions, Delivery, Error, ErrorKind, Result, Standing,
};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::abi::{borrow, call, duration, free, handle_output, run};
use crate::buffer::qrt_buffer_t;
use crate::consumer_callbacks::{Callbacks, Cancelled};
use crate::consumer_options::qrt_consumer_options_t;
use crate::delivery::qrt_batch_t;
use crate::drain::qrt_drain_report_t;
use crate::error::{qrt_error_t, qrt_status_t};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start_future};
use crate::options::read;
use crate::queue::qrt_queue_t;
use crate::runtime::Home;
use crate::session::qrt_session_t;

/// The most a consumer has in hand.
pub(crate) const MOST_IN_HAND: u32 = 100_000;

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
