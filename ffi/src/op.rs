//! Operations: verbs that could not end at once. One future each, on the runtime's threads.

use std::ffi::c_void;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use queue_runtime_core::{Error, ErrorKind, Reply, Result};
use tokio_util::sync::CancellationToken;

use crate::abi::{Out, borrow, handle_output, panicked, run};
use crate::buffer::qrt_buffer_t;
use crate::client::qrt_client_t;
use crate::close_report::qrt_close_report_t;
use crate::dead_letter::qrt_dead_letters_t;
use crate::dead_letter_statistics::qrt_dead_letter_statistics_t;
use crate::delivery::qrt_batch_t;
use crate::drain::qrt_drain_report_t;
use crate::error::{QRT_OK, QRT_PENDING, qrt_error_t, qrt_status_t};
use crate::events::Events;
use crate::peek::qrt_peeked_t;
use crate::producer::qrt_producer_report_t;
use crate::redrive::qrt_redrive_report_t;
use crate::runtime::Home;
use crate::send_results::qrt_send_results_t;
use crate::session::qrt_session_t;
use crate::settlement::qrt_settle_results_t;
use crate::statistics::qrt_statistics_t;
use crate::write_batch::qrt_write_batch_t;
use crate::write_behind::qrt_write_behind_t;

/// How a pending operation tells its end. `fn` runs exactly once, on a thread of the runtime and
/// with no lock held; then `free` runs once. Beginning it is the last thing the call does: `fn`
/// finds `*op` written, and may free whatever was passed, but another thread may run it before
/// the caller sees the status. When the call ends at once, with or without an error, neither runs
/// and `user_data` stays the caller's. Either may be NULL. Neither may throw or unwind. A runtime
/// that shuts down runs what is left, with `QRT_ERR_CLOSED`. This struct is frozen for ever.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_completion_t {
    /// Told of the end. `op` borrows for the length of the call: take its result here, or keep
    /// the operation the call gave out.
    pub r#fn: Option<unsafe extern "C" fn(user_data: *mut c_void, op: *mut qrt_op_t)>,
    /// Passed to both functions.
    pub user_data: *mut c_void,
    /// Frees `user_data` after `fn`.
    pub free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

/// A completion on its way to a thread of the runtime.
struct Completion(qrt_completion_t);

// SAFETY: the contract of `qrt_completion_t` says that it runs on another thread.
unsafe impl Send for Completion {}

impl Completion {
    fn run(self, op: &Arc<Op>) {
        let Self(completion) = self;
        if let Some(function) = completion.r#fn {
            let handle = qrt_op_t(op.clone());
            let handle = std::mem::ManuallyDrop::new(handle);
            let pointer = std::ptr::from_ref::<qrt_op_t>(&handle).cast_mut();
            // SAFETY: the handle lives for the length of the call, as the contract says.
            unsafe { function(completion.user_data, pointer) };
            drop(std::mem::ManuallyDrop::into_inner(handle));
        }
        if let Some(free) = completion.free {
            // SAFETY: called once, after the function.
            unsafe { free(completion.user_data) };
        }
    }
}

/// What an operation came to. Dropped untaken, it gives back what it holds.
pub(crate) enum Outcome {
    Unit,
    Client(Box<qrt_client_t>),
    Batch(Arc<qrt_batch_t>),
    Sent(Box<qrt_send_results_t>),
    Settled(Box<qrt_settle_results_t>),
    Session(Option<Box<qrt_session_t>>),
    Buffer(Option<Box<qrt_buffer_t>>),
    Peeked(Box<qrt_peeked_t>),
    DeadLetters(Box<qrt_dead_letters_t>),
    DeadLetterStatistics(Box<qrt_dead_letter_statistics_t>),
    Redriven(Box<qrt_redrive_report_t>),
    Drained(Box<qrt_drain_report_t>),
    Purged(u64),
    Statistics(Box<qrt_statistics_t>),
    WriteBehind(Box<qrt_write_behind_t>),
    WriteBatch(Option<Box<qrt_write_batch_t>>),
    CloseReport(Box<qrt_close_report_t>),
    ProducerReport(Box<qrt_producer_report_t>),
}

enum Phase {
    Running,
    Done(Result<Outcome>),
    Taken,
}

/// Where an operation goes when it has ended.
struct Watch {
    events: Arc<Events>,
    tag: u64,
}

/// The shared part of an operation.
pub(crate) struct Op {
    phase: Mutex<Phase>,
    watch: OnceLock<Watch>,
    done: Condvar,
    cancel: CancellationToken,
    pub(crate) home: Home,
}

/// A pending operation: to cancel, to wait for, to take the result from. Thread-safe.
pub struct qrt_op_t(pub(crate) Arc<Op>);

