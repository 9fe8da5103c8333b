//! Handing over and settling: the verbs of deliveries.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Standing;
use super::list::NIL;
use super::state::State;
use crate::clock::Tick;
use crate::config::OnFailure;
use crate::dead_letter::reason;
use crate::error::Result;
use crate::provider::{Moment, ReceiveRequest, Received};
use crate::providers::embedded::{foreign, over};
use crate::settlement::{Guard, Receipt, Settlement, Verb};

impl State {
    /// Hands over what is ready, in order.
    pub(super) fn receive(
        &mut self,
        request: &ReceiveRequest,
        now: Tick,
    ) -> Result<Vec<Box<Received>>> {
        let until = self.lock_end(now, request.lock.unwrap_or(self.definition.lock));
        let hand_over = |state: &mut Self, index| state.hand_over(index, until, request.begin, now);
        let mut taken = Vec::new();
        match &request.session {
            Some(lock) => {
                let session = self.holder(lock)?;
                while taken.len() < request.max_messages as usize
                    && let Some(index) = self.next_of(session)
                {
                    taken.push(hand_over(self, index));
                }
            }
            None => {
                let mut again = VecDeque::new();
                while taken.len() < request.max_messages as usize
                    && let Some(index) = self.next_in_turn(request, &mut again)
                {
                    taken.push(hand_over(self, index));
                }
            }
        }
        Ok(taken)
    }

    /// [`State::receive`] of one message.
    #[inline]
    pub(super) fn receive_one(
        &mut self,
        request: &ReceiveRequest,
        now: Tick,
    ) -> Result<Option<Box<Received>>> {
        let index = match &request.session {
            Some(lock) => {
                let session = self.holder(lock)?;
                self.next_of(session)
            }
            None => self.next_in_turn(request, &mut VecDeque::new()),
        };
        let Some(index) = index else { return Ok(None) };
        let until = self.lock_end(now, request.lock.unwrap_or(self.definition.lock));
        Ok(Some(self.hand_over(index, until, request.begin, now)))
    }

    /// The next message of a held session.
    fn next_of(&mut self, session: u32) -> Option<u32> {
        let parks = self.sessions.parks();
        let session = &mut self.sessions[session];
        if session.flows(parks) {
            session.lane.pop(&mut self.entries)
        } else {
            None
        }
    }

    /// The next message of anybody's: sessions and messages without one take turns, and so do the
    /// sessions among themselves. `again` are the sessions taken in this receive that have more.
    #[inline]
    fn next_in_turn(&mut self, request: &ReceiveRequest, again: &mut VecDeque<u32>) -> Option<u32> {
        if self.sessions.are_fair() {
            let group = self.sessions.next_group(|id| request.wants(id))?;
            return self.sessions[group].lane.pop(&mut self.entries);
        }
        let lane_has = self.lane.len() > 0;
        let sessions_have = !self.sessions.ring_is_empty() || !again.is_empty();
        if lane_has && (!sessions_have || !self.session_turn) {
            self.session_turn = true;
            return self.lane.pop(&mut self.entries);
        }
        let index = self.sessions.pop_ring().or_else(|| again.pop_front())?;
        self.session_turn = false;
        let session = &mut self.sessions[index];
        let message = session.lane.pop(&mut self.entries);
        if session.lane.len() > 0 {
            again.push_back(index);
        }
        message
    }

