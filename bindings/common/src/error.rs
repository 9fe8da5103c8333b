//! Errors, taken out of the ABI.

use std::fmt;
use std::ops::Deref;

use queue_runtime::*;

use crate::abi::{Handle, some_ms, some_text, text};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error: its number and its name in the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub i32);

impl Status {
    /// The object, or what it belongs to, was closed or shut down.
    pub const CLOSED: Status = Status(QRT_ERR_CLOSED);
    /// A message, or an entry, is not what it must be.
    pub const INVALID_MESSAGE: Status = Status(QRT_ERR_INVALID_MESSAGE);
    /// What is asked cannot be reached.
    pub const UNAVAILABLE: Status = Status(QRT_ERR_UNAVAILABLE);
    /// A bound is reached.
    pub const FULL: Status = Status(QRT_ERR_FULL);
    /// The operation was cancelled.
    pub const CANCELLED: Status = Status(QRT_ERR_CANCELLED);
    /// Not done in time.
    pub const TIMEOUT: Status = Status(QRT_ERR_TIMEOUT);
    /// The object belongs to the parent of this forked process.
    pub const FORKED: Status = Status(QRT_ERR_FORKED);
    /// A bug of the library.
    pub const PANIC: Status = Status(QRT_ERR_PANIC);

    /// The kind of this name, such as `lock_lost`.
    pub fn of(name: &str) -> Option<Self> {
        let mut kinds = (10..100).map(Self);
        kinds.find(|kind| kind.name() == name && name != "unknown")
    }

    /// The name, such as `lock_lost`.
    pub fn name(self) -> &'static str {
        // SAFETY: the names are part of the library.
        unsafe { text(qrt_status_name(self.0)) }
    }
}

/// What went wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Details>);

/// What an [`Error`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The kind.
    pub status: Status,
    /// The whole text: operation, queue, field, what happened and what to do.
    pub message: String,
    /// The provider's own code.
    pub code: Option<String>,
    /// The queue concerned.
    pub queue: Option<String>,
    /// The operation that failed.
    pub operation: Option<String>,
    /// The argument, option or field at fault.
    pub field: Option<String>,
    /// The capability that is missing.
    pub capability: Option<String>,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// When to try again at the earliest, in milliseconds from the failure.
    pub retry_after_ms: Option<i64>,
    /// Until when what stands in the way does, in milliseconds since 1970 UTC.
    pub until: Option<i64>,
    /// Actual size and limit in bytes, of what is too large.
    pub size: Option<(u64, u64)>,
}

impl Error {
    /// Takes an error that a call gave.
    ///
    /// # Safety
    /// The handle, unless NULL, is the caller's.
    pub(crate) unsafe fn take(error: *mut qrt_error_t) -> Self {
        // SAFETY: passed on.
        let owned = unsafe { Handle::new(error) };
        let read = owned.as_ref().map_or(std::ptr::null_mut(), Handle::get);
        // SAFETY: `owned` lives for the length of the call; NULL reads as an empty error.
        unsafe { Self::read(read) }
    }

    /// Copies an error that something else holds.
    ///
    /// # Safety
    /// The handle is NULL or good.
    pub(crate) unsafe fn read(error: *const qrt_error_t) -> Self {
        // SAFETY: the handle is good, and what it lends is copied here.
        unsafe {
            let owned = |value| some_text(value).map(str::to_owned);
            let (mut actual, mut limit) = (0, 0);
            qrt_error_sizes(error, &raw mut actual, &raw mut limit);
            Self(Box::new(Details {
                status: Status(qrt_error_status(error)),
                message: text(qrt_error_message(error)).to_owned(),
                code: owned(qrt_error_code(error)),
                queue: owned(qrt_error_queue(error)),
                operation: owned(qrt_error_operation(error)),
                field: owned(qrt_error_field(error)),
                capability: owned(qrt_error_capability(error)),
                retryable: qrt_error_is_retryable(error) == 1,
                retry_after_ms: some_ms(qrt_error_retry_after_ms(error)),
                until: some_ms(qrt_error_until(error)),
                size: (limit > 0).then_some((actual, limit)),
            }))
        }
    }
}

impl Deref for Error {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
