//! The arguments of the verbs, as the scenario files write them. An unknown key is an error.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use toml::Value;

use super::step::text_or_fields;
use crate::capability::Capability;
use crate::config::{QueueOptions, duration};
use crate::error::ErrorKind;
use crate::message::Message;
use crate::queue::MessageState;
use crate::settlement::Verb;

/// A message to send.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutgoingFields {
    #[serde(alias = "send")]
    body: Body,
    id: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    session: Option<String>,
    correlation_id: Option<String>,
    content_type: Option<String>,
    ttl: Option<Span>,
    delay: Option<Span>,
    dedup_id: Option<String>,
    duplicate_of: Option<String>,
    by: Option<String>,
    error: Option<Failure>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Outgoing {
    pub message: Message,
    /// Its body's text, by which later steps name it.
    pub name: String,
    pub duplicate_of: Option<String>,
    /// The producer that sends it.
    pub by: Option<String>,
    pub error: Option<Failure>,
}

impl TryFrom<Value> for Outgoing {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let f: OutgoingFields = text_or_fields(value, "body")?;
        let mut message = Message::new(f.body.bytes);
        type Set = fn(Message, String) -> Message;
        let setters: [(Option<String>, Set); 5] = [
            (f.id, |m, v| m.id(&*v)),
            (f.session, |m, v| m.session(v)),
            (f.correlation_id, |m, v| m.correlation_id(v)),
            (f.content_type, |m, v| m.content_type(v)),
            (f.dedup_id, |m, v| m.dedup_id(v)),
        ];
        for (value, set) in setters {
            if let Some(value) = value {
                message = set(message, value);
            }
        }
        for (name, value) in f.headers {
            message = message.header(name, value);
        }
        if let Some(Span(ttl)) = f.ttl {
            message = message.ttl(ttl);
        }
        if let Some(Span(delay)) = f.delay {
            message = message.delay(delay);
        }
        Ok(Self {
            message,
            name: f.body.name,
            duplicate_of: f.duplicate_of,
            by: f.by,
            error: f.error,
        })
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receive {
    #[serde(rename = "receive")]
    pub max: u32,
    #[serde(default)]
    pub wait: Span,
    pub lock: Option<Span>,
    /// The held session.
    pub from: Option<String>,
    /// Names of the deliveries, beside their bodies.
    #[serde(default, rename = "as")]
    pub names: Vec<String>,
    pub expect: Option<Vec<Seen>>,
    pub count: Option<usize>,
    #[serde(default)]
    pub any_order: bool,
}

impl Receive {
    /// How many deliveries must come, as far as it is said.
    pub fn wanted(&self) -> usize {
        self.count
            .or(self.expect.as_ref().map(Vec::len))
            .unwrap_or(0)
    }
}

/// A delivery and how it ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "SettleFields")]
pub(super) struct Settle {
    pub delivery: String,
    pub verb: Verb,
    pub error: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleFields {
    ack: Option<String>,
    nack: Option<String>,
    release: Option<String>,
    dead_letter: Option<String>,
    reason: Option<String>,
    description: Option<String>,
    delay: Option<Span>,
    error: Option<Failure>,
}

impl TryFrom<SettleFields> for Settle {
    type Error = &'static str;

