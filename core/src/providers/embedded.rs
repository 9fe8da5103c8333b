//! What the built-in engines have in common beside their behaviour: names, definitions, errors.

use std::time::Duration;

use crate::capability::Capability::{self, *};
use crate::capability::{Capabilities, Limits, Support};
use crate::config::{QueueDefinition, QueueOptions};
use crate::dead_letter::REDRIVE_COUNT;
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use crate::provider::Terms;
use crate::settlement::Guard;

/// A preferred session is looked for among so many that are next.
pub(super) const NEXT_SESSIONS: usize = 32;

/// What the built-in engines can do in every queue.
const NATIVE: &[Capability] = &[
    Delay,
    Ttl,
    Dedup,
    Extend,
    NackDelay,
    Release,
    Begin,
    DeadLetter,
    DeadLetterList,
    Redrive,
    Purge,
    Peek,
    Statistics,
    Create,
    Bounds,
    CreateAtFirstUse,
];

/// What they can do where the sessions of messages have an order.
const ORDERED: &[Capability] = &[
    Sessions,
    SessionById,
    SessionNext,
    SessionState,
    SkipOnFailure,
    ParkOnFailure,
    Order,
];

/// What a queue can do that has fair groups, or not.
pub(super) fn of_queue(provider: &'static str, limits: Limits, fair_groups: bool) -> Capabilities {
    let all = Capabilities::new(provider, limits).with(Support::Native, NATIVE);
    if fair_groups {
        all.with(Support::Native, &[FairGroups])
    } else {
        all.with(Support::Native, ORDERED)
    }
}

/// What the queues of a client can do, by its option `fair_groups`: each of them decides for itself,
/// where it is not all that have fair groups.
pub(super) fn of_client(
    provider: &'static str,
    limits: Limits,
    fair_groups: Option<bool>,
) -> Capabilities {
    let fair = of_queue(provider, limits, true);
    if fair_groups == Some(true) {
        fair
    } else {
        fair.with(Support::Native, ORDERED)
    }
}

/// The longest name of a queue, in bytes.
const MAX_NAME_BYTES: usize = 260;

/// `InvalidArgument` for a name that no queue can have.
pub(super) fn check_name(name: &str) -> Result<()> {
    let what = if name.is_empty() {
        "must not be empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!("has {} bytes, the limit is {MAX_NAME_BYTES}", name.len())
    } else if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        format!("{name:?} must be of ASCII letters, digits, '-', '_' and '.' only")
    } else {
        return Ok(());
    };
    Err(Error::invalid_argument("name", what))
}

/// What this client asks for by name must be what the queue is.
pub(super) fn check_same(is: &QueueDefinition, asked: &QueueOptions) -> Result<()> {
    let differs = [
        ("lock", asked.lock.is_some_and(|v| v != is.lock)),
        ("budget", asked.budget.is_some_and(|v| v != is.budget)),
        ("ttl", asked.ttl.is_some_and(|v| Some(v) != is.ttl)),
        (
            "on_expiry",
            asked.on_expiry.is_some_and(|v| v != is.on_expiry),
        ),
        (
            "dedup_window",
            asked.dedup_window.is_some_and(|v| v != is.dedup_window),
        ),
        (
            "on_failure",
            asked.on_failure.is_some_and(|v| v != is.on_failure),
        ),
        (
            "max_messages",
            asked.max_messages.is_some_and(|v| v != is.max_messages),
        ),
        (
            "max_bytes",
            asked.max_bytes.is_some_and(|v| v != is.max_bytes),
        ),
    ];
    // Who does not know of it would take groups for sessions, or sessions for groups.
    if asked.fair_groups.unwrap_or(false) != is.fair_groups {
        let what = format!(
            "the queue exists with fair_groups={0}; open it with fair_groups={0}",
            is.fair_groups
        );
        return Err(Error::invalid_config("fair_groups", what));
    }
    match differs.into_iter().find(|(_, differs)| *differs) {
        Some((field, _)) => Err(Error::invalid_config(
            field,
            "the queue exists with another value; ask for that one, or for none",
        )),
        None => Ok(()),
    }
}

/// What a queue of this definition holds to.
pub(super) fn terms(is: &QueueDefinition) -> Terms {
    Terms {
        lock: Some(is.lock),
        budget: Some(is.budget),
        on_failure: Some(is.on_failure),
        ..Terms::default()
    }
}

/// The message with its redrives counted in a header.
pub(super) fn counted(message: &Message) -> Message {
    let headers = &message.properties().headers;
    let before = headers
        .get(REDRIVE_COUNT)
        .and_then(|n| n.parse::<u64>().ok());
    let count = before.unwrap_or(0).saturating_add(1);
    message.clone().header(REDRIVE_COUNT, count.to_string())
}

#[cold]
pub(super) fn full(definition: &QueueDefinition) -> Error {
    Error::new(
        ErrorKind::Full,
        format!(
            "the queue is full ({} messages, {} bytes); receive from it, or raise max_messages or max_bytes",
            definition.max_messages, definition.max_bytes
        ),
    )
    .with_retry_after(Duration::from_millis(100))
}

#[cold]
pub(super) fn not_found() -> Error {
    Error::new(
        ErrorKind::QueueNotFound,
        "there is no queue of this name; create it, or open it without create=never",
    )
}

#[cold]
pub(super) fn already_exists() -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        "there is a queue of this name already",
    )
}

/// A receipt of somebody else's.
#[cold]
pub(super) fn foreign() -> Error {
    Error::new(
        ErrorKind::InvalidReceipt,
        "the receipt is not of this queue",
    )
}

/// A delivery that is over: by its lock's end, or by a settlement.
#[cold]
pub(super) fn over(lapsed: bool, guard: Guard) -> Error {
    match (lapsed, guard) {
        (false, _) => Error::new(
            ErrorKind::InvalidReceipt,
            "the delivery was settled before; a receipt works once",
        ),
        (true, Guard::Session) => Error::new(
            ErrorKind::SessionLockLost,
            "the session's lock ended before; its messages went back",
        ),
        (true, Guard::Delivery) => Error::new(
            ErrorKind::LockLost,
            "the lock ended before; the message went back",
        ),
    }
}

/// Whoever held the session does not any more.
#[cold]
pub(super) fn hold_is_over() -> Error {
    Error::new(
        ErrorKind::SessionLockLost,
        "the session's lock ended; accept the session again",
    )
}
