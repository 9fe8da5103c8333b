//! What is sent: a body of bytes and, for those who need them, properties.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::codec::{Bincode, Codec, Json};
use crate::error::{Error, Result};
use crate::sessions::SessionKey;

/// The longest message id, session id, correlation id, content type and dedup id, in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// The longest name of a header, in bytes.
pub const MAX_HEADER_NAME_BYTES: usize = 256;
/// The longest value of a header, in bytes.
pub const MAX_HEADER_VALUE_BYTES: usize = 64 * 1024;
/// The longest delay and time to live: a hundred years.
pub const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The identity of a message: given by the sender, or made by the engine as a UUID.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Id);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Id {
    // Never zero, so that the whole takes two words.
    Made(NonZeroU64, u64),
    Given(Arc<Box<str>>),
}

impl MessageId {
    /// An engine's own id: 60 bits that name the engine, and a number of its own.
    /// Laid out as a UUID of version 8 (RFC 9562, section 5.8).
    pub(crate) fn made(engine: u64, number: u64) -> Self {
        const VERSION: NonZeroU64 = NonZeroU64::new(0x8000).unwrap();
        let high = VERSION | (engine << 4) & !0xffff | engine & 0x0fff;
        let low = 0x8000_0000_0000_0000 | number & 0x3fff_ffff_ffff_ffff;
        Self(Id::Made(high, low))
    }

    /// An id from text, as a sender or a provider gives it.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        // What prints as a UUID is kept as one, so that an id equals itself after a way as text.
        match uuid(&text) {
            Some((high, low)) => Self(Id::Made(high, low)),
            None => Self(Id::Given(Arc::new(text))),
        }
    }
}

