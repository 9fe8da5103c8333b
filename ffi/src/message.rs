//! Messages to send, and what became of them.

use std::ffi::c_void;

use bytes::Bytes;
use queue_runtime_core::{Error, Message, MessageState, Peeked, Result, SendResult};

use crate::abi::{Taken, borrow, duration, free, get, handle_output, null, qrt_bytes_t, run};
use crate::error::{QRT_OK, qrt_error_t, qrt_status_t, status_of};

/// A message to send: filled in, sent as often as wanted, freed. One thread at a time may change
/// it; any number may send it.
pub struct qrt_message_t(pub(crate) Message);

/// Makes an empty message. The caller owns it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_new(
    message: *mut *mut qrt_message_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(message, "message")?;
            place.0 = Box::into_raw(Box::new(qrt_message_t(Message::default())));
            Ok(())
        })
    }
}

/// Changes a message in place.
///
/// # Safety
/// The handle is NULL or the caller's, and used by no other thread.
unsafe fn edit(
    message: *mut qrt_message_t,
    error: *mut *mut qrt_error_t,
    edit: impl FnOnce(Message) -> Result<Message>,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let message = message.as_mut().ok_or_else(|| null("message"))?;
            message.0 = edit(message.0.clone())?;
            Ok(())
        })
    }
}

/// Sets the body. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_body(
    message: *mut qrt_message_t,
    body: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let message = message.as_mut().ok_or_else(|| null("message"))?;
            let body = body.bytes("body")?;
            message.0.set_body(crate::bodies().copy(body));
            Ok(())
        })
    }
}

/// Sets the body to memory the library takes: `free(user_data)` runs once, on any thread, when
/// the last use of it is over, or at once when the call fails. `free` may be NULL for memory that
/// lives for ever. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_take_body(
    message: *mut qrt_message_t,
    body: qrt_bytes_t,
    free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    user_data: *mut c_void,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    let mut taken = Taken {
        bytes: &[],
        free,
        user_data,
    };
    // SAFETY: the caller vouches for the pointers; `taken` keeps the memory alive.
    unsafe {
        run(error, || {
            let message = message.as_mut().ok_or_else(|| null("message"))?;
            taken.bytes = body.bytes("body")?;
            message.0.set_body(Bytes::from(taken));
            Ok(())
        })
    }
}

/// Sets a header, in place of one of the same name. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_header(
    message: *mut qrt_message_t,
    name: qrt_bytes_t,
    value: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        edit(message, error, |m| {
            Ok(m.header(name.text("name")?, value.text("value")?))
        })
    }
}

/// Gives the message an id of the sender's choice. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_id(
    message: *mut qrt_message_t,
    value: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { edit(message, error, |m| Ok(m.id(value.text("id")?))) }
}

/// Puts the message into an ordered group. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_session(
    message: *mut qrt_message_t,
    value: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { edit(message, error, |m| Ok(m.session(value.text("session")?))) }
}

/// Says what this message answers or belongs to. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_correlation_id(
    message: *mut qrt_message_t,
    value: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        edit(message, error, |m| {
            Ok(m.correlation_id(value.text("correlation_id")?))
        })
    }
}

/// Says the media type of the body. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_content_type(
    message: *mut qrt_message_t,
    value: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        edit(message, error, |m| {
            Ok(m.content_type(value.text("content_type")?))
        })
    }
}

/// Within the dedup window only the first message of this dedup id is stored. Copies. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_dedup_id(
    message: *mut qrt_message_t,
    value: qrt_bytes_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { edit(message, error, |m| Ok(m.dedup_id(value.text("dedup_id")?))) }
}

/// Lets the message appear only this long after its sending. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_delay_ms(
    message: *mut qrt_message_t,
    delay_ms: i64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        edit(message, error, |m| {
            Ok(m.delay(duration(delay_ms, "delay_ms")?))
        })
    }
}

/// Lets the message expire this long after its sending. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_ttl_ms(
    message: *mut qrt_message_t,
    ttl_ms: i64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe { edit(message, error, |m| Ok(m.ttl(duration(ttl_ms, "ttl_ms")?))) }
}

/// Frees a message; what was sent of it stays sent. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_free(message: *mut qrt_message_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(message) }
}

/// The messages of these handles, shared.
///
/// # Safety
/// `messages` is NULL or points to `count` handles, each NULL or good.
pub(crate) unsafe fn collect(
    messages: *const *const qrt_message_t,
    count: usize,
) -> Result<Vec<Message>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if messages.is_null() {
        return Err(null("messages"));
    }
    if count > isize::MAX as usize / size_of::<*const qrt_message_t>() {
        return Err(Error::invalid_argument("count", "is larger than memory"));
    }
    // SAFETY: not null, and the caller vouches for `count` handles.
    let handles = unsafe { std::slice::from_raw_parts(messages, count) };
    handles
        .iter()
        // SAFETY: the caller vouches for each.
        .map(|handle| Ok(unsafe { borrow(*handle, "messages") }?.0.clone()))
        .collect()
}

