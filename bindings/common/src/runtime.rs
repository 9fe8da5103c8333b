//! Runtimes: threads and time.

use std::time::Duration;

use queue_runtime::*;

use crate::abi::{Handle, bytes, call, lend_text, make, text};
use crate::error::Result;

/// Threads and time that clients stand on. Dropping it never waits.
pub struct Runtime(pub(crate) Handle<qrt_runtime_t>);

impl Runtime {
    /// A runtime with threads of its own. `config` is JSON, or empty; with a virtual clock time
    /// stands still until [`advance`](Runtime::advance).
    pub fn new(config: &str, virtual_clock: bool) -> Result<Self> {
        let options = qrt_runtime_options_t {
            struct_size: size_of::<qrt_runtime_options_t>(),
            config: lend_text(Some(config)),
            virtual_clock: u32::from(virtual_clock),
        };
        // SAFETY: the options live for the length of the call.
        make(|place, error| unsafe { qrt_runtime_new(&raw const options, place, error) }).map(Self)
    }

    /// Ends the runtime: what waits ends with `CLOSED`. Waits for what has begun, at most this
    /// long; `Timeout` beyond. `WouldDeadlock` on a thread of a runtime.
    pub fn shutdown(&self, timeout: Duration) -> Result<()> {
        // SAFETY: the handle is owned.
        call(|error| unsafe { qrt_runtime_shutdown(self.0.get(), ms(timeout), error) }).map(drop)
    }

    /// Moves the virtual clock.
    pub fn advance(&self, by: Duration) -> Result<()> {
        // SAFETY: the handle is owned.
        call(|error| unsafe { qrt_runtime_advance(self.0.get(), ms(by), error) }).map(drop)
    }

    /// The present time of its clock, in milliseconds since 1970 UTC.
    pub fn now(&self) -> i64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_runtime_now(self.0.get()) }
    }

    /// The metrics of all its clients, as OpenMetrics text.
    pub fn metrics(&self) -> Result<String> {
        // SAFETY: the handle is owned.
        let made = make(|place, error| unsafe { qrt_runtime_metrics(self.0.get(), place, error) });
        made.map(|buffer| text_of(&buffer))
    }
}

/// The text in a buffer that holds text.
pub(crate) fn text_of(buffer: &Handle<qrt_buffer_t>) -> String {
    // SAFETY: it lives as long as the buffer, and is copied here.
    unsafe { text(qrt_buffer_bytes(buffer.get())) }.to_owned()
}

/// A duration as the ABI's milliseconds, rounded up, so that none but zero becomes zero.
pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// A duration as the ABI's milliseconds; none is -1.
pub(crate) fn some_ms(duration: Option<Duration>) -> i64 {
    duration.map_or(-1, ms)
}

/// Bytes or text in memory of the library's.
pub struct Buffer(pub(crate) Handle<qrt_buffer_t>);

impl Buffer {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: they live as long as the buffer.
        unsafe { bytes(qrt_buffer_bytes(self.0.get())) }
    }

    /// The text, of one that holds text.
    pub fn text(&self) -> String {
        text_of(&self.0)
    }
}
