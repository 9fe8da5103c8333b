//! What a provider can do, as data. Nothing is silently ignored and nothing silently emulated.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A feature that providers have or lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
#[non_exhaustive]
pub enum Capability {
    /// Ordered groups of messages with one holder at a time.
    Sessions = 0,
    /// Taking the session with a given id.
    SessionById = 1,
    /// Taking whichever session has work.
    SessionNext = 2,
    /// Bytes kept with a session.
    SessionState = 3,
    /// `on_failure = skip`.
    SkipOnFailure = 4,
    /// `on_failure = park`.
    ParkOnFailure = 5,
    /// Messages that appear later.
    Delay = 6,
    /// Messages that expire.
    Ttl = 7,
    /// A window in which a second message with the same dedup id is not stored.
    Dedup = 8,
    /// Keeping a lock longer.
    Extend = 9,
    /// Giving a message back with a delay.
    NackDelay = 10,
    /// Giving a message back without using an attempt.
    Release = 11,
    /// Charging an attempt when work starts instead of at receive.
    Begin = 12,
    /// A dead-letter queue.
    DeadLetter = 13,
    /// Listing dead letters without taking them.
    DeadLetterList = 14,
    /// Sending dead letters back.
    Redrive = 15,
    /// Deleting dead letters.
    Purge = 16,
    /// Looking at messages without taking them.
    Peek = 17,
    /// Depth, in flight, delayed, dead, age of the oldest.
    Statistics = 18,
    /// Creating a queue by an explicit call.
    Create = 19,
    /// Setting a message aside, to be fetched by its number.
    Defer = 20,
    /// Taking back a delayed message before its time.
    CancelScheduled = 21,
    /// Receiving without a lock.
    ReceiveAndDelete = 22,
    /// Bounds of a queue: `max_messages`, `max_bytes` and `on_full`.
    Bounds = 23,
    /// Creating a queue at its first use.
    CreateAtFirstUse = 24,
    /// First in, first out, also without sessions: what comes back takes its old place.
    Order = 25,
    /// Groups of messages that do not hold each other up, without an order inside.
    FairGroups = 26,
}

impl Capability {
    /// Every capability there is.
    pub const ALL: [Capability; 27] = [
        Self::Sessions,
        Self::SessionById,
        Self::SessionNext,
        Self::SessionState,
        Self::SkipOnFailure,
        Self::ParkOnFailure,
        Self::Delay,
        Self::Ttl,
        Self::Dedup,
        Self::Extend,
        Self::NackDelay,
        Self::Release,
        Self::Begin,
        Self::DeadLetter,
        Self::DeadLetterList,
        Self::Redrive,
        Self::Purge,
        Self::Peek,
        Self::Statistics,
        Self::Create,
        Self::Defer,
        Self::CancelScheduled,
        Self::ReceiveAndDelete,
        Self::Bounds,
        Self::CreateAtFirstUse,
        Self::Order,
        Self::FairGroups,
    ];

    /// The name in configuration, errors and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::SessionById => "session_by_id",
            Self::SessionNext => "session_next",
            Self::SessionState => "session_state",
            Self::SkipOnFailure => "skip_on_failure",
            Self::ParkOnFailure => "park_on_failure",
            Self::Delay => "delay",
            Self::Ttl => "ttl",
            Self::Dedup => "dedup",
            Self::Extend => "extend",
            Self::NackDelay => "nack_delay",
            Self::Release => "release",
            Self::Begin => "begin",
            Self::DeadLetter => "dead_letter",
            Self::DeadLetterList => "dead_letter_list",
            Self::Redrive => "redrive",
            Self::Purge => "purge",
            Self::Peek => "peek",
            Self::Statistics => "statistics",
            Self::Create => "create",
            Self::Defer => "defer",
            Self::CancelScheduled => "cancel_scheduled",
            Self::ReceiveAndDelete => "receive_and_delete",
            Self::Bounds => "bounds",
            Self::CreateAtFirstUse => "create_at_first_use",
            Self::Order => "order",
            Self::FairGroups => "fair_groups",
        }
    }

    /// The capability of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a provider has a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum Support {
    /// Not at all: asking for it is an error.
    #[default]
    Unsupported = 0,
    /// Built here from other features, in a documented way.
    Emulated = 1,
    /// By the engine itself.
    Native = 2,
}

/// The numbers a provider holds to. `None` is no limit of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Bytes of a message: body and headers.
    pub message_bytes: Option<u64>,
    /// Messages that one send takes in one request; larger sends are cut.
    pub send_batch: Option<u32>,
    /// Messages that one receive can return.
    pub receive_batch: Option<u32>,
    /// The longest delay of a message.
    pub delay: Option<Duration>,
    /// The longest lock.
    pub lock: Option<Duration>,
    /// Headers of a message.
    pub headers: Option<u32>,
}

/// What one provider can do.
#[derive(Clone, Debug, PartialEq)]
pub struct Capabilities {
    provider: &'static str,
    support: [Support; Capability::ALL.len()],
    limits: Limits,
}

impl Capabilities {
    /// A provider that can do nothing yet; add with [`Capabilities::with`].
    pub const fn new(provider: &'static str, limits: Limits) -> Self {
        Self {
            provider,
            support: [Support::Unsupported; Capability::ALL.len()],
            limits,
        }
    }

    /// Declares how these capabilities are had.
    pub fn with(mut self, support: Support, capabilities: &[Capability]) -> Self {
        for capability in capabilities {
            self.support[*capability as usize] = support;
        }
        self
    }

    /// The provider's name: its URL scheme.
    pub fn provider(&self) -> &'static str {
        self.provider
    }

    /// How this capability is had.
    pub fn support(&self, capability: Capability) -> Support {
        self.support[capability as usize]
    }

    /// Whether this capability is had at all.
    pub fn has(&self, capability: Capability) -> bool {
        self.support(capability) != Support::Unsupported
    }

    /// The provider's numbers.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// `Unsupported` naming the capability, unless it is had.
    pub fn require(&self, capability: Capability) -> crate::Result<()> {
        if self.has(capability) {
            Ok(())
        } else {
            Err(crate::Error::unsupported(capability))
        }
    }
}
