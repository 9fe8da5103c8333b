//! Taking the results of operations that have ended.

use queue_runtime_core::Result;

use crate::abi::{borrow, call, handle_output};
use crate::buffer::qrt_buffer_t;
use crate::client::qrt_client_t;
use crate::close_report::qrt_close_report_t;
use crate::dead_letter::qrt_dead_letters_t;
use crate::dead_letter_statistics::qrt_dead_letter_statistics_t;
use crate::delivery::qrt_batch_t;
use crate::drain::qrt_drain_report_t;
use crate::error::{QRT_OK, QRT_PENDING, qrt_error_t, qrt_status_t};
use crate::op::{Deliver, Outcome, qrt_op_t};
use crate::peek::qrt_peeked_t;
use crate::producer::qrt_producer_report_t;
use crate::redrive::qrt_redrive_report_t;
use crate::send_results::qrt_send_results_t;
use crate::session::qrt_session_t;
use crate::settlement::qrt_settle_results_t;
use crate::statistics::qrt_statistics_t;
use crate::write_batch::qrt_write_batch_t;
use crate::write_behind::qrt_write_behind_t;

/// Takes a result into its place: `QRT_OK`, `QRT_PENDING` while the operation runs, or its error.
unsafe fn take<T: Deliver>(
    op: *mut qrt_op_t,
    place: Result<&mut T::Place>,
    error: *mut *mut qrt_error_t,
    pick: impl FnOnce(Outcome) -> Result<T, Outcome>,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        call(error, || {
            let place = place?;
            let op = &borrow(op, "op")?.0;
            op.home.check_fork()?;
            let Some(value) = op.take(pick)? else {
                return Ok(QRT_PENDING);
            };
            value.deliver(place);
            Ok(QRT_OK)
        })
    }
}

/// [`take`] of one kind of outcome.
macro_rules! take {
    ($op:expr, $place:expr, $error:expr, $kind:path) => {
        take($op, $place, $error, |outcome| match outcome {
            $kind(value) => Ok(value),
            other => Err(other),
        })
    };
}

/// # Safety
/// The place is NULL or writable.
unsafe fn value_place<'a, T>(place: *mut T) -> Result<&'a mut T> {
    // SAFETY: the caller vouches for it.
    unsafe { place.as_mut() }.ok_or_else(|| crate::abi::null("result"))
}

/// Takes the outcome of an operation that has no result of its own.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_unit(
    op: *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        take(op, Ok(&mut ()), error, |outcome| match outcome {
            Outcome::Unit => Ok(()),
            other => Err(other),
        })
    }
}

/// Takes the client of a `qrt_client_open`. The caller owns it.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_client(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_client_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { take!(op, handle_output(result, "result"), error, Outcome::Client) }
}

/// Takes the messages of a receive. The caller owns the batch.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_batch(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_batch_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { take!(op, handle_output(result, "result"), error, Outcome::Batch) }
}

/// Takes the results of a send. The caller owns them.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_send_results(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_send_results_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { take!(op, handle_output(result, "result"), error, Outcome::Sent) }
}

/// Takes the results of a `qrt_settle`. The caller owns them.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_settle_results(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_settle_results_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { take!(op, handle_output(result, "result"), error, Outcome::Settled) }
}

/// Takes the session of an accept; NULL when none had work. The caller owns it.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_session(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_session_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { take!(op, handle_output(result, "result"), error, Outcome::Session) }
}

/// Takes the bytes of a `qrt_session_state`; NULL when there are none. The caller owns them.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_buffer(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_buffer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { take!(op, handle_output(result, "result"), error, Outcome::Buffer) }
}

/// Takes the messages of a peek. The caller owns them.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_peeked(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_peeked_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { take!(op, handle_output(result, "result"), error, Outcome::Peeked) }
}

/// Takes the dead letters of a listing. The caller owns them.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_dead_letters(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_dead_letters_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        take!(
            op,
            handle_output(result, "result"),
            error,
            Outcome::DeadLetters
        )
    }
}

/// Takes the statistics of dead letters. The caller owns them.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_dead_letter_statistics(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_dead_letter_statistics_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        take!(
            op,
            handle_output(result, "result"),
            error,
            Outcome::DeadLetterStatistics
        )
    }
}

/// Takes the report of a redrive. The caller owns it.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_redrive_report(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_redrive_report_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        take!(
            op,
            handle_output(result, "result"),
            error,
            Outcome::Redriven
        )
    }
}

/// Takes the report of a drain. The caller owns it.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_drain_report(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_drain_report_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { take!(op, handle_output(result, "result"), error, Outcome::Drained) }
}

/// Takes the number of dead letters that were purged.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_count(
    op: *mut qrt_op_t,
    result: *mut u64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { take!(op, value_place(result), error, Outcome::Purged) }
}

/// Takes the statistics of a queue. The caller owns them.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_statistics(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_statistics_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        take!(
            op,
            handle_output(result, "result"),
            error,
            Outcome::Statistics
        )
    }
}

/// Takes the write-behind of a `qrt_write_behind_open`. The caller owns it.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_write_behind(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_write_behind_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        take!(
            op,
            handle_output(result, "result"),
            error,
            Outcome::WriteBehind
        )
    }
}

/// Takes a batch to be written; NULL when the write-behind has closed. The caller owns it.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_write_batch(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_write_batch_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        take!(
            op,
            handle_output(result, "result"),
            error,
            Outcome::WriteBatch
        )
    }
}

/// Takes the report of a close of a write-behind. The caller owns it.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_close_report(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_close_report_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        take!(
            op,
            handle_output(result, "result"),
            error,
            Outcome::CloseReport
        )
    }
}

/// Takes the report of a close of a producer. The caller owns it.
///
/// `QRT_PENDING` while it runs; the operation's error, once, when it failed;
/// `QRT_ERR_INVALID_ARGUMENT` when its result is of another kind or was taken. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_op_take_producer_report(
    op: *mut qrt_op_t,
    result: *mut *mut qrt_producer_report_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        take!(
            op,
            handle_output(result, "result"),
            error,
            Outcome::ProducerReport
        )
    }
}
