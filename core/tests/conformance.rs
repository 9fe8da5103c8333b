//! The scenarios on `memory:` and, with its feature, on `file:`: all in virtual time, some in real
//! time.

#[path = "common/conformance.rs"]
mod common;
#[cfg(feature = "file")]
#[path = "common/folder.rs"]
mod folder;

use std::process::ExitCode;

use queue_runtime_core::conformance::{Store, Target};
use queue_runtime_core::{Clock, Runtime, RuntimeConfig};

#[cfg(feature = "file")]
use folder::Folder;

fn runtime(clock: fn() -> Clock) -> queue_runtime_core::Result<Runtime> {
    // Of one thread, background work is done in its order: `pending` sees all that is due.
    let config = RuntimeConfig {
        worker_threads: Some(1),
        ..RuntimeConfig::default()
    };
    Runtime::with_clock(config, clock())
}

fn memory(provider: &str, clock: fn() -> Clock) -> Target {
    Target::new(provider, move || {
        Ok(Store::new(runtime(clock)?, "memory:conformance"))
    })
}

#[cfg(feature = "file")]
fn file(provider: &str, clock: fn() -> Clock) -> Target {
    Target::new(provider, move || {
        let folder = Folder::new();
        Ok(Store::new(runtime(clock)?, folder.url("")).guard(folder))
    })
}

/// The first client has its own mapping, threads and clock, and so have the others together: all
/// they share is the folder, as two processes do.
#[cfg(feature = "file")]
fn two_stores(provider: &str, clock: fn() -> Clock) -> Target {
    Target::new(provider, move || {
        let folder = Folder::new();
        let store = Store::new(runtime(clock)?, folder.url(""));
        Ok(store.other(runtime(clock)?).guard(folder))
    })
}

fn main() -> ExitCode {
    common::conformance([
        memory("memory", Clock::new_virtual),
        memory("memory-real-time", Clock::system),
        #[cfg(feature = "file")]
        file("file", Clock::new_virtual),
        #[cfg(feature = "file")]
        file("file-real-time", Clock::system),
        #[cfg(feature = "file")]
        two_stores("file-two-stores", Clock::new_virtual),
        #[cfg(feature = "file")]
        two_stores("file-two-stores-real-time", Clock::system),
    ])
}
