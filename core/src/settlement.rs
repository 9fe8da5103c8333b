//! What becomes of a delivery: ack, nack, release or dead_letter.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Tick;
use crate::consumer::Held;
use crate::error::{Error, Result};
use crate::message::MAX_DURATION;

/// Whose lock a delivery is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Guard {
    /// Its own.
    Delivery,
    /// That of the session it was received from.
    Session,
}

/// The proof of a delivery: settles it once. Made by the provider, opaque to everybody else.
// Whole words, here and below: copying a value with gaps in it stalls on what was just written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u64)]
pub enum Receipt {
    /// Of the built-in engines: a place and the number of the delivery, which fences it.
    Slot {
        /// The engine's number of the queue.
        queue: u64,
        /// The place of the message.
        slot: u32,
        /// Whose lock it is under.
        guard: Guard,
        /// The number of the delivery.
        token: u64,
        /// When its lock ends, unless extended.
        until: Tick,
    },
    /// Of a provider with handles of its own.
    Text(Arc<str>),
}

/// How a delivery ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Verb {
    /// Done; gone for good.
    Ack,
    /// This attempt failed. The message comes back after the delay (without one: after the delay
    /// of the queue's retry policy), or is dead-lettered when its budget is spent.
    Nack {
        /// Why, for the dead letter.
        reason: Option<Arc<str>>,
        /// When it comes back.
        delay: Option<Duration>,
    },
    /// Given back unblamed: the attempt does not count.
    Release {
        /// When it comes back; at once without one.
        delay: Option<Duration>,
    },
    /// To the dead-letter queue now.
    DeadLetter {
        /// Why, in a word.
        reason: Arc<str>,
        /// Why, at length.
        description: Option<Arc<str>>,
    },
}

impl Verb {
    /// The name of the verb, as in metrics and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Nack { .. } => "nack",
            Self::Release { .. } => "release",
            Self::DeadLetter { .. } => "dead_letter",
        }
    }
}

impl Verb {
    /// `InvalidArgument` for a delay nobody will live to see.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        let delay = match self {
            Self::Nack { delay, .. } | Self::Release { delay } => *delay,
            Self::Ack | Self::DeadLetter { .. } => None,
        };
        if delay.is_some_and(|delay| delay > MAX_DURATION) {
            return Err(Error::invalid_argument(
                "delay",
                "must be at most 100 years",
            ));
        }
        Ok(())
    }
}

/// One delivery and how it ends. Made by the methods of [`Delivery`](crate::Delivery).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The delivery.
    pub receipt: Receipt,
    /// How it ends.
    pub verb: Verb,
    /// Its attempt number, for the retry policy.
    pub attempt: u32,
    /// Whose lock is kept until then.
    pub(crate) held: Option<Held>,
    /// When it was handed over, where that is known.
    pub(crate) since: Option<Tick>,
}

impl Settlement {
    /// A settlement by a receipt alone; see [`Delivery::settlement`](crate::Delivery::settlement).
    pub fn new(receipt: Receipt, verb: Verb, attempt: u32) -> Self {
        Self {
            receipt,
            verb,
            attempt,
            held: None,
            since: None,
        }
    }
}
