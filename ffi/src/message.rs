//! Messages: made to be sent, and seen in what was received.

use std::ffi::c_void;

use bytes::Bytes;
use queue_runtime_core::{Message, Properties, Result, SessionKey, Timestamp};

use crate::abi::{
    Taken, borrow, duration, free, get, handle_output, millis, null, qrt_bytes_t, run, slice,
};
use crate::error::{qrt_error_t, qrt_status_t};

/// A message: made by the caller to be sent as often as wanted, or seen in what holds it (a
/// delivery, a listing), which it is borrowed from. One thread at a time may change one of the
/// caller's; any number may read and send it.
// Written so that the generator of the header, which looks for `repr`, leaves the type opaque.
#[cfg_attr(all(), repr(transparent))]
pub struct qrt_message_t(pub(crate) Message);

impl qrt_message_t {
    /// The view of a message that something else holds.
    pub(crate) fn view(message: &Message) -> *const Self {
        std::ptr::from_ref(message).cast()
    }
}

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

/// Makes a message of the caller's own out of one that something else holds. Their contents are
/// shared until one is changed. The caller owns `*copy`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_copy(
    message: *const qrt_message_t,
    copy: *mut *mut qrt_message_t,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        run(error, || {
            let place = handle_output(copy, "copy")?;
            let message = borrow(message, "message")?.0.clone();
            place.0 = Box::into_raw(Box::new(qrt_message_t(message)));
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
            message.0.set_body(match crate::bodies() {
                Some(bodies) => bodies.copy(body),
                None => Bytes::copy_from_slice(body),
            });
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

/// Puts the message into the session that `key` finds in its headers, which are set before, or into
/// none where it finds none. A key is JSON: `{"field": "customer"}`, `{"composite": ["tenant",
/// "order"]}`, `{"first_of": [KEY, ...]}`, each also with a `"prefix"` and, for another session every
/// so many hours, `"per_hours"`; or `"none"`. `now_ms` is the moment of the latter, such as that of
/// `qrt_runtime_now`. `QRT_ERR_INVALID_CONFIG` says what is wrong with the key. Copies. One thread at
/// a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_set_session_by(
    message: *mut qrt_message_t,
    key: qrt_bytes_t,
    now_ms: i64,
    error: *mut *mut qrt_error_t,
) -> qrt_status_t {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        edit(message, error, |m| {
            let key: SessionKey = key.text("key")?.parse()?;
            Ok(m.session_by(&key, Timestamp(now_ms)))
        })
    }
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

/// Within the dedup window only the first message of this dedup id is stored. Copies. One thread
/// at a time.
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

/// Reads one thing of a message; NULL gives the fallback.
///
/// # Safety
/// The handle is NULL or good.
unsafe fn read<T: Copy>(
    message: *const qrt_message_t,
    fallback: T,
    read: impl FnOnce(&Message) -> T,
) -> T {
    // SAFETY: the caller vouches for the handle.
    match unsafe { message.as_ref() } {
        Some(message) => get(fallback, || read(&message.0)),
        None => fallback,
    }
}

/// A text of a message; empty when it has none.
///
/// # Safety
/// The handle is NULL or good.
unsafe fn text(
    message: *const qrt_message_t,
    pick: impl FnOnce(&Properties) -> Option<&str>,
) -> qrt_bytes_t {
    // SAFETY: passed on.
    unsafe {
        read(message, qrt_bytes_t::EMPTY, |m| {
            qrt_bytes_t::of_text(pick(m.properties()))
        })
    }
}

/// The body. Borrows as long as the message, until it is changed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_body(message: *const qrt_message_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(message, qrt_bytes_t::EMPTY, |m| qrt_bytes_t::of(m.body())) }
}

/// The ordered group the message is in, or empty. Borrows as long as the message, until it is changed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_session(message: *const qrt_message_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe { text(message, |p| p.session.as_deref()) }
}

/// What the message answers or belongs to, or empty. Borrows as long as the message, until it is changed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_correlation_id(message: *const qrt_message_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe { text(message, |p| p.correlation_id.as_deref()) }
}

/// The media type of the body, or empty. Borrows as long as the message, until it is changed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_content_type(message: *const qrt_message_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe { text(message, |p| p.content_type.as_deref()) }
}

/// The dedup id, or empty. Borrows as long as the message, until it is changed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_dedup_id(message: *const qrt_message_t) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle.
    unsafe { text(message, |p| p.dedup_id.as_deref()) }
}

/// How long after its sending the message appears, in milliseconds; -1 when that was not said.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_delay_ms(message: *const qrt_message_t) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(message, -1, |m| m.properties().delay.map_or(-1, millis)) }
}

/// How long after its sending the message expires, in milliseconds; -1 when that was not said.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_ttl_ms(message: *const qrt_message_t) -> i64 {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(message, -1, |m| m.properties().ttl.map_or(-1, millis)) }
}

/// The value of a header, or empty. Borrows as long as the message, until it is changed. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_header(
    message: *const qrt_message_t,
    name: qrt_bytes_t,
) -> qrt_bytes_t {
    // SAFETY: the caller vouches for the handle and the name.
    unsafe {
        let name = name.text("name").unwrap_or("");
        text(message, |p| p.headers.get(name).map(|value| &**value))
    }
}

/// How many headers; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_header_count(message: *const qrt_message_t) -> usize {
    // SAFETY: the caller vouches for the handle.
    unsafe { read(message, 0, |m| m.properties().headers.len()) }
}

/// Name and value of header `index`, in the order of the names; both empty when there is none.
/// Either place may be NULL. They borrow as long as the message, until it is changed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qrt_message_header_at(
    message: *const qrt_message_t,
    index: usize,
    name: *mut qrt_bytes_t,
    value: *mut qrt_bytes_t,
) {
    let none = (qrt_bytes_t::EMPTY, qrt_bytes_t::EMPTY);
    // SAFETY: the caller vouches for the handle; each place is NULL or writable.
    unsafe {
        let found = read(message, none, |m| {
            let header = m.properties().headers.iter().nth(index);
            header.map_or(none, |(name, value)| {
                (
                    qrt_bytes_t::of(name.as_bytes()),
                    qrt_bytes_t::of(value.as_bytes()),
                )
            })
        });
        if let Some(name) = name.as_mut() {
            *name = found.0;
        }
        if let Some(value) = value.as_mut() {
            *value = found.1;
        }
    }
}

/// Frees a message of the caller's; what was sent of it stays sent. Not for one that is borrowed.
/// NULL does nothing. Any thread.
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
    // SAFETY: passed on.
    let handles = unsafe { slice(messages, count, "messages") }?;
    handles
        .iter()
        // SAFETY: the caller vouches for each.
        .map(|handle| Ok(unsafe { borrow(*handle, "messages") }?.0.clone()))
        .collect()
}
