//! What tells an environment's event loop that operations have ended.

use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use napi_sys as sys;

/// A threadsafe function of an environment, callable from any thread until it is closed.
///
/// It does not keep the event loop alive unless it is held.
pub struct Wake(Mutex<Option<Function>>);

struct Function(sys::napi_threadsafe_function);

// SAFETY: threadsafe functions may be called from any thread.
unsafe impl Send for Function {}

impl Wake {
    /// # Safety
    /// The function is good until [`close`](Wake::close) has returned.
    pub unsafe fn new(function: sys::napi_threadsafe_function) -> Self {
        Self(Mutex::new(Some(Function(function))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Function>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the loop call its function soon. Any thread; never enters JavaScript.
    pub fn call(&self) {
        let function = self.lock();
        if let Some(Function(function)) = *function {
            let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
            // SAFETY: it is good until it is closed, which waits for the lock.
            unsafe { sys::napi_call_threadsafe_function(function, ptr::null_mut(), mode) };
        }
    }

    /// Lets it keep the event loop alive, or no longer.
    ///
    /// # Safety
    /// On the thread of the environment, which is alive.
    pub unsafe fn hold(&self, env: sys::napi_env, held: bool) {
        if let Some(Function(function)) = *self.lock() {
            // SAFETY: the function is not closed; the rest is the caller's.
            unsafe {
                if held {
                    sys::napi_ref_threadsafe_function(env, function);
                } else {
                    sys::napi_unref_threadsafe_function(env, function);
                }
            }
        }
    }

    /// After this nobody calls it any more: the environment ends, and frees it.
    pub fn close(&self) {
        *self.lock() = None;
    }
}
