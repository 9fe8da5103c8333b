//! Messages that were looked at, not taken.

use queue_runtime_core::{MessageState, Peeked};

use crate::abi::{free, get, qrt_bytes_t};
use crate::message::qrt_message_t;

/// To be received.
pub const QRT_STATE_READY: u32 = 0;
/// Not yet to be received.
pub const QRT_STATE_DELAYED: u32 = 1;
/// In somebody's hands.
pub const QRT_STATE_IN_FLIGHT: u32 = 2;

/// Messages that were looked at, not taken. Immutable, any thread.
pub struct qrt_peeked_t {
    entries: Vec<(Peeked, String)>,
}

impl qrt_peeked_t {
    pub(crate) fn new(peeked: Vec<Peeked>) -> Box<Self> {
        let entries = peeked.into_iter().map(|p| {
            let id = p.id.to_string();
            (p, id)
        });
        Box::new(Self {
            entries: entries.collect(),
        })
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn shown<T: Copy>(
    peeked: *const qrt_peeked_t,
    index: usize,
    fallback: T,
    read: impl FnOnce(&Peeked, &str) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { peeked.as_ref() }.and_then(|peeked| peeked.entries.get(index)) {
        Some((peeked, id)) => get(fallback, || read(peeked, id)),
        None => fallback,
    }
}

/// How many messages; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_count(peeked: *const qrt_peeked_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { peeked.as_ref() }.map_or(0, |peeked| peeked.entries.len())
}

/// Message `index`, or NULL when there is none. Borrows until the messages are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_message(
    peeked: *const qrt_peeked_t,
    index: usize,
) -> *const qrt_message_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        shown(peeked, index, std::ptr::null(), |p, _| {
            qrt_message_t::view(&p.message)
        })
    }
}

/// The id of message `index`. Borrows until the messages are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_id(peeked: *const qrt_peeked_t, index: usize) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        shown(peeked, index, qrt_bytes_t::EMPTY, |_, id| {
            qrt_bytes_t::of(id.as_bytes())
        })
    }
}

/// How message `index` stands: `QRT_STATE_...`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_state(peeked: *const qrt_peeked_t, index: usize) -> u32 {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        shown(peeked, index, QRT_STATE_READY, |p, _| match p.state {
            MessageState::Ready => QRT_STATE_READY,
            MessageState::Delayed => QRT_STATE_DELAYED,
            MessageState::InFlight => QRT_STATE_IN_FLIGHT,
        })
    }
}

/// The place of message `index` in the order of the queue: the cursor of a listing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_sequence(peeked: *const qrt_peeked_t, index: usize) -> u64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { shown(peeked, index, 0, |p, _| p.sequence) }
}

/// Attempts made at message `index`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_attempts(peeked: *const qrt_peeked_t, index: usize) -> u32 {
    // SAFETY: the caller vouches for the handle.
    unsafe { shown(peeked, index, 0, |p, _| p.attempts) }
}

/// When message `index` was sent, in milliseconds since 1970 UTC. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_enqueued_at(peeked: *const qrt_peeked_t, index: usize) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { shown(peeked, index, 0, |p, _| p.enqueued_at.0) }
}

/// Frees messages that were looked at. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_free(peeked: *mut qrt_peeked_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(peeked) }
}
