//! What a step expects, beside what came.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::arguments::{Counts, Explained, Failure, OptionalSpan, Seen, Span, StateName};
use super::target::Store;
use crate::clock::Timestamp;
use crate::dead_letter::DeadLetter;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind};
use crate::message::{Message, MessageId};
use crate::queue::explain::MessageExplanation;
use crate::queue::{Peeked, Statistics};

/// What the names and moments of a scenario stand for.
pub(super) struct Context<'a> {
    /// The start of the scenario.
    pub start: Timestamp,
    /// The ids of the messages sent, by their bodies.
    pub ids: &'a HashMap<String, MessageId>,
    /// Where the queues are.
    pub store: &'a Store,
}

impl Context<'_> {
    /// This long after the start of the scenario.
    pub fn moment(&self, Span(span): Span) -> Timestamp {
        Timestamp(self.start.0 + i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
    }

    pub fn id_of(&self, name: &str) -> Result<MessageId, String> {
        let id = self.ids.get(name).cloned();
        id.ok_or_else(|| format!("nothing was sent with the body {name:?}"))
    }
}

/// A delivery, a peeked message or a dead letter, as far as it can be looked at.
pub(super) struct Sight {
    id: MessageId,
    message: Message,
    attempt: Option<u32>,
    attempts: Option<u32>,
    state: Option<StateName>,
    enqueued_at: Timestamp,
    locked_until: Option<Timestamp>,
    death: Option<Death>,
}

struct Death {
    reason: Arc<str>,
    description: Option<Arc<str>>,
    source: Arc<str>,
    first_delivered_at: Option<Timestamp>,
    dead_lettered_at: Timestamp,
}

impl From<&Delivery> for Sight {
    fn from(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id().clone(),
            message: delivery.message().clone(),
            attempt: Some(delivery.attempt()),
            attempts: None,
            state: None,
            enqueued_at: delivery.enqueued_at(),
            locked_until: Some(delivery.locked_until()),
            death: None,
        }
    }
}

impl From<&Peeked> for Sight {
    fn from(peeked: &Peeked) -> Self {
        Self {
            id: peeked.id.clone(),
            message: peeked.message.clone(),
            attempt: None,
            attempts: Some(peeked.attempts),
            state: Some(peeked.state.into()),
            enqueued_at: peeked.enqueued_at,
            locked_until: None,
            death: None,
        }
    }
}

impl From<&DeadLetter> for Sight {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id.clone(),
            message: letter.message.clone(),
            attempt: None,
            attempts: Some(letter.attempts),
            state: None,
            enqueued_at: letter.enqueued_at,
            locked_until: None,
            death: Some(Death {
                reason: letter.reason.clone(),
                description: letter.description.clone(),
                source: letter.source.clone(),
                first_delivered_at: letter.first_delivered_at,
                dead_lettered_at: letter.dead_lettered_at,
            }),
        }
    }
}

/// What differs, field by field; empty when nothing does.
struct Differences(Vec<String>);

impl Differences {
    /// Compares a field, if the scenario says something of it.
    fn field<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, wanted: Option<T>, got: T) {
        if let Some(wanted) = wanted
            && wanted != got
        {
            self.0
                .push(format!("{name} is {got:?}, expected {wanted:?}"));
        }
    }
}

impl Sight {
    pub fn body(&self) -> &Bytes {
        self.message.body()
    }

