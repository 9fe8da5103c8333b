//! A message as SQS carries it, both ways.
//!
//! Text stays text and headers become attributes of their own, so that any client of SQS reads
//! them. What SQS has no place for goes as JSON into one reserved attribute.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::{
    Message as SqsMessage, MessageAttributeValue, MessageSystemAttributeName as System,
};
use aws_smithy_types::base64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::message::{Message, MessageId, Properties};

/// The attribute that holds what is not SQS's own.
pub(super) const RESERVED: &str = "queue_runtime";
/// Headers that travel as attributes: SQS takes ten, one is ours.
const NATIVE_HEADERS: usize = 9;
/// Begins groups and dedup ids that nobody asked for and nobody is shown.
const UNASKED: &str = "-qrt-";
/// Stands for an empty body, which SQS refuses.
const EMPTY: &str = "(empty)";

/// What the reserved attribute says. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Extra {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) correlation_id: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<Arc<str>>,
    /// Of a session whose group is another one: that of a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Encoding>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<Arc<str>, Arc<str>>,
    /// When the message appears, where SQS's own delay is too short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_before: Option<i64>,
    /// When its time to live is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<i64>,
    /// When it was first sent, if this is another sending of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dead: Option<Death>,
}

/// How a body that SQS does not take is written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    Base64,
    Empty,
}

/// Why and when a message was given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Death {
    pub(super) reason: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<Arc<str>>,
    pub(super) attempts: u32,
    pub(super) source: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_delivered_at: Option<i64>,
    pub(super) at: i64,
}

/// A message on its way to SQS.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) body: String,
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
    pub(super) group: Option<String>,
    pub(super) dedup: Option<String>,
    /// Seconds.
    pub(super) delay: i32,
    /// Bytes as SQS counts them.
    pub(super) bytes: usize,
}

/// Whether a queue has groups and dedup ids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Standard,
    Fifo,
}

impl Wire {
    /// Writes a message. `extra` holds what the caller knows beyond the message.
    pub(super) fn write(message: &Message, mut extra: Extra, kind: Kind) -> Result<Self> {
        let p = message.properties();
        extra.correlation_id = p.correlation_id.clone();
        extra.content_type = p.content_type.clone();
        let (body, encoding) = write_body(message.body());
        extra.body = encoding;
        let mut bytes = body.len();
        let mut attributes = HashMap::new();
        for (name, value) in &p.headers {
            if attributes.len() < NATIVE_HEADERS && is_native(name, value) {
                bytes += name.len() + STRING.len() + value.len();
                attributes.insert(name.to_string(), text_attribute(value));
            } else {
                extra.headers.insert(name.clone(), value.clone());
            }
        }
        let group = match (kind, &p.session) {
            (_, Some(session)) => Some(check_token("session", session)?),
            (Kind::Fifo, None) => Some(unasked()),
            (Kind::Standard, None) => None,
        };
        let dedup = match (kind, &p.dedup_id) {
            (Kind::Fifo, Some(id)) => Some(check_token("dedup_id", id)?),
            // Made once for all tries: a request whose answer was lost stores nothing twice.
            (Kind::Fifo, None) => Some(unasked()),
            (Kind::Standard, _) => None,
        };
        if extra != Extra::default() {
            let text = write_extra(&extra);
            bytes += RESERVED.len() + STRING.len() + text.len();
            attributes.insert(RESERVED.to_owned(), text_attribute(&text));
        }
        Ok(Self {
            body,
            attributes,
            group,
            dedup,
            delay: 0,
            bytes,
        })
    }
}

impl Extra {
    /// The session keeps its name, but is no group: the message waits for no other one.
    pub(super) fn ungrouped(mut self, message: &Message) -> (Self, Message) {
        let mut properties = message.properties().clone();
        self.session = properties.session.take();
        let message = Message {
            body: message.body.clone(),
            properties: Some(Arc::new(properties)),
        };
        (self, message)
    }
}

/// A message as it came from SQS.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) handle: Arc<str>,
    /// The id that SQS gave.
    pub(super) sqs_id: MessageId,
    /// The sender's id, or SQS's.
    pub(super) id: MessageId,
    pub(super) message: Message,
    pub(super) receives: u32,
    pub(super) sequence: Option<u64>,
    /// When this sending of it was.
    pub(super) queued_at: Timestamp,
    /// When it was first sent.
    pub(super) enqueued_at: Timestamp,
    pub(super) first_received_at: Option<Timestamp>,
    /// The queue that SQS itself moved it from.
    pub(super) moved_from: Option<Arc<str>>,
    pub(super) extra: Extra,
}

