//! A step: what it works with, how time passes in it, and how it ends.

use std::sync::atomic::Ordering;

use super::append::{Batch, gains_by_copying};
use crate::error::Result;
use crate::providers::file::index::layout::{
    Member, Message, NEVER, NIL, Queue, Session, flag, standing, status,
};
use crate::providers::file::index::region::{Cell, Region};
use crate::providers::file::index::{list, tree};
use crate::providers::file::log::segment::Files;
use crate::providers::file::time::Time;

/// Changes that one more timer, message or settlement may need.
const CHANGES_OF_ONE: usize = 600;

/// What steps of one store have in common.
#[derive(Debug)]
pub(in crate::providers::file) struct Ground {
    pub(in crate::providers::file) region: Region,
    pub(in crate::providers::file) files: Files,
    pub(in crate::providers::file) time: Time,
    /// Makes hashes of this store's own.
    pub(in crate::providers::file) seed: u128,
    /// Bytes the store may take on the disk.
    pub(in crate::providers::file) max_store_bytes: u64,
}

/// A step in the making.
pub(in crate::providers::file) struct Step<'s> {
    pub(in crate::providers::file) ground: &'s Ground,
    pub(in crate::providers::file) r: &'s Region,
    pub(in crate::providers::file) batch: &'s mut Batch,
    pub(in crate::providers::file) now: u64,
    /// The store that takes the step, as a member.
    pub(in crate::providers::file) me: u32,
    /// What it did is to be on the disk before it is acknowledged.
    pub(in crate::providers::file) lasting: bool,
    /// It may use the segment that is kept for settlements.
    pub(in crate::providers::file) settles: bool,
    /// A message was freed, so that its memory must be saved before it is used again.
    pub(super) freed: bool,
    pub(in crate::providers::file) wakes: Wakes,
}

/// Whom to tell once the lock is free again.
#[derive(Debug, Default)]
pub(in crate::providers::file) struct Wakes {
    /// Members whose bells are to be rung.
    pub(in crate::providers::file) bells: Vec<u32>,
    /// Keys of waiters of this store.
    pub(in crate::providers::file) told: Vec<u64>,
    /// The keeper of the files has something to do.
    pub(in crate::providers::file) keep: bool,
}

impl Wakes {
    pub(in crate::providers::file) fn ring(&mut self, member: u32) {
        if !self.bells.contains(&member) {
            self.bells.push(member);
        }
    }
}

impl<'s> Step<'s> {
    pub(in crate::providers::file) fn new(
        ground: &'s Ground,
        batch: &'s mut Batch,
        now: u64,
        me: u32,
    ) -> Self {
        batch.clear();
        Self {
            ground,
            r: &ground.region,
            batch,
            now,
            me,
            lasting: false,
            settles: false,
            freed: false,
            wakes: Wakes::default(),
        }
    }