    /// What differs from what must be seen.
    fn differences(&self, wanted: &Seen, context: &Context<'_>) -> Result<Vec<String>, String> {
        let wanted = &wanted.0;
        let mut d = Differences(Vec::new());
        let p = self.message.properties();
        let text = |t: &Option<Arc<str>>| t.as_deref().unwrap_or("").to_owned();
        let at = |span: Option<Span>| span.map(|span| context.moment(span));
        if self.body() != &wanted.body.bytes {
            let (got, wanted) = (show(self.body()), show(&wanted.body.bytes));
            d.0.push(format!("body is {got}, expected {wanted}"));
        }
        d.field("id", wanted.id.clone(), self.id.to_string());
        if let Some(name) = &wanted.id_of {
            d.field("id", Some(context.id_of(name)?), self.id.clone());
        }
        d.field("session", wanted.session.clone(), text(&p.session));
        d.field(
            "correlation_id",
            wanted.correlation_id.clone(),
            text(&p.correlation_id),
        );
        d.field(
            "content_type",
            wanted.content_type.clone(),
            text(&p.content_type),
        );
        for (name, value) in &wanted.headers {
            let got = p.headers.get(name.as_str()).map(|v| v.to_string());
            d.field(&format!("header {name:?}"), Some(Some(value.clone())), got);
        }
        d.field("attempt", wanted.attempt.map(Some), self.attempt);
        d.field("attempts", wanted.attempts.map(Some), self.attempts);
        d.field("state", wanted.state.map(Some), self.state);
        d.field("enqueued_at", at(wanted.enqueued_at), self.enqueued_at);
        d.field(
            "locked_until",
            at(wanted.locked_until).map(Some),
            self.locked_until,
        );
        if let Some(death) = &self.death {
            d.field("reason", wanted.reason.clone(), death.reason.to_string());
            d.field(
                "description",
                wanted.description.clone(),
                text(&death.description),
            );
            let first = wanted.first_delivered_at.map(|at| at.0.map(Span));
            let first = first.map(&at);
            d.field("first_delivered_at", first, death.first_delivered_at);
            let dead = at(wanted.dead_lettered_at);
            d.field("dead_lettered_at", dead, death.dead_lettered_at);
            let source = wanted
                .source
                .as_deref()
                .map(|name| context.store.queue_name(name));
            d.field("source", source, death.source.to_string());
        }
        Ok(d.0)
    }
}

/// Whether these came, in this order or in any.
pub(super) fn check_seen(
    wanted: &[Seen],
    got: &[Sight],
    any_order: bool,
    context: &Context<'_>,
) -> Result<(), String> {
    let mut left: Vec<&Sight> = got.iter().collect();
    if wanted.len() != got.len() {
        let bodies = show_all(got.iter().map(Sight::body));
        let expected = show_all(wanted.iter().map(|w| &w.0.body.bytes));
        return Err(format!("got {bodies}, expected {expected}"));
    }
    for (index, wanted) in wanted.iter().enumerate() {
        let mut found = Vec::new();
        for candidate in if any_order { &left[..] } else { &left[..1] } {
            found.push(candidate.differences(wanted, context)?);
        }
        match found.iter().position(Vec::is_empty) {
            Some(at) => drop(left.remove(at)),
            None if any_order => {
                let bodies = show_all(got.iter().map(Sight::body));
                let wanted = show(&wanted.0.body.bytes);
                return Err(format!("{wanted} as expected is not among {bodies}"));
            }
            None => return Err(format!("message {}: {}", index + 1, found[0].join("; "))),
        }
    }
    Ok(())
}

/// Whether a verb ended as it must.
pub(super) fn check_end<T>(
    wanted: Option<&Failure>,
    got: Result<T, Error>,
    context: &Context<'_>,
) -> Result<Option<T>, String> {
    match (wanted, got) {
        (None, Ok(value)) => Ok(Some(value)),
        (None, Err(error)) => Err(format!("failed: {error:?}")),
        (Some(wanted), Ok(_)) => Err(format!("succeeded, expected {}", wanted.kind)),
        (Some(wanted), Err(error)) => {
            let mut d = Differences(Vec::new());
            if !satisfies(error.kind(), wanted.kind) {
                d.field("the error", Some(wanted.kind), error.kind());
            }
            let own = |text: Option<&str>| text.map(str::to_owned);
            let capability = error.capability().map(|c| c.name());
            let queue = wanted
                .queue
                .as_deref()
                .map(|name| context.store.queue_name(name));
            d.field(
                "its field",
                wanted.field.clone().map(Some),
                own(error.field()),
            );
            d.field(
                "its capability",
                wanted.capability.clone().map(Some),
                own(capability),
            );
            d.field("its queue", queue.map(Some), own(error.queue()));
            d.field("its size", wanted.size.map(Some), error.size().map(|s| s.0));
            d.field(
                "its limit",
                wanted.limit.map(Some),
                error.size().map(|s| s.1),
            );
            if d.0.is_empty() {
                return Ok(None);
            }
            Err(format!("{}: {error:?}", d.0.join("; ")))
        }
    }
}