impl Arrived {
    /// Reads a message. `None` if it has no handle, without which nothing can be done with it.
    pub(super) fn read(mut sqs: SqsMessage) -> Option<Self> {
        let handle: Arc<str> = sqs.receipt_handle.take()?.into();
        let system = sqs.attributes.take().unwrap_or_default();
        let number = |name: System| system.get(&name).and_then(|text| text.parse::<i64>().ok());
        let mut attributes = sqs.message_attributes.take().unwrap_or_default();
        let extra = attributes.get(RESERVED).and_then(read_extra);
        if extra.is_some() {
            attributes.remove(RESERVED);
        }
        let mut extra = extra.unwrap_or_default();
        let text = sqs.body.take().unwrap_or_default();
        let (body, encoding) = read_body(text, extra.body);
        extra.body = encoding;

        let mut headers = std::mem::take(&mut extra.headers);
        for (name, value) in &attributes {
            if let Some(value) = read_attribute(value) {
                headers.entry(name.as_str().into()).or_insert(value);
            }
        }
        let asked = |name: System| {
            let text = system.get(&name).filter(|text| !text.starts_with(UNASKED));
            text.map(|text| Arc::from(text.as_str()))
        };
        let queued_at = Timestamp(number(System::SentTimestamp).unwrap_or(0));
        let enqueued_at = extra.sent_at.map_or(queued_at, Timestamp);
        let life = extra
            .expires_at
            .map(|end| end.saturating_sub(enqueued_at.0).max(1));
        let sqs_id = MessageId::new(sqs.message_id.take().unwrap_or_default());
        let id = extra.id.as_deref().map(MessageId::from);
        let properties = Properties {
            id: id.clone(),
            headers,
            session: extra
                .session
                .take()
                .or_else(|| asked(System::MessageGroupId)),
            correlation_id: extra.correlation_id.take(),
            content_type: extra.content_type.take(),
            ttl: life
                .and_then(|life| u64::try_from(life).ok())
                .map(Duration::from_millis),
            delay: None,
            dedup_id: asked(System::MessageDeduplicationId),
        };
        let bare = properties == Properties::default();
        let moved_from = system.get(&System::DeadLetterQueueSourceArn);
        Some(Self {
            handle,
            id: id.unwrap_or_else(|| sqs_id.clone()),
            sqs_id,
            message: Message {
                body,
                properties: (!bare).then(|| Arc::new(properties)),
            },
            receives: number(System::ApproximateReceiveCount)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(1),
            sequence: system
                .get(&System::SequenceNumber)
                .and_then(|text| read_sequence(text)),
            queued_at,
            enqueued_at,
            first_received_at: number(System::ApproximateFirstReceiveTimestamp).map(Timestamp),
            moved_from: moved_from.and_then(|arn| Some(arn.rsplit_once(':')?.1.into())),
            extra,
        })
    }

    /// What another sending of this message says beyond it, so that it stays the same message.
    pub(super) fn again(&self) -> Extra {
        Extra {
            id: Some(self.id.to_string()),
            sent_at: Some(self.enqueued_at.0),
            expires_at: self.extra.expires_at,
            not_before: self.extra.not_before,
            ..Extra::default()
        }
    }
}

const STRING: &str = "String";

fn text_attribute(value: &str) -> MessageAttributeValue {
    let built = MessageAttributeValue::builder()
        .data_type(STRING)
        .string_value(value)
        .build();
    built.unwrap_or_else(|_| unreachable!("the data type is set"))
}

/// Strings and numbers as they are, bytes in base64.
fn read_attribute(value: &MessageAttributeValue) -> Option<Arc<str>> {
    match (value.string_value(), value.binary_value()) {
        (Some(text), _) => Some(text.into()),
        (None, Some(bytes)) => Some(base64::encode(bytes).into()),
        (None, None) => None,
    }
}

fn write_body(body: &Bytes) -> (String, Option<Encoding>) {
    match std::str::from_utf8(body) {
        Ok("") => (EMPTY.to_owned(), Some(Encoding::Empty)),
        Ok(text) if is_allowed(text) => (text.to_owned(), None),
        _ => (base64::encode(body), Some(Encoding::Base64)),
    }
}