    fn try_from(f: SettleFields) -> Result<Self, &'static str> {
        let delay = f.delay.map(|Span(delay)| delay);
        let reason = f.reason.map(Into::into);
        let description = f.description.map(Into::into);
        let says = (reason.is_some(), description.is_some(), delay.is_some());
        let (delivery, verb) = match (f.ack, f.nack, f.release, f.dead_letter, says) {
            (Some(d), None, None, None, (false, false, false)) => (d, Verb::Ack),
            (None, Some(d), None, None, (_, false, _)) => (d, Verb::Nack { reason, delay }),
            (None, None, Some(d), None, (false, false, _)) => (d, Verb::Release { delay }),
            (None, None, None, Some(d), (true, _, false)) => {
                let reason = reason.unwrap_or_default();
                (
                    d,
                    Verb::DeadLetter {
                        reason,
                        description,
                    },
                )
            }
            _ => {
                return Err(
                    "exactly one of ack, nack, release and dead_letter, and what belongs to it",
                );
            }
        };
        Ok(Self {
            delivery,
            verb,
            error: f.error,
        })
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extend {
    #[serde(rename = "extend")]
    pub delivery: String,
    pub lock: Span,
    pub locked_until: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtendMany {
    #[serde(rename = "extend_many")]
    pub entries: Vec<ExtendEntry>,
    pub lock: Span,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtendEntry {
    #[serde(rename = "extend")]
    pub delivery: String,
    pub error: Option<Failure>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accept {
    #[serde(rename = "accept")]
    pub id: String,
    pub lock: Option<Span>,
    #[serde(rename = "as")]
    pub name: Option<String>,
    pub locked_until: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptNext {
    #[serde(rename = "accept_next")]
    pub wait: Span,
    pub lock: Option<Span>,
    #[serde(rename = "as")]
    pub name: Option<String>,
    /// The session that comes, or none.
    pub expect: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Renew {
    #[serde(rename = "renew")]
    pub session: String,
    pub lock: Option<Span>,
    pub locked_until: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    #[serde(rename = "state")]
    pub session: String,
    #[serde(default)]
    pub expect: Vec<Body>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetState {
    #[serde(rename = "set_state")]
    pub session: String,
    pub to: Option<Body>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peek {
    #[serde(rename = "peek")]
    pub max: u32,
    pub after: Option<String>,
    pub expect: Option<Vec<Seen>>,
}

/// Which dead letters are meant.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default)]
    pub ids_of: Vec<String>,
    pub reason: Option<String>,
    pub session: Option<String>,
    pub header: Option<(String, String)>,
    pub since: Option<Span>,
    pub until: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLetters {
    #[serde(rename = "dead_letters")]
    pub max: u32,
    #[serde(default, rename = "where")]
    pub filter: Filter,
    pub after: Option<String>,
    pub expect: Option<Vec<Seen>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redrive {
    #[serde(rename = "redrive")]
    _verb: True,
    #[serde(default, rename = "where")]
    pub filter: Filter,
    pub max: Option<u64>,
    pub per_second: Option<u32>,
    #[serde(default)]
    pub dry_run: bool,
    pub after: Option<String>,
    pub expect: Option<Redriven>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redriven {
    pub matched: u64,
    pub redriven: u64,
    #[serde(default)]
    pub failed: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Purge {
    #[serde(rename = "purge")]
    _verb: True,
    #[serde(default, rename = "where")]
    pub filter: Filter,
    pub expect: Option<u64>,
}

/// Counts that are checked; the others may be anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub ready: Option<u64>,
    pub in_flight: Option<u64>,
    pub delayed: Option<u64>,
    pub dead: Option<u64>,
    pub depth: Option<u64>,
    pub bytes: Option<u64>,
    pub sessions: Option<u64>,
    pub oldest_age: Option<OptionalSpan>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Explain {
    /// The body of the message.
    #[serde(rename = "explain")]
    pub body: String,
    pub expect: Option<Explained>,
}

/// What is explained of a message.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Explained {
    pub standing: Option<String>,
    pub attempts: Option<u32>,
    pub behind: Option<String>,
    pub parked: Option<bool>,
    pub earliest: Option<OptionalSpan>,
    pub latest: Option<OptionalSpan>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connect {
    #[serde(rename = "connect")]
    pub client: String,
    /// In place of the target's.
    pub url: Option<String>,
    /// Added to the URL.
    pub url_options: Option<String>,
    #[serde(default)]
    pub require: Vec<Capability>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Configure {
    #[serde(rename = "configure")]
    pub client: String,
    pub options: QueueOptions,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Advance {
    #[serde(rename = "advance")]
    pub by: Span,
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// What must be seen of a delivery, a peeked message or a dead letter. What is not said may be
/// anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Seen(pub SeenFields);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeenFields {
    pub body: Body,
    pub id: Option<String>,
    pub id_of: Option<String>,
    /// Empty: of no session.
    pub session: Option<String>,
    pub attempt: Option<u32>,
    pub attempts: Option<u32>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub correlation_id: Option<String>,
    pub content_type: Option<String>,
    pub state: Option<StateName>,
    pub reason: Option<String>,
    /// Empty: without one.
    pub description: Option<String>,
    pub source: Option<String>,
    pub enqueued_at: Option<Span>,
    pub locked_until: Option<Span>,
    pub first_delivered_at: Option<OptionalSpan>,
    pub dead_lettered_at: Option<Span>,
}

impl TryFrom<Value> for Seen {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        text_or_fields(value, "body").map(Seen)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateName {
    Ready,
    Delayed,
    InFlight,
}

impl From<MessageState> for StateName {
    fn from(state: MessageState) -> Self {
        match state {
            MessageState::Ready => Self::Ready,
            MessageState::Delayed => Self::Delayed,
            MessageState::InFlight => Self::InFlight,
        }
    }
}

/// How a step must fail.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Failure {
    pub kind: ErrorKind,
    pub field: Option<String>,
    pub capability: Option<String>,
    pub queue: Option<String>,
    pub size: Option<u64>,
    pub limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureFields {
    kind: String,
    field: Option<String>,
    capability: Option<String>,
    queue: Option<String>,
    size: Option<u64>,
    limit: Option<u64>,
}

impl TryFrom<Value> for Failure {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let f: FailureFields = text_or_fields(value, "kind")?;
        let kind = ErrorKind::ALL.into_iter().find(|k| k.name() == f.kind);
        Ok(Self {
            kind: kind.ok_or_else(|| format!("no error kind is named {:?}", f.kind))?,
            field: f.field,
            capability: f.capability,
            queue: f.queue,
            size: f.size,
            limit: f.limit,
        })
    }
}

/// Bytes: the text's, or after `hex:` the bytes it names.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Body {
    pub name: String,
    pub bytes: Bytes,
}

impl TryFrom<String> for Body {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = match text.strip_prefix("hex:") {
            Some(hex) => (0..hex.len())
                .step_by(2)
                .map(|at| {
                    hex.get(at..at + 2)
                        .and_then(|h| u8::from_str_radix(h, 16).ok())
                })
                .collect::<Option<Vec<u8>>>()
                .ok_or_else(|| format!("{text:?} is not hexadecimal"))?
                .into(),
            None => Bytes::from(text.clone()),
        };
        Ok(Self { name: text, bytes })
    }
}

/// A duration, written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        duration::parse(&text)
            .map(Span)
            .map_err(serde::de::Error::custom)
    }
}

/// A duration, or `none`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OptionalSpan(pub Option<Duration>);

impl<'de> Deserialize<'de> for OptionalSpan {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == "none" {
            return Ok(Self(None));
        }
        let duration = duration::parse(&text).map_err(de::Error::custom)?;
        Ok(Self(Some(duration)))
    }
}

/// The value of a verb that takes none.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "bool")]
pub(super) struct True;

impl TryFrom<bool> for True {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, &'static str> {
        value.then_some(True).ok_or("must be true")
    }
}