/// The halves of a UUID, if the text is one in the form it is printed in.
fn uuid(text: &str) -> Option<(NonZeroU64, u64)> {
    let bytes = <&[u8; 36]>::try_from(text.as_bytes()).ok()?;
    let mut number = 0u128;
    for (place, byte) in bytes.iter().enumerate() {
        let digit = match (place, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u128::from(digit);
    }
    Some((NonZeroU64::new((number >> 64) as u64)?, number as u64))
}

/// Where each byte of a UUID is printed.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// Each byte as two digits.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        hex[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    hex
};

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Given(text) => f.write_str(text),
            Id::Made(high, low) => {
                // By hand: an id is written for every message that another language sees.
                let number = u128::from(high.get()) << 64 | u128::from(*low);
                let mut text = [b'-'; 36];
                for (byte, place) in number.to_be_bytes().into_iter().zip(PLACES) {
                    text[place..place + 2].copy_from_slice(&HEX[usize::from(byte)]);
                }
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl From<&str> for MessageId {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Names and values that travel beside the body, in the order of their names.
pub type Headers = BTreeMap<Arc<str>, Arc<str>>;

/// Everything of a message but its body. Shared, never copied, once sent.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Properties {
    /// The sender's own id.
    pub id: Option<MessageId>,
    /// Names and values that travel with the message.
    pub headers: Headers,
    /// The ordered group this message belongs to.
    pub session: Option<Arc<str>>,
    /// What this message answers or belongs to.
    pub correlation_id: Option<Arc<str>>,
    /// The media type of the body.
    pub content_type: Option<Arc<str>>,
    /// How long after its sending the message is worth delivering.
    pub ttl: Option<Duration>,
    /// How long after its sending the message appears.
    pub delay: Option<Duration>,
    /// Within the dedup window only the first message of this id is stored.
    pub dedup_id: Option<Arc<str>>,
}

impl Properties {
    /// Bytes these properties take beside the body, as counted against bounds.
    pub(crate) fn bytes(&self) -> usize {
        let text = |t: &Option<Arc<str>>| t.as_ref().map_or(0, |t| t.len());
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        headers
            + text(&self.session)
            + text(&self.correlation_id)
            + text(&self.content_type)
            + text(&self.dedup_id)
    }
}

/// A message to send. Cheap to clone: body and properties are shared.
///
/// ```
/// use queue_runtime_core::Message;
/// use std::time::Duration;
///
/// let message = Message::new("hello")
///     .session("customer-42")
///     .header("kind", "greeting")
///     .delay(Duration::from_secs(5));
/// assert_eq!(message.body().as_ref(), b"hello");
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Message {
    pub(crate) body: Bytes,
    pub(crate) properties: Option<Arc<Properties>>,
}

impl Message {
    /// A message with this body. `Bytes` and `'static` data are not copied.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            properties: None,
        }
    }

    /// A message whose body is this value, encoded, with the codec's content type.
    ///
    /// Fails with `InvalidMessage` when the value cannot be encoded.
    pub fn encode<C: Codec>(value: &impl Serialize) -> Result<Self> {
        Ok(Self::new(C::encode(value)?).content_type(C::CONTENT_TYPE))
    }

    /// [`Message::encode`] as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self> {
        Self::encode::<Json>(value)
    }

    /// [`Message::encode`] as bincode 2, standard configuration.
    pub fn bincode(value: &impl Serialize) -> Result<Self> {
        Self::encode::<Bincode>(value)
    }

    fn edit(mut self, edit: impl FnOnce(&mut Properties)) -> Self {
        edit(Arc::make_mut(self.properties.get_or_insert_default()));
        self
    }

    /// Gives the message an id of the sender's choice. The engine does not make it unique.
    pub fn id(self, id: impl Into<MessageId>) -> Self {
        let id = id.into();
        self.edit(|p| p.id = Some(id))
    }

    /// Sets a header, in place of one of the same name.
    pub fn header(self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.edit(|p| {
            p.headers.insert(name, value);
        })
    }

    /// Puts the message into an ordered group.
    pub fn session(self, session: impl Into<Arc<str>>) -> Self {
        let session = session.into();
        self.edit(|p| p.session = Some(session))
    }

    /// Puts the message into the session that this key finds in the headers set so far, at this
    /// moment; into none where it finds none.
    pub fn session_by(self, key: &SessionKey, now: Timestamp) -> Self {
        self.edit(|p| p.session = key.of(&p.headers, now).map(Arc::from))
    }

    /// Says what this message answers or belongs to.
    pub fn correlation_id(self, id: impl Into<Arc<str>>) -> Self {
        let id = id.into();
        self.edit(|p| p.correlation_id = Some(id))
    }

    /// Says the media type of the body.
    pub fn content_type(self, content_type: impl Into<Arc<str>>) -> Self {
        let content_type = content_type.into();
        self.edit(|p| p.content_type = Some(content_type))
    }

    /// Lets the message expire this long after its sending.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.edit(|p| p.ttl = Some(ttl))
    }

    /// Lets the message appear only this long after its sending.
    pub fn delay(self, delay: Duration) -> Self {
        self.edit(|p| p.delay = Some(delay))
    }

    /// Within the queue's dedup window, only the first message of this id is stored.
    pub fn dedup_id(self, id: impl Into<Arc<str>>) -> Self {
        let id = id.into();
        self.edit(|p| p.dedup_id = Some(id))
    }

    /// The message without its dedup id: for another sending of it.
    #[cfg(feature = "sqs")]
    pub(crate) fn without_dedup_id(self) -> Self {
        self.edit(|p| p.dedup_id = None)
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Puts another body into the message.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.body = body.into();
    }

    /// Everything but the body.
    pub fn properties(&self) -> &Properties {
        static NONE: once_cell::sync::Lazy<Properties> =
            once_cell::sync::Lazy::new(Properties::default);
        self.properties.as_deref().unwrap_or(&NONE)
    }

    /// Bytes of body, headers and ids, as counted against limits and bounds.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.properties.as_deref().map_or(0, Properties::bytes)
    }

    /// Checks what holds for every provider. `InvalidMessage` names the field.
    pub(crate) fn validate(&self) -> Result<()> {
        let Some(p) = self.properties.as_deref() else {
            return Ok(());
        };
        if let Some(MessageId(Id::Given(id))) = &p.id {
            check_id("id", id)?;
        }
        for (field, value) in [
            ("session", &p.session),
            ("correlation_id", &p.correlation_id),
            ("content_type", &p.content_type),
            ("dedup_id", &p.dedup_id),
        ] {
            if let Some(value) = value {
                check_id(field, value)?;
            }
        }
        for (name, value) in &p.headers {
            check_header(name, value)?;
        }
        for (field, duration) in [("delay", p.delay), ("ttl", p.ttl)] {
            if duration.is_some_and(|d| d > MAX_DURATION) {
                return Err(Error::invalid_message(field, "must be at most 100 years"));
            }
        }
        if p.ttl.is_some_and(|ttl| ttl.is_zero()) {
            return Err(Error::invalid_message(
                "ttl",
                "must be more than zero, or the message expires before anybody can receive it",
            ));
        }
        Ok(())
    }
}

/// Ids are 1 to 128 printable ASCII characters: what every provider can carry.
pub(crate) fn check_id(field: &'static str, id: &str) -> Result<()> {
    let what = if id.is_empty() {
        "must not be empty".to_owned()
    } else if id.len() > MAX_ID_BYTES {
        format!("has {} bytes, the limit is {MAX_ID_BYTES}", id.len())
    } else if !id.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        "must be printable ASCII".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::invalid_message(field, what))
}

fn check_header(name: &str, value: &str) -> Result<()> {
    let what = if name.is_empty() {
        "a header's name must not be empty".to_owned()
    } else if name.len() > MAX_HEADER_NAME_BYTES {
        format!(
            "a header's name has {} bytes, the limit is {MAX_HEADER_NAME_BYTES}",
            name.len()
        )
    } else if name.chars().any(char::is_control) {
        format!("the header name {name:?} holds a control character")
    } else if value.len() > MAX_HEADER_VALUE_BYTES {
        format!(
            "the value of header {name:?} has {} bytes, the limit is {MAX_HEADER_VALUE_BYTES}",
            value.len()
        )
    } else if value.contains('\0') {
        format!("the value of header {name:?} holds a NUL")
    } else {
        return Ok(());
    };
    Err(Error::invalid_message("headers", what))
}

