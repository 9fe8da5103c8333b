//! Records: what the log says. Each is a fact about a message, a queue or a session; read from
//! front to end they give the state of the store.
//!
//! Times are wall time in nanoseconds since 1970, [`NO_TIME`] is none. `docs/file-format.md`
//! describes every byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::frame::Builder;
use crate::message::{Message, MessageId, Properties};

/// Kinds of records; the first is of `frame.rs`.
pub(in crate::providers::file) mod kind {
    pub(in crate::providers::file) use super::super::frame::ERA;
    pub(in crate::providers::file) const QUEUE: u32 = 2;
    pub(in crate::providers::file) const MESSAGE: u32 = 3;
    pub(in crate::providers::file) const GONE: u32 = 4;
    pub(in crate::providers::file) const NOTE: u32 = 5;
    pub(in crate::providers::file) const DEATH: u32 = 6;
    pub(in crate::providers::file) const STATE: u32 = 7;
    pub(in crate::providers::file) const DEDUP: u32 = 8;
}

/// No time: never.
pub(in crate::providers::file) const NO_TIME: i64 = i64::MAX;

/// A queue as it was defined.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::providers::file) struct QueueRecord<'a> {
    pub(in crate::providers::file) number: u32,
    pub(in crate::providers::file) engine: u64,
    pub(in crate::providers::file) name: &'a str,
    /// Options in JSON.
    pub(in crate::providers::file) definition: &'a str,
}

/// A message with everything about it, but a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct MessageHead {
    /// The number of its node in the index.
    pub(in crate::providers::file) slot: u32,
    pub(in crate::providers::file) queue: u32,
    pub(in crate::providers::file) number: u64,
    pub(in crate::providers::file) sequence: u64,
    pub(in crate::providers::file) enqueued: i64,
    pub(in crate::providers::file) expires: i64,
    /// When it appears, if it is delayed.
    pub(in crate::providers::file) due: i64,
    pub(in crate::providers::file) first_delivered: i64,
    /// Until when its dedup id is remembered.
    pub(in crate::providers::file) dedup_end: i64,
    pub(in crate::providers::file) attempts: u32,
    /// Those of the index that last: given back, blocks, young, late.
    pub(in crate::providers::file) flags: u32,
    /// Its bytes as counted against bounds.
    pub(in crate::providers::file) bytes: u32,
}

/// How a message stands, after its record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct Note {
    pub(in crate::providers::file) slot: u32,
    pub(in crate::providers::file) attempts: u32,
    pub(in crate::providers::file) number: u64,
    pub(in crate::providers::file) sequence: u64,
    pub(in crate::providers::file) due: i64,
    pub(in crate::providers::file) expires: i64,
    pub(in crate::providers::file) first_delivered: i64,
    pub(in crate::providers::file) flags: u32,
}

/// A message that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct Gone {
    pub(in crate::providers::file) slot: u32,
    pub(in crate::providers::file) number: u64,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct Death<'a> {
    pub(in crate::providers::file) slot: u32,
    pub(in crate::providers::file) number: u64,
    pub(in crate::providers::file) death_number: u64,
    pub(in crate::providers::file) at: i64,
    pub(in crate::providers::file) first_delivered: i64,
    pub(in crate::providers::file) attempts: u32,
    pub(in crate::providers::file) reason: &'a str,
    pub(in crate::providers::file) description: Option<&'a str>,
}

/// The bytes kept with a session; `None`: no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct SessionState<'a> {
    pub(in crate::providers::file) queue: u32,
    pub(in crate::providers::file) id: &'a str,
    pub(in crate::providers::file) state: Option<&'a [u8]>,
}

/// A dedup id whose message's record is not needed any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct DedupRecord<'a> {
    pub(in crate::providers::file) queue: u32,
    pub(in crate::providers::file) end: i64,
    pub(in crate::providers::file) id: &'a str,
    pub(in crate::providers::file) message: &'a str,
}

