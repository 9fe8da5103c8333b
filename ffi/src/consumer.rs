//! Receive by callback: batches, with credits that bound what is in the caller's hands.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use queue_runtime_core::{Delivery, Error, ErrorKind, Queue, Result};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::abi::{borrow, call, free, handle_output, run};
use crate::delivery::qrt_batch_t;
use crate::error::{qrt_error_t, qrt_status_t, status_of};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start_future};
use crate::options::{Options, read};
use crate::queue::{qrt_queue_t, qrt_receive_options_t};
use crate::runtime::Home;

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
    /// Messages that may be handed over before more is granted. Default 64.
    pub credits: u32,
    /// How long each receive waits at the provider, in milliseconds. Default 10,000.
    pub wait_ms: i64,
    /// How long messages are locked, in milliseconds; -1: as long as the queue says. Default -1.
    pub lock_ms: i64,
    /// Takes a batch, which the callee owns and frees. Required.
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
    /// Passed to the callbacks.
    pub user_data: *mut c_void,
    /// Frees `user_data`, once, after the last callback has returned. May be NULL.
    pub free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

impl Options for qrt_consumer_options_t {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        max_messages: 64,
        credits: 64,
        wait_ms: 10_000,
        lock_ms: -1,
        on_batch: None,
        on_state: None,
        user_data: std::ptr::null_mut(),
        free: None,
    };
}

/// Receives until it is stopped. Thread-safe.
pub struct qrt_consumer_t(Arc<Consumer>);

struct Consumer {
    credits: Arc<Semaphore>,
    stop: CancellationToken,
    stopped: CancellationToken,
    home: Home,
}

/// The callbacks of a consumer, on their way between threads.
struct Callbacks {
    on_batch: unsafe extern "C" fn(*mut c_void, *mut qrt_batch_t),
    on_state: Option<unsafe extern "C" fn(*mut c_void, qrt_status_t, *const qrt_error_t)>,
    user_data: *mut c_void,
    free: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the contract of `qrt_consumer_options_t` says that they run on other threads.
unsafe impl Send for Callbacks {}
// SAFETY: they are called by one task only.
unsafe impl Sync for Callbacks {}

impl Callbacks {
    fn batch(&self, deliveries: Vec<Delivery>, home: &Home) {
        let batch = Arc::into_raw(qrt_batch_t::new(deliveries, home.clone())).cast_mut();
        // SAFETY: as the contract says; the callee owns the batch.
        unsafe { (self.on_batch)(self.user_data, batch) };
    }

    fn state(&self, error: Option<Error>) {
        let Some(on_state) = self.on_state else {
            return;
        };
        let status = error.as_ref().map_or(crate::error::QRT_OK, status_of);
        let error = error.map(qrt_error_t::new);
        let pointer = error.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: as the contract says; the error lives for the length of the call.
        unsafe { on_state(self.user_data, status, pointer) };
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

/// Begins to receive from a queue by callback. The caller owns `*consumer`. When the call fails,
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
            let options = read(options)?;
            let on_batch = options
                .on_batch
                .ok_or_else(|| Error::invalid_argument("on_batch", "is NULL"))?;
            let receive = qrt_receive_options_t {
                struct_size: size_of::<qrt_receive_options_t>(),
                max_messages: options.max_messages,
                flags: 0,
                wait_ms: options.wait_ms,
                lock_ms: options.lock_ms,
            };
            crate::queue::request(&receive)?;
            check_credits(options.credits as usize)?;
            let queue = handle.usable()?.clone();
            let shared = Arc::new(Consumer {
                credits: Arc::new(Semaphore::new(options.credits as usize)),
                stop: handle.home.closing().child_token(),
                stopped: CancellationToken::new(),
                home: handle.home.clone(),
            });
            let callbacks = Callbacks {
                on_batch,
                on_state: options.on_state,
                user_data: options.user_data,
                free: options.free,
            };
            place.0 = Box::into_raw(Box::new(qrt_consumer_t(shared.clone())));
            let home = handle.home.clone();
            home.spawn(pump(shared, queue, receive, callbacks));
            Ok(())
        })
    }
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

/// Receives while there are credits, until stopped. A failure is told, and tried again.
async fn pump(
    consumer: Arc<Consumer>,
    queue: Queue,
    options: qrt_receive_options_t,
    callbacks: Callbacks,
) {
    let mut failures = 0u32;
    // What is received while the consumer stops goes back, for its receive is dropped.
    while let Some(received) = consumer
        .stop
        .run_until_cancelled(receive(&consumer, &queue, options))
        .await
    {
        match received {
            Ok(deliveries) => {
                if failures > 0 {
                    failures = 0;
                    callbacks.state(None);
                }
                if !deliveries.is_empty() {
                    callbacks.batch(deliveries, &consumer.home);
                }
            }
            Err(error) if error.kind() == ErrorKind::Closed => {
                callbacks.state(Some(error));
                break;
            }
            Err(error) => {
                callbacks.state(Some(error));
                let wait = Duration::from_millis(50 << failures.min(9));
                failures += 1;
                let pause = consumer.home.runtime().sleep(wait);
                if consumer.stop.run_until_cancelled(pause).await.is_none() {
                    break;
                }
            }
        }
    }
    drop(callbacks);
    consumer.stopped.cancel();
}

async fn receive(
    consumer: &Consumer,
    queue: &Queue,
    mut options: qrt_receive_options_t,
) -> Result<Vec<Delivery>> {
    let first = consumer.credits.acquire().await;
    let mut permits = first.map_err(|_| Error::closed("consumer"))?;
    let more = consumer.credits.available_permits() as u32;
    let more = more.min(options.max_messages.saturating_sub(1));
    // Nobody else takes credits, so that these are still there.
    if let Ok(more) = consumer.credits.try_acquire_many(more) {
        permits.merge(more);
    }
    options.max_messages = permits.num_permits() as u32;
    let deliveries = queue
        .start_receive(crate::queue::request(&options)?)
        .await?;
    let used = deliveries.len();
    if let Some(used) = permits.split(used) {
        used.forget();
    }
    Ok(deliveries)
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
            let credits = consumer.credits.available_permits() + messages as usize;
            check_credits(credits)?;
            consumer.credits.add_permits(messages as usize);
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

/// Frees the caller's hold on a consumer and stops it in the background; never waits, and may be
/// called from its own callbacks. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_consumer_free(consumer: *mut qrt_consumer_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(consumer) }
}

impl Drop for qrt_consumer_t {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}
