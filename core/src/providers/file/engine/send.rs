//! Storing messages.

use super::append::{Of, check_index};
use super::step::Step;
use crate::error::Result;
use crate::message::{Message, MessageId, SendResult};
use crate::providers::file::fault;
use crate::providers::file::index::layout::{
    Message as Slot, NEVER, NIL, Node, Queue, flag, standing,
};
use crate::providers::file::index::region::Cell;
use crate::providers::file::index::{list, pool};
use crate::providers::file::log::record::{self, MessageHead, NO_TIME, nanos};

/// Dedup ids remembered at most, as a multiple of the messages held at most.
const DEDUP_IDS_PER_MESSAGE: u64 = 10;

/// What became of a message to be sent.
#[derive(Debug)]
pub(in crate::providers::file) enum Sent {
    Done(SendResult),
    /// There is no room for it now.
    Full,
}

impl Step<'_> {
    /// Stores a message, or says that there is no room for it now.
    pub(in crate::providers::file) fn send(
        &mut self,
        queue_id: u32,
        message: &Message,
    ) -> Result<Sent> {
        check_index(self.r, self.ground.max_store_bytes)?;
        let queue = self.queue(queue_id);
        let bytes = message.bytes() as u64;
        let properties = message.properties.as_deref();
        let dedup_id = properties.and_then(|p| p.dedup_id.as_deref());
        if let Some(dedup_id) = dedup_id {
            self.forget_dedup_ids(queue);
            if let Some(first) = self.find_dedup_id(queue, dedup_id)? {
                return Ok(Sent::Done(SendResult::duplicate_of(first)));
            }
        }
        let most = queue
            .max_messages
            .get()
            .saturating_mul(DEDUP_IDS_PER_MESSAGE);
        let dedup_is_full = dedup_id.is_some() && u64::from(queue.dedup_len.get()) >= most;
        if !self.has_room(queue, bytes) || dedup_is_full {
            return Ok(Sent::Full);
        }
        let delay = properties.and_then(|p| p.delay).filter(|d| !d.is_zero());
        let ttl = properties.and_then(|p| p.ttl).map(nanos);
        let ttl = ttl.unwrap_or_else(|| queue.ttl.get());
        let session = properties.and_then(|p| p.session.as_deref());
        let session = self.lane_of(queue_id, session)?;
        let id = self.take_node::<Slot>()?;
        self.init(
            queue_id,
            id,
            session,
            bytes as u32,
            self.now.saturating_add(ttl),
        );
        let slot = self.message(id);
        self.add(&queue.bytes, bytes);
        self.append(id);
        if session != NIL {
            self.add32(&self.session(session).live, 1);
        }
        match delay {
            Some(delay) => {
                let until = self.now.saturating_add(nanos(delay));
                self.hide(id, until, false, false);
            }
            None => self.make_ready(id, standing::FRESH),
        }
        let message_id = match properties.and_then(|p| p.id.as_ref()) {
            Some(given) => given.clone(),
            None => MessageId::made(queue.engine.get(), slot.number.get()),
        };
        let window = queue.dedup_window.get();
        let dedup_end = match dedup_id {
            Some(_) if window > 0 => self.now.saturating_add(window),
            _ => NEVER,
        };
        let head = self.head_of(id, dedup_end);
        let written = record::write_message(&mut self.batch.frame, &head, message);
        self.batch.place(Of::Message(id), written);
        if let Some(dedup_id) = dedup_id
            && dedup_end != NEVER
        {
            let dedup = self.remember_dedup_id(queue_id, dedup_id, dedup_end)?;
            self.batch.place(Of::Dedup(dedup), written);
            self.batch.new_ids.push((dedup, message_id.clone()));
        }
        self.lasting = true;
        Ok(Sent::Done(SendResult::stored(message_id)))
    }

    pub(super) fn has_room(&self, queue: &Queue, bytes: u64) -> bool {
        let live = queue.ready.get() + queue.delayed.get() + queue.in_flight.get();
        live < queue.max_messages.get() && queue.bytes.get() + bytes <= queue.max_bytes.get()
    }

    /// The values of a new message. A fresh node holds nothing to be saved, unless this step freed
    /// it; the token and whether it lapsed are what its last receipt is asked by.
    fn init(&self, queue: u32, id: u32, session: u32, bytes: u32, expires: u64) {
        let slot = self.message(id);
        let number = self.next_number();
        let lapsed = slot.flags.get() & flag::LAPSED;
        self.init_with(&slot.flags, lapsed);
        self.init_with(&slot.queue, queue);
        self.init_with(&slot.session, session);
        self.init_with(&slot.bytes, bytes);
        for cell in [
            &slot.standing,
            &slot.holder,
            &slot.attempts,
            &slot.logged_attempts,
            &slot.record.len,
            &slot.death.len,
        ] {
            self.init_with(cell, 0);
        }
        self.init_with(&slot.number, number);
        self.init_with(&slot.enqueued, self.now);
        self.init_with(&slot.first_delivered, NEVER);
        self.init_with(&slot.expires, expires);
        for cell in [
            &slot.sequence,
            &slot.due,
            &slot.record.position,
            &slot.death.position,
            &slot.death_number,
            &slot.died,
        ] {
            self.init_with(cell, 0);
        }
    }

    fn init_with<C: Cell>(&self, cell: &C, value: C::Value) {
        if self.freed {
            self.set(cell, value);
        } else {
            cell.put(value);
        }
    }

    /// What the log says of a message as it is.
    pub(in crate::providers::file) fn head_of(&self, id: u32, dedup_end: u64) -> MessageHead {
        let slot = self.message(id);
        MessageHead {
            slot: id,
            queue: self.queue(slot.queue.get()).number.get(),
            number: slot.number.get(),
            sequence: slot.sequence.get(),
            enqueued: self.wall(slot.enqueued.get()),
            expires: self.wall(slot.expires.get()),
            due: self.lasting_due(slot),
            first_delivered: self.wall(slot.first_delivered.get()),
            dedup_end: match dedup_end {
                NEVER => NO_TIME,
                end => self.wall(end),
            },
            attempts: slot.attempts.get(),
            flags: super::append::lasting_flags(slot),
            bytes: slot.bytes.get(),
        }
    }

    /// A node for use.
    pub(super) fn take_node<T: Node>(&self) -> Result<u32> {
        pool::take::<T>(self.r).map_err(|e| match e.kind() {
            std::io::ErrorKind::StorageFull => fault::store_full("the disk is full"),
            _ => fault::index_io("grow", e),
        })
    }

    /// The queues of the store, by their names.
    pub(in crate::providers::file) fn queue_ids(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut id = self.r.header().queues.first.get();
        while id != NIL {
            ids.push(id);
            id = list::after::<list::Queues>(self.r, id);
        }
        ids
    }
}
