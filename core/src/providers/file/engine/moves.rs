//! Moving a message from where it stands to where it goes next.
//!
//! A message always stands somewhere: in a lane (ready), out of sight (delayed), in somebody's
//! hands (in flight), or among the dead. A step takes it out of where it stands and puts it
//! somewhere else; then its session, if it has one, is settled in turn.
//!
//! Invariants: `all` holds every message of a queue that is not dead, sorted by sequence number. A
//! message has at most one timer: the end of its delay, of its lock, or of its life, as its
//! standing says. Counts and bytes are those of the messages.

use super::append::forget;
use super::step::Step;
use crate::dead_letter::reason;
use crate::error::Result;
use crate::providers::file::index::layout::{
    Lane, Message, NEVER, NIL, Queue, Session, flag, ring, standing, wait,
};
use crate::providers::file::index::region::Cell;
use crate::providers::file::index::{list, pool, tree};

/// `on_expiry` and `on_failure` as the index has them.
pub(in crate::providers::file) mod word {
    pub(in crate::providers::file) const EXPIRED_ARE_DROPPED: u32 = 0;
    pub(in crate::providers::file) const EXPIRED_ARE_DEAD: u32 = 1;
    pub(in crate::providers::file) const BLOCK: u32 = 0;
    pub(in crate::providers::file) const SKIP: u32 = 1;
    pub(in crate::providers::file) const PARK: u32 = 2;
}

/// The group of messages without one, among fair groups. No session has this id.
const NO_GROUP: &str = "";

/// How much longer an expired message lives that the full dead-letter queue cannot take.
const STAY: u64 = 1_000_000_000;

