//! Verbs that end at once, and operations for those that do not.

use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use queue_runtime::*;

use crate::abi::{Handle, call};
use crate::error::{Error, Result, Status};

/// What a verb came to.
#[must_use]
pub enum Started<T: Output> {
    /// It has ended.
    Done(T),
    /// It goes on.
    Pending(Op<T>),
}

/// A pending operation. Dropping it lets it go on, and gives back what it brings; so does
/// [`cancel`](Op::cancel), which ends it as well.
pub struct Op<T: Output> {
    pub(crate) handle: Handle<qrt_op_t>,
    result: PhantomData<fn() -> T>,
}

impl<T: Output> Op<T> {
    /// Asks the operation to end. It ends all the same: with `CANCELLED`, or with its result if
    /// that came first.
    pub fn cancel(&self) -> Result<()> {
        // SAFETY: the handle is owned.
        call(|error| unsafe { qrt_op_cancel(self.handle.get(), error) }).map(drop)
    }

    /// Asks the operation to end, and gives back what it has brought: whether it has ended. One
    /// that has not gives back by itself what it still brings.
    pub fn abandon(&self) -> Result<bool> {
        self.cancel()?;
        Ok(match self.take() {
            Ok(None) => false,
            Ok(Some(value)) => {
                value.give_back();
                true
            }
            // It failed, or its result was taken before.
            Err(_) => true,
        })
    }

    /// Waits for the end on the calling thread, at most this long: whether it has ended.
    /// `WouldDeadlock` on a thread of a runtime.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        let timeout = timeout.map_or(-1, |timeout| {
            i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)
        });
        // SAFETY: the handle is owned.
        match call(|error| unsafe { qrt_op_wait(self.handle.get(), timeout, error) }) {
            Ok(_) => Ok(true),
            Err(error) if error.status == Status::TIMEOUT => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The result, once; `None` while the operation goes on.
    pub fn take(&self) -> Result<Option<T>> {
        // SAFETY: the handle is owned.
        unsafe { take(self.handle.get()) }
    }
}

/// Takes a result out of an operation, if it has ended.
///
/// # Safety
/// The handle is good.
pub(crate) unsafe fn take<T: Output>(op: *mut qrt_op_t) -> Result<Option<T>> {
    let mut place = T::EMPTY;
    // SAFETY: the handle is good, and the place is of the type that the function fills.
    let ended = call(|error| unsafe { T::take(op, &raw mut place, error) })?;
    // SAFETY: the function has filled the place.
    Ok(ended.then(|| unsafe { T::from_place(place) }))
}

/// What a verb of the ABI gives. Implemented by the types of this crate only.
///
/// # Safety
/// `take` fills the place, when it answers `QRT_OK`, with what `from_place` takes.
pub unsafe trait Output: Sized + sealed::Sealed {
    /// The ABI's out-parameter.
    #[doc(hidden)]
    type Place;

    /// What is there before.
    #[doc(hidden)]
    const EMPTY: Self::Place;

    /// The operation's take function.
    ///
    /// # Safety
    /// The handles are good.
    #[doc(hidden)]
    unsafe fn take(
        op: *mut qrt_op_t,
        place: *mut Self::Place,
        error: *mut *mut qrt_error_t,
    ) -> qrt_status_t;

    /// The value in a place that the ABI has filled.
    ///
    /// # Safety
    /// The place holds a result, taken nowhere else.
    #[doc(hidden)]
    unsafe fn from_place(place: Self::Place) -> Self;

    /// The value as one of several, for event queues.
    #[doc(hidden)]
    const KIND: crate::events::Kind;

    /// Gives back what nobody wants any more.
    #[doc(hidden)]
    fn give_back(self) {}
}

pub(crate) mod sealed {
    /// Keeps [`Output`](super::Output) to this crate.
    pub trait Sealed {}
}

/// Begins a verb: `function` gets the places for its result, its operation and its error.
pub(crate) fn start<T: Output>(
    function: impl FnOnce(*mut T::Place, *mut *mut qrt_op_t, *mut *mut qrt_error_t) -> qrt_status_t,
) -> Result<Started<T>> {
    let mut place = T::EMPTY;
    let mut op = ptr::null_mut();
    let ended = call(|error| function(&raw mut place, &raw mut op, error))?;
    Ok(if ended {
        // SAFETY: a verb that ended has filled its place.
        Started::Done(unsafe { T::from_place(place) })
    } else {
        // SAFETY: a verb that pends gives its operation to the caller.
        let handle = unsafe { Handle::new(op) }.expect("a verb that pends gives its operation");
        Started::Pending(Op {
            handle,
            result: PhantomData,
        })
    })
}

impl sealed::Sealed for () {}

