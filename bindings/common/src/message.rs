//! Messages: made to be sent, and seen in what was received.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::time::Duration;

use queue_runtime::*;

use crate::abi::{Handle, bytes, call, lend, lend_text, make, some_ms, some_text, text};
use crate::error::Result;
use crate::runtime::ms;

/// A message to send.
pub struct Message(pub(crate) Handle<qrt_message_t>);

impl Message {
    /// A message with this body, which is copied.
    pub fn new(body: &[u8]) -> Result<Self> {
        let mut message = Self::empty()?;
        message.set(|message, error| {
            // SAFETY: the handle is owned, the body lives for the length of the call.
            unsafe { qrt_message_set_body(message, lend(body), error) }
        })?;
        Ok(message)
    }

    /// A message with this body, which is not copied, but dropped after its last use, on any
    /// thread.
    pub fn taking<B: AsRef<[u8]> + Send + Sync + 'static>(body: B) -> Result<Self> {
        unsafe extern "C" fn free<B>(body: *mut c_void) {
            // SAFETY: made below, and freed once.
            let body = unsafe { Box::from_raw(body.cast::<B>()) };
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(body)));
        }
        let mut message = Self::empty()?;
        let body = Box::into_raw(Box::new(body));
        message.set(|message, error| {
            // SAFETY: the handle is owned; the box lives until `free` has run, which it does once,
            // on failure as well.
            unsafe {
                let bytes = lend((*body).as_ref());
                qrt_message_take_body(message, bytes, Some(free::<B>), body.cast(), error)
            }
        })?;
        Ok(message)
    }

    /// The message, to be looked at.
    pub fn view(&self) -> MessageView<'_> {
        // SAFETY: the message lives as long as `self`, and is changed through `&mut` only.
        unsafe { MessageView::new(self.0.get()) }
    }

    fn empty() -> Result<Self> {
        // SAFETY: the place is here.
        make(|place, error| unsafe { qrt_message_new(place, error) }).map(Self)
    }

    fn set(
        &mut self,
        function: impl FnOnce(*mut qrt_message_t, *mut *mut qrt_error_t) -> qrt_status_t,
    ) -> Result<()> {
        call(|error| function(self.0.get(), error)).map(drop)
    }

    /// Sets a header, in place of one of the same name.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, value) = (lend_text(Some(name)), lend_text(Some(value)));
        // SAFETY: the handle is owned, the texts live for the length of the call.
        self.set(|message, error| unsafe { qrt_message_set_header(message, name, value, error) })
    }

    /// Gives the message an id of the sender's choice.
    pub fn set_id(&mut self, id: &str) -> Result<()> {
        // SAFETY: as for `set_header`.
        self.set(|m, error| unsafe { qrt_message_set_id(m, lend_text(Some(id)), error) })
    }

    /// Puts the message into an ordered group.
    pub fn set_session(&mut self, session: &str) -> Result<()> {
        // SAFETY: as for `set_header`.
        self.set(|m, error| unsafe { qrt_message_set_session(m, lend_text(Some(session)), error) })
    }

    /// Puts the message into the session that a key, as JSON, finds in its headers at this moment, in
    /// milliseconds since 1970; into none where it finds none.
    pub fn set_session_by(&mut self, key: &str, now: i64) -> Result<()> {
        let key = lend_text(Some(key));
        // SAFETY: as for `set_header`.
        self.set(|m, error| unsafe { qrt_message_set_session_by(m, key, now, error) })
    }

    /// Says what this message answers or belongs to.
    pub fn set_correlation_id(&mut self, id: &str) -> Result<()> {
        let id = lend_text(Some(id));
        // SAFETY: as for `set_header`.
        self.set(|m, error| unsafe { qrt_message_set_correlation_id(m, id, error) })
    }

    /// Says the media type of the body.
    pub fn set_content_type(&mut self, content_type: &str) -> Result<()> {
        let content_type = lend_text(Some(content_type));
        // SAFETY: as for `set_header`.
        self.set(|m, error| unsafe { qrt_message_set_content_type(m, content_type, error) })
    }

    /// Within the dedup window only the first message of this dedup id is stored.
    pub fn set_dedup_id(&mut self, id: &str) -> Result<()> {
        // SAFETY: as for `set_header`.
        self.set(|m, error| unsafe { qrt_message_set_dedup_id(m, lend_text(Some(id)), error) })
    }

    /// Lets the message appear only this long after its sending.
    pub fn set_delay(&mut self, delay: Duration) -> Result<()> {
        // SAFETY: the handle is owned.
        self.set(|m, error| unsafe { qrt_message_set_delay_ms(m, ms(delay), error) })
    }

    /// Lets the message expire this long after its sending.
    pub fn set_ttl(&mut self, ttl: Duration) -> Result<()> {
        // SAFETY: the handle is owned.
        self.set(|m, error| unsafe { qrt_message_set_ttl_ms(m, ms(ttl), error) })
    }
}

