//! Options of a queue: set where they are given, resolved to a definition with the defaults.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::duration;
use super::options::{self, Options, flag, number, put, word};
use crate::error::{Error, Result};
use crate::message::MAX_DURATION;
use crate::resilience::{Breaker, Retry};

/// What a failed message does to its successors in the same session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// They wait until it is settled or dead-lettered.
    #[default]
    Block,
    /// They go on while it waits for its next attempt.
    Skip,
    /// As `block`, and when it is dead-lettered the session stays parked until no dead letter of
    /// it is left: a redriven one goes back to its old place, before its successors.
    Park,
}

/// What becomes of a message whose time to live is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// It is deleted.
    #[default]
    Drop,
    /// It is dead-lettered with the reason `expired`.
    DeadLetter,
}

/// What a send does when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// It waits for room.
    #[default]
    Wait,
    /// It fails with `Full`.
    Error,
}

/// When a queue that is not there is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Create {
    /// At its first use, by the providers that may (`memory:` and `file:`).
    #[default]
    FirstUse,
    /// Only by an explicit call; otherwise `QueueNotFound`.
    Never,
}

/// What is asked of a queue. `None` takes the next layer's value: code, then URL, then
/// environment, then default.
///
/// In JSON, in a URL and in the environment the options have the names of these fields, and
/// durations are text with a unit, like `30s`. An unknown name is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueueOptions {
    /// How long a delivery, or a session, is locked.
    #[serde(
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub lock: Option<Duration>,
    /// Deliveries a message may use before it is dead-lettered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// When a nacked message comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Time to live of messages that have none of their own.
    #[serde(
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub ttl: Option<Duration>,
    /// What becomes of an expired message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<OnExpiry>,
    /// How long a dedup id is remembered.
    #[serde(
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub dedup_window: Option<Duration>,
    /// What a failed message does to its session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Messages the queue holds at most; dead letters are counted apart, by the same bound. Also
    /// read by the name `max_queue_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_messages: Option<u64>,
    /// Bytes the queue holds at most; dead letters are counted apart, by the same bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Bytes of one message: body and headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_bytes: Option<u64>,
    /// What a send does when the queue is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_full: Option<OnFull>,
    /// When the queue is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<Create>,
    /// When sending pauses since the provider is away; for providers across a network. The sends of
    /// one queue in one client, with the same breaker, count together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// Whether the sessions of messages are groups that share the queue fairly: each in turn, with
    /// neither an order nor a holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fair_groups: Option<bool>,
}

impl Options for QueueOptions {
    fn names() -> impl Iterator<Item = &'static str> {
        [
            "lock",
            "budget",
            "retry",
            "ttl",
            "on_expiry",
            "dedup_window",
            "on_failure",
            "max_messages",
            "max_bytes",
            "max_message_bytes",
            "on_full",
            "create",
            "breaker",
            "fair_groups",
        ]
        .into_iter()
    }

    fn set(&mut self, name: &str, text: &str) -> std::result::Result<bool, String> {
        match name {
            "lock" => put(&mut self.lock, duration::parse(text)),
            "budget" => put(&mut self.budget, number(text)),
            "retry" => {
                let retry = text.parse().map_err(|e: Error| e.message().to_owned());
                put(&mut self.retry, retry)
            }
            "ttl" => put(&mut self.ttl, duration::parse(text)),
            "on_expiry" => put(&mut self.on_expiry, word(text)),
            "dedup_window" => put(&mut self.dedup_window, duration::parse(text)),
            "on_failure" => put(&mut self.on_failure, word(text)),
            "max_messages" | "max_queue_size" => put(&mut self.max_messages, number(text)),
            "max_bytes" => put(&mut self.max_bytes, number(text)),
            "max_message_bytes" => put(&mut self.max_message_bytes, number(text)),
            "on_full" => put(&mut self.on_full, word(text)),
            "create" => put(&mut self.create, word(text)),
            "breaker" => {
                let breaker = text.parse().map_err(|e: Error| e.message().to_owned());
                put(&mut self.breaker, breaker)
            }
            "fair_groups" => put(&mut self.fair_groups, flag(text)),
            _ => Ok(false),
        }
    }
}

impl<'de> Deserialize<'de> for QueueOptions {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        options::deserialize(d)
    }
}

impl QueueOptions {
    /// The options of a JSON object. `InvalidConfig` names the option.
    pub fn from_json(json: &str) -> Result<Self> {
        let options = <Self as Options>::from_json(json)?;
        options.check()?;
        Ok(options)
    }