    #[inline]
    pub(super) fn message(&self, id: u32) -> &'s Message {
        self.r.node(id)
    }

    #[inline]
    pub(super) fn session(&self, id: u32) -> &'s Session {
        self.r.node(id)
    }

    #[inline]
    pub(super) fn queue(&self, id: u32) -> &'s Queue {
        self.r.node(id)
    }

    #[inline]
    pub(super) fn member(&self, id: u32) -> &'s Member {
        self.r.node(id)
    }

    #[inline]
    pub(super) fn set<C: Cell>(&self, cell: &C, value: C::Value) {
        self.r.set(cell, value);
    }

    /// Adds to a count.
    #[inline]
    pub(super) fn add(&self, cell: &impl Cell<Value = u64>, n: u64) {
        self.r.set(cell, cell.get().wrapping_add(n));
    }

    #[inline]
    pub(super) fn sub(&self, cell: &impl Cell<Value = u64>, n: u64) {
        self.r.set(cell, cell.get().saturating_sub(n));
    }

    #[inline]
    pub(super) fn add32(&self, cell: &impl Cell<Value = u32>, n: u32) {
        self.r.set(cell, cell.get().wrapping_add(n));
    }

    #[inline]
    pub(super) fn sub32(&self, cell: &impl Cell<Value = u32>, n: u32) {
        self.r.set(cell, cell.get().saturating_sub(n));
    }

    #[inline]
    pub(super) fn has(&self, message: &Message, flag: u32) -> bool {
        message.flags.get() & flag != 0
    }

    #[inline]
    pub(super) fn set_flag(&self, message: &Message, flag: u32, on: bool) {
        let flags = message.flags.get();
        let flags = if on { flags | flag } else { flags & !flag };
        self.r.set(&message.flags, flags);
    }

    /// Whether one more message can be dealt with before the step has to end.
    pub(in crate::providers::file) fn has_room_for_more(&self) -> bool {
        self.r.changes_left() > CHANGES_OF_ONE + self.batch.changes()
    }

    // --- time ---------------------------------------------------------------------------------

    /// Does what was due until now: ends of session locks, then of delays, locks and lives, each
    /// in the order of their time. Kept at once, whatever becomes of the verb that follows.
    pub(in crate::providers::file) fn advance(&mut self) -> Result<()> {
        // What ends gives space back, or is said in a few bytes.
        let settles = std::mem::replace(&mut self.settles, true);
        let advanced = self.advance_to_now();
        self.settles = settles;
        advanced
    }

    fn advance_to_now(&mut self) -> Result<()> {
        let mut any = false;
        loop {
            let session = tree::first::<tree::Holds>(self.r, &self.r.header().holds);
            if session == NIL || self.session(session).hold_until.get() > self.now {
                break;
            }
            any = true;
            if !self.end_hold_by_parts(session)? {
                break;
            }
        }
        loop {
            let id = tree::first::<tree::Timers>(self.r, &self.r.header().timers);
            if id == NIL || self.message(id).due.get() > self.now {
                break;
            }
            any = true;
            self.fire(id);
            if !self.has_room_for_more() {
                self.keep()?;
            }
        }
        if any {
            self.keep()?;
        }
        Ok(())
    }

    fn fire(&mut self, id: u32) {
        let message = self.message(id);
        match message.standing.get() {
            standing::FRESH | standing::RETURNED => {
                if !self.end_life(id) {
                    self.clear_timer(id);
                    self.set(&message.due, message.expires.get());
                    self.set_timer(id);
                }
            }
            standing::DELAYED => self.appear(id),
            standing::IN_FLIGHT => self.lapse(id),
            _ => self.clear_timer(id),
        }
    }

    /// Nothing happens by itself before this moment.
    pub(in crate::providers::file) fn next_deadline(&self) -> u64 {
        let header = self.r.header();
        let timer = match tree::first::<tree::Timers>(self.r, &header.timers) {
            NIL => NEVER,
            id => self.message(id).due.get(),
        };
        match tree::first::<tree::Holds>(self.r, &header.holds) {
            NIL => timer,
            id => timer.min(self.session(id).hold_until.get()),
        }
    }

    #[inline]
    pub(super) fn set_timer(&self, id: u32) {
        let message = self.message(id);
        if message.due.get() != NEVER {
            tree::insert::<tree::Timers>(self.r, &self.r.header().timers, id);
            self.set_flag(message, flag::TIMED, true);
        }
    }

    #[inline]
    pub(super) fn clear_timer(&self, id: u32) {
        let message = self.message(id);
        if self.has(message, flag::TIMED) {
            tree::remove::<tree::Timers>(self.r, &self.r.header().timers, id);
            self.set_flag(message, flag::TIMED, false);
        }
    }

    /// When a lock of this length ends that begins now: in whole milliseconds, as elsewhere.
    pub(super) fn lock_end(&self, lock: u64) -> u64 {
        let end = self.now.saturating_add(lock);
        end.div_ceil(1_000_000).saturating_mul(1_000_000)
    }

    // --- the end ------------------------------------------------------------------------------

    /// Keeps what was done so far: writes the frame and commits. The step may go on.
    pub(in crate::providers::file) fn keep(&mut self) -> Result<()> {
        self.write_frame()?;
        self.r.commit();
        self.freed = false;
        Ok(())
    }

    /// Takes back what was done since it was kept. The step may go on.
    pub(in crate::providers::file) fn take_back(&mut self) {
        if let Err(error) = self.ground.roll_back() {
            // As if the owner had died here: whoever comes next takes back or builds anew.
            tracing::error!(%error, "a step was not taken back");
            self.r.header().status.put(status::VOID);
        }
        self.batch.clear();
        self.freed = false;
    }

    /// Ends the step. Answers the position up to which the log must be on the disk before what was
    /// done is acknowledged, if it must.
    pub(in crate::providers::file) fn end(&mut self) -> Result<Option<u64>> {
        self.write_frame()?;
        self.tell_own();
        self.set_alarms();
        self.wakes.keep |= self.first_segment_is_done_with() || gains_by_copying(self.r);
        self.r.commit();
        let tail = self.r.header().tail.get();
        let behind = self.r.header().synced.load(Ordering::Acquire) < tail;
        Ok((self.lasting && behind).then_some(tail))
    }

    fn first_segment_is_done_with(&self) -> bool {
        let header = self.r.header();
        let first = header.first_segment.get();
        first < header.tail.get().saturating_sub(1) / header.segment_bytes.get().max(1)
            && self.r.segment(first).live.get() == 0
    }

    /// The standing of a message is another than the log knows.
    #[inline]
    pub(super) fn mark_dirty(&self, id: u32) {
        let message = self.message(id);
        if !self.has(message, flag::DIRTY) {
            self.set_flag(message, flag::DIRTY, true);
            list::push_back::<list::Dirty>(self.r, &self.r.header().dirty, id);
        }
    }

    #[inline]
    pub(super) fn mark_clean(&self, id: u32) {
        let message = self.message(id);
        if self.has(message, flag::DIRTY) {
            self.set_flag(message, flag::DIRTY, false);
            list::remove::<list::Dirty>(self.r, &self.r.header().dirty, id);
        }
    }
}
