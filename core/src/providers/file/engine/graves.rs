//! Dead letters: burying, looking for them, sending back, deleting.

use super::append::{Of, forget};
use super::step::Step;
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use crate::providers::file::index::layout::{Message as Slot, NEVER, NIL, flag, standing};
use crate::providers::file::index::list;
use crate::providers::file::index::region::Cell;
use crate::providers::file::log::record::{self, Death, nanos};

use super::moves::word;

/// A dead letter as the index knows it; what it says is in the log.
#[derive(Clone, Copy, Debug)]
pub(in crate::providers::file) struct Letter {
    pub(in crate::providers::file) slot: u32,
    pub(in crate::providers::file) engine: u64,
    pub(in crate::providers::file) number: u64,
    pub(in crate::providers::file) death_number: u64,
    pub(in crate::providers::file) attempts: u32,
    pub(in crate::providers::file) enqueued: u64,
    pub(in crate::providers::file) first_delivered: u64,
    pub(in crate::providers::file) died: u64,
    pub(in crate::providers::file) record: (u64, u32),
    pub(in crate::providers::file) death: (u64, u32),
}

impl Step<'_> {
    /// `Full` when the dead letters have no room for this message.
    pub(super) fn check_dead_room(&self, id: u32) -> Result<()> {
        let message = self.message(id);
        let queue = self.queue(message.queue.get());
        let bytes = u64::from(message.bytes.get());
        if queue.dead.get() < queue.max_messages.get()
            && queue.dead_bytes.get() + bytes <= queue.max_bytes.get()
        {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Full,
            "the dead-letter queue is full; redrive or purge dead letters",
        ))
    }

    /// Moves a message to the dead letters, which have room, from wherever it stands. One record
    /// says it: the move is whole or has not happened.
    pub(super) fn bury(&mut self, id: u32, reason: &str, description: Option<&str>) {
        self.take_out(id);
        self.leave_live(id);
        self.mark_clean(id);
        let message = self.message(id);
        let queue = self.queue(message.queue.get());
        self.set(&message.standing, standing::DEAD);
        self.set(&message.death_number, self.next_number());
        self.set(&message.died, self.now);
        self.set(&message.logged_attempts, message.attempts.get());
        self.add(&queue.dead_bytes, u64::from(message.bytes.get()));
        self.add(&queue.dead, 1);
        list::push_back::<list::Place>(self.r, &queue.dead_list, id);
        let death = Death {
            slot: id,
            number: message.number.get(),
            death_number: message.death_number.get(),
            at: self.wall(self.now),
            first_delivered: self.wall(message.first_delivered.get()),
            attempts: message.attempts.get(),
            reason,
            description,
        };
        let written = record::write_death(&mut self.batch.frame, &death);
        self.batch.place(Of::Death(id), written);
        let session = message.session.get();
        if session != NIL {
            self.add32(&self.session(session).dead, 1);
        }
        self.settle_session(session);
    }

    /// Up to `max` dead letters, oldest first, from after a number on.
    pub(in crate::providers::file) fn letters(
        &self,
        queue: u32,
        after: Option<u64>,
        max: usize,
    ) -> Vec<Letter> {
        let queue = self.queue(queue);
        let mut letters = Vec::new();
        let mut id = queue.dead_list.first.get();
        while id != NIL && letters.len() < max {
            let message = self.message(id);
            if after.is_none_or(|after| message.death_number.get() > after) {
                letters.push(Letter {
                    slot: id,
                    engine: queue.engine.get(),
                    number: message.number.get(),
                    death_number: message.death_number.get(),
                    attempts: message.attempts.get(),
                    enqueued: message.enqueued.get(),
                    first_delivered: message.first_delivered.get(),
                    died: message.died.get(),
                    record: (message.record.position.get(), message.record.len.get()),
                    death: (message.death.position.get(), message.death.len.get()),
                });
            }
            id = list::after::<list::Place>(self.r, id);
        }
        letters
    }

    /// The node of a dead letter that is still one.
    fn still_dead(&self, letter: &Letter) -> Option<u32> {
        let slot = self.r.find::<Slot>(letter.slot)?;
        (slot.standing.get() == standing::DEAD
            && slot.number.get() == letter.number
            && slot.death_number.get() == letter.death_number)
            .then_some(letter.slot)
    }

    /// A dead letter is this message again: before the successors that wait for it if its session
    /// is parked, at the end otherwise. `None`: it is no dead letter any more; `false`: the queue
    /// has no room for it.
    pub(in crate::providers::file) fn revive(
        &mut self,
        letter: &Letter,
        message: &Message,
    ) -> Option<bool> {
        let id = self.still_dead(letter)?;
        let slot = self.message(id);
        let queue = self.queue(slot.queue.get());
        let bytes = message.bytes() as u64;
        if !self.has_room(queue, bytes) {
            return Some(false);
        }
        self.take_out(id);
        forget(self.r, &slot.death);
        let ttl = message.properties().ttl.map_or(queue.ttl.get(), nanos);
        self.add(&queue.bytes, bytes);
        self.set(&slot.bytes, bytes as u32);
        self.set(&slot.attempts, 0);
        self.set(&slot.logged_attempts, 0);
        self.set_flag(slot, flag::BEGUN, false);
        self.set(&slot.enqueued, self.now);
        self.set(&slot.first_delivered, NEVER);
        self.set(&slot.expires, self.now.saturating_add(ttl));
        let session = slot.session.get();
        if session != NIL {
            self.sub32(&self.session(session).dead, 1);
            self.add32(&self.session(session).live, 1);
        }
        if session != NIL && queue.on_failure.get() == word::PARK {
            self.insert_in_order(id);
            self.set_flag(slot, flag::YOUNG, true);
            self.set_late(id);
            self.make_ready(id, standing::RETURNED);
        } else {
            self.append(id);
            self.make_ready(id, standing::FRESH);
        }
        let head = self.head_of(id, NEVER);
        let written = record::write_message(&mut self.batch.frame, &head, message);
        self.batch.place(Of::Message(id), written);
        self.lasting = true;
        Some(true)
    }

    /// Into the order of all, at the place of an old sequence number.
    fn insert_in_order(&self, id: u32) {
        let message = self.message(id);
        let queue = self.queue(message.queue.get());
        let mut next = queue.all.first.get();
        while next != NIL && self.message(next).sequence.get() < message.sequence.get() {
            next = list::after::<list::All>(self.r, next);
        }
        list::insert_before::<list::All>(self.r, &queue.all, id, next);
    }

    /// Deletes a dead letter. Answers whether it was still one.
    pub(in crate::providers::file) fn purge(&mut self, letter: &Letter) -> bool {
        let Some(id) = self.still_dead(letter) else {
            return false;
        };
        self.take_out(id);
        let session = self.message(id).session.get();
        self.free(id);
        if session != NIL {
            self.sub32(&self.session(session).dead, 1);
        }
        self.settle_session(session);
        self.lasting = true;
        true
    }
}
