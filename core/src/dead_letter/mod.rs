//! Dead letters: messages that were given up, kept whole, with why and when.

mod statistics;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::message::{Message, MessageId};
pub(crate) use statistics::Tally;
pub use statistics::{DeadLetterAge, DeadLetterGroup, DeadLetterStatistics, OTHERS};

/// Reasons this library gives itself; every other reason is the caller's own.
pub mod reason {
    /// The handler failed as often as the budget allows.
    pub const MAX_ATTEMPTS: &str = "max_attempts";
    /// The last attempt ended without a settlement: the lock ran out, or its process died.
    pub const CRASHED: &str = "crashed";
    /// The message's time to live was over.
    pub const EXPIRED: &str = "expired";
    /// What is kept of the message cannot be read any more; its body is lost.
    pub const UNREADABLE: &str = "unreadable";
}

/// The header that counts how often a message was redriven.
pub const REDRIVE_COUNT: &str = "qrt-redrive-count";

/// A message that was given up.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message's identity, as it was.
    pub id: MessageId,
    /// The message, whole.
    pub message: Message,
    /// Why, in a word: one of [`reason`], or the caller's.
    pub reason: Arc<str>,
    /// Why, at length.
    pub description: Option<Arc<str>>,
    /// Attempts that were made.
    pub attempts: u32,
    /// The queue it was sent to.
    pub source: Arc<str>,
    /// Its number among the dead letters: the cursor of a listing.
    pub number: u64,
    /// When it was sent.
    pub enqueued_at: Timestamp,
    /// When it was first delivered, if ever.
    pub first_delivered_at: Option<Timestamp>,
    /// When it was given up.
    pub dead_lettered_at: Timestamp,
}

impl DeadLetter {
    /// A dead letter as a provider knows it; the optional parts can be set afterwards.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        id: MessageId,
        message: Message,
        reason: Arc<str>,
        attempts: u32,
        source: Arc<str>,
        number: u64,
        enqueued_at: Timestamp,
        dead_lettered_at: Timestamp,
    ) -> Self {
        Self {
            id,
            message,
            reason,
            description: None,
            attempts,
            source,
            number,
            enqueued_at,
            first_delivered_at: None,
            dead_lettered_at,
        }
    }
}

/// Which dead letters are meant; an empty filter means all. Every set field must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeadLetterFilter {
    /// Of these ids; all when empty.
    pub ids: Vec<MessageId>,
    /// With this reason.
    pub reason: Option<Arc<str>>,
    /// Of this session.
    pub session: Option<Arc<str>>,
    /// With this header, and this value of it.
    pub header: Option<(Arc<str>, Arc<str>)>,
    /// Given up at this moment or later.
    pub since: Option<Timestamp>,
    /// Given up before this moment.
    pub until: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// Every dead letter.
    pub fn all() -> Self {
        Self::default()
    }

    /// The dead letters of these ids.
    pub fn ids(ids: impl IntoIterator<Item = MessageId>) -> Self {
        Self {
            ids: ids.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The dead letters with this reason.
    pub fn reason(reason: impl Into<Arc<str>>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::default()
        }
    }

    /// Whether this dead letter is meant.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let properties = letter.message.properties();
        (self.ids.is_empty() || self.ids.contains(&letter.id))
            && self.reason.as_ref().is_none_or(|r| *r == letter.reason)
            && (self.session.is_none() || self.session == properties.session)
            && self
                .header
                .as_ref()
                .is_none_or(|(name, value)| properties.headers.get(name) == Some(value))
            && self.since.is_none_or(|t| letter.dead_lettered_at >= t)
            && self.until.is_none_or(|t| letter.dead_lettered_at < t)
    }
}

/// How dead letters are sent back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RedriveOptions {
    /// Which ones.
    pub filter: DeadLetterFilter,
    /// At most this many; all without one.
    pub max: Option<u64>,
    /// At most this many a second; as fast as it goes without one.
    pub per_second: Option<u32>,
    /// Only count what would be sent back.
    pub dry_run: bool,
    /// Go on after this dead letter: `last` of the report of a redrive that was stopped.
    pub after: Option<u64>,
}

/// What a redrive did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedriveReport {
    /// Dead letters that matched: each was sent back, or failed, or would be in a dry run.
    pub matched: u64,
    /// Dead letters that are back in the queue.
    pub redriven: u64,
    /// Dead letters that could not be sent back and stay where they are, with why.
    pub failed: Vec<(MessageId, Arc<str>)>,
    /// The number of the last dead letter looked at: where to go on.
    pub last: Option<u64>,
}

/// The pause between two dead letters that keeps to a rate.
pub(crate) fn pause(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}