impl fmt::Debug for Message {
    /// Shows the size of the body, never the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("body_bytes", &self.body.len())
            .field("properties", self.properties())
            .finish()
    }
}

impl From<&'static str> for Message {
    fn from(body: &'static str) -> Self {
        Self::new(body)
    }
}

impl From<String> for Message {
    fn from(body: String) -> Self {
        Self::new(body)
    }
}

impl From<Vec<u8>> for Message {
    fn from(body: Vec<u8>) -> Self {
        Self::new(body)
    }
}

impl From<Bytes> for Message {
    fn from(body: Bytes) -> Self {
        Self::new(body)
    }
}

/// A decoded body, kept beside its bytes.
#[derive(Default)]
pub(crate) struct Decoded(once_cell::sync::OnceCell<Box<dyn Any + Send + Sync>>);

impl Decoded {
    /// The decoded value: decoded at the first call, the same value afterwards.
    pub(crate) fn get<C: Codec, T>(&self, body: &[u8]) -> Result<&T>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let value = self
            .0
            .get_or_try_init(|| C::decode::<T>(body).map(|value| Box::new(value) as Box<_>))?;
        value.downcast_ref().ok_or_else(|| {
            Error::invalid_argument(
                "type",
                "this delivery was decoded before as another type; decode `body()` yourself",
            )
        })
    }
}

/// The outcome of one message of a send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendResult {
    /// The id of the stored message; of the first one, if this was a duplicate.
    pub id: MessageId,
    // A whole word: copying a value with gaps in it stalls on what was just written.
    duplicate: u64,
}

impl SendResult {
    /// The outcome of a message that was stored under this id.
    pub fn stored(id: MessageId) -> Self {
        Self { id, duplicate: 0 }
    }

    /// The outcome of a message that was not stored, because the one of this id was before it.
    pub fn duplicate_of(id: MessageId) -> Self {
        Self { id, duplicate: 1 }
    }

    /// Whether a message with the same dedup id was stored within the window before this one.
    pub fn is_duplicate(&self) -> bool {
        self.duplicate != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn made_ids_are_uuids_of_version_8_and_unique() {
        let ids: Vec<_> = (0..100)
            .map(|n| MessageId::made(0x0fed_cba9_8765_4321, n).to_string())
            .collect();
        assert_eq!(ids[1], "fedcba98-7654-8321-8000-000000000001");
        assert_eq!(
            ids.iter().collect::<std::collections::HashSet<_>>().len(),
            100
        );
    }

    #[test]
    fn an_id_is_itself_after_a_way_as_text() {
        let made = MessageId::made(7, 8);
        assert_eq!(MessageId::new(made.to_string()), made);
        for text in [
            "00000000-0000-0000-8000-000000000000",
            "FEDCBA98-7654-8321-8000-000000000001",
            "fedcba98-7654-8321-8000-00000000001",
            "fedcba98-7654-8321-8000x000000000001",
            "fedcba98-7654-8321-8000-00000000000g",
            "order-1",
        ] {
            assert_eq!(MessageId::new(text).to_string(), text);
        }
    }

    #[test]
    fn bad_fields_are_named() {
        let long = "x".repeat(MAX_HEADER_VALUE_BYTES + 1);
        let cases = [
            (Message::new("").session(""), "session"),
            (Message::new("").session("a\0b"), "session"),
            (Message::new("").session("ü"), "session"),
            (Message::new("").session("s".repeat(129)), "session"),
            (Message::new("").id(""), "id"),
            (Message::new("").correlation_id("\n"), "correlation_id"),
            (Message::new("").content_type(""), "content_type"),
            (Message::new("").dedup_id(""), "dedup_id"),
            (Message::new("").header("", "v"), "headers"),
            (Message::new("").header("a\0", "v"), "headers"),
            (Message::new("").header("n".repeat(257), "v"), "headers"),
            (Message::new("").header("n", "a\0b"), "headers"),
            (Message::new("").header("n", long.as_str()), "headers"),
            (Message::new("").ttl(Duration::ZERO), "ttl"),
            (Message::new("").ttl(Duration::MAX), "ttl"),
            (Message::new("").delay(Duration::MAX), "delay"),
        ];
        for (message, field) in cases {
            let error = message.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidMessage, "{message:?}");
            assert_eq!(error.field(), Some(field), "{message:?}");
        }
    }

    #[test]
    fn an_empty_body_and_any_text_in_a_header_value_are_fine() {
        Message::new("").header("n", "grüße\n").validate().unwrap();
    }

    #[test]
    fn debug_never_shows_the_body() {
        assert!(!format!("{:?}", Message::new("secret")).contains("secret"));
    }
}
