//! Sessions: ordered groups with one holder at a time.

use std::sync::Arc;

use bytes::Bytes;
use queue_runtime_core::{Result, Session, SessionOptions};

use crate::abi::{borrow, call, duration, free, handle_output, qrt_bytes_t, some_duration};
use crate::buffer::qrt_buffer_t;
use crate::delivery::qrt_batch_t;
use crate::error::{qrt_error_t, qrt_status_t};
use crate::op::{op_place, qrt_completion_t, qrt_op_t, start, start_future};
use crate::options::{Options, read};
use crate::queue::{qrt_queue_t, qrt_receive_options_t};
use crate::runtime::Home;

/// A held session. Thread-safe. Let go by close, by free, or when its lock ends.
pub struct qrt_session_t {
    session: std::mem::ManuallyDrop<Arc<Session>>,
    home: Home,
}

impl Drop for qrt_session_t {
    fn drop(&mut self) {
        if self.home.is_here() {
            // SAFETY: dropped once, here; leaked in a forked child.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.session) };
        }
    }
}

impl qrt_session_t {
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn usable(&self) -> Result<Arc<Session>> {
        self.home.check()?;
        Ok(Arc::clone(&self.session))
    }
}

/// Options of an accept. Begin with `QRT_SESSION_OPTIONS_INIT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qrt_session_options_t {
    /// `sizeof(qrt_session_options_t)` of the caller.
    pub struct_size: usize,
    /// How long to wait for a session with work, in milliseconds; 0 looks once. Default 10,000.
    /// Only of `qrt_session_accept_next`.
    pub wait_ms: i64,
    /// How long the session is locked, in milliseconds; -1: as long as the queue says. Default -1.
    pub lock_ms: i64,
}

impl Options for qrt_session_options_t {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        wait_ms: 10_000,
        lock_ms: -1,
    };
}

/// Takes the session of this id. `options` may be NULL. `QRT_OK`: `*session` is held by the
/// caller, who owns it. `QRT_PENDING`: `qrt_op_take_session`. `QRT_ERR_SESSION_LOCKED` when
/// somebody holds it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_accept(
    queue: *mut qrt_queue_t,
    id: qrt_bytes_t,
    options: *const qrt_session_options_t,
    done: qrt_completion_t,
    session: *mut *mut qrt_session_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        accept(queue, options, done, session, op, error, |_| {
            Ok(SessionOptions::id(id.text("id")?))
        })
    }
}

/// Takes whichever session has work. `options` may be NULL. `QRT_OK`: `*session` is held by the
/// caller, who owns it, or NULL when none had work and the wait is 0. `QRT_PENDING`:
/// `qrt_op_take_session`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_accept_next(
    queue: *mut qrt_queue_t,
    options: *const qrt_session_options_t,
    done: qrt_completion_t,
    session: *mut *mut qrt_session_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        accept(queue, options, done, session, op, error, |options| {
            Ok(SessionOptions::next().wait(duration(options.wait_ms, "wait_ms")?))
        })
    }
}

/// # Safety
/// The pointers are NULL or good.
unsafe fn accept(
    queue: *mut qrt_queue_t,
    options: *const qrt_session_options_t,
    done: qrt_completion_t,
    session: *mut *mut qrt_session_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
    which: impl FnOnce(&qrt_session_options_t) -> Result<SessionOptions>,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(session, "session")?;
            let handle = borrow(queue, "queue")?;
            let options = read(options)?;
            let accept = match some_duration(options.lock_ms, "lock_ms")? {
                Some(lock) => which(&options)?.lock(lock),
                None => which(&options)?,
            };
            let queue = handle.usable()?.clone();
            let home = handle.home.clone();
            let accepting = async move {
                let session = queue.accept_session(accept).await?;
                Ok(session.map(|session| {
                    Box::new(qrt_session_t {
                        session: std::mem::ManuallyDrop::new(Arc::new(session)),
                        home,
                    })
                }))
            };
            start_future(&handle.home, accepting, done, place, op)
        })
    }
}

/// The id of a session; empty for NULL. Borrows until the session is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_id(session: *const qrt_session_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    let session = unsafe { session.as_ref() };
    session.map_or(qrt_bytes_t::EMPTY, |s| {
        qrt_bytes_t::of(s.session.id().as_bytes())
    })
}

/// When the session's lock ends, in milliseconds since 1970 UTC; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_locked_until(session: *const qrt_session_t) -> i64 {
    // SAFETY: the caller vouches for the handle.
    let session = unsafe { session.as_ref() };
    crate::abi::get(0, || session.map_or(0, |s| s.session.locked_until().0))
}

/// Receives messages of a session, in order. Otherwise as `qrt_queue_receive`.
/// `QRT_ERR_SESSION_LOCK_LOST` once the lock has ended. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_receive(
    session: *mut qrt_session_t,
    options: *const qrt_receive_options_t,
    done: qrt_completion_t,
    batch: *mut *mut qrt_batch_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(batch, "batch")?;
            let handle = borrow(session, "session")?;
            let options = read(options)?.options()?;
            let reply = handle.usable()?.start_receive(&options);
            let home = handle.home.clone();
            let batch = reply.map(move |deliveries| Ok(qrt_batch_t::new(deliveries, home)));
            start(&handle.home, batch, done, place, op)
        })
    }
}

/// Keeps a session, and all its deliveries, for `lock_ms` milliseconds from now; -1: for its lock
/// time. Ends at once or pends, as `qrt_op_take_unit` tells. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_renew(
    session: *mut qrt_session_t,
    lock_ms: i64,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(session, "session")?;
            let lock = some_duration(lock_ms, "lock_ms")?;
            let session = handle.usable()?;
            let renew = async move { session.renew_for(lock).await };
            start_future(&handle.home, renew, done, &mut (), op)
        })
    }
}

/// The bytes kept with a session, across holders. `QRT_OK`: `*state` has them, or is NULL when
/// there are none; the caller owns it. `QRT_PENDING`: `qrt_op_take_buffer`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_state(
    session: *mut qrt_session_t,
    done: qrt_completion_t,
    state: *mut *mut qrt_buffer_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let place = handle_output(state, "state")?;
            let handle = borrow(session, "session")?;
            let session = handle.usable()?;
            let state = async move { Ok(session.state().await?.map(qrt_buffer_t::boxed)) };
            start_future(&handle.home, state, done, place, op)
        })
    }
}

/// Keeps these bytes with a session; `state` NULL removes them. Copies. Ends at once or pends, as
/// `qrt_op_take_unit` tells. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_set_state(
    session: *mut qrt_session_t,
    state: *const qrt_bytes_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(session, "session")?;
            let state = match state.as_ref() {
                Some(state) => Some(Bytes::copy_from_slice(state.bytes("state")?)),
                None => None,
            };
            let session = handle.usable()?;
            let set = async move { session.set_state(state).await };
            start_future(&handle.home, set, done, &mut (), op)
        })
    }
}

/// Lets go of a session. What is not settled goes back to its place, its attempt used. Ends at
/// once or pends, as `qrt_op_take_unit` tells. Free the handle as well. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_close(
    session: *mut qrt_session_t,
    done: qrt_completion_t,
    op: *mut *mut qrt_op_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        call(error, || {
            let op = op_place(op);
            let handle = borrow(session, "session")?;
            let session = handle.usable()?;
            let close = async move { session.close().await };
            start_future(&handle.home, close, done, &mut (), op)
        })
    }
}

/// Frees a session, and lets go of it in the background. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_session_free(session: *mut qrt_session_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(session) }
}
