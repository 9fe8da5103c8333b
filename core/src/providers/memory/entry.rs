//! The messages of a queue, each in a slot that lists and timers point to by number.

use std::sync::Arc;

use super::list::{Arena, Link, NIL};
use crate::clock::Tick;
use crate::message::{Message, MessageId};

/// List kind: every live message, in the order of its sequence number.
#[derive(Debug)]
pub(super) enum All {}
/// List kind: where the message stands: ready, in a session's hands, dead.
#[derive(Debug)]
pub(super) enum Place {}
/// List kind: messages whose timers share a slot of the wheel.
#[derive(Debug)]
pub(super) enum Timer {}

/// How a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The slot is empty.
    Free,
    /// Never delivered, in the ready list of its lane.
    Fresh,
    /// Given back, ready at its old place.
    Returned,
    /// Not visible before its time.
    Delayed,
    /// In somebody's hands.
    InFlight,
    /// Given up.
    Dead,
}

/// Why and when a message was given up.
#[derive(Debug)]
pub(super) struct Death {
    pub(super) number: u64,
    pub(super) reason: Arc<str>,
    pub(super) description: Option<Arc<str>>,
    pub(super) at: Tick,
}

/// One message and everything known about it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Message,
    /// The number of the message's id, where the sender gave none.
    pub(super) number: u64,
    /// The place in the order.
    pub(super) sequence: u64,
    /// The number of the latest delivery; fences its receipt.
    pub(super) token: u64,
    pub(super) enqueued: Tick,
    pub(super) first_delivered: Tick,
    /// When it expires.
    pub(super) expires: Tick,
    /// When its timer fires: the end of a delay, of a lock, or of its life.
    pub(super) due: Tick,
    pub(super) session: u32,
    pub(super) attempts: u32,
    pub(super) standing: Standing,
    /// The present delivery has used an attempt.
    pub(super) begun: bool,
    /// The latest delivery ended without a settlement.
    pub(super) lapsed: bool,
    /// While it is delayed, its session waits for it; and its place is its old one.
    pub(super) given_back: bool,
    pub(super) blocks: bool,
    /// It stands before messages that were sent earlier.
    pub(super) young: bool,
    /// The wheel's slot of its timer.
    pub(super) bucket: u16,
    pub(super) death: Option<Box<Death>>,
    all: Link,
    place: Link,
    timer: Link,
}

/// No timer is set.
pub(super) const NO_BUCKET: u16 = u16::MAX;

impl Entry {
    fn new(message: Message) -> Self {
        Self {
            message,
            number: 0,
            sequence: 0,
            token: 0,
            enqueued: Tick(0),
            first_delivered: Tick::NEVER,
            expires: Tick::NEVER,
            due: Tick::NEVER,
            session: NIL,
            attempts: 0,
            standing: Standing::Fresh,
            begun: false,
            lapsed: false,
            given_back: false,
            blocks: false,
            young: false,
            bucket: NO_BUCKET,
            death: None,
            all: Link::default(),
            place: Link::default(),
            timer: Link::default(),
        }
    }

    /// The message's identity in the engine of this number.
    pub(super) fn id(&self, engine: u64) -> MessageId {
        match self.message.properties.as_deref() {
            Some(p) if p.id.is_some() => p.id.clone().unwrap_or_else(|| unreachable!()),
            _ => MessageId::made(engine, self.number),
        }
    }
}

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;
/// Chunks that an empty queue keeps, so that a queue that breathes does not allocate.
const KEPT: usize = 8;

/// The slots: grown by chunks, so that growing copies nothing, and given back when all are free.
#[derive(Debug, Default)]
pub(super) struct Entries {
    chunks: Vec<Vec<Entry>>,
    free: Vec<u32>,
    len: usize,
}

impl Entries {
    pub(super) fn get(&self, index: u32) -> Option<&Entry> {
        self.chunks
            .get((index >> CHUNK_BITS) as usize)?
            .get(index as usize & (CHUNK - 1))
    }

    /// Adds a message. Fails never: a queue's bound is below the number of slots.
    pub(super) fn insert(&mut self, message: Message) -> u32 {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            // What the last delivery from this slot came to is still asked for by its receipt.
            let (token, lapsed) = (self[index].token, self[index].lapsed);
            self[index] = Entry::new(message);
            (self[index].token, self[index].lapsed) = (token, lapsed);
            return index;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        let index = (last << CHUNK_BITS | self.chunks[last].len()) as u32;
        self.chunks[last].push(Entry::new(message));
        index
    }

    /// Empties a slot. Its token stays, so that a late receipt is told from a foreign one.
    pub(super) fn remove(&mut self, index: u32) -> Message {
        let entry = &mut self[index];
        entry.standing = Standing::Free;
        entry.death = None;
        let message = std::mem::take(&mut entry.message);
        self.len -= 1;
        self.free.push(index);
        if self.len == 0 && self.chunks.len() > KEPT {
            self.shrink();
        }
        message
    }

    #[cold]
    fn shrink(&mut self) {
        self.chunks.truncate(KEPT);
        self.chunks.shrink_to_fit();
        self.free = (0..(KEPT * CHUNK) as u32).rev().collect();
    }
}

impl std::ops::Index<u32> for Entries {
    type Output = Entry;

    #[inline]
    fn index(&self, index: u32) -> &Entry {
        &self.chunks[(index >> CHUNK_BITS) as usize][index as usize & (CHUNK - 1)]
    }
}

impl std::ops::IndexMut<u32> for Entries {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.chunks[(index >> CHUNK_BITS) as usize][index as usize & (CHUNK - 1)]
    }
}

macro_rules! arena {
    ($kind:ty, $field:ident) => {
        impl Arena<$kind> for Entries {
            #[inline]
            fn link(&self, index: u32) -> &Link {
                &self[index].$field
            }

            #[inline]
            fn link_mut(&mut self, index: u32) -> &mut Link {
                &mut self[index].$field
            }
        }
    };
}

arena!(All, all);
arena!(Place, place);
arena!(Timer, timer);
