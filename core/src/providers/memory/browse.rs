//! Looking without taking: peek and statistics.

use super::entry::Standing;
use super::state::State;
use crate::clock::{Clock, Tick};
use crate::queue::{MessageState, Peeked, Statistics};

impl State {
    /// Messages in order, from after a sequence number on.
    pub(super) fn peek(&self, clock: &Clock, after: Option<u64>, max: usize) -> Vec<Peeked> {
        let mut shown = Vec::new();
        let mut next = self.all.front();
        while let Some(index) = next
            && shown.len() < max
        {
            next = self.all.after(&self.entries, index);
            let entry = &self.entries[index];
            if after.is_some_and(|after| entry.sequence <= after) {
                continue;
            }
            let state = match entry.standing {
                Standing::Delayed => MessageState::Delayed,
                Standing::InFlight => MessageState::InFlight,
                _ => MessageState::Ready,
            };
            shown.push(Peeked::new(
                entry.id(self.engine),
                entry.message.clone(),
                state,
                entry.sequence,
                entry.attempts,
                clock.timestamp(entry.enqueued),
            ));
        }
        shown
    }

    pub(super) fn statistics(&self, now: Tick) -> Statistics {
        Statistics {
            ready: self.counts.ready,
            in_flight: self.counts.in_flight,
            delayed: self.counts.delayed,
            dead: self.counts.dead,
            bytes: self.bytes,
            sessions: self.sessions.len() as u64,
            oldest_age: self.oldest().map(|enqueued| now.since(enqueued)),
        }
    }

    /// When the oldest message that is not dead was sent.
    fn oldest(&self) -> Option<Tick> {
        let mut first = self.all.front();
        while let Some(young) = first.filter(|index| self.entries[*index].young) {
            first = self.all.after(&self.entries, young);
        }
        let first = first.map(|first| self.entries[first].enqueued);
        let late = self.late.first().map(|(enqueued, _)| *enqueued);
        match (first, late) {
            (Some(first), Some(late)) => Some(first.min(late)),
            (first, late) => first.or(late),
        }
    }
}