impl Step<'_> {
    /// A number that was never given in this store.
    pub(super) fn next_number(&self) -> u64 {
        let counter = &self.r.header().counter;
        self.add(counter, 1);
        counter.get()
    }

    /// The end of the order of all.
    pub(super) fn append(&self, id: u32) {
        let message = self.message(id);
        let queue = self.queue(message.queue.get());
        self.set(&message.sequence, self.next_number());
        list::push_back::<list::All>(self.r, &queue.all, id);
    }

    /// Where a message waits when it is ready.
    fn lane(&self, message: &Message) -> &Lane {
        match message.session.get() {
            NIL => &self.queue(message.queue.get()).lane,
            session => &self.session(session).lane,
        }
    }

    /// Out of where it stands, with its timer and its count.
    pub(super) fn take_out(&mut self, id: u32) {
        self.clear_timer(id);
        let message = self.message(id);
        let queue = self.queue(message.queue.get());
        let session = message.session.get();
        match message.standing.get() {
            standing::IN_FLIGHT => {
                self.sub(&queue.in_flight, 1);
                let held = session != NIL && self.session(session).hold.get() != 0;
                if session != NIL {
                    self.sub32(&self.session(session).in_flight, 1);
                }
                if held {
                    list::remove::<list::Place>(self.r, &self.session(session).held, id);
                } else {
                    let holder = self.member(message.holder.get());
                    list::remove::<list::Place>(self.r, &holder.in_hands, id);
                }
                self.set(&message.holder, NIL);
            }
            state @ (standing::FRESH | standing::RETURNED) => {
                self.sub(&queue.ready, 1);
                let lane = self.lane(message);
                self.sub32(&lane.len, 1);
                if state == standing::RETURNED {
                    tree::remove::<tree::Returned>(self.r, &lane.returned, id);
                } else {
                    list::remove::<list::Place>(self.r, &lane.fresh, id);
                }
            }
            standing::DELAYED => {
                self.sub(&queue.delayed, 1);
                if self.has(message, flag::BLOCKS) {
                    self.set_flag(message, flag::BLOCKS, false);
                    self.sub32(&self.session(session).blocked, 1);
                }
            }
            standing::DEAD => {
                self.sub(&queue.dead, 1);
                self.sub(&queue.dead_bytes, u64::from(message.bytes.get()));
                list::remove::<list::Place>(self.r, &queue.dead_list, id);
            }
            _ => {}
        }
    }

    /// Takes the first message of a lane.
    #[inline]
    pub(super) fn pop(&self, lane: &Lane) -> Option<u32> {
        let fresh = lane.fresh.first.get();
        let returned = tree::first::<tree::Returned>(self.r, &lane.returned);
        // A message that was given back comes before the fresh ones, unless it died among them.
        let returned_first = returned != NIL
            && (fresh == NIL
                || self.message(returned).sequence.get() < self.message(fresh).sequence.get());
        let id = if returned_first {
            tree::remove::<tree::Returned>(self.r, &lane.returned, returned);
            returned
        } else {
            list::pop_front::<list::Place>(self.r, &lane.fresh)?
        };
        self.sub32(&lane.len, 1);
        Some(id)
    }

    /// Into its lane: at the end, or back at its old place.
    pub(in crate::providers::file) fn make_ready(&mut self, id: u32, standing: u32) {
        let message = self.message(id);
        self.set(&message.standing, standing);
        self.set(&message.due, message.expires.get());
        self.set_timer(id);
        let queue = message.queue.get();
        self.add(&self.queue(queue).ready, 1);
        let lane = self.lane(message);
        self.add32(&lane.len, 1);
        if standing == standing::RETURNED {
            tree::insert::<tree::Returned>(self.r, &lane.returned, id);
        } else {
            list::push_back::<list::Place>(self.r, &lane.fresh, id);
        }
        let session = message.session.get();
        if session == NIL || self.is_fair(queue) {
            self.wake(queue, wait::MESSAGE, 1);
        }
        self.settle_session(session);
    }

    /// Out of sight until a moment. `given_back`: it comes back to its old place. `blocks`: its
    /// session waits for it meanwhile.
    pub(in crate::providers::file) fn hide(
        &mut self,
        id: u32,
        until: u64,
        given_back: bool,
        blocks: bool,
    ) {
        let message = self.message(id);
        let session = message.session.get();
        let blocks = blocks && session != NIL && !self.is_fair(message.queue.get());
        self.set(&message.standing, standing::DELAYED);
        self.set_flag(message, flag::GIVEN_BACK, given_back);
        self.set_flag(message, flag::BLOCKS, blocks);
        self.set(&message.due, until.min(message.expires.get()));
        if blocks {
            self.add32(&self.session(session).blocked, 1);
        }
        self.set_timer(id);
        self.add(&self.queue(message.queue.get()).delayed, 1);
        self.settle_session(session);
    }

    /// A delay is over.
    pub(super) fn appear(&mut self, id: u32) {
        if self.end_life(id) {
            return;
        }
        self.take_out(id);
        let message = self.message(id);
        self.mark_dirty(id);
        if self.has(message, flag::GIVEN_BACK) {
            return self.make_ready(id, standing::RETURNED);
        }
        // Its place in the order is that of its appearance.
        let queue = self.queue(message.queue.get());
        list::remove::<list::All>(self.r, &queue.all, id);
        self.append(id);
        self.set_late(id);
        self.make_ready(id, standing::FRESH);
    }

    /// Its place in the order is not that of its time.
    pub(in crate::providers::file) fn set_late(&self, id: u32) {
        let message = self.message(id);
        if !self.has(message, flag::LATE) {
            self.set_flag(message, flag::LATE, true);
            tree::insert::<tree::Late>(self.r, &self.queue(message.queue.get()).late, id);
        }
    }

    /// A lock ended without a settlement, or its holder.
    pub(super) fn lapse(&mut self, id: u32) {
        let message = self.message(id);
        self.set_flag(message, flag::LAPSED, true);
        let budget = self.queue(message.queue.get()).budget.get();
        let spent = self.has(message, flag::BEGUN) && message.attempts.get() >= budget;
        if spent && self.check_dead_room(id).is_ok() {
            let description = "the lock ended while the message was in a handler's hands";
            self.bury(id, reason::CRASHED, Some(description));
        } else {
            self.put_back(id, 0, false);
        }
    }

    /// Ends the life of a message if it is over. One that the full dead-letter queue cannot take
    /// lives on a little.
    pub(super) fn end_life(&mut self, id: u32) -> bool {
        let message = self.message(id);
        if message.expires.get() > self.now {
            return false;
        }
        let queue = self.queue(message.queue.get());
        if queue.on_expiry.get() == word::EXPIRED_ARE_DROPPED {
            self.remove(id);
        } else if self.check_dead_room(id).is_ok() {
            self.bury(id, reason::EXPIRED, None);
        } else {
            self.clear_timer(id);
            self.set(&message.expires, self.now.saturating_add(STAY));
            return false;
        }
        true
    }

    /// From somebody's hands back to its old place, now or later.
    pub(super) fn put_back(&mut self, id: u32, delay: u64, blocks: bool) {
        if self.end_life(id) {
            return;
        }
        self.take_out(id);
        self.mark_dirty(id);
        if delay == 0 {
            self.make_ready(id, standing::RETURNED);
        } else {
            self.hide(id, self.lock_end(delay), true, blocks);
        }
    }

    /// Gone for good, wherever it stands among the living.
    pub(super) fn remove(&mut self, id: u32) {
        self.take_out(id);
        self.leave_live(id);
        let session = self.message(id).session.get();
        self.free(id);
        self.settle_session(session);
    }

    /// Frees the node of a message that stands nowhere any more.
    pub(super) fn free(&mut self, id: u32) {
        let message = self.message(id);
        self.mark_clean(id);
        self.batch.gone(id, message.number.get());
        forget(self.r, &message.record);
        forget(self.r, &message.death);
        self.set(&message.standing, standing::FREE);
        self.freed = true;
        pool::free::<Message>(self.r, id);
    }

    /// Out of the order of all; room for another.
    pub(super) fn leave_live(&mut self, id: u32) {
        let message = self.message(id);
        let queue_id = message.queue.get();
        let queue = self.queue(queue_id);
        list::remove::<list::All>(self.r, &queue.all, id);
        if self.has(message, flag::LATE) {
            self.set_flag(message, flag::LATE, false);
            tree::remove::<tree::Late>(self.r, &queue.late, id);
        }
        self.sub(&queue.bytes, u64::from(message.bytes.get()));
        if message.session.get() != NIL {
            self.sub32(&self.session(message.session.get()).live, 1);
        }
        self.wake(queue_id, wait::ROOM, 1);
    }

    // --- sessions -----------------------------------------------------------------------------

    /// Whether the next message of a session may be handed to its holder.
    pub(super) fn flows(&self, session: &Session) -> bool {
        let parks = self.queue(session.queue.get()).on_failure.get() == word::PARK;
        session.lane.len.get() > 0
            && session.blocked.get() == 0
            && !(parks && session.dead.get() > 0)
    }

    /// Puts a session where its counts say it belongs: into the ring, out of it, or away; and
    /// wakes whom that lets go on. The session may be gone afterwards.
    pub(super) fn settle_session(&mut self, id: u32) {
        if id == NIL {
            return;
        }
        let session = self.session(id);
        let queue_id = session.queue.get();
        let queue = self.queue(queue_id);
        let flows = self.flows(session);
        let is_held = session.hold.get() != 0;
        if is_held && flows {
            self.wake_holder(id);
        }
        let fair = queue.fair_groups.get() != 0;
        let wants = flows && !is_held && (fair || session.in_flight.get() == 0);
        let in_ring = session.in_ring.get() != ring::OUT;
        if wants && !in_ring {
            list::push_back::<list::Ring>(self.r, &queue.ring, id);
            self.set(&session.in_ring, ring::IN);
        } else if !wants && in_ring {
            self.leave_ring(queue, id);
        }
        if wants && !fair {
            self.wake(queue_id, wait::MESSAGE, session.lane.len.get());
            self.wake(queue_id, wait::SESSION, 1);
        }
        let is_over = session.live.get() == 0
            && session.dead.get() == 0
            && !is_held
            && session.state.position.get() == 0
            && session.state_bytes.get() == 0;
        if is_over {
            self.wake_holder(id);
            tree::remove::<tree::ById>(self.r, &queue.sessions, id);
            self.sub32(&queue.sessions_len, 1);
            pool::free::<Session>(self.r, id);
        }
    }

    /// Whether the sessions of a queue are fair groups.
    pub(super) fn is_fair(&self, queue: u32) -> bool {
        self.queue(queue).fair_groups.get() != 0
    }

    /// The session whose lane a message waits in, made if it is not there; [`NIL`] for the queue's
    /// own lane. Among fair groups, messages without one are one more of them.
    pub(in crate::providers::file) fn lane_of(
        &self,
        queue_id: u32,
        session: Option<&str>,
    ) -> Result<u32> {
        match session {
            Some(name) => self.find_or_add_session(queue_id, name),
            None if self.is_fair(queue_id) => self.find_or_add_session(queue_id, NO_GROUP),
            None => Ok(NIL),
        }
    }

    fn find_session(&self, queue: &Queue, name: &str) -> Option<u32> {
        let hash = self.ground.hash(name.as_bytes())[0];
        let mut id = tree::find::<tree::ById>(self.r, &queue.sessions, |s| s.hash.get().cmp(&hash));
        while id != NIL && self.session(id).hash.get() == hash {
            if self.session(id).name_is(name) {
                return Some(id);
            }
            id = tree::next::<tree::ById>(self.r, &queue.sessions, id);
        }
        None
    }

    /// How many sessions there are.
    pub(super) fn sessions_len(&self, queue: &Queue) -> u32 {
        let no_group = queue.fair_groups.get() != 0 && self.find_session(queue, NO_GROUP).is_some();
        queue.sessions_len.get() - u32::from(no_group)
    }

    /// The session of this id, made if it is not there.
    pub(in crate::providers::file) fn find_or_add_session(
        &self,
        queue_id: u32,
        name: &str,
    ) -> Result<u32> {
        let queue = self.queue(queue_id);
        if let Some(id) = self.find_session(queue, name) {
            return Ok(id);
        }
        let hash = self.ground.hash(name.as_bytes())[0];
        let id = self.take_node::<Session>()?;
        let session = self.session(id);
        self.set(&session.queue, queue_id);
        self.set(&session.hash, hash);
        self.set(&session.id_len, name.len() as u32);
        for (cell, word) in session.id.iter().zip(words(name.as_bytes())) {
            self.set(cell, word);
        }
        for cell in [
            &session.in_ring,
            &session.lane.fresh.first,
            &session.lane.fresh.last,
            &session.lane.returned,
            &session.lane.len,
            &session.held.first,
            &session.held.last,
            &session.in_flight,
            &session.blocked,
            &session.live,
            &session.dead,
            &session.holder,
            &session.state.len,
            &session.state_bytes,
            &session.waiters.first,
            &session.waiters.last,
        ] {
            self.set(cell, 0);
        }
        for cell in [&session.hold, &session.hold_lock, &session.state.position] {
            self.set(cell, 0);
        }
        self.set(&session.hold_until, NEVER);
        tree::insert::<tree::ById>(self.r, &queue.sessions, id);
        self.add32(&queue.sessions_len, 1);
        Ok(id)
    }
}

/// Bytes as words, the last one filled up with zeroes.
pub(in crate::providers::file) fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}

/// A text that is kept as words.
pub(in crate::providers::file) fn text(cells: &[impl Cell<Value = u64>], len: u32) -> String {
    let words = cells.iter().take((len as usize).div_ceil(8));
    let mut bytes: Vec<u8> = words.flat_map(|c| c.get().to_le_bytes()).collect();
    bytes.truncate(len as usize);
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

impl Session {
    /// The session's id.
    pub(in crate::providers::file) fn name(&self) -> String {
        text(&self.id, self.id_len.get())
    }

    fn name_is(&self, name: &str) -> bool {
        self.id_len.get() as usize == name.len()
            && words(name.as_bytes())
                .zip(&self.id)
                .all(|(word, cell)| cell.get() == word)
    }
}
