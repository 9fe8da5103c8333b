//! The stores that are open, and what becomes of what a dead one had.

use std::sync::atomic::Ordering;

use super::step::Step;
use crate::error::Result;
use crate::providers::file::index::layout::{Member, NEVER, NIL};
use crate::providers::file::index::lock::Living;
use crate::providers::file::index::region::Cell;
use crate::providers::file::index::{list, pool};

impl Step<'_> {
    /// A store of this number is open from here on. Answers its member's number.
    pub(in crate::providers::file) fn join(&mut self, handle: u32) -> Result<u32> {
        let id = self.take_node::<Member>()?;
        let member = self.member(id);
        self.set(&member.handle, handle);
        self.set(&member.waiting, 0);
        self.set(&member.alarm, NEVER);
        // Never set back: a thread may still sleep on it, of a store that is gone.
        member.bell.fetch_add(1, Ordering::Relaxed);
        for ends in [&member.in_hands, &member.sessions, &member.woken] {
            self.set(&ends.first, NIL);
            self.set(&ends.last, NIL);
        }
        list::push_back::<list::Members>(self.r, &self.r.header().members, id);
        self.me = id;
        Ok(id)
    }

    /// A store is not open any more: what it had goes back, its attempts used where work had begun.
    pub(in crate::providers::file) fn leave_store(&mut self, id: u32) -> Result<()> {
        let member = self.member(id);
        self.drop_waiters_of(id)?;
        loop {
            let session = member.sessions.first.get();
            if session == NIL {
                break;
            }
            self.end_hold_by_parts(session)?;
            self.keep()?;
        }
        loop {
            let message = member.in_hands.first.get();
            if message == NIL {
                break;
            }
            self.lapse(message);
            if !self.has_room_for_more() {
                self.keep()?;
            }
        }
        list::remove::<list::Members>(self.r, &self.r.header().members, id);
        pool::free::<Member>(self.r, id);
        self.keep()
    }

    /// Lets go of what dead stores had. Answers whether there was one.
    pub(in crate::providers::file) fn bury_members(
        &mut self,
        living: &impl Living,
    ) -> Result<bool> {
        let mut any = false;
        let mut id = self.r.header().members.first.get();
        while id != NIL {
            let next = list::after::<list::Members>(self.r, id);
            if id != self.me && !living.is_alive(self.member(id).handle.get()) {
                self.leave_store(id)?;
                any = true;
            }
            id = next;
        }
        Ok(any)
    }

    /// Rings everybody: time has passed.
    pub(in crate::providers::file) fn ring_all(&mut self) {
        let mut id = self.r.header().members.first.get();
        while id != NIL {
            if id != self.me {
                self.wakes.ring(id);
            }
            id = list::after::<list::Members>(self.r, id);
        }
    }

    /// Whether any other store has something in its hands, or waits.
    pub(in crate::providers::file) fn others_hold(&self) -> bool {
        let mut id = self.r.header().members.first.get();
        while id != NIL {
            let member = self.member(id);
            let holds = member.in_hands.first.get() != NIL
                || member.sessions.first.get() != NIL
                || member.woken.first.get() != NIL;
            if id != self.me && holds {
                return true;
            }
            id = list::after::<list::Members>(self.r, id);
        }
        false
    }
}