/// The body, and its encoding if that was not what it says: then the text is the body.
fn read_body(text: String, encoding: Option<Encoding>) -> (Bytes, Option<Encoding>) {
    match encoding {
        None => (text.into(), None),
        Some(Encoding::Empty) => (Bytes::new(), encoding),
        Some(Encoding::Base64) => match base64::decode(&text) {
            Ok(bytes) => (bytes.into(), encoding),
            Err(_) => (text.into(), None),
        },
    }
}

/// Whether SQS takes this text: it is about XML 1.0.
fn is_allowed(text: &str) -> bool {
    let fine = |c: char| match c {
        '\t' | '\n' | '\r' => true,
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => false,
        _ => true,
    };
    text.chars().all(fine)
}

/// Whether a header can be an attribute of its own. The context of a trace is not one: it is in
/// the way of nobody's ten attributes.
fn is_native(name: &str, value: &str) -> bool {
    let begins = |with: &str| {
        name.get(..with.len())
            .is_some_and(|b| b.eq_ignore_ascii_case(with))
    };
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !matches!(name, RESERVED | "traceparent" | "tracestate")
        && name.bytes().all(sound)
        && !(begins("aws.") || begins("amazon."))
        && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
        && !value.is_empty()
        && is_allowed(value)
}

/// JSON, in characters that SQS takes.
fn write_extra(extra: &Extra) -> String {
    let json = serde_json::to_string(extra);
    let json = json.unwrap_or_else(|_| unreachable!("texts and numbers are JSON"));
    if is_allowed(&json) {
        return json;
    }
    json.replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff")
}

fn read_extra(value: &MessageAttributeValue) -> Option<Extra> {
    serde_json::from_str(value.string_value()?).ok()
}

/// Sequence numbers of SQS are a little beyond 64 bits; what is left of them keeps their order.
fn read_sequence(text: &str) -> Option<u64> {
    text.parse::<u128>().ok().map(|number| number as u64)
}

/// A group or dedup id as SQS takes it: printable ASCII without a space.
fn check_token(field: &'static str, token: &str) -> Result<String> {
    if token.contains(' ') {
        return Err(Error::invalid_message(
            field,
            "holds a space, which SQS does not take",
        ));
    }
    if token.starts_with(UNASKED) {
        return Err(Error::invalid_message(
            field,
            format!("begins with {UNASKED}, which is reserved"),
        ));
    }
    Ok(token.to_owned())
}

/// A token that is no other's.
pub(super) fn unasked() -> String {
    format!(
        "{UNASKED}{}",
        MessageId::made(fastrand::u64(..), fastrand::u64(..))
    )
}

