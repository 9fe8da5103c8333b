//! Event queues: completions gathered for an event loop, with one wake for many.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use queue_runtime_core::{Error, Result};

use crate::abi::{borrow, free, get, handle_output, run};
use crate::error::{qrt_error_t, qrt_status_t};
use crate::op::qrt_op_t;
use crate::runtime::{Home, qrt_runtime_t};

/// Ended operations, in order, for one event loop. One wake for each change from empty to not
/// empty. Thread-safe; drained by one thread at a time.
pub struct qrt_events_t(Arc<Events>);

pub(crate) struct Events {
    queue: Mutex<Queue>,
    signal: Signal,
    home: Home,
}

#[derive(Default)]
struct Queue {
    ended: VecDeque<qrt_event_t>,
    wake: Option<Arc<Wake>>,
    closed: bool,
}

/// The wake function of a caller.
struct Wake {
    function: unsafe extern "C" fn(*mut c_void),
    user_data: *mut c_void,
    free: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the contract of `qrt_events_set_wake` says that its functions run on other threads.
unsafe impl Send for Wake {}
// SAFETY: as above, and on several at once.
unsafe impl Sync for Wake {}

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: called once, after the last call of the function.
            unsafe { free(self.user_data) };
        }
    }
}

/// An ended operation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_event_t {
    /// The tag given to `qrt_events_watch`.
    pub tag: u64,
    /// The operation, ended; the caller owns it, takes its result and frees it.
    pub op: *mut qrt_op_t,
}

// SAFETY: operations are thread-safe, and the event is their only owner.
unsafe impl Send for qrt_event_t {}

impl Events {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an ended operation.
    pub(crate) fn push(&self, tag: u64, op: qrt_op_t) {
        let op = Box::into_raw(Box::new(op));
        let event = qrt_event_t { tag, op };
        let mut queue = self.lock();
        if queue.closed {
            drop(queue);
            // SAFETY: the event owns its operation, and nobody else will see it.
            unsafe { free(event.op) };
            return;
        }
        queue.ended.push_back(event);
        let mut wake = None;
        if queue.ended.len() == 1 {
            self.signal.set();
            wake = queue.wake.clone();
        }
        drop(queue);
        if let Some(wake) = wake {
            // SAFETY: as the contract of `qrt_events_set_wake` says; no lock is held.
            unsafe { (wake.function)(wake.user_data) };
        }
    }
}

/// Makes an event queue. The caller owns it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_events_new(
    runtime: *mut qrt_runtime_t,
    events: *mut *mut qrt_events_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(events, "events")?;
            let home = borrow(runtime, "runtime")?.0.clone();
            home.check()?;
            place.0 = Box::into_raw(Box::new(qrt_events_t(Arc::new(Events {
                queue: Mutex::default(),
                signal: Signal::new()?,
                home,
            }))));
            Ok(())
        })
    }
}

/// A file descriptor that is readable while the queue is not empty (poll, epoll, select,
/// `add_reader`); -1 where there is none. The queue owns it: do not read or close it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_events_fd(events: *const qrt_events_t) -> i32 {
    // SAFETY: the caller vouches for the handle.
    unsafe { events.as_ref() }.map_or(-1, |events| events.0.signal.fd())
}

/// Sets the function that is told when the queue turns from empty to not empty, on the thread an
/// operation ends on and with no lock held; NULL removes it. It must not throw, and should only
/// wake its loop. `free(user_data)`, unless NULL, runs once, when the function is replaced or the
/// queue freed and its last call has returned; also when this call fails. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_events_set_wake(
    events: *mut qrt_events_t,
    wake: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    user_data: *mut c_void,
    free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    unsafe extern "C" fn nothing(_: *mut c_void) {}
    let told = wake.is_some();
    let wake = Arc::new(Wake {
        function: wake.unwrap_or(nothing),
        user_data,
        free,
    });
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let events = &borrow(events, "events")?.0;
            events.home.check()?;
            let new = told.then_some(wake);
            // Not under the lock: the one before may free its user data.
            let before = std::mem::replace(&mut events.lock().wake, new);
            drop(before);
            Ok(())
        })
    }
}