/// A record, read.
#[derive(Clone, Debug)]
pub(in crate::providers::file) enum Record<'a> {
    Era,
    Queue(QueueRecord<'a>),
    Message(MessageHead, Content<'a>),
    Gone(Vec<Gone>),
    Notes(Vec<Note>),
    Death(Death<'a>),
    State(SessionState<'a>),
    Dedup(DedupRecord<'a>),
}

/// What was sent, as it stands in the log.
#[derive(Clone, Copy, Debug)]
pub(in crate::providers::file) struct Content<'a> {
    properties: &'a [u8],
    pub(in crate::providers::file) body: &'a [u8],
}

// --- writing ----------------------------------------------------------------------------------

/// Where a record is in the frame that is built, and its length.
pub(in crate::providers::file) type Written = (u32, u32);

fn put_text(out: &mut Builder, text: &str) {
    out.put(&(text.len() as u32).to_le_bytes());
    out.put(text.as_bytes());
}

fn put_optional(out: &mut Builder, text: Option<&str>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.put(&u32::MAX.to_le_bytes()),
    }
}

macro_rules! put {
    ($out:ident, $($value:expr),+ $(,)?) => { $($out.put(&$value.to_le_bytes());)+ };
}

pub(in crate::providers::file) fn write_era(out: &mut Builder, era: u32) -> Written {
    let at = out.begin(kind::ERA);
    put!(out, era);
    (at, out.end())
}

pub(in crate::providers::file) fn write_queue(
    out: &mut Builder,
    queue: &QueueRecord<'_>,
) -> Written {
    let at = out.begin(kind::QUEUE);
    put!(out, queue.number, 0u32, queue.engine);
    put_text(out, queue.name);
    put_text(out, queue.definition);
    (at, out.end())
}

fn put_message_head(out: &mut Builder, head: &MessageHead, properties: u32) {
    put!(out, head.slot, head.queue, head.number, head.sequence);
    put!(
        out,
        head.enqueued,
        head.expires,
        head.due,
        head.first_delivered,
        head.dedup_end
    );
    put!(out, head.attempts, head.flags, head.bytes, properties);
}

pub(in crate::providers::file) fn write_message(
    out: &mut Builder,
    head: &MessageHead,
    message: &Message,
) -> Written {
    let at = out.begin(kind::MESSAGE);
    match message.properties.as_deref() {
        None => put_message_head(out, head, 0),
        Some(properties) => {
            let encoded = encode_properties(properties);
            put_message_head(out, head, encoded.len() as u32);
            out.put(&encoded);
        }
    }
    out.put(&message.body);
    (at, out.end())
}

/// A message's record again, with another head.
pub(in crate::providers::file) fn copy_message(
    out: &mut Builder,
    head: &MessageHead,
    content: &Content<'_>,
) -> Written {
    let at = out.begin(kind::MESSAGE);
    put_message_head(out, head, content.properties.len() as u32);
    out.put(content.properties);
    out.put(content.body);
    (at, out.end())
}

pub(in crate::providers::file) fn write_gone(out: &mut Builder, gone: &[Gone]) -> Written {
    let at = out.begin(kind::GONE);
    for message in gone {
        put!(out, message.slot, 0u32, message.number);
    }
    (at, out.end())
}

pub(in crate::providers::file) fn write_notes(out: &mut Builder, notes: &[Note]) -> Written {
    let at = out.begin(kind::NOTE);
    for note in notes {
        put!(
            out,
            note.slot,
            note.attempts,
            note.number,
            note.sequence,
            note.due
        );
        put!(out, note.expires, note.first_delivered, note.flags, 0u32);
    }
    (at, out.end())
}

pub(in crate::providers::file) fn write_death(out: &mut Builder, death: &Death<'_>) -> Written {
    let at = out.begin(kind::DEATH);
    put!(
        out,
        death.slot,
        death.attempts,
        death.number,
        death.death_number
    );
    put!(out, death.at, death.first_delivered);
    put_text(out, death.reason);
    put_optional(out, death.description);
    (at, out.end())
}

pub(in crate::providers::file) fn write_state(
    out: &mut Builder,
    state: &SessionState<'_>,
) -> Written {
    let at = out.begin(kind::STATE);
    put!(out, state.queue, u32::from(state.state.is_some()));
    put_text(out, state.id);
    out.put(state.state.unwrap_or_default());
    (at, out.end())
}

pub(in crate::providers::file) fn write_dedup(
    out: &mut Builder,
    dedup: &DedupRecord<'_>,
) -> Written {
    let at = out.begin(kind::DEDUP);
    put!(out, dedup.queue, 0u32, dedup.end);
    put_text(out, dedup.id);
    put_text(out, dedup.message);
    (at, out.end())
}

/// Session and dedup id come first, for recovery reads them and skips the rest.
fn encode_properties(properties: &Properties) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut text = |value: Option<&str>| {
        let len = value.map_or(u32::MAX, |v| v.len() as u32);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(value.unwrap_or_default().as_bytes());
    };
    text(properties.session.as_deref());
    text(properties.dedup_id.as_deref());
    text(properties.id.as_ref().map(MessageId::to_string).as_deref());
    text(properties.correlation_id.as_deref());
    text(properties.content_type.as_deref());
    for (name, value) in &properties.headers {
        text(Some(name));
        text(Some(value));
    }
    text(None);
    for duration in [properties.ttl, properties.delay] {
        let nanos = duration.map_or(u64::MAX, nanos);
        out.extend_from_slice(&nanos.to_le_bytes());
    }
    out
}

/// A duration as nanoseconds; the longest ones are never.
pub(in crate::providers::file) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

// --- reading ----------------------------------------------------------------------------------

/// Takes values from the front of bytes; every one may be missing.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        self.u64().map(|n| n as i64)
    }

    /// `Some(None)`: a text that is not there.
    fn optional(&mut self) -> Option<Option<&'a str>> {
        match self.u32()? {
            u32::MAX => Some(None),
            len => Some(Some(std::str::from_utf8(self.bytes(len as usize)?).ok()?)),
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        self.optional()?
    }
}