/// `MessageTooLarge`, unless the message fits.
pub(super) fn check_size(wire: &Wire, limit: usize) -> Result<()> {
    if wire.bytes <= limit {
        return Ok(());
    }
    Err(Error::too_large(wire.bytes as u64, limit as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a message on its way through SQS.
    fn through(message: &Message, extra: Extra, kind: Kind) -> Arrived {
        let wire = Wire::write(message, extra, kind).unwrap();
        assert!(wire.attributes.len() <= 10);
        assert!(is_allowed(&wire.body) && !wire.body.is_empty());
        let sqs = SqsMessage::builder()
            .message_id("11111111-2222-4333-8444-555555555555")
            .receipt_handle("handle")
            .body(wire.body)
            .set_message_attributes(Some(wire.attributes))
            .attributes(System::SentTimestamp, "1000")
            .attributes(System::ApproximateReceiveCount, "2");
        let sqs = match wire.group {
            Some(group) => sqs.attributes(System::MessageGroupId, group),
            None => sqs,
        };
        Arrived::read(sqs.build()).unwrap()
    }

    #[test]
    fn text_and_headers_are_native() {
        let message = Message::new("grüße\r\n")
            .header("kind", "job")
            .header("n.1", "ü");
        let wire = Wire::write(&message, Extra::default(), Kind::Standard).unwrap();
        assert_eq!(wire.body, "grüße\r\n");
        let mut names: Vec<_> = wire.attributes.keys().cloned().collect();
        names.sort();
        assert_eq!(names, ["kind", "n.1"]);
        assert_eq!(wire.bytes, 9 + "kindStringjob".len() + "n.1Stringü".len());
        assert_eq!((wire.group, wire.dedup), (None, None));
    }

    #[test]
    fn whatever_was_sent_arrives() {
        let many = (0..30).fold(Message::new("x"), |m, n| {
            m.header(format!("h{n:02}"), n.to_string())
        });
        let messages = [
            Message::new(""),
            Message::new(vec![0, 1, 10, 13, 0x80, 0xff]),
            Message::new("\u{fffe}"),
            Message::new("a")
                .header("a b", "v")
                .header("AWS.x", "v")
                .header("", "")
                .header(".x", "v"),
            Message::new("a")
                .header("queue_runtime", "mine")
                .header("empty", ""),
            Message::new("a").header("odd", "\u{1}\u{ffff}\"\\"),
            Message::new("a").header("traceparent", "00-1-2-01"),
            Message::new("a")
                .correlation_id("c")
                .content_type("t")
                .session("s!"),
            many,
        ];
        for message in messages {
            for kind in [Kind::Standard, Kind::Fifo] {
                let arrived = through(&message, Extra::default(), kind);
                assert_eq!(arrived.message.body(), message.body());
                assert_eq!(arrived.message.properties(), message.properties());
                assert_eq!((arrived.receives, arrived.enqueued_at.0), (2, 1000));
            }
        }
    }

    #[test]
    fn another_sending_is_the_same_message() {
        let extra = Extra {
            id: Some("order-1".to_owned()),
            expires_at: Some(6000),
            ..Extra::default()
        };
        let first = through(&Message::new("a"), extra, Kind::Fifo);
        let message = Message::new("a").session("s");
        let (extra, ungrouped) = first.again().ungrouped(&message);
        let second = through(&ungrouped, extra, Kind::Fifo);
        assert_eq!(second.id, first.id);
        assert_eq!(second.enqueued_at.0, 1000);
        assert_eq!(second.message.properties().session.as_deref(), Some("s"));
        assert_eq!(
            second.message.properties().ttl,
            Some(Duration::from_secs(5))
        );
    }

    #[test]
    fn a_strangers_message_is_read_as_it_is() {
        let binary = MessageAttributeValue::builder()
            .data_type("Binary")
            .binary_value(aws_sdk_sqs::primitives::Blob::new([1, 2, 3]))
            .build()
            .unwrap();
        let number = MessageAttributeValue::builder()
            .data_type("Number.int")
            .string_value("7")
            .build();
        let sqs = SqsMessage::builder()
            .message_id("m")
            .receipt_handle("handle")
            .body("{\"a\": 1}")
            .message_attributes("bytes", binary)
            .message_attributes("n", number.unwrap())
            .message_attributes(RESERVED, text_attribute("not ours"))
            .build();
        let arrived = Arrived::read(sqs).unwrap();
        assert_eq!(arrived.message.body().as_ref(), b"{\"a\": 1}");
        let headers = &arrived.message.properties().headers;
        assert_eq!(&*headers["bytes"], "AQID");
        assert_eq!(&*headers["n"], "7");
        assert_eq!(&*headers[RESERVED], "not ours");
        assert_eq!(arrived.receives, 1);
    }

    #[test]
    fn a_marker_that_lies_spoils_nothing() {
        let lie = text_attribute(r#"{"body": "base64"}"#);
        let sqs = SqsMessage::builder()
            .receipt_handle("handle")
            .body("not base64!")
            .message_attributes(RESERVED, lie)
            .build();
        assert_eq!(
            Arrived::read(sqs).unwrap().message.body().as_ref(),
            b"not base64!"
        );
    }

    #[test]
    fn sequences_of_sqs_keep_their_order() {
        let first = read_sequence("18849496460467696128").unwrap();
        let second = read_sequence("18849496460467696384").unwrap();
        assert!(first < second);
        assert_eq!(read_sequence("7"), Some(7));
    }

    #[test]
    fn groups_without_a_session_are_each_their_own() {
        let group = || {
            Wire::write(&Message::new("a"), Extra::default(), Kind::Fifo)
                .unwrap()
                .group
        };
        assert_ne!(group(), group());
        let spaced = Message::new("a").session("a b");
        let error = Wire::write(&spaced, Extra::default(), Kind::Fifo).unwrap_err();
        assert_eq!(error.field(), Some("session"));
    }
}
