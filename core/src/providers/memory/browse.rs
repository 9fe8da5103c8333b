//! Looking without taking: peek and statistics.

use super::entry::{Entry, Standing};
use super::list::NIL;
use super::state::State;
use crate::clock::{Clock, Tick};
use crate::queue::{MessageState, Outlook, Peeked, Statistics};

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
            let mut peeked = Peeked::new(
                entry.id(self.engine),
                entry.message.clone(),
                state,
                entry.sequence,
                entry.attempts,
                clock.timestamp(entry.enqueued),
            );
            peeked.outlook = self.outlook(entry, clock);
            shown.push(peeked);
        }
        shown
    }

    /// What decides when a message can be received next.
    fn outlook(&self, entry: &Entry, clock: &Clock) -> Outlook {
        let session = (entry.session != NIL).then(|| &self.sessions[entry.session]);
        let held = session.and_then(|session| Some(session.hold.as_deref()?.until));
        let at = |tick: Tick| (tick != Tick::NEVER).then(|| clock.timestamp(tick));
        Outlook {
            until: match entry.standing {
                Standing::Delayed => at(entry.due),
                Standing::InFlight => at(held.unwrap_or(entry.due)),
                _ => None,
            },
            expires_at: at(entry.expires),
            blocks: entry.standing == Standing::Delayed && entry.blocks,
            unbegun: entry.standing == Standing::InFlight && !entry.begun,
            session_held_until: held.and_then(at),
        }
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
