//! Logs to a callback of the host. The one global thing: logs have no owner.

use std::ffi::c_void;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::abi::{get, qrt_bytes_t, run};
use crate::error::{qrt_error_t, qrt_status_t};

/// Something failed.
pub const QRT_LOG_ERROR: u32 = 1;
/// Something is odd.
pub const QRT_LOG_WARN: u32 = 2;
/// Something happened.
pub const QRT_LOG_INFO: u32 = 3;
/// For who looks for a fault.
pub const QRT_LOG_DEBUG: u32 = 4;
/// Everything.
pub const QRT_LOG_TRACE: u32 = 5;

/// Takes one line of log: its level, the part of the library it comes from, its text. Both borrow
/// for the length of the call.
pub type qrt_log_fn_t = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        level: u32,
        target: qrt_bytes_t,
        message: qrt_bytes_t,
    ),
>;

struct Sink {
    function: unsafe extern "C" fn(*mut c_void, u32, qrt_bytes_t, qrt_bytes_t),
    user_data: *mut c_void,
    level: u32,
}

// SAFETY: the contract of `qrt_log_set` says that it runs on any thread.
unsafe impl Send for Sink {}

static SINK: Mutex<Option<Sink>> = Mutex::new(None);

/// Sends the library's logs up to a level to a function, for the whole process, in place of the
/// one before; NULL ends it. It runs on any thread, may not call into the library, and must not
/// throw. Logs hold no bodies and no secrets. `QRT_ERR_ALREADY_EXISTS` when the process has a
/// Rust logger of its own. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_log_set(
    function: qrt_log_fn_t,
    user_data: *mut c_void,
    level: u32,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        run(error, || {
            if !(QRT_LOG_ERROR..=QRT_LOG_TRACE).contains(&level) {
                return Err(queue_runtime_core::Error::invalid_argument(
                    "level",
                    "must be one of QRT_LOG_ERROR to QRT_LOG_TRACE",
                ));
            }
            let sink = function.map(|function| Sink {
                function,
                user_data,
                level,
            });
            *SINK.lock().unwrap_or_else(PoisonError::into_inner) = sink;
            install()?;
            tracing_core::callsite::rebuild_interest_cache();
            Ok(())
        })
    }
}

fn install() -> queue_runtime_core::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        tracing::subscriber::set_global_default(ToSink::default()).map_err(|source| {
            queue_runtime_core::Error::new(
                queue_runtime_core::ErrorKind::AlreadyExists,
                "this process has a tracing subscriber already; logs go there",
            )
            .with_source(source)
        })?;
        *installed = true;
    }
    Ok(())
}

#[derive(Default)]
struct ToSink {
    spans: AtomicU64,
}

fn number(level: &Level) -> u32 {
    match *level {
        Level::ERROR => QRT_LOG_ERROR,
        Level::WARN => QRT_LOG_WARN,
        Level::INFO => QRT_LOG_INFO,
        Level::DEBUG => QRT_LOG_DEBUG,
        Level::TRACE => QRT_LOG_TRACE,
    }
}

impl Subscriber for ToSink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("queue_runtime")
            && SINK
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .is_some_and(|sink| number(metadata.level()) <= sink.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        get((), || {
            let mut line = Line(String::new());
            event.record(&mut line);
            let found = {
                let sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
                sink.as_ref().map(|sink| (sink.function, sink.user_data))
            };
            if let Some((function, user_data)) = found {
                let metadata = event.metadata();
                let target = qrt_bytes_t::of(metadata.target().as_bytes());
                let message = qrt_bytes_t::of(line.0.as_bytes());
                // SAFETY: as the contract of `qrt_log_set` says; no lock is held.
                unsafe { function(user_data, number(metadata.level()), target, message) };
            }
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event, then its fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            write!(self.0, "{value:?}{rest}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}