/// What became of the messages of a send. Result i belongs to message i. Immutable, any thread.
pub struct qrt_send_results_t {
    entries: Vec<Sent>,
}

struct Sent {
    id: String,
    duplicate: bool,
    error: Option<Box<qrt_error_t>>,
    status: qrt_status_t,
}

impl qrt_send_results_t {
    pub(crate) fn new(results: Vec<Result<SendResult>>) -> Box<Self> {
        let entry = |result: Result<SendResult>| match result {
            Ok(result) => Sent {
                id: result.id.to_string(),
                duplicate: result.is_duplicate(),
                error: None,
                status: QRT_OK,
            },
            Err(error) => Sent {
                id: String::new(),
                duplicate: false,
                status: status_of(&error),
                error: Some(Box::new(qrt_error_t::new(error))),
            },
        };
        Box::new(Self {
            entries: results.into_iter().map(entry).collect(),
        })
    }
}

/// # Safety
/// The handle is NULL or good.
unsafe fn sent<T>(
    results: *const qrt_send_results_t,
    index: usize,
    fallback: T,
    read: impl FnOnce(&Sent) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { results.as_ref() }.and_then(|results| results.entries.get(index)) {
        Some(entry) => read(entry),
        None => fallback,
    }
}

/// How many results; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_count(results: *const qrt_send_results_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { results.as_ref() }.map_or(0, |results| results.entries.len())
}

/// `QRT_OK` when message `index` is stored, else why not; `QRT_ERR_INVALID_ARGUMENT` when there is
/// no such result. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_status(
    results: *const qrt_send_results_t,
    index: usize,
) -> qrt_status_t {
    let none = crate::error::QRT_ERR_INVALID_ARGUMENT;
    // SAFETY: the caller vouches for the handle.
    unsafe { sent(results, index, none, |entry| entry.status) }
}

/// The id of stored message `index`; of the first one, if it was a duplicate. Borrows until the
/// results are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_id(
    results: *const qrt_send_results_t,
    index: usize,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        sent(results, index, qrt_bytes_t::EMPTY, |entry| {
            qrt_bytes_t::of(entry.id.as_bytes())
        })
    }
}

/// 1 when message `index` was not stored because one of the same dedup id was before it. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_is_duplicate(
    results: *const qrt_send_results_t,
    index: usize,
) -> u32 {
    // SAFETY: the caller vouches for the handle.
    unsafe { sent(results, index, 0, |entry| u32::from(entry.duplicate)) }
}

/// The error of message `index`, or NULL. Borrows until the results are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_error(
    results: *const qrt_send_results_t,
    index: usize,
) -> *const qrt_error_t {
    let error = |entry: &Sent| {
        entry
            .error
            .as_deref()
            .map_or(std::ptr::null(), std::ptr::from_ref)
    };
    // SAFETY: the caller vouches for the handle.
    unsafe { sent(results, index, std::ptr::null(), error) }
}

/// Frees results. NULL does nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_send_results_free(results: *mut qrt_send_results_t) {
    // SAFETY: the caller gives up its handle.
    unsafe { free(results) }
}

/// A message's place among the other text fields of it.
pub(crate) fn text_of(message: &Message, field: u32) -> qrt_bytes_t {
    let p = message.properties();
    let text = match field {
        QRT_FIELD_SESSION => &p.session,
        QRT_FIELD_CORRELATION_ID => &p.correlation_id,
        QRT_FIELD_CONTENT_TYPE => &p.content_type,
        QRT_FIELD_DEDUP_ID => &p.dedup_id,
        _ => return qrt_bytes_t::EMPTY,
    };
    qrt_bytes_t::of_text(text.as_deref())
}

/// The message's identity.
pub const QRT_FIELD_ID: u32 = 0;
/// The ordered group.
pub const QRT_FIELD_SESSION: u32 = 1;
/// What the message answers or belongs to.
pub const QRT_FIELD_CORRELATION_ID: u32 = 2;
/// The media type of the body.
pub const QRT_FIELD_CONTENT_TYPE: u32 = 3;
/// The dedup id.
pub const QRT_FIELD_DEDUP_ID: u32 = 4;

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

/// The body of message `index`. Borrows until the messages are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_body(peeked: *const qrt_peeked_t, index: usize) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        shown(peeked, index, qrt_bytes_t::EMPTY, |p, _| {
            qrt_bytes_t::of(p.message.body())
        })
    }
}

/// A text field (`QRT_FIELD_...`) of message `index`; empty when it has none. Borrows until the
/// messages are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_peeked_field(
    peeked: *const qrt_peeked_t,
    index: usize,
    field: u32,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe {
        shown(peeked, index, qrt_bytes_t::EMPTY, |p, id| match field {
            QRT_FIELD_ID => qrt_bytes_t::of(id.as_bytes()),
            other => text_of(&p.message, other),
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
