//! Dead letters of a queue: burying, listing, sending back, deleting.

use std::sync::Arc;

use super::entry::{Death, Standing};
use super::list::NIL;
use super::state::State;
use crate::clock::{Clock, Tick};
use crate::dead_letter::{DeadLetter, DeadLetterFilter, RedriveReport};
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use crate::providers::embedded::counted;

impl State {
    /// `Full` when the dead letters have no room for this message.
    pub(super) fn check_dead_room(&self, index: u32) -> Result<()> {
        let bytes = self.entries[index].message.bytes() as u64;
        if self.counts.dead < self.definition.max_messages
            && self.dead_bytes + bytes <= self.definition.max_bytes
        {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Full,
            "the dead-letter queue is full; redrive or purge dead letters",
        ))
    }

    /// Moves a message to the dead letters, which have room, from wherever it stands.
    pub(super) fn bury(
        &mut self,
        index: u32,
        reason: Arc<str>,
        description: Option<Arc<str>>,
        now: Tick,
    ) {
        self.take_out(index);
        self.leave_live(index);
        self.last_death += 1;
        let entry = &mut self.entries[index];
        entry.standing = Standing::Dead;
        entry.death = Some(Box::new(Death {
            number: self.last_death,
            reason,
            description,
            at: now,
        }));
        self.dead_bytes += entry.message.bytes() as u64;
        self.counts.dead += 1;
        let session = entry.session;
        self.dead.push_back(&mut self.entries, index);
        if session != NIL {
            self.sessions[session].dead += 1;
        }
        self.settle_session(session);
    }

    /// The dead letters that match, oldest first, from after a number on, with their slots.
    fn matching(
        &self,
        source: &Arc<str>,
        clock: &Clock,
        filter: &DeadLetterFilter,
        after: Option<u64>,
        max: usize,
    ) -> Vec<(u32, DeadLetter)> {
        let mut found = Vec::new();
        let mut next = self.dead.front();
        while let Some(index) = next
            && found.len() < max
        {
            next = self.dead.after(&self.entries, index);
            // Going on in a long listing skips much: quickly.
            let death = self.entries[index].death.as_deref();
            if death.is_none_or(|death| after.is_some_and(|after| death.number <= after)) {
                continue;
            }
            if let Some(letter) = self.letter(index, source, clock)
                && filter.matches(&letter)
            {
                found.push((index, letter));
            }
        }
        found
    }

    fn letter(&self, index: u32, source: &Arc<str>, clock: &Clock) -> Option<DeadLetter> {
        let entry = &self.entries[index];
        let death = entry.death.as_deref()?;
        let mut letter = DeadLetter::new(
            entry.id(self.engine),
            entry.message.clone(),
            death.reason.clone(),
            entry.attempts,
            source.clone(),
            death.number,
            clock.timestamp(entry.enqueued),
            clock.timestamp(death.at),
        );
        letter.description = death.description.clone();
        letter.first_delivered_at =
            (entry.first_delivered != Tick::NEVER).then(|| clock.timestamp(entry.first_delivered));
        Some(letter)
    }

    pub(super) fn dead_letters(
        &self,
        source: &Arc<str>,
        clock: &Clock,
        filter: &DeadLetterFilter,
        after: Option<u64>,
        max: usize,
    ) -> Vec<DeadLetter> {
        let found = self.matching(source, clock, filter, after, max);
        found.into_iter().map(|(_, letter)| letter).collect()
    }

    /// Sends dead letters back; those there is no room for stay, and are told.
    pub(super) fn redrive(
        &mut self,
        source: &Arc<str>,
        clock: &Clock,
        filter: &DeadLetterFilter,
        after: Option<u64>,
        max: usize,
    ) -> RedriveReport {
        let found = self.matching(source, clock, filter, after, max);
        let mut report = RedriveReport {
            matched: found.len() as u64,
            ..RedriveReport::default()
        };
        for (index, letter) in found {
            report.last = Some(letter.number);
            let message = counted(&letter.message);
            if self.has_room(message.bytes() as u64) {
                self.revive(index, message, clock.now());
                report.redriven += 1;
            } else {
                report.failed.push((letter.id, "the queue is full".into()));
            }
        }
        report
    }

    /// A dead letter is a message again: before the successors that wait for it if its session is
    /// parked, at the end otherwise.
    fn revive(&mut self, index: u32, message: Message, now: Tick) {
        self.take_out(index);
        let ttl = message.properties().ttl.or(self.definition.ttl);
        self.bytes += message.bytes() as u64;
        let entry = &mut self.entries[index];
        entry.message = message;
        entry.death = None;
        entry.attempts = 0;
        entry.begun = false;
        entry.enqueued = now;
        entry.first_delivered = Tick::NEVER;
        entry.expires = ttl.map_or(Tick::NEVER, |ttl| now + ttl);
        let (session, sequence) = (entry.session, entry.sequence);
        if session != NIL {
            self.sessions[session].dead -= 1;
            self.sessions[session].live += 1;
        }
        if session != NIL && self.sessions.parks() {
            self.insert_in_order(index, sequence);
            self.entries[index].young = true;
            self.late.insert((now, index));
            self.make_ready(index, Standing::Returned);
        } else {
            self.append(index);
            self.make_ready(index, Standing::Fresh);
        }
    }

    /// Into the order of all, at the place of an old sequence number.
    fn insert_in_order(&mut self, index: u32, sequence: u64) {
        let mut next = self.all.front();
        while let Some(other) = next
            && self.entries[other].sequence < sequence
        {
            next = self.all.after(&self.entries, other);
        }
        match next {
            Some(next) => self.all.insert_before(&mut self.entries, index, next),
            None => self.all.push_back(&mut self.entries, index),
        }
    }

    pub(super) fn purge(
        &mut self,
        source: &Arc<str>,
        clock: &Clock,
        filter: &DeadLetterFilter,
    ) -> u64 {
        let found = self.matching(source, clock, filter, None, usize::MAX);
        for (index, _) in &found {
            self.take_out(*index);
            let session = self.entries[*index].session;
            drop(self.entries.remove(*index));
            if session != NIL {
                self.sessions[session].dead -= 1;
            }
            self.settle_session(session);
        }
        found.len() as u64
    }
}