impl Op {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(self: &Arc<Self>, result: Result<Outcome>) {
        // After a cancel nobody expects messages: what came anyway goes back.
        let result = match result {
            Ok(outcome) if self.cancel.is_cancelled() => {
                let kept = !matches!(
                    outcome,
                    Outcome::Batch(_) | Outcome::Session(_) | Outcome::WriteBatch(_)
                );
                if kept {
                    Ok(outcome)
                } else {
                    give_back(outcome);
                    Err(cancelled())
                }
            }
            other => other,
        };
        let mut phase = self.phase();
        *phase = Phase::Done(result);
        let watch = self.watch.get();
        drop(phase);
        self.done.notify_all();
        if let Some(watch) = watch {
            watch.events.push(watch.tag, qrt_op_t(self.clone()));
        }
    }

    /// Puts this into an event queue once it has ended.
    pub(crate) fn watch(self: &Arc<Self>, events: &Arc<Events>, tag: u64) -> Result<()> {
        let watch = Watch {
            events: events.clone(),
            tag,
        };
        // Under the lock, so that either this or the end of the operation sees the other.
        let phase = self.phase();
        self.watch.set(watch).map_err(|_| {
            Error::invalid_argument("op", "is in an event queue already; it has one only")
        })?;
        let ended = !matches!(*phase, Phase::Running);
        drop(phase);
        if ended {
            events.push(tag, qrt_op_t(self.clone()));
        }
        Ok(())
    }

    /// Takes the result if it is of the asked kind.
    pub(crate) fn take<T>(
        &self,
        pick: impl FnOnce(Outcome) -> Result<T, Outcome>,
    ) -> Result<Option<T>> {
        let mut phase = self.phase();
        match std::mem::replace(&mut *phase, Phase::Taken) {
            Phase::Running => {
                *phase = Phase::Running;
                Ok(None)
            }
            Phase::Done(Ok(outcome)) => match pick(outcome) {
                Ok(value) => Ok(Some(value)),
                Err(outcome) => {
                    *phase = Phase::Done(Ok(outcome));
                    Err(Error::invalid_argument(
                        "op",
                        "holds a result of another kind; use its own take function",
                    ))
                }
            },
            Phase::Done(Err(error)) => Err(error),
            Phase::Taken => Err(Error::invalid_argument("op", "its result was taken before")),
        }
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        let phase = self.phase.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Done(Ok(outcome)) = std::mem::replace(phase, Phase::Taken) {
            give_back(outcome);
        }
    }
}

/// Messages nobody took go back unblamed; a session is let go by its own drop.
fn give_back(outcome: Outcome) {
    if let Outcome::Batch(batch) = outcome {
        batch.release_all();
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the operation was cancelled")
}

/// Where a verb's result goes when it is there at once.
pub(crate) trait Deliver: Sized + Send + 'static {
    /// What the caller's out-parameter holds.
    type Place;

    fn deliver(self, place: &mut Self::Place);

    fn outcome(self) -> Outcome;
}

/// Ends a verb for its caller: at once if the reply is there, else as an operation.
pub(crate) fn start<T: Deliver>(
    home: &Home,
    reply: Reply<T>,
    done: qrt_completion_t,
    place: &mut T::Place,
    op: Option<&mut Out<qrt_op_t>>,
) -> Result<qrt_status_t> {
    match reply.try_now() {
        Ok(result) => {
            result?.deliver(place);
            Ok(QRT_OK)
        }
        Err(pending) => start_future(home, pending, done, place, op),
    }
}

/// [`start`] for a future: it is polled once here, inside the runtime, so that what it waits for
/// counts from the call, and calls that wait are served in their order.
pub(crate) fn start_future<T: Deliver>(
    home: &Home,
    future: impl Future<Output = Result<T>> + Send + 'static,
    done: qrt_completion_t,
    place: &mut T::Place,
    op: Option<&mut Out<qrt_op_t>>,
) -> Result<qrt_status_t> {
    let mut future: Pin<Box<dyn Future<Output = Result<T>> + Send>> = Box::pin(future);
    let polled = {
        let _entered = home.enter();
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    };
    match polled {
        Poll::Ready(result) => {
            result?.deliver(place);
            Ok(QRT_OK)
        }
        Poll::Pending => Ok(spawn(home, future, done, op)),
    }
}

fn spawn<T: Deliver>(
    home: &Home,
    future: impl Future<Output = Result<T>> + Send + 'static,
    done: qrt_completion_t,
    place: Option<&mut Out<qrt_op_t>>,
) -> qrt_status_t {
    let op = Arc::new(Op {
        phase: Mutex::new(Phase::Running),
        watch: OnceLock::new(),
        done: Condvar::new(),
        cancel: CancellationToken::new(),
        home: home.clone(),
    });
    if let Some(place) = place {
        place.0 = Box::into_raw(Box::new(qrt_op_t(op.clone())));
    }
    let cancel = op.cancel.clone();
    let end = End {
        op,
        completion: Some(Completion(done)),
    };
    home.clone().spawn(async move {
        let ended = {
            let future = pin!(guarded(future));
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(cancelled()),
                ended = future => ended,
            }
        };
        end.reach(ended.map(T::outcome));
    });
    QRT_PENDING
}

/// The end of an operation: reached once, also when its runtime ends before it.
struct End {
    op: Arc<Op>,
    completion: Option<Completion>,
}

