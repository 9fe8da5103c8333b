//! Handing over and settling: the verbs of deliveries.

use std::collections::VecDeque;

use super::moves::word;
use super::step::Step;
use crate::clock::Tick;
use crate::dead_letter::reason;
use crate::error::Result;
use crate::provider::{ReceiveRequest, SessionLock};
use crate::providers::embedded::{foreign, hold_is_over, over};
use crate::providers::file::index::layout::{Message, NEVER, NIL, Queue, flag, ring, standing};
use crate::providers::file::index::list;
use crate::providers::file::index::region::Cell;
use crate::providers::file::log::record::nanos;
use crate::settlement::{Guard, Receipt, Settlement, Verb};

/// A delivery whose message is still to be read from the log.
#[derive(Clone, Debug)]
pub(in crate::providers::file) struct Taken {
    pub(in crate::providers::file) slot: u32,
    pub(in crate::providers::file) token: u64,
    pub(in crate::providers::file) engine: u64,
    pub(in crate::providers::file) number: u64,
    pub(in crate::providers::file) position: u64,
    pub(in crate::providers::file) len: u32,
    pub(in crate::providers::file) attempt: u32,
    pub(in crate::providers::file) sequence: u64,
    pub(in crate::providers::file) enqueued: u64,
    pub(in crate::providers::file) until: u64,
    pub(in crate::providers::file) guard: Guard,
}

impl Taken {
    pub(in crate::providers::file) fn receipt(&self) -> Receipt {
        Receipt::Slot {
            queue: self.engine,
            slot: self.slot,
            guard: self.guard,
            token: self.token,
            until: Tick(self.until),
        }
    }
}

/// Whose turn it is within one receive.
#[derive(Debug, Default)]
struct Turns {
    /// Sessions taken in this receive that have more.
    again: VecDeque<u32>,
}

