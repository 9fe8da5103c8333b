//! Handles, bytes and calls: what every file here is made of.

use std::ptr::{self, NonNull};

use queue_runtime::{
    QRT_OK, QRT_PENDING, qrt_bytes_t, qrt_completion_t, qrt_error_t, qrt_status_t,
};

use crate::error::{Error, Result};

/// A completion that tells nobody.
pub(crate) const NOBODY: qrt_completion_t = qrt_completion_t {
    r#fn: None,
    user_data: ptr::null_mut(),
    free: None,
};

/// A type of the ABI that is freed by a function of its own.
pub(crate) trait Object {
    /// # Safety
    /// The handle is this caller's, and used no more.
    unsafe fn free(handle: *mut Self);
}

/// A handle that frees itself.
pub(crate) struct Handle<T: Object>(NonNull<T>);

// SAFETY: the ABI's handles may be used from any thread; those that one thread at a time may
// change are changed through `&mut` only.
unsafe impl<T: Object> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T: Object> Sync for Handle<T> {}

impl<T: Object> Handle<T> {
    /// # Safety
    /// The handle, unless NULL, is the caller's to free.
    pub(crate) unsafe fn new(handle: *mut T) -> Option<Self> {
        NonNull::new(handle).map(Self)
    }

    pub(crate) fn get(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Object> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: owned, and gone after this.
        unsafe { T::free(self.0.as_ptr()) }
    }
}

macro_rules! objects {
    ($($object:ident: $free:ident),* $(,)?) => {$(
        impl Object for queue_runtime::$object {
            unsafe fn free(handle: *mut Self) {
                // SAFETY: the caller gives the handle up.
                unsafe { queue_runtime::$free(handle) }
            }
        }
    )*};
}

objects!(
    qrt_runtime_t: qrt_runtime_free,
    qrt_client_t: qrt_client_free,
    qrt_queue_t: qrt_queue_free,
    qrt_message_t: qrt_message_free,
    qrt_send_results_t: qrt_send_results_free,
    qrt_peeked_t: qrt_peeked_free,
    qrt_batch_t: qrt_batch_free,
    qrt_settlements_t: qrt_settlements_free,
    qrt_settle_results_t: qrt_settle_results_free,
    qrt_session_t: qrt_session_free,
    qrt_op_t: qrt_op_free,
    qrt_events_t: qrt_events_free,
    qrt_consumer_t: qrt_consumer_free,
    qrt_drain_report_t: qrt_drain_report_free,
    qrt_producer_t: qrt_producer_free,
    qrt_producer_report_t: qrt_producer_report_free,
    qrt_statistics_t: qrt_statistics_free,
    qrt_dead_letters_t: qrt_dead_letters_free,
    qrt_dead_letter_statistics_t: qrt_dead_letter_statistics_free,
    qrt_redrive_report_t: qrt_redrive_report_free,
    qrt_buffer_t: qrt_buffer_free,
    qrt_write_behind_t: qrt_write_behind_free,
    qrt_write_batch_t: qrt_write_batch_free,
    qrt_rejected_t: qrt_rejected_free,
    qrt_close_report_t: qrt_close_report_free,
    qrt_write_behind_metrics_t: qrt_write_behind_metrics_free,
    qrt_error_t: qrt_error_free,
);

impl Object for queue_runtime::qrt_delivery_t {
    unsafe fn free(handle: *mut Self) {
        // SAFETY: the caller gives up a hold that it made.
        unsafe { queue_runtime::qrt_delivery_free(handle) }
    }
}

/// Bytes lent to the ABI for a call.
pub(crate) fn lend(bytes: &[u8]) -> qrt_bytes_t {
    qrt_bytes_t {
        data: bytes.as_ptr(),
        len: bytes.len(),
    }
}

/// A text lent to the ABI for a call; `None` is the empty value.
pub(crate) fn lend_text(text: Option<&str>) -> qrt_bytes_t {
    lend(text.unwrap_or_default().as_bytes())
}

/// Bytes the ABI lends.
///
/// # Safety
/// What they borrow from outlives `'a`.
pub(crate) unsafe fn bytes<'a>(bytes: qrt_bytes_t) -> &'a [u8] {
    if bytes.len == 0 {
        return &[];
    }
    // SAFETY: the ABI gives `len` readable bytes, for as long as the caller says.
    unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) }
}

/// A text the ABI lends.
///
/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn text<'a>(text: qrt_bytes_t) -> &'a str {
    // SAFETY: passed on; texts of the ABI are UTF-8.
    unsafe { std::str::from_utf8_unchecked(bytes(text)) }
}

/// A text the ABI lends, where the empty value is none.
///
/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn some_text<'a>(value: qrt_bytes_t) -> Option<&'a str> {
    // SAFETY: passed on.
    let text = unsafe { text(value) };
    (!text.is_empty()).then_some(text)
}

/// A moment or duration, where a negative one is none.
pub(crate) fn some_ms(value: i64) -> Option<i64> {
    (value >= 0).then_some(value)
}

/// Calls a function that may fail: whether it ended (`true`) or is pending.
pub(crate) fn call(function: impl FnOnce(*mut *mut qrt_error_t) -> qrt_status_t) -> Result<bool> {
    let mut error = ptr::null_mut();
    match function(&raw mut error) {
        QRT_OK => Ok(true),
        QRT_PENDING => Ok(false),
        // SAFETY: a function that fails gives its error to the caller.
        _ => Err(unsafe { Error::take(error) }),
    }
}

/// Calls a function that makes an object.
pub(crate) fn make<T: Object>(
    function: impl FnOnce(*mut *mut T, *mut *mut qrt_error_t) -> qrt_status_t,
) -> Result<Handle<T>> {
    let mut place = ptr::null_mut();
    call(|error| function(&raw mut place, error))?;
    // SAFETY: a function that made an object gives it to the caller.
    Ok(unsafe { Handle::new(place) }.expect("a call that succeeds gives its object"))
}