impl End {
    fn reach(mut self, result: Result<Outcome>) {
        self.run(result);
    }

    fn run(&mut self, result: Result<Outcome>) {
        if let Some(completion) = self.completion.take() {
            self.op.finish(result);
            completion.run(&self.op);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.run(Err(Error::closed("runtime")));
    }
}

/// A future whose panics are errors.
async fn guarded<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    std::future::poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(panicked(&*panic))),
        },
    )
    .await
}

impl Deliver for () {
    type Place = ();

    fn deliver(self, (): &mut ()) {}

    fn outcome(self) -> Outcome {
        Outcome::Unit
    }
}

/// The operation's place, if the caller wants one; set to NULL first.
///
/// # Safety
/// `op` is NULL or writable.
pub(crate) unsafe fn op_place<'a>(op: *mut *mut qrt_op_t) -> Option<&'a mut Out<qrt_op_t>> {
    // SAFETY: passed on.
    unsafe { handle_output(op, "op") }.ok()
}

/// Asks an operation to end. Its completion runs all the same, with `QRT_ERR_CANCELLED` or with
/// the real result if that came first; messages that were received anyway go back unblamed.
/// Asking again does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_cancel(
    op: *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let op = &borrow(op, "op")?.0;
            op.home.check_fork()?;
            op.cancel.cancel();
            Ok(())
        })
    }
}

/// Waits until an operation has ended: at most `timeout_ms` milliseconds, or for ever with -1.
/// `QRT_OK`: it has ended, and its result can be taken. `QRT_ERR_TIMEOUT`: it goes on.
/// `QRT_ERR_WOULD_DEADLOCK` on a thread of a runtime. Any other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_wait(
    op: *mut qrt_op_t,
    timeout_ms: i64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let op = &borrow(op, "op")?.0;
            let timeout = crate::abi::some_duration(timeout_ms, "timeout_ms")?;
            op.home.check_fork()?;
            crate::runtime::check_may_wait("qrt_op_wait")?;
            let deadline = timeout.map(|timeout| {
                let year = Duration::from_secs(365 * 24 * 60 * 60);
                Instant::now() + timeout.min(year)
            });
            let mut phase = op.phase();
            while matches!(*phase, Phase::Running) {
                phase = match deadline {
                    None => op.done.wait(phase).unwrap_or_else(PoisonError::into_inner),
                    Some(deadline) => {
                        let left = deadline.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            return Err(Error::new(
                                ErrorKind::Timeout,
                                "the operation has not ended within the timeout; it goes on",
                            ));
                        }
                        let waited = op.done.wait_timeout(phase, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
            Ok(())
        })
    }
}

/// Frees the caller's hold on an operation. One that still runs goes on by itself, its completion
/// runs, and what nobody takes goes back. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_free(op: *mut qrt_op_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { crate::abi::free(op) }
}

macro_rules! deliver_box {
    ($handle:ty, $variant:ident) => {
        impl Deliver for Box<$handle> {
            type Place = Out<$handle>;

            fn deliver(self, place: &mut Self::Place) {
                place.0 = Box::into_raw(self);
            }

            fn outcome(self) -> Outcome {
                Outcome::$variant(self)
            }
        }
    };
}

deliver_box!(qrt_client_t, Client);
deliver_box!(qrt_send_results_t, Sent);
deliver_box!(qrt_settle_results_t, Settled);
deliver_box!(qrt_peeked_t, Peeked);
deliver_box!(qrt_dead_letters_t, DeadLetters);
deliver_box!(qrt_dead_letter_statistics_t, DeadLetterStatistics);
deliver_box!(qrt_redrive_report_t, Redriven);
deliver_box!(qrt_drain_report_t, Drained);
deliver_box!(qrt_statistics_t, Statistics);
deliver_box!(qrt_write_behind_t, WriteBehind);
deliver_box!(qrt_close_report_t, CloseReport);
deliver_box!(qrt_producer_report_t, ProducerReport);

impl Deliver for Arc<qrt_batch_t> {
    type Place = Out<qrt_batch_t>;

    fn deliver(self, place: &mut Self::Place) {
        place.0 = Arc::into_raw(self).cast_mut();
    }

    fn outcome(self) -> Outcome {
        Outcome::Batch(self)
    }
}

macro_rules! deliver_option {
    ($handle:ty, $variant:ident) => {
        impl Deliver for Option<Box<$handle>> {
            type Place = Out<$handle>;

            fn deliver(self, place: &mut Self::Place) {
                place.0 = self.map_or(std::ptr::null_mut(), Box::into_raw);
            }

            fn outcome(self) -> Outcome {
                Outcome::$variant(self)
            }
        }
    };
}

deliver_option!(qrt_session_t, Session);
deliver_option!(qrt_buffer_t, Buffer);
deliver_option!(qrt_write_batch_t, WriteBatch);

impl Deliver for u64 {
    type Place = u64;

    fn deliver(self, place: &mut u64) {
        *place = self;
    }

    fn outcome(self) -> Outcome {
        Outcome::Purged(self)
    }
}