/// A message that something else holds.
#[derive(Clone, Copy)]
pub struct MessageView<'a> {
    message: *const qrt_message_t,
    holder: PhantomData<&'a ()>,
}

// SAFETY: it is read only, and its holder may be used from any thread.
unsafe impl Send for MessageView<'_> {}
// SAFETY: as above.
unsafe impl Sync for MessageView<'_> {}

impl<'a> MessageView<'a> {
    /// # Safety
    /// The message is NULL, or lives, unchanged, for `'a`.
    pub(crate) unsafe fn new(message: *const qrt_message_t) -> Self {
        Self {
            message,
            holder: PhantomData,
        }
    }

    /// A message of the caller's own with the same contents, which are shared.
    pub fn to_message(self) -> Result<Message> {
        // SAFETY: the message lives for `'a`.
        make(|place, error| unsafe { qrt_message_copy(self.message, place, error) }).map(Message)
    }

    /// The body.
    pub fn body(self) -> &'a [u8] {
        // SAFETY: the message lives for `'a`.
        unsafe { bytes(qrt_message_body(self.message)) }
    }

    /// The ordered group it is in.
    pub fn session(self) -> Option<&'a str> {
        // SAFETY: the message lives for `'a`.
        unsafe { some_text(qrt_message_session(self.message)) }
    }

    /// What it answers or belongs to.
    pub fn correlation_id(self) -> Option<&'a str> {
        // SAFETY: the message lives for `'a`.
        unsafe { some_text(qrt_message_correlation_id(self.message)) }
    }

    /// The media type of the body.
    pub fn content_type(self) -> Option<&'a str> {
        // SAFETY: the message lives for `'a`.
        unsafe { some_text(qrt_message_content_type(self.message)) }
    }

    /// The dedup id.
    pub fn dedup_id(self) -> Option<&'a str> {
        // SAFETY: the message lives for `'a`.
        unsafe { some_text(qrt_message_dedup_id(self.message)) }
    }

    /// How long after its sending it appears, in milliseconds.
    pub fn delay_ms(self) -> Option<i64> {
        // SAFETY: the message lives for `'a`.
        some_ms(unsafe { qrt_message_delay_ms(self.message) })
    }

    /// How long after its sending it expires, in milliseconds.
    pub fn ttl_ms(self) -> Option<i64> {
        // SAFETY: the message lives for `'a`.
        some_ms(unsafe { qrt_message_ttl_ms(self.message) })
    }

    /// The value of a header.
    pub fn header(self, name: &str) -> Option<&'a str> {
        // SAFETY: the message lives for `'a`, the name for the length of the call.
        unsafe { some_text(qrt_message_header(self.message, lend_text(Some(name)))) }
    }

    /// The headers, in the order of their names.
    pub fn headers(self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> {
        // SAFETY: the message lives for `'a`.
        let count = unsafe { qrt_message_header_count(self.message) };
        (0..count).map(move |index| {
            let (mut name, mut value) = (lend(&[]), lend(&[]));
            // SAFETY: the message lives for `'a`, the places for the length of the call.
            unsafe {
                qrt_message_header_at(self.message, index, &raw mut name, &raw mut value);
                (text(name), text(value))
            }
        })
    }
}
