//! Looking without taking: peek and statistics.

use super::step::Step;
use crate::providers::file::index::layout::{NEVER, NIL, flag, standing};
use crate::providers::file::index::region::Cell;
use crate::providers::file::index::{list, tree};
use crate::queue::{MessageState, Statistics};
use std::time::Duration;

/// A message that is looked at; what it says is in the log.
#[derive(Clone, Copy, Debug)]
pub(in crate::providers::file) struct Shown {
    pub(in crate::providers::file) slot: u32,
    pub(in crate::providers::file) engine: u64,
    pub(in crate::providers::file) number: u64,
    pub(in crate::providers::file) state: MessageState,
    pub(in crate::providers::file) sequence: u64,
    pub(in crate::providers::file) attempts: u32,
    pub(in crate::providers::file) enqueued: u64,
    pub(in crate::providers::file) record: (u64, u32),
    /// Ticks: when its delay or lock ends, when it expires, until when its session is held;
    /// [`NEVER`] where there is none.
    pub(in crate::providers::file) until: u64,
    pub(in crate::providers::file) expires: u64,
    pub(in crate::providers::file) held_until: u64,
    pub(in crate::providers::file) blocks: bool,
    pub(in crate::providers::file) unbegun: bool,
}

impl Step<'_> {
    /// Messages in order, from after a sequence number on.
    pub(in crate::providers::file) fn peek(
        &self,
        queue: u32,
        after: Option<u64>,
        max: usize,
    ) -> Vec<Shown> {
        let queue = self.queue(queue);
        let mut shown = Vec::new();
        let mut id = queue.all.first.get();
        while id != NIL && shown.len() < max {
            let message = self.message(id);
            if after.is_none_or(|after| message.sequence.get() > after) {
                let session = message.session.get();
                let held_until = match session {
                    NIL => NEVER,
                    session if self.session(session).hold.get() == 0 => NEVER,
                    session => self.session(session).hold_until.get(),
                };
                let (delayed, in_flight) = match message.standing.get() {
                    standing::DELAYED => (true, false),
                    standing::IN_FLIGHT => (false, true),
                    _ => (false, false),
                };
                shown.push(Shown {
                    slot: id,
                    engine: queue.engine.get(),
                    number: message.number.get(),
                    state: match message.standing.get() {
                        standing::DELAYED => MessageState::Delayed,
                        standing::IN_FLIGHT => MessageState::InFlight,
                        _ => MessageState::Ready,
                    },
                    sequence: message.sequence.get(),
                    attempts: message.attempts.get(),
                    enqueued: message.enqueued.get(),
                    record: (message.record.position.get(), message.record.len.get()),
                    until: match (delayed, in_flight) {
                        (false, false) => NEVER,
                        (false, true) if held_until != NEVER => held_until,
                        _ => message.due.get(),
                    },
                    expires: message.expires.get(),
                    held_until,
                    blocks: delayed && self.has(message, flag::BLOCKS),
                    unbegun: in_flight && !self.has(message, flag::BEGUN),
                });
            }
            id = list::after::<list::All>(self.r, id);
        }
        shown
    }

    pub(in crate::providers::file) fn statistics(&self, queue: u32) -> Statistics {
        let of = self.queue(queue);
        Statistics {
            ready: of.ready.get(),
            in_flight: of.in_flight.get(),
            delayed: of.delayed.get(),
            dead: of.dead.get(),
            bytes: of.bytes.get(),
            sessions: u64::from(self.sessions_len(of)),
            oldest_age: self
                .oldest(queue)
                .map(|enqueued| Duration::from_nanos(self.now.saturating_sub(enqueued))),
        }
    }

    /// When the oldest message that is not dead was sent.
    fn oldest(&self, queue: u32) -> Option<u64> {
        let queue = self.queue(queue);
        let mut first = queue.all.first.get();
        while first != NIL && self.has(self.message(first), flag::YOUNG) {
            first = list::after::<list::All>(self.r, first);
        }
        let late = tree::first::<tree::Late>(self.r, &queue.late);
        let enqueued = |id: u32| (id != NIL).then(|| self.message(id).enqueued.get());
        match (enqueued(first), enqueued(late)) {
            (Some(first), Some(late)) => Some(first.min(late)),
            (first, late) => first.or(late),
        }
    }
}