    /// These options, with another layer's where these say nothing.
    pub fn or(self, other: &QueueOptions) -> Self {
        Self {
            lock: self.lock.or(other.lock),
            budget: self.budget.or(other.budget),
            retry: self.retry.or_else(|| other.retry.clone()),
            ttl: self.ttl.or(other.ttl),
            on_expiry: self.on_expiry.or(other.on_expiry),
            dedup_window: self.dedup_window.or(other.dedup_window),
            on_failure: self.on_failure.or(other.on_failure),
            max_messages: self.max_messages.or(other.max_messages),
            max_bytes: self.max_bytes.or(other.max_bytes),
            max_message_bytes: self.max_message_bytes.or(other.max_message_bytes),
            on_full: self.on_full.or(other.on_full),
            create: self.create.or(other.create),
            breaker: self.breaker.or(other.breaker),
            fair_groups: self.fair_groups.or(other.fair_groups),
        }
    }

    /// The definition these options and the defaults make. `InvalidConfig` names the field.
    pub fn define(&self) -> Result<QueueDefinition> {
        self.check()?;
        let max_bytes = self.max_bytes.unwrap_or(DEFAULT_MAX_BYTES);
        let definition = QueueDefinition {
            lock: self.lock.unwrap_or(DEFAULT_LOCK),
            budget: self.budget.unwrap_or(DEFAULT_BUDGET),
            retry: self.retry.clone().unwrap_or_default(),
            ttl: self.ttl,
            on_expiry: self.on_expiry.unwrap_or_default(),
            dedup_window: self.dedup_window.unwrap_or(DEFAULT_DEDUP_WINDOW),
            on_failure: self.on_failure.unwrap_or_default(),
            max_messages: self.max_messages.unwrap_or(DEFAULT_MAX_MESSAGES),
            max_bytes,
            max_message_bytes: self
                .max_message_bytes
                .unwrap_or(DEFAULT_MAX_MESSAGE_BYTES.min(max_bytes)),
            on_full: self.on_full.unwrap_or_default(),
            create: self.create.unwrap_or_default(),
            breaker: self.breaker.unwrap_or(Breaker::None),
            fair_groups: self.fair_groups.unwrap_or(false),
        };
        if definition.max_message_bytes > definition.max_bytes {
            return Err(Error::invalid_config(
                "max_message_bytes",
                "must not be more than max_bytes, or such a message never fits",
            ));
        }
        Ok(definition)
    }

    /// Checks each option that is given, by itself. `InvalidConfig` names it.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(lock) = self.lock {
            check_lock("lock", lock)?;
        }
        if let Some(retry) = &self.retry {
            retry.check()?;
        }
        if let Some(breaker) = &self.breaker {
            breaker.check()?;
        }
        let counts = [
            ("budget", self.budget.map(u64::from), u64::from(u32::MAX)),
            ("max_messages", self.max_messages, u64::from(u32::MAX / 2)),
            ("max_bytes", self.max_bytes, u64::MAX),
            ("max_message_bytes", self.max_message_bytes, u64::MAX),
        ];
        for (field, count, most) in counts {
            if count == Some(0) {
                return Err(Error::invalid_config(field, "must be at least 1"));
            }
            if count.is_some_and(|count| count > most) {
                return Err(Error::invalid_config(
                    field,
                    format!("must be at most {most}"),
                ));
            }
        }
        if self
            .ttl
            .is_some_and(|ttl| ttl.is_zero() || ttl > MAX_DURATION)
        {
            return Err(Error::invalid_config(
                "ttl",
                "must be more than zero and at most 100 years",
            ));
        }
        if self
            .dedup_window
            .is_some_and(|window| window > MAX_DURATION)
        {
            return Err(Error::invalid_config(
                "dedup_window",
                "must be at most 100 years",
            ));
        }
        Ok(())
    }
}

/// How long a delivery is locked by default.
pub const DEFAULT_LOCK: Duration = Duration::from_secs(30);
/// The default attempt budget.
pub const DEFAULT_BUDGET: u32 = 5;
/// How long a dedup id is remembered by default.
pub const DEFAULT_DEDUP_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Messages an embedded queue holds by default, in memory.
pub const DEFAULT_MAX_MESSAGES: u64 = 100_000;
/// Bytes an embedded queue holds by default, in memory.
pub const DEFAULT_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of one message of an embedded queue by default.
pub const DEFAULT_MAX_MESSAGE_BYTES: u64 = 10 * 1024 * 1024;

/// A queue with every option decided.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the fields are those of `QueueOptions`
pub struct QueueDefinition {
    pub lock: Duration,
    pub budget: u32,
    pub retry: Retry,
    pub ttl: Option<Duration>,
    pub on_expiry: OnExpiry,
    pub dedup_window: Duration,
    pub on_failure: OnFailure,
    pub max_messages: u64,
    pub max_bytes: u64,
    pub max_message_bytes: u64,
    pub on_full: OnFull,
    pub create: Create,
    pub breaker: Breaker,
    pub fair_groups: bool,
}

/// Locks are 1 ms to 12 hours: what every provider can keep.
pub(crate) fn check_lock(field: &'static str, lock: Duration) -> Result<()> {
    let longest = Duration::from_secs(12 * 60 * 60);
    if lock < Duration::from_millis(1) || lock > longest {
        return Err(Error::invalid_config(
            field,
            "must be between 1 ms and 12 h",
        ));
    }
    Ok(())
}
