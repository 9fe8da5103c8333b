//! Errors: a status for programs, an error object for everything else.

use queue_runtime_core::{Error, ErrorKind};

use crate::abi::{free, get, millis, qrt_bytes_t};

/// What a function came to: `QRT_OK`, `QRT_PENDING`, or the kind of its error. Callers must have
/// a default branch: kinds may be added.
pub type qrt_status_t = i32;

/// Done; results are where they were asked for.
pub const QRT_OK: qrt_status_t = 0;
/// Begun; the completion will run, and the operation holds the result then.
pub const QRT_PENDING: qrt_status_t = 1;
/// An argument of the call is wrong.
pub const QRT_ERR_INVALID_ARGUMENT: qrt_status_t = 10;
/// A configuration value is wrong.
pub const QRT_ERR_INVALID_CONFIG: qrt_status_t = 11;
/// A message cannot be sent as it is.
pub const QRT_ERR_INVALID_MESSAGE: qrt_status_t = 12;
/// A message is larger than the provider takes.
pub const QRT_ERR_MESSAGE_TOO_LARGE: qrt_status_t = 13;
/// The object, or what it belongs to, was closed or shut down.
pub const QRT_ERR_CLOSED: qrt_status_t = 20;
/// The object belongs to the parent of this forked process.
pub const QRT_ERR_FORKED: qrt_status_t = 21;
/// The operation was cancelled.
pub const QRT_ERR_CANCELLED: qrt_status_t = 22;
/// Waiting here would wait for the calling thread itself.
pub const QRT_ERR_WOULD_DEADLOCK: qrt_status_t = 23;
/// The provider cannot do this.
pub const QRT_ERR_UNSUPPORTED: qrt_status_t = 24;
/// There is no queue of this name.
pub const QRT_ERR_QUEUE_NOT_FOUND: qrt_status_t = 30;
/// There is a queue of this name already.
pub const QRT_ERR_ALREADY_EXISTS: qrt_status_t = 31;
/// The credentials were not accepted.
pub const QRT_ERR_UNAUTHENTICATED: qrt_status_t = 40;
/// The credentials do not allow this.
pub const QRT_ERR_PERMISSION_DENIED: qrt_status_t = 41;
/// The delivery was settled before, or is not of this queue.
pub const QRT_ERR_INVALID_RECEIPT: qrt_status_t = 50;
/// The lock of the delivery ran out.
pub const QRT_ERR_LOCK_LOST: qrt_status_t = 51;
/// Somebody else holds the session.
pub const QRT_ERR_SESSION_LOCKED: qrt_status_t = 52;
/// The lock of the session ran out.
pub const QRT_ERR_SESSION_LOCK_LOST: qrt_status_t = 53;
/// Not done in time.
pub const QRT_ERR_TIMEOUT: qrt_status_t = 60;
/// The provider asks to slow down.
pub const QRT_ERR_THROTTLED: qrt_status_t = 61;
/// The provider cannot be reached.
pub const QRT_ERR_UNAVAILABLE: qrt_status_t = 62;
/// The circuit breaker is open.
pub const QRT_ERR_CIRCUIT_OPEN: qrt_status_t = 63;
/// A bound is reached.
pub const QRT_ERR_FULL: qrt_status_t = 64;
/// The file system failed.
pub const QRT_ERR_IO: qrt_status_t = 70;
/// A store holds something that cannot be read.
pub const QRT_ERR_CORRUPT: qrt_status_t = 71;
/// The provider failed in a way of its own.
pub const QRT_ERR_PROVIDER: qrt_status_t = 80;
/// A bug of this library, or an unwinding callback.
pub const QRT_ERR_PANIC: qrt_status_t = 99;

/// What went wrong, where, and what to do. Stands alone: freed by itself, in any order. Immutable,
/// any thread.
pub struct qrt_error_t {
    error: Error,
    text: String,
}

impl qrt_error_t {
    pub(crate) fn boxed(error: Error) -> *mut Self {
        Box::into_raw(Box::new(Self::new(error)))
    }

    pub(crate) fn new(error: Error) -> Self {
        let text = error.to_string();
        Self { error, text }
    }

    pub(crate) fn status(&self) -> qrt_status_t {
        status_of(&self.error)
    }
}

