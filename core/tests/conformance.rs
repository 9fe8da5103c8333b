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

/// The clients but the first live in another process, which this program is as well.
#[cfg(feature = "file")]
fn two_processes(provider: &str, clock: fn() -> Clock) -> Target {
    Target::new(provider, move || {
        let folder = Folder::new();
        let url = folder.url("");
        let store = Store::new(runtime(clock)?, &*url).beside(move || {
            let own = || std::env::current_exe().expect("this program has a path");
            let program = std::env::var_os(BESIDE).map_or_else(own, Into::into);
            let mut command = std::process::Command::new(program);
            let kind = if clock().is_virtual() {
                VIRTUAL
            } else {
                SYSTEM
            };
            command.env(kind, &url);
            command
        });
        Ok(store.guard(folder))
    })
}

/// The variable with the program that is the second process: this one, built for another C library.
#[cfg(feature = "file")]
const BESIDE: &str = "QRT_CONFORMANCE_BESIDE";
/// The variables with the URL of the store that a second process works in, by its clock.
#[cfg(feature = "file")]
const VIRTUAL: &str = "QRT_CONFORMANCE_VIRTUAL";
#[cfg(feature = "file")]
const SYSTEM: &str = "QRT_CONFORMANCE_SYSTEM";

/// What the second process does, if this is one.
#[cfg(feature = "file")]
fn second_process() -> Option<ExitCode> {
    let url = |variable| std::env::var(variable);
    let (url, clock): (String, fn() -> Clock) = match (url(VIRTUAL), url(SYSTEM)) {
        (Ok(url), _) => (url, Clock::new_virtual),
        (_, Ok(url)) => (url, Clock::system),
        _ => return None,
    };
    let store = runtime(clock).map(|runtime| Store::new(runtime, url));
    let served = store
        .map_err(|e| e.to_string())
        .and_then(queue_runtime_core::conformance::serve);
    Some(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

fn main() -> ExitCode {
    #[cfg(feature = "file")]
    if let Some(code) = second_process() {
        return code;
    }
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
        #[cfg(feature = "file")]
        two_processes("file-two-processes", Clock::new_virtual),
        #[cfg(feature = "file")]
        two_processes("file-two-processes-real-time", Clock::system),
    ])
}
