//! The callbacks of consumers.

use std::ffi::c_void;
use std::sync::Arc;

use queue_runtime_core::{BreakerState, CancelCause, Delivery, Error, MessageId, Timestamp};

use crate::abi::qrt_bytes_t;
use crate::breaker::code;
use crate::delivery::qrt_batch_t;
use crate::error::{qrt_error_t, qrt_status_t, status_of};
use crate::runtime::Home;

/// A message in hand whose lock is gone. There are no more of these than messages in hand.
pub(crate) type Cancelled = (MessageId, CancelCause);

/// The callbacks of a consumer, on their way between threads.
pub(crate) struct Callbacks {
    pub(crate) on_batch: Option<unsafe extern "C" fn(*mut c_void, *mut qrt_batch_t)>,
    pub(crate) on_state:
        Option<unsafe extern "C" fn(*mut c_void, qrt_status_t, *const qrt_error_t)>,
    pub(crate) on_lock_lost: Option<unsafe extern "C" fn(*mut c_void, qrt_bytes_t)>,
    pub(crate) on_stall: Option<unsafe extern "C" fn(*mut c_void, qrt_bytes_t)>,
    pub(crate) on_breaker: Option<unsafe extern "C" fn(*mut c_void, u32, i64)>,
    pub(crate) user_data: *mut c_void,
    pub(crate) free: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the contract of `qrt_consumer_options_t` says that they run on other threads.
unsafe impl Send for Callbacks {}
// SAFETY: they are called by one task only.
unsafe impl Sync for Callbacks {}

impl Callbacks {
    pub(crate) fn batch(&self, deliveries: Vec<Delivery>, home: &Home) {
        let Some(on_batch) = self.on_batch else {
            return;
        };
        let batch = Arc::into_raw(qrt_batch_t::new(deliveries, home.clone())).cast_mut();
        // SAFETY: as the contract says; the callee owns the batch.
        unsafe { on_batch(self.user_data, batch) };
    }

    pub(crate) fn state(&self, failure: Option<Error>) {
        let Some(on_state) = self.on_state else {
            return;
        };
        let status = failure.as_ref().map_or(crate::error::QRT_OK, status_of);
        let error = failure.map(qrt_error_t::new);
        let pointer = error.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: as the contract says; the error lives for the length of the call.
        unsafe { on_state(self.user_data, status, pointer) };
    }

    pub(crate) fn breaker(&self, state: BreakerState, until: Option<Timestamp>) {
        if let Some(on_breaker) = self.on_breaker {
            let until = until.map_or(-1, |until| until.0);
            // SAFETY: as the contract says.
            unsafe { on_breaker(self.user_data, code(state), until) };
        }
    }

    pub(crate) fn cancelled(&self, (id, cause): Cancelled) {
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