impl<'a> Record<'a> {
    /// What a record says; `None` if it makes no sense.
    pub(in crate::providers::file) fn read(kind: u32, payload: &'a [u8]) -> Option<Self> {
        let mut from = Reader(payload);
        Some(match kind {
            kind::ERA => Self::Era,
            kind::QUEUE => {
                let number = from.u32()?;
                from.u32()?;
                Self::Queue(QueueRecord {
                    number,
                    engine: from.u64()?,
                    name: from.text()?,
                    definition: from.text()?,
                })
            }
            kind::MESSAGE => {
                let (head, content) = read_message(payload)?;
                Self::Message(head, content)
            }
            kind::GONE => {
                let mut gone = Vec::with_capacity(payload.len() / 16);
                while !from.0.is_empty() {
                    let slot = from.u32()?;
                    from.u32()?;
                    gone.push(Gone {
                        slot,
                        number: from.u64()?,
                    });
                }
                Self::Gone(gone)
            }
            kind::NOTE => {
                let mut notes = Vec::with_capacity(payload.len() / 56);
                while !from.0.is_empty() {
                    notes.push(Note {
                        slot: from.u32()?,
                        attempts: from.u32()?,
                        number: from.u64()?,
                        sequence: from.u64()?,
                        due: from.i64()?,
                        expires: from.i64()?,
                        first_delivered: from.i64()?,
                        flags: from.u32()?,
                    });
                    from.u32()?;
                }
                Self::Notes(notes)
            }
            kind::DEATH => {
                let (slot, attempts) = (from.u32()?, from.u32()?);
                Self::Death(Death {
                    slot,
                    attempts,
                    number: from.u64()?,
                    death_number: from.u64()?,
                    at: from.i64()?,
                    first_delivered: from.i64()?,
                    reason: from.text()?,
                    description: from.optional()?,
                })
            }
            kind::STATE => {
                let (queue, is_some) = (from.u32()?, from.u32()?);
                let id = from.text()?;
                Self::State(SessionState {
                    queue,
                    id,
                    state: (is_some != 0).then_some(from.0),
                })
            }
            kind::DEDUP => {
                let queue = from.u32()?;
                from.u32()?;
                Self::Dedup(DedupRecord {
                    queue,
                    end: from.i64()?,
                    id: from.text()?,
                    message: from.text()?,
                })
            }
            _ => return None,
        })
    }
}

/// What a message's record says.
pub(in crate::providers::file) fn read_message(
    payload: &[u8],
) -> Option<(MessageHead, Content<'_>)> {
    let mut from = Reader(payload);
    let head = MessageHead {
        slot: from.u32()?,
        queue: from.u32()?,
        number: from.u64()?,
        sequence: from.u64()?,
        enqueued: from.i64()?,
        expires: from.i64()?,
        due: from.i64()?,
        first_delivered: from.i64()?,
        dedup_end: from.i64()?,
        attempts: from.u32()?,
        flags: from.u32()?,
        bytes: from.u32()?,
    };
    let properties = from.u32()? as usize;
    let properties = from.bytes(properties)?;
    let body = from.0;
    Some((head, Content { properties, body }))
}

impl Content<'_> {
    /// The session and the dedup id.
    pub(in crate::providers::file) fn keys(&self) -> Option<(Option<&str>, Option<&str>)> {
        if self.properties.is_empty() {
            return Some((None, None));
        }
        let mut from = Reader(self.properties);
        Some((from.optional()?, from.optional()?))
    }

    /// The id that the sender gave.
    pub(in crate::providers::file) fn given_id(&self) -> Option<MessageId> {
        let mut from = Reader(self.properties);
        from.optional()?;
        from.optional()?;
        from.optional()?.map(MessageId::new)
    }

    /// The message as it was sent, with this body.
    pub(in crate::providers::file) fn message(&self, body: Bytes) -> Option<Message> {
        if self.properties.is_empty() {
            return Some(Message::new(body));
        }
        let mut from = Reader(self.properties);
        let text = |from: &mut Reader<'_>| Some(from.optional()?.map(Arc::<str>::from));
        let mut properties = Properties {
            session: text(&mut from)?,
            dedup_id: text(&mut from)?,
            id: from.optional()?.map(MessageId::new),
            correlation_id: text(&mut from)?,
            content_type: text(&mut from)?,
            ..Properties::default()
        };
        while let Some(name) = from.optional()? {
            properties.headers.insert(name.into(), from.text()?.into());
        }
        let duration = |nanos: u64| (nanos != u64::MAX).then(|| Duration::from_nanos(nanos));
        properties.ttl = duration(from.u64()?);
        properties.delay = duration(from.u64()?);
        Some(Message {
            body,
            properties: Some(Arc::new(properties)),
        })
    }
}
