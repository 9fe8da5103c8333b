//! What is seen of a queue without taking anything from it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::message::{Message, MessageId};

/// How a message that is looked at stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// To be received.
    Ready,
    /// Not yet to be received: sent with a delay, or given back with one.
    Delayed,
    /// In somebody's hands.
    InFlight,
}

/// A message that was looked at, not taken.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Peeked {
    /// The message's identity.
    pub id: MessageId,
    /// The message.
    pub message: Message,
    /// How it stands.
    pub state: MessageState,
    /// Its place in the order of the queue: the cursor of a listing.
    pub sequence: u64,
    /// Attempts made so far.
    pub attempts: u32,
    /// When it was sent.
    pub enqueued_at: Timestamp,
    /// What decides when it can be received next; a provider that knows sets it afterwards.
    pub outlook: Outlook,
}

/// What decides when a message that is looked at can be received next, as far as the provider knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outlook {
    /// Of a delayed one: when the delay ends. Of one in flight: when its lock ends.
    pub until: Option<Timestamp>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// It is delayed, and the others of its session wait for it.
    pub blocks: bool,
    /// It is in flight, and nobody has begun to work on it.
    pub unbegun: bool,
    /// Until when its session is held by who accepted it.
    pub session_held_until: Option<Timestamp>,
}

impl Peeked {
    /// A message as a provider shows it.
    pub fn new(
        id: MessageId,
        message: Message,
        state: MessageState,
        sequence: u64,
        attempts: u32,
        enqueued_at: Timestamp,
    ) -> Self {
        Self {
            id,
            message,
            state,
            sequence,
            attempts,
            enqueued_at,
            outlook: Outlook::default(),
        }
    }
}

/// Counts and ages of a queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Messages to be received now.
    pub ready: u64,
    /// Messages in somebody's hands.
    pub in_flight: u64,
    /// Messages that appear later.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of all but the dead letters.
    pub bytes: u64,
    /// Sessions that have messages, dead letters, a holder or a state.
    pub sessions: u64,
    /// Age of the oldest message that is not a dead letter.
    pub oldest_age: Option<Duration>,
}

impl Statistics {
    /// Messages in the queue, wherever they stand; without the dead letters.
    pub fn depth(&self) -> u64 {
        self.ready + self.in_flight + self.delayed
    }
}
