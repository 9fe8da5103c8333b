//! Runtimes: threads and time. Everything else holds on to one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use queue_runtime_core::{Clock, Error, ErrorKind, Result, Runtime, RuntimeConfig};
use tokio::runtime::{EnterGuard, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::abi::{borrow, duration, free, get, handle_output, qrt_bytes_t, run};
use crate::buffer::qrt_buffer_t;
use crate::error::{qrt_error_t, qrt_status_t};
use crate::fork::Generation;

/// Threads and time that clients stand on. Thread-safe. Several may live in one process.
pub struct qrt_runtime_t(pub(crate) Home);

/// What every object keeps of its runtime.
#[derive(Clone)]
pub(crate) struct Home(Arc<Inner>);

struct Inner {
    /// Leaked in a forked child, where its threads do not exist.
    runtime: std::mem::ManuallyDrop<Runtime>,
    generation: Generation,
    shut: AtomicBool,
    /// Ends, at shutdown, what would go on by itself.
    closing: CancellationToken,
    /// What a shutdown waits for: every operation, until its completion has run.
    tasks: TaskTracker,
}

impl Home {
    fn new(runtime: Runtime) -> Self {
        Self(Arc::new(Inner {
            runtime: std::mem::ManuallyDrop::new(runtime),
            generation: Generation::current(),
            shut: AtomicBool::new(false),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// `Forked` in a child process, `Closed` after shutdown.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        self.0.generation.check()?;
        if self.0.shut.load(Ordering::Acquire) {
            return Err(Error::closed("runtime"));
        }
        Ok(())
    }

    /// `Forked` in a child process.
    pub(crate) fn check_fork(&self) -> Result<()> {
        self.0.generation.check()
    }

    pub(crate) fn is_here(&self) -> bool {
        self.0.generation.is_here()
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.0.runtime.handle().enter()
    }

    /// Cancelled when the runtime shuts down.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    /// Takes `self`, because the future may end, and free what the caller borrowed this from,
    /// before the call is over.
    pub(crate) fn spawn(self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.tasks.spawn_on(future, self.0.runtime.handle()));
    }

    /// Ends what waits, then waits for completions, then ends the threads.
    fn shutdown(&self, timeout: Duration) -> Result<()> {
        if self.0.shut.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let begun = Instant::now();
        self.0.closing.cancel();
        self.runtime().close();
        self.0.tasks.close();
        let ended = self.0.tasks.wait();
        // The tracker knows better than the clock whether something is left: that, and its error,
        // is for the runtime below to say.
        let _ = self
            .runtime()
            .block_on(async { tokio::time::timeout(timeout, ended).await })?;
        self.runtime()
            .shutdown(timeout.saturating_sub(begun.elapsed()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.generation.is_here() {
            // SAFETY: dropped once, here.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.runtime) };
        }
    }
}

/// `WouldDeadlock` on a thread of a runtime, where waiting would stop what is waited for.
pub(crate) fn check_may_wait(function: &'static str) -> Result<()> {
    if Handle::try_current().is_ok() {
        return Err(Error::new(
            ErrorKind::WouldDeadlock,
            format!(
                "{function} was called on a thread of a runtime, in a callback; use a completion"
            ),
        ));
    }
    Ok(())
}

/// Options of a runtime. Begin with `QRT_RUNTIME_OPTIONS_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_runtime_options_t {
    /// `sizeof(qrt_runtime_options_t)` of the caller.
    pub struct_size: usize,
    /// Configuration as JSON, such as `{"worker_threads": 2}`; empty for the defaults. Borrows for
    /// the length of the call.
    pub config: qrt_bytes_t,
    /// 1: time stands still until `qrt_runtime_advance` moves it, for tests. 0: the system's time.
    pub virtual_clock: u32,
}

impl crate::options::Options for qrt_runtime_options_t {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        config: qrt_bytes_t::EMPTY,
        virtual_clock: 0,
    };
}

/// Makes a runtime. `options` may be NULL. The caller owns it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_runtime_new(
    options: *const qrt_runtime_options_t,
    runtime: *mut *mut qrt_runtime_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(runtime, "runtime")?;
            let options = crate::options::read(options)?;
            let config = match options.config.some_text("config")? {
                Some(json) => RuntimeConfig::from_json(json)?,
                None => RuntimeConfig::default(),
            };
            let clock = match options.virtual_clock {
                0 => Clock::system(),
                1 => Clock::new_virtual(),
                _ => {
                    return Err(Error::invalid_argument("virtual_clock", "must be 0 or 1"));
                }
            };
            let home = Home::new(Runtime::with_clock(config, clock)?);
            place.0 = Box::into_raw(Box::new(qrt_runtime_t(home)));
            Ok(())
        })
    }
}

/// Ends a runtime: what waits ends with `QRT_ERR_CLOSED`, begun completions are waited for, then
/// the threads stop. `QRT_ERR_TIMEOUT` when that takes longer than `timeout_ms`: a callback
/// hangs, and keeps its thread. `QRT_ERR_WOULD_DEADLOCK` on a thread of a runtime. Later calls on
/// anything of this runtime fail with `QRT_ERR_CLOSED`; again does nothing. Any other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_runtime_shutdown(
    runtime: *mut qrt_runtime_t,
    timeout_ms: i64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let home = &borrow(runtime, "runtime")?.0;
            let timeout = duration(timeout_ms, "timeout_ms")?;
            home.check_fork()?;
            check_may_wait("qrt_runtime_shutdown")?;
            home.shutdown(timeout)
        })
    }
}

/// Moves a virtual clock by `by_ms` milliseconds; what is due then happens. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_runtime_advance(
    runtime: *mut qrt_runtime_t,
    by_ms: i64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let home = &borrow(runtime, "runtime")?.0;
            let by: Duration = duration(by_ms, "by_ms")?;
            home.check()?;
            home.runtime().clock().advance(by)
        })
    }
}

/// The present time of the runtime's clock, in milliseconds since 1970 UTC; 0 for NULL. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_runtime_now(runtime: *const qrt_runtime_t) -> i64 {
    // SAFETY: the caller vouches for the handle.
    let runtime = unsafe { runtime.as_ref() };
    get(0, || {
        runtime.map_or(0, |runtime| {
            let clock = runtime.0.runtime().clock();
            clock.timestamp(clock.now()).0
        })
    })
}

/// The metrics of all clients of a runtime, as OpenMetrics text. The caller owns it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_runtime_metrics(
    runtime: *const qrt_runtime_t,
    text: *mut *mut qrt_buffer_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let place = handle_output(text, "text")?;
            let home = &borrow(runtime, "runtime")?.0;
            home.check_fork()?;
            place.0 = Box::into_raw(qrt_buffer_t::boxed(home.runtime().metrics()));
            Ok(())
        })
    }
}

/// Frees the caller's hold on a runtime. Never waits: without a shutdown before, the threads end
/// in the background once nothing holds on to them. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_runtime_free(runtime: *mut qrt_runtime_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(runtime) }
}
