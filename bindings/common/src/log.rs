//! The library's logs.

use std::ffi::c_void;
use std::sync::{PoisonError, RwLock};

use queue_runtime::*;

use crate::abi::{call, text};
use crate::error::Result;

/// How important a line of log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// Something failed.
    Error = QRT_LOG_ERROR,
    /// Something is odd.
    Warn = QRT_LOG_WARN,
    /// Something happened.
    Info = QRT_LOG_INFO,
    /// For who looks for a fault.
    Debug = QRT_LOG_DEBUG,
    /// Everything.
    Trace = QRT_LOG_TRACE,
}

type Sink = Box<dyn Fn(u32, &str, &str) + Send + Sync>;

static SINK: RwLock<Option<Sink>> = RwLock::new(None);

/// Sends the library's logs up to a level to `sink` (level, part of the library, line), for the
/// whole process, in place of the one before. It runs on any thread and may not call into the
/// library.
pub fn set_log(level: Level, sink: impl Fn(u32, &str, &str) + Send + Sync + 'static) -> Result<()> {
    unsafe extern "C" fn write(_: *mut c_void, level: u32, target: qrt_bytes_t, line: qrt_bytes_t) {
        let sink = SINK.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = &*sink {
            // SAFETY: both texts live for the length of the call.
            let (target, line) = unsafe { (text(target), text(line)) };
            let tell = std::panic::AssertUnwindSafe(|| sink(level, target, line));
            let _ = std::panic::catch_unwind(tell);
        }
    }
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(sink));
    // SAFETY: the function needs no user data.
    call(|error| unsafe { qrt_log_set(Some(write), std::ptr::null_mut(), level as u32, error) })
        .map(drop)
}