    /// A message that has left its lane goes into somebody's hands.
    #[inline]
    fn hand_over(&mut self, index: u32, until: Tick, begin: bool, now: Tick) -> Box<Received> {
        self.wheel.clear(&mut self.entries, index);
        self.counts.ready -= 1;
        self.counts.in_flight += 1;
        self.last_token += 1;
        let entry = &mut self.entries[index];
        entry.standing = Standing::InFlight;
        entry.token = self.last_token;
        entry.begun = begin;
        entry.lapsed = false;
        entry.attempts += u32::from(begin);
        entry.first_delivered = entry.first_delivered.min(now);
        entry.due = until;
        let session = entry.session;
        let mut held_until = None;
        if session != NIL {
            let session = &mut self.sessions[session];
            session.in_flight += 1;
            if let Some(hold) = &session.hold {
                held_until = Some(hold.until);
                session.held.push_back(&mut self.entries, index);
            }
        }
        if held_until.is_none() {
            self.wheel.set(&mut self.entries, index);
        }
        let locked_until = held_until.unwrap_or(until);
        let entry = &self.entries[index];
        Box::new(Received {
            id: entry.id(self.engine),
            message: entry.message.clone(),
            receipt: Receipt::Slot {
                queue: self.engine,
                slot: index,
                token: entry.token,
                until: locked_until,
                guard: if held_until.is_some() {
                    Guard::Session
                } else {
                    Guard::Delivery
                },
            },
            attempt: entry.attempts + u32::from(!begin),
            sequence: entry.sequence,
            enqueued_at: Moment::Tick(entry.enqueued),
            locked_until: Moment::Tick(locked_until),
        })
    }

    /// The slot of a delivery that is still its receiver's.
    #[inline]
    fn in_hands(&self, receipt: &Receipt, now: Tick) -> Result<u32> {
        let Receipt::Slot {
            queue,
            slot,
            token,
            until,
            guard,
        } = *receipt
        else {
            return Err(foreign());
        };
        if queue != self.engine {
            return Err(foreign());
        }
        match self.entries.get(slot) {
            Some(entry) if entry.token != token => Err(over(until <= now, guard)),
            Some(entry) if entry.standing != Standing::InFlight => Err(over(entry.lapsed, guard)),
            Some(_) => Ok(slot),
            None => Err(over(until <= now, guard)),
        }
    }

    /// Charges the attempt of a delivery that was received unstarted.
    pub(super) fn begin(&mut self, receipt: &Receipt, now: Tick) -> Result<()> {
        let index = self.in_hands(receipt, now)?;
        self.charge(index);
        Ok(())
    }

    fn charge(&mut self, index: u32) {
        let entry = &mut self.entries[index];
        entry.attempts += u32::from(!entry.begun);
        entry.begun = true;
    }

    #[inline]
    pub(super) fn settle(&mut self, settlement: &Settlement, now: Tick) -> Result<()> {
        let index = self.in_hands(&settlement.receipt, now)?;
        match &settlement.verb {
            Verb::Ack => self.remove(index),
            Verb::Nack { reason, delay } => {
                self.nack(index, reason.clone(), delay.unwrap_or_default(), now)?;
            }
            Verb::Release { delay } => {
                let entry = &mut self.entries[index];
                entry.attempts -= u32::from(entry.begun);
                self.put_back(index, delay.unwrap_or_default(), true, now);
            }
            Verb::DeadLetter {
                reason,
                description,
            } => {
                self.check_dead_room(index)?;
                self.charge(index);
                self.bury(index, reason.clone(), description.clone(), now);
            }
        }
        Ok(())
    }

    fn nack(
        &mut self,
        index: u32,
        reason: Option<Arc<str>>,
        delay: Duration,
        now: Tick,
    ) -> Result<()> {
        let entry = &self.entries[index];
        let spent = entry.attempts + u32::from(!entry.begun) >= self.definition.budget;
        if spent {
            self.check_dead_room(index)?;
        }
        self.charge(index);
        if spent {
            self.bury(index, reason::MAX_ATTEMPTS.into(), reason, now);
        } else {
            let blocks = self.definition.on_failure != OnFailure::Skip;
            self.put_back(index, delay, blocks, now);
        }
        Ok(())
    }

    /// Keeps a delivery's lock, or its session's, for this long from now.
    pub(super) fn extend(&mut self, receipt: &Receipt, lock: Duration, now: Tick) -> Result<Tick> {
        let index = self.in_hands(receipt, now)?;
        let session = self.entries[index].session;
        if session != NIL && self.sessions[session].hold.is_some() {
            return Ok(self.prolong(session, lock, now));
        }
        let until = self.lock_end(now, lock);
        self.wheel.clear(&mut self.entries, index);
        self.entries[index].due = until;
        self.wheel.set(&mut self.entries, index);
        Ok(until)
    }
}
