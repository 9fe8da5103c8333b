//! Those who wait, in all processes, in the order they came.
//!
//! A verb that finds nothing leaves a waiter behind: in the list of its queue, by what it waits for,
//! or of its held session. A step that lets somebody go on moves the first waiters from there to
//! the woken of their stores, and rings the bells of those. A store that is rung tells its verbs,
//! which look again; one that looks in vain waits on, in front.
//!
//! Invariants: a waiter stands in exactly one list, unless it was told. It leaves when its verb has
//! found something or gives up; a wake that was not used is handed on.

use super::step::Step;
use crate::error::Result;
use crate::provider::SessionLock;
use crate::providers::file::index::layout::{ListHead, Member, NEVER, NIL, Waiter, wait, waiting};
use crate::providers::file::index::region::Cell;
use crate::providers::file::index::{list, pool};

/// In which of a queue's lists those stand who wait for this.
fn list_of(what: u32) -> usize {
    match what {
        wait::SOME_MESSAGE => wait::MESSAGE as usize,
        what => what.min(2) as usize,
    }
}

impl Step<'_> {
    fn waiter(&self, id: u32) -> &Waiter {
        self.r.node(id)
    }

    fn waiters_of(&self, waiter: &Waiter) -> &ListHead {
        match waiter.what.get() {
            wait::HELD => &self.session(waiter.session.get()).waiters,
            what => &self.queue(waiter.queue.get()).waiters[list_of(what)],
        }
    }

    /// A waiter for this verb of a queue.
    pub(in crate::providers::file) fn wait_for(
        &mut self,
        queue: u32,
        what: u32,
        held: Option<&SessionLock>,
        key: u64,
    ) -> Result<u32> {
        let session = match held {
            Some(lock) => self.holder(self.queue(queue), lock)?,
            None => NIL,
        };
        let id = self.take_node::<Waiter>()?;
        let waiter = self.waiter(id);
        let what = if session == NIL { what } else { wait::HELD };
        self.set(&waiter.what, what);
        self.set(&waiter.queue, queue);
        self.set(&waiter.session, session);
        self.set(&waiter.member, self.me);
        self.set(&waiter.state, waiting::WAITS);
        self.set(&waiter.key, key);
        list::push_back::<list::Waiters>(self.r, self.waiters_of(waiter), id);
        self.add32(&self.r.header().waiting, 1);
        self.add32(&self.member(self.me).waiting, 1);
        Ok(id)
    }

    /// One who was told found nothing and waits on, before those who came later.
    pub(in crate::providers::file) fn wait_on(&mut self, id: u32, key: u64) -> bool {
        let Some(waiter) = self.own_waiter(id, key) else {
            return false;
        };
        if waiter.state.get() == waiting::TOLD {
            let waiters = self.waiters_of(waiter);
            list::insert_before::<list::Waiters>(self.r, waiters, id, waiters.first.get());
            self.set(&waiter.state, waiting::WAITS);
        }
        true
    }

    /// The waiter of this verb, if it is still one: an index that was built anew has none.
    fn own_waiter(&self, id: u32, key: u64) -> Option<&Waiter> {
        let waiter = self.r.find::<Waiter>(id)?;
        (waiter.member.get() == self.me && waiter.key.get() == key && key != 0).then_some(waiter)
    }

    /// A verb does not wait any more. `used`: it found what it was woken for.
    pub(in crate::providers::file) fn stop_waiting(&mut self, id: u32, key: u64, used: bool) {
        if self.own_waiter(id, key).is_some() {
            self.leave(id, used);
        }
    }

    fn leave(&mut self, id: u32, used: bool) {
        let waiter = self.waiter(id);
        let (queue, what, state) = (waiter.queue.get(), waiter.what.get(), waiter.state.get());
        let member = self.member(waiter.member.get());
        match state {
            waiting::WAITS => {
                list::remove::<list::Waiters>(self.r, self.waiters_of(waiter), id);
            }
            waiting::WOKEN => list::remove::<list::Waiters>(self.r, &member.woken, id),
            _ => {}
        }
        self.set(&waiter.key, 0);
        self.sub32(&self.r.header().waiting, 1);
        self.sub32(&member.waiting, 1);
        pool::free::<Waiter>(self.r, id);
        if state != waiting::WAITS && !used && what != wait::HELD {
            self.wake(queue, what, 1);
        }
    }

    /// Lets up to so many go on that wait for this.
    #[inline]
    pub(super) fn wake(&mut self, queue: u32, what: u32, count: u32) {
        if self.r.header().waiting.get() > 0 {
            self.wake_some(queue, what, count);
        }
    }

    fn wake_some(&mut self, queue: u32, what: u32, count: u32) {
        let waiters = &self.queue(queue).waiters[list_of(what)];
        let mut left = count;
        while left > 0
            && let Some(id) = list::pop_front::<list::Waiters>(self.r, waiters)
        {
            // Who does not want every message may have no use for this one.
            left -= u32::from(self.waiter(id).what.get() != wait::SOME_MESSAGE);
            self.rouse(id);
        }
    }

    /// Lets all go on that wait for messages of a held session.
    pub(super) fn wake_holder(&mut self, session: u32) {
        let waiters = &self.session(session).waiters;
        while let Some(id) = list::pop_front::<list::Waiters>(self.r, waiters) {
            self.rouse(id);
        }
    }

    fn rouse(&mut self, id: u32) {
        let waiter = self.waiter(id);
        self.set(&waiter.state, waiting::WOKEN);
        let member = waiter.member.get();
        list::push_back::<list::Waiters>(self.r, &self.member(member).woken, id);
        if member != self.me {
            self.wakes.ring(member);
        }
    }

    /// Notes which verbs of this store were woken, so that they are told.
    pub(super) fn tell_own(&mut self) {
        if self.me == NIL || self.r.header().waiting.get() == 0 {
            return;
        }
        let woken = &self.member(self.me).woken;
        while let Some(id) = list::pop_front::<list::Waiters>(self.r, woken) {
            let waiter = self.waiter(id);
            self.set(&waiter.state, waiting::TOLD);
            self.wakes.told.push(waiter.key.get());
        }
    }

    /// Rings those who would sleep past the next deadline.
    pub(super) fn set_alarms(&mut self) {
        let header = self.r.header();
        if header.waiting.get() == 0 || self.ground.time.is_virtual() {
            return;
        }
        let next = self.next_deadline();
        let mut id = header.members.first.get();
        while id != NIL {
            let member: &Member = self.member(id);
            if member.waiting.get() > 0 && member.alarm.get() > next {
                self.set(&member.alarm, next);
                self.wakes.ring(id);
            }
            id = list::after::<list::Members>(self.r, id);
        }
    }

    /// When the waiting thread of this store has to look at the clock again.
    pub(in crate::providers::file) fn set_own_alarm(&mut self) -> u64 {
        let member = self.member(self.me);
        let next = if member.waiting.get() > 0 && !self.ground.time.is_virtual() {
            self.next_deadline()
        } else {
            NEVER
        };
        self.set(&member.alarm, next);
        next
    }

    /// A dead member's waiters are gone, and wakes it did not use are handed on.
    pub(super) fn drop_waiters_of(&mut self, member: u32) -> Result<()> {
        while let Some(id) = self.any_waiter_of(member) {
            self.leave(id, false);
            if !self.has_room_for_more() {
                self.keep()?;
            }
        }
        Ok(())
    }

    fn any_waiter_of(&self, member: u32) -> Option<u32> {
        let of_member = self.member(member);
        if of_member.waiting.get() == 0 {
            return None;
        }
        if of_member.woken.first.get() != NIL {
            return Some(of_member.woken.first.get());
        }
        let mut lists: Vec<&ListHead> = Vec::new();
        for queue in self.queue_ids() {
            lists.extend(&self.queue(queue).waiters);
        }
        let mut held = of_member.sessions.first.get();
        while held != NIL {
            lists.push(&self.session(held).waiters);
            held = list::after::<list::OfHolder>(self.r, held);
        }
        lists.into_iter().find_map(|list| {
            let mut id = list.first.get();
            while id != NIL && self.waiter(id).member.get() != member {
                id = list::after::<list::Waiters>(self.r, id);
            }
            (id != NIL).then_some(id)
        })
    }
}