// SAFETY: there is no place, and nothing in it.
unsafe impl Output for () {
    type Place = ();
    const EMPTY: () = ();
    const KIND: crate::events::Kind = crate::events::Kind::Unit;

    unsafe fn take(op: *mut qrt_op_t, _: *mut (), error: *mut *mut qrt_error_t) -> qrt_status_t {
        // SAFETY: passed on.
        unsafe { qrt_op_take_unit(op, error) }
    }

    unsafe fn from_place((): ()) {}
}

impl sealed::Sealed for u64 {}

// SAFETY: the take function fills a number.
unsafe impl Output for u64 {
    type Place = u64;
    const EMPTY: u64 = 0;
    const KIND: crate::events::Kind = crate::events::Kind::Count;

    unsafe fn take(
        op: *mut qrt_op_t,
        place: *mut u64,
        error: *mut *mut qrt_error_t,
    ) -> qrt_status_t {
        // SAFETY: passed on.
        unsafe { qrt_op_take_count(op, place, error) }
    }

    unsafe fn from_place(place: u64) -> Self {
        place
    }
}

/// Outputs that are a handle of the ABI in a struct of this crate, or an optional one.
macro_rules! outputs {
    (@one $output:ty, $object:ident, $take:ident, $kind:ident, $handle:ident => $wrap:expr
        $(, $give_back:path)?) => {
        impl sealed::Sealed for $output {}

        // SAFETY: the take function fills a handle of this type.
        unsafe impl Output for $output {
            type Place = *mut $object;
            const EMPTY: *mut $object = ptr::null_mut();
            const KIND: crate::events::Kind = crate::events::Kind::$kind;

            unsafe fn take(
                op: *mut qrt_op_t,
                place: *mut Self::Place,
                error: *mut *mut qrt_error_t,
            ) -> qrt_status_t {
                // SAFETY: passed on.
                unsafe { $take(op, place, error) }
            }

            unsafe fn from_place(place: Self::Place) -> Self {
                // SAFETY: the place holds a result, which is the caller's.
                let $handle = unsafe { Handle::new(place) };
                $wrap
            }

            $(fn give_back(self) {
                $give_back(self);
            })?
        }
    };
    ($($name:ident: $object:ident, $take:ident $(, $give_back:path)?);* $(;)?) => {$(
        outputs!(@one crate::$name, $object, $take, $name,
            handle => crate::$name(handle.expect("a result is there")) $(, $give_back)?);
    )*};
    ($($name:ident?: $object:ident, $take:ident $(, $give_back:path)?);* $(;)?) => {$(
        outputs!(@one Option<crate::$name>, $object, $take, $name,
            handle => handle.map(crate::$name) $(, $give_back)?);
    )*};
}

outputs!(
    Client: qrt_client_t, qrt_op_take_client;
    Batch: qrt_batch_t, qrt_op_take_batch, crate::Batch::release_all;
    SendResults: qrt_send_results_t, qrt_op_take_send_results;
    SettleResults: qrt_settle_results_t, qrt_op_take_settle_results;
    Peeked: qrt_peeked_t, qrt_op_take_peeked;
    DeadLetters: qrt_dead_letters_t, qrt_op_take_dead_letters;
    DeadLetterStatistics: qrt_dead_letter_statistics_t, qrt_op_take_dead_letter_statistics;
    RedriveReport: qrt_redrive_report_t, qrt_op_take_redrive_report;
    DrainReport: qrt_drain_report_t, qrt_op_take_drain_report;
    ProducerReport: qrt_producer_report_t, qrt_op_take_producer_report;
    Statistics: qrt_statistics_t, qrt_op_take_statistics;
    WriteBehind: qrt_write_behind_t, qrt_op_take_write_behind;
    CloseReport: qrt_close_report_t, qrt_op_take_close_report;
);

outputs!(
    Session?: qrt_session_t, qrt_op_take_session, let_go;
    Buffer?: qrt_buffer_t, qrt_op_take_buffer;
    WriteBatch?: qrt_write_batch_t, qrt_op_take_write_batch;
);

fn let_go(session: Option<crate::Session>) {
    if let Some(session) = session {
        // What cannot be let go now goes when its lock ends.
        let _ = session.close();
    }
}

impl<T: Output> Started<T> {
    /// The result, waiting on the calling thread if it is not there. `WouldDeadlock` on a thread
    /// of a runtime.
    pub fn wait(self) -> Result<T> {
        match self {
            Started::Done(value) => Ok(value),
            Started::Pending(op) => {
                op.wait(None)?;
                op.take()?.ok_or_else(never)
            }
        }
    }
}

fn never() -> Error {
    unreachable!("an operation that has ended has a result")
}