/// Puts an operation into the queue under a tag once it has ended; at once, when it has ended
/// already. The caller's handle stays the caller's, to cancel the operation by; free it as well.
/// `qrt_events_drain` gives another one. An operation has one queue: `QRT_ERR_INVALID_ARGUMENT`
/// when it has one already. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_events_watch(
    events: *mut qrt_events_t,
    op: *mut qrt_op_t,
    tag: u64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the handles.
    unsafe {
        run(error, || {
            let events = &borrow(events, "events")?.0;
            events.home.check()?;
            borrow(op, "op")?.0.watch(events, tag)
        })
    }
}

/// Moves up to `capacity` ended operations into `events_out`, oldest first; the caller owns them.
/// Answers how many. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_events_drain(
    events: *mut qrt_events_t,
    events_out: *mut qrt_event_t,
    capacity: usize,
) -> usize {
    // SAFETY: the caller vouches for the handle.
    let Some(events) = (unsafe { events.as_ref() }) else {
        return 0;
    };
    if events_out.is_null() || !events.0.home.is_here() {
        return 0;
    }
    get(0, || {
        let mut queue = events.0.lock();
        let count = capacity.min(queue.ended.len());
        for (index, event) in queue.ended.drain(..count).enumerate() {
            // SAFETY: the caller vouches for `capacity` places, and `count` is no more.
            unsafe { events_out.add(index).write(event) };
        }
        if queue.ended.is_empty() {
            events.0.signal.clear();
        }
        count
    })
}

/// Frees an event queue with the operations in it; those that end later are freed when they do.
/// NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_events_free(events: *mut qrt_events_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(events) }
}

impl Drop for qrt_events_t {
    fn drop(&mut self) {
        if !self.0.home.is_here() {
            // A thread that does not exist here may have the lock.
            return;
        }
        let mut queue = self.0.lock();
        queue.closed = true;
        let wake = queue.wake.take();
        let ended = std::mem::take(&mut queue.ended);
        drop(queue);
        drop(wake);
        for event in ended {
            // SAFETY: nobody drained the event, so its operation is still its own.
            unsafe { free(event.op) };
        }
    }
}

#[cfg(target_os = "linux")]
use self::eventfd::Signal;
#[cfg(not(target_os = "linux"))]
use self::none::Signal;

#[cfg(target_os = "linux")]
mod eventfd {
    use super::{Error, Result};
    use queue_runtime_core::ErrorKind;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    /// An eventfd: readable while set.
    pub(super) struct Signal(OwnedFd);

    impl Signal {
        pub(super) fn new() -> Result<Self> {
            // SAFETY: makes a descriptor, touches no memory.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                let source = std::io::Error::last_os_error();
                return Err(Error::new(ErrorKind::Io, "no eventfd can be made").with_source(source));
            }
            // SAFETY: the descriptor is new and nobody else's.
            Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
        }

        pub(super) fn fd(&self) -> i32 {
            self.0.as_raw_fd()
        }

        pub(super) fn set(&self) {
            let one = 1u64;
            // SAFETY: writes the eight bytes of `one` to a descriptor that is open.
            unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
        }

        pub(super) fn clear(&self) {
            let mut count = 0u64;
            // SAFETY: reads eight bytes into `count` from a descriptor that is open.
            unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use super::Result;

    /// No descriptor here: use the wake function.
    pub(super) struct Signal;

    impl Signal {
        pub(super) fn new() -> Result<Self> {
            Ok(Self)
        }

        pub(super) fn fd(&self) -> i32 {
            -1
        }

        pub(super) fn set(&self) {}

        pub(super) fn clear(&self) {}
    }
}