impl Step<'_> {
    /// Hands over what is ready, in order.
    pub(in crate::providers::file) fn receive(
        &mut self,
        queue_id: u32,
        request: &ReceiveRequest,
    ) -> Result<Vec<Taken>> {
        let (mut taken, mut turns) = (Vec::new(), Turns::default());
        let max = request.max_messages as usize;
        let queue = self.queue(queue_id);
        let lock = request.lock.map_or(queue.lock.get(), nanos);
        let until = self.lock_end(lock);
        let session = match &request.session {
            Some(lock) => Some(self.holder(queue, lock)?),
            None => None,
        };
        let mut left = max;
        while left > 0 {
            if !self.has_room_for_more() {
                self.keep()?;
            }
            let next = match session {
                Some(session) => self.next_of(session),
                None => self.next_in_turn(queue, request, &mut turns),
            };
            let Some(id) = next else { break };
            taken.push(self.hand_over(queue, id, until, request.begin));
            left -= 1;
        }
        Ok(taken)
    }

    /// The next message of a held session.
    fn next_of(&self, session: u32) -> Option<u32> {
        let session = self.session(session);
        if self.flows(session) {
            self.pop(&session.lane)
        } else {
            None
        }
    }

    /// The next message of anybody's: sessions and messages without one take turns, and so do the
    /// sessions among themselves.
    fn next_in_turn(
        &self,
        queue: &Queue,
        request: &ReceiveRequest,
        turns: &mut Turns,
    ) -> Option<u32> {
        if queue.fair_groups.get() != 0 {
            return self.next_of_groups(queue, request);
        }
        let lane_has = queue.lane.len.get() > 0;
        let sessions_have = queue.ring.first.get() != NIL || !turns.again.is_empty();
        if lane_has && (!sessions_have || queue.session_turn.get() == 0) {
            self.set(&queue.session_turn, 1);
            return self.pop(&queue.lane);
        }
        let id = self.pop_ring(queue).or_else(|| turns.again.pop_front())?;
        self.set(&queue.session_turn, 0);
        let session = self.session(id);
        let message = self.pop(&session.lane);
        if session.lane.len.get() > 0 {
            turns.again.push_back(id);
        }
        message
    }

    /// The next message of fair groups, which take turns: of the first one that is wanted, which
    /// stands behind the others then if it has more.
    fn next_of_groups(&self, queue: &Queue, request: &ReceiveRequest) -> Option<u32> {
        let mut id = queue.ring.first.get();
        if request.without.is_some() {
            while id != NIL && !request.wants(&self.session(id).name()) {
                id = list::after::<list::Ring>(self.r, id);
            }
        }
        if id == NIL {
            return None;
        }
        let group = self.session(id);
        list::remove::<list::Ring>(self.r, &queue.ring, id);
        let message = self.pop(&group.lane);
        let more = group.lane.len.get() > 0;
        if more {
            list::push_back::<list::Ring>(self.r, &queue.ring, id);
        }
        self.set(&group.in_ring, if more { ring::IN } else { ring::OUT });
        message
    }

    /// A message that has left its lane goes into this store's hands.
    fn hand_over(&mut self, queue: &Queue, id: u32, until: u64, begin: bool) -> Taken {
        let header = self.r.header();
        let message = self.message(id);
        self.clear_timer(id);
        self.sub(&queue.ready, 1);
        self.add(&queue.in_flight, 1);
        let token = header.last_token.get() + 1;
        self.set(&header.last_token, token);
        self.set(&message.standing, standing::IN_FLIGHT);
        self.set(&message.token, token);
        self.set(&message.holder, self.me);
        let flags = message.flags.get() & !(flag::BEGUN | flag::LAPSED);
        self.set(&message.flags, flags | if begin { flag::BEGUN } else { 0 });
        if begin {
            self.add32(&message.attempts, 1);
            self.mark_dirty(id);
        }
        if message.first_delivered.get() == NEVER {
            self.set(&message.first_delivered, self.now);
        }
        self.set(&message.due, until);
        let session = message.session.get();
        let mut held_until = None;
        if session != NIL {
            let session = self.session(session);
            self.add32(&session.in_flight, 1);
            if session.hold.get() != 0 {
                held_until = Some(session.hold_until.get());
                list::push_back::<list::Place>(self.r, &session.held, id);
            }
        }
        if held_until.is_none() {
            list::push_back::<list::Place>(self.r, &self.member(self.me).in_hands, id);
            self.set_timer(id);
        }
        Taken {
            slot: id,
            token,
            engine: queue.engine.get(),
            number: message.number.get(),
            position: message.record.position.get(),
            len: message.record.len.get(),
            attempt: message.attempts.get() + u32::from(!begin),
            sequence: message.sequence.get(),
            enqueued: message.enqueued.get(),
            until: held_until.unwrap_or(until),
            guard: if held_until.is_some() {
                Guard::Session
            } else {
                Guard::Delivery
            },
        }
    }

    /// The node of a delivery that is still its receiver's.
    pub(in crate::providers::file) fn in_hands(
        &self,
        queue: u32,
        receipt: &Receipt,
    ) -> Result<u32> {
        let Receipt::Slot {
            queue: engine,
            slot,
            token,
            until,
            guard,
        } = *receipt
        else {
            return Err(foreign());
        };
        if engine != self.queue(queue).engine.get() {
            return Err(foreign());
        }
        match self.r.find::<Message>(slot) {
            Some(message) if message.token.get() != token => Err(over(until.0 <= self.now, guard)),
            Some(message) if message.standing.get() != standing::IN_FLIGHT => {
                Err(over(self.has(message, flag::LAPSED), guard))
            }
            Some(_) => Ok(slot),
            None => Err(over(until.0 <= self.now, guard)),
        }
    }

    /// Charges the attempt of a delivery that was received unstarted.
    pub(in crate::providers::file) fn begin(
        &mut self,
        queue: u32,
        receipt: &Receipt,
    ) -> Result<()> {
        let id = self.in_hands(queue, receipt)?;
        self.charge(id);
        Ok(())
    }

    fn charge(&mut self, id: u32) {
        let message = self.message(id);
        if !self.has(message, flag::BEGUN) {
            self.add32(&message.attempts, 1);
            self.set_flag(message, flag::BEGUN, true);
            self.mark_dirty(id);
        }
    }

    pub(in crate::providers::file) fn settle(
        &mut self,
        queue: u32,
        settlement: &Settlement,
    ) -> Result<()> {
        let id = self.in_hands(queue, &settlement.receipt)?;
        match &settlement.verb {
            Verb::Ack => {
                self.remove(id);
                self.lasting = true;
            }
            Verb::Nack { reason, delay } => {
                let delay = delay.map_or(0, nanos);
                self.nack(queue, id, reason.as_deref(), delay)?;
            }
            Verb::Release { delay } => {
                let message = self.message(id);
                if self.has(message, flag::BEGUN) {
                    self.sub32(&message.attempts, 1);
                }
                // The log must not go on counting an attempt that was given back.
                self.lasting |= message.attempts.get() < message.logged_attempts.get();
                self.put_back(id, delay.map_or(0, nanos), true);
            }
            Verb::DeadLetter {
                reason,
                description,
            } => {
                self.check_dead_room(id)?;
                self.charge(id);
                self.bury(id, reason, description.as_deref());
                self.lasting = true;
            }
        }
        Ok(())
    }

    fn nack(&mut self, queue: u32, id: u32, reason: Option<&str>, delay: u64) -> Result<()> {
        let queue = self.queue(queue);
        let message = self.message(id);
        let not_begun = u32::from(!self.has(message, flag::BEGUN));
        let spent = message.attempts.get() + not_begun >= queue.budget.get();
        if spent {
            self.check_dead_room(id)?;
        }
        self.charge(id);
        if spent {
            self.bury(id, reason::MAX_ATTEMPTS, reason);
            self.lasting = true;
        } else {
            self.put_back(id, delay, queue.on_failure.get() != word::SKIP);
        }
        Ok(())
    }

    /// Keeps a delivery's lock, or its session's, for this long from now.
    pub(in crate::providers::file) fn extend(
        &mut self,
        queue: u32,
        receipt: &Receipt,
        lock: u64,
    ) -> Result<u64> {
        let id = self.in_hands(queue, receipt)?;
        let message = self.message(id);
        let session = message.session.get();
        if session != NIL && self.session(session).hold.get() != 0 {
            return Ok(self.prolong(session, lock));
        }
        let until = self.lock_end(lock);
        self.clear_timer(id);
        self.set(&message.due, until);
        self.set_timer(id);
        Ok(until)
    }

    /// A message in this store's hands that cannot be read is set apart: among the dead letters.
    pub(in crate::providers::file) fn set_apart(&mut self, queue: u32, receipt: &Receipt) {
        if let Ok(id) = self.in_hands(queue, receipt) {
            let position = self.message(id).record.position.get();
            let description = format!("its record at position {position} of the log is damaged");
            self.bury(id, reason::UNREADABLE, Some(&description));
        }
    }

    /// The node of a held session that is still its holder's.
    pub(super) fn holder(&self, queue: &Queue, lock: &SessionLock) -> Result<u32> {
        use crate::providers::file::index::layout::Session;
        let Receipt::Slot {
            queue: engine,
            slot,
            token,
            ..
        } = lock.receipt
        else {
            return Err(foreign());
        };
        if engine != queue.engine.get() {
            return Err(foreign());
        }
        match self.r.find::<Session>(slot) {
            Some(session) if session.hold.get() == token => Ok(slot),
            _ => Err(hold_is_over()),
        }
    }
}