pub(crate) fn status_of(error: &Error) -> qrt_status_t {
    error.kind().code() as qrt_status_t
}

/// Reads one thing from an error; NULL gives the fallback.
unsafe fn read<T>(error: *const qrt_error_t, fallback: T, read: impl FnOnce(&qrt_error_t) -> T) -> T
where
    T: Copy,
{
    // SAFETY: the callers pass on what the C caller vouches for.
    match unsafe { error.as_ref() } {
        Some(error) => get(fallback, || read(error)),
        None => fallback,
    }
}

/// The kind of an error; `QRT_OK` for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_status(error: *const qrt_error_t) -> qrt_status_t {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(error, QRT_OK, |e| status_of(&e.error)) }
}

/// The whole text: operation, queue, field, what happened and what to do. Borrows until the error
/// is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_message(error: *const qrt_error_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(error, qrt_bytes_t::EMPTY, |e| {
            qrt_bytes_t::of(e.text.as_bytes())
        })
    }
}

/// The provider's own code, or empty. Borrows until the error is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_code(error: *const qrt_error_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(error, qrt_bytes_t::EMPTY, |e| {
            qrt_bytes_t::of_text(e.error.code())
        })
    }
}

/// The queue concerned, or empty. Borrows until the error is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_queue(error: *const qrt_error_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(error, qrt_bytes_t::EMPTY, |e| {
            qrt_bytes_t::of_text(e.error.queue())
        })
    }
}

/// The operation that failed, or empty. Borrows until the error is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_operation(error: *const qrt_error_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(error, qrt_bytes_t::EMPTY, |e| {
            qrt_bytes_t::of_text(e.error.operation())
        })
    }
}

/// The argument, option or field at fault, or empty. Borrows until the error is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_field(error: *const qrt_error_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(error, qrt_bytes_t::EMPTY, |e| {
            qrt_bytes_t::of_text(e.error.field())
        })
    }
}

/// The capability that is missing, or empty. Borrows for ever. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_capability(error: *const qrt_error_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        read(error, qrt_bytes_t::EMPTY, |e| {
            qrt_bytes_t::of_text(e.error.capability().map(|c| c.name()))
        })
    }
}

/// 1 when the same call may succeed later, else 0. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_is_retryable(error: *const qrt_error_t) -> u32 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(error, 0, |e| u32::from(e.error.retryable())) }
}

/// When to try again at the earliest, in milliseconds from the failure; -1 when unknown. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_retry_after_ms(error: *const qrt_error_t) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(error, -1, |e| e.error.retry_after().map_or(-1, millis)) }
}

/// Until when what stands in the way does, such as the lock of a session that somebody holds, in
/// milliseconds since 1970 UTC; -1 when unknown. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_until(error: *const qrt_error_t) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(error, -1, |e| e.error.until().map_or(-1, |until| until.0)) }
}

/// Actual size and limit in bytes, for `QRT_ERR_MESSAGE_TOO_LARGE`; 0 otherwise. Either pointer
/// may be NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_sizes(
    error: *const qrt_error_t,
    actual: *mut u64,
    limit: *mut u64,
) {
    // SAFETY: the caller vouches for the handle.
    let sizes = unsafe { read(error, (0, 0), |e| e.error.size().unwrap_or((0, 0))) };
    // SAFETY: each is NULL or writable, as the caller vouches.
    unsafe {
        if let Some(actual) = actual.as_mut() {
            *actual = sizes.0;
        }
        if let Some(limit) = limit.as_mut() {
            *limit = sizes.1;
        }
    }
}

/// The name of a status, such as `lock_lost`; `unknown` for a number that is none. Borrows for
/// ever. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn qrt_status_name(status: qrt_status_t) -> qrt_bytes_t {
    let name = match status {
        QRT_OK => "ok",
        QRT_PENDING => "pending",
        other => ErrorKind::ALL
            .into_iter()
            .find(|kind| kind.code() as qrt_status_t == other)
            .map_or("unknown", ErrorKind::name),
    };
    qrt_bytes_t::of(name.as_bytes())
}

/// Frees an error. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_error_free(error: *mut qrt_error_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(error) }
}
