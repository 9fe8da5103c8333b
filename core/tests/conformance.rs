//! The scenarios on `memory:` and, with its feature, on `file:`: all in virtual time, some in real
//! time.

#[path = "common/conformance.rs"]
mod common;
#[cfg(feature = "file")]
#[path = "common/folder.rs"]
mod folder;

use std::process::ExitCode;
#[cfg(feature = "file")]
use std::{ffi::OsString, process::Command};

use queue_runtime_core::conformance::{Store, Target};
use queue_runtime_core::{Clock, Runtime, RuntimeConfig};

#[cfg(feature = "file")]
use folder::Folder;

fn runtime(clock: Clock) -> queue_runtime_core::Result<Runtime> {
    // Of one thread, background work is done in its order: `pending` sees all that is due.
    let config = RuntimeConfig {
        worker_threads: Some(1),
        ..RuntimeConfig::default()
    };
    Runtime::with_clock(config, clock)
}

fn memory(provider: &str, clock: fn() -> Clock) -> Target {
    Target::new(provider, move || {
        Ok(Store::new(runtime(clock())?, "memory:conformance"))
    })
}

#[cfg(feature = "file")]
fn file(provider: &str, clock: fn() -> Clock) -> Target {
    Target::new(provider, move || {
        let folder = Folder::new();
        Ok(Store::new(runtime(clock())?, folder.url("")).guard(folder))
    })
}

/// The first client has its own mapping, threads and clock, and so have the others together: all
/// they share is the folder, as two processes do.
#[cfg(feature = "file")]
fn two_stores(provider: &str, clock: fn() -> Clock) -> Target {
    Target::new(provider, move || {
        let folder = Folder::new();
        let store = Store::new(runtime(clock())?, folder.url(""));
        Ok(store.other(runtime(clock())?).guard(folder))
    })
}

/// The clients but the first live in another process, which this program is as well.
#[cfg(feature = "file")]
fn two_processes(provider: &str, clock: fn() -> Clock, second: &Second) -> Target {
    let command = second.command.clone();
    let target = Target::new(provider, move || {
        let folder = Folder::new();
        let store = Store::new(runtime(clock())?, folder.url("")).guard(folder);
        let command = command.clone();
        Ok(store.beside(move || {
            let mut beside = Command::new(&command[0]);
            beside.args(&command[1..]).env(FOLLOW, "1");
            beside
        }))
    });
    match &second.language {
        Some(language) => target.beside(language),
        None => target,
    }
}

/// The variable with another second process than this program: its language, and the command that
/// starts it, with blanks between.
#[cfg(feature = "file")]
const BESIDE: &str = "QRT_CONFORMANCE_BESIDE";
/// The variable by which this program knows that it is the second process.
#[cfg(feature = "file")]
const FOLLOW: &str = "QRT_CONFORMANCE_FOLLOW";

/// What the second process is.
#[cfg(feature = "file")]
struct Second {
    /// Where it is another program.
    language: Option<String>,
    command: Vec<OsString>,
}

#[cfg(feature = "file")]
impl Second {
    fn another() -> Option<Self> {
        let text = std::env::var(BESIDE).ok()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let [language, command @ ..] = &words[..] else {
            panic!("{BESIDE} is a language and a command");
        };
        assert!(!command.is_empty(), "{BESIDE} has no command: {text:?}");
        Some(Self {
            language: Some((*language).to_owned()),
            command: command.iter().map(OsString::from).collect(),
        })
    }

    fn this_program() -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        Self {
            language: None,
            command: vec![program.into_os_string()],
        }
    }

    fn targets(&self) -> [Target; 2] {
        let real_time = "file-two-processes-real-time";
        [
            two_processes("file-two-processes", Clock::new_virtual, self),
            two_processes(real_time, Clock::system, self),
        ]
    }
}

/// What the second process does.
#[cfg(feature = "file")]
fn follow() -> ExitCode {
    let store = |url, clock| Ok(Store::new(runtime(clock)?, url));
    match queue_runtime_core::conformance::follow(store) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    #[cfg(feature = "file")]
    if std::env::var_os(FOLLOW).is_some() {
        return follow();
    }
    #[cfg(feature = "file")]
    if let Some(another) = Second::another() {
        return common::conformance(another.targets());
    }
    let mut targets = vec![
        memory("memory", Clock::new_virtual),
        memory("memory-real-time", Clock::system),
    ];
    #[cfg(feature = "file")]
    targets.extend([
        file("file", Clock::new_virtual),
        file("file-real-time", Clock::system),
        two_stores("file-two-stores", Clock::new_virtual),
        two_stores("file-two-stores-real-time", Clock::system),
    ]);
    #[cfg(feature = "file")]
    targets.extend(Second::this_program().targets());
    common::conformance(targets)
}
