//! The scenarios on `memory:`: all in virtual time, some in real time.

#[path = "common/conformance.rs"]
mod common;

use std::process::ExitCode;

use queue_runtime_core::conformance::{Store, Target};
use queue_runtime_core::{Clock, Runtime, RuntimeConfig};

fn memory(provider: &str, clock: fn() -> Clock) -> Target {
    Target::new(provider, move || {
        // Of one thread, background work is done in its order: `pending` sees all that is due.
        let config = RuntimeConfig {
            worker_threads: Some(1),
            ..RuntimeConfig::default()
        };
        let runtime = Runtime::with_clock(config, clock())?;
        Ok(Store::new(runtime, "memory:conformance"))
    })
}

fn main() -> ExitCode {
    common::conformance([
        memory("memory", Clock::new_virtual),
        memory("memory-real-time", Clock::system),
    ])
}