/// A lost lock also makes a receipt invalid, and says more.
fn satisfies(got: ErrorKind, wanted: ErrorKind) -> bool {
    use ErrorKind::{InvalidReceipt, LockLost, SessionLockLost};
    got == wanted || wanted == InvalidReceipt && matches!(got, LockLost | SessionLockLost)
}

pub(super) fn check_counts(wanted: &Counts, got: &Statistics) -> Result<(), String> {
    let mut d = Differences(Vec::new());
    d.field("ready", wanted.ready, got.ready);
    d.field("in_flight", wanted.in_flight, got.in_flight);
    d.field("delayed", wanted.delayed, got.delayed);
    d.field("dead", wanted.dead, got.dead);
    d.field("depth", wanted.depth, got.depth());
    d.field("bytes", wanted.bytes, got.bytes);
    d.field("sessions", wanted.sessions, got.sessions);
    d.field("oldest_age", wanted.oldest_age.map(|a| a.0), got.oldest_age);
    if d.0.is_empty() {
        Ok(())
    } else {
        Err(d.0.join("; "))
    }
}

pub(super) fn check_explained(
    wanted: &Explained,
    got: &MessageExplanation,
    context: &Context<'_>,
) -> Result<(), String> {
    let mut d = Differences(Vec::new());
    let standing = serde_json::to_value(got.standing).unwrap_or_default();
    let moment = |span: &Option<OptionalSpan>| {
        let span = span.as_ref()?.0;
        Some(span.map(|span| context.moment(Span(span))))
    };
    let behind = wanted.behind.as_ref().map(|body| context.id_of(body));
    let behind = behind.transpose()?.map(|id| Some(id.to_string()));
    d.field(
        "standing",
        wanted.standing.as_deref(),
        standing.as_str().unwrap_or_default(),
    );
    d.field("attempts", wanted.attempts, got.attempts);
    d.field(
        "behind",
        behind,
        got.behind.as_ref().map(|behind| behind.id.clone()),
    );
    d.field("parked", wanted.parked, got.parked);
    d.field("earliest", moment(&wanted.earliest), got.earliest);
    d.field("latest", moment(&wanted.latest), got.latest);
    if d.0.is_empty() {
        Ok(())
    } else {
        Err(d.0.join("; "))
    }
}

/// Whether one thing is as expected, if something is expected of it.
pub(super) fn check_value<T: PartialEq + std::fmt::Debug>(
    name: &str,
    wanted: Option<T>,
    got: T,
) -> Result<(), String> {
    let mut d = Differences(Vec::new());
    d.field(name, wanted, got);
    d.0.pop().map_or(Ok(()), Err)
}

fn show(body: &Bytes) -> String {
    let text = String::from_utf8_lossy(body);
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{:?}... of {} bytes", &text[..at], body.len()),
        None => format!("{text:?}"),
    }
}

fn show_all<'a>(bodies: impl ExactSizeIterator<Item = &'a Bytes>) -> String {
    let count = bodies.len();
    let first: Vec<String> = bodies.take(10).map(show).collect();
    let more = if count > 10 { ", ..." } else { "" };
    format!("{count} [{}{more}]", first.join(", "))
}
