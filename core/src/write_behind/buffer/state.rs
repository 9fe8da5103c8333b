//! What a buffer holds and has counted: lanes that are cut into batches, bounds, due times. No waits
//! and no wakes, which are the buffer's.

use std::collections::VecDeque;

use super::{Came, Limits, Queued};
use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::write_behind::entry::Entry;
use crate::write_behind::journal::{MAX_BYTES, MAX_ENTRIES};
use crate::write_behind::metrics::Observed;
use crate::write_behind::rejected::RejectedEntry;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Open,
    /// Nothing more is taken in; what is there is written.
    Draining,
    /// What is there stays.
    Stopped,
}

pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) lanes: Box<[Lane]>,
    pub(super) counts: Counts,
    pub(super) observed: Observed,
    /// Bytes of all that takes room.
    pub(super) bytes: u64,
    /// The number of the next entry that comes into a lane.
    pub(super) next: u64,
    /// What has a smaller number is due at once.
    pub(super) flush_to: u64,
    /// Given up, and for the program to take. They take room.
    pub(super) rejected: VecDeque<RejectedEntry>,
    /// What was on its way when writing stopped.
    pub(super) unwritten: Vec<Queued>,
    /// Of a write-behind that has one.
    pub(super) journal: Journaled,
}

/// What is known of the journal.
#[derive(Default)]
pub(super) struct Journaled {
    /// Whether somebody pulls entries out of it: lanes that are empty may not stay so.
    pub(super) pulling: bool,
    /// Of the depth and its bytes, what is in the journal.
    pub(super) depth: u64,
    pub(super) bytes: u64,
    /// Entries that were counted and are on their way into it.
    pub(super) sending: u64,
    /// Nothing is sent into it while it is counted anew.
    pub(super) paused: bool,
    /// Numbers of entries that went back into it, and get others when they come again.
    pub(super) voided: u64,
}

/// Which way an entry comes in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Given by the program, into memory alone.
    Memory,
    /// Delivered by a queue, which keeps it.
    Fed,
    /// Given by the program, through the journal.
    Journal,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) enqueued: u64,
    pub(super) persisted: u64,
    pub(super) failed: u64,
    pub(super) retries: u64,
    pub(super) batches: u64,
    /// Accepted, and neither persisted nor failed.
    pub(super) depth: u64,
}

#[derive(Default)]
pub(super) struct Lane {
    pub(super) queued: VecDeque<Queued>,
    pub(super) bytes: usize,
    /// Of each batch that was cut and is not done, in order: its first entry's number and time.
    pub(super) cut: VecDeque<(u64, Tick)>,
}

/// When a lane has something to write.
pub(super) enum Due {
    Now,
    At(Tick),
    /// When something comes.
    Later,
    /// Nothing will come any more.
    Never,
}

impl State {
    /// Counts an entry of this size in, if there is room for it and nobody is before it.
    #[inline]
    pub(super) fn admit(
        &mut self,
        limits: &Limits,
        way: Way,
        bytes: u64,
        waits: bool,
    ) -> Result<bool> {
        if self.stage != Stage::Open {
            return Err(Error::closed("write-behind"));
        }
        if bytes > limits.max_bytes {
            return Err(Error::too_large(bytes, limits.max_bytes));
        }
        if waits || !self.fits(limits, way, bytes) {
            return Ok(false);
        }
        self.counts.enqueued += 1;
        self.counts.depth += 1;
        self.bytes += bytes;
        Ok(true)
    }

    /// Whether there is room for an entry of this size.
    #[inline]
    fn fits(&self, limits: &Limits, way: Way, bytes: u64) -> bool {
        let (mut held, mut held_bytes) = (self.counts.depth, self.bytes);
        if limits.spill {
            // What the journal keeps has bounds of its own, and those behind it must not overtake it.
            let journal = &self.journal;
            match way {
                Way::Journal => {
                    return journal.depth < MAX_ENTRIES && journal.bytes + bytes <= MAX_BYTES;
                }
                Way::Memory if journal.depth > 0 || journal.paused => return false,
                Way::Memory | Way::Fed => {}
            }
            held -= journal.depth;
            held_bytes -= journal.bytes;
        }
        held + (self.rejected.len() as u64) < limits.max_entries
            && held_bytes + bytes <= limits.max_bytes
    }

    /// Puts an entry that was counted into its lane. Answers whether the lane is to be woken.
    #[inline]
    pub(super) fn put(
        &mut self,
        lane: usize,
        limits: &Limits,
        entry: Entry,
        came: Came,
        bytes: u64,
        at: Tick,
    ) -> bool {
        let number = self.next;
        self.next += 1;
        let to = &mut self.lanes[lane];
        let full_before = to.bytes >= limits.batch_bytes;
        to.bytes += entry.bytes();
        to.queued.push_back(Queued {
            entry,
            came,
            bytes,
            number,
            at,
        });
        // The first arms the timer, and whatever fills a batch makes it due.
        let length = to.queued.len();
        let full = to.bytes >= limits.batch_bytes;
        length == 1 || length == limits.batch_entries || (full && !full_before)
    }

    /// An entry takes no room any more.
    pub(super) fn leave(&mut self, queued: &Queued) {
        self.counts.depth -= 1;
        self.bytes -= queued.bytes;
        if let Came::Journal(_) = queued.came {
            self.journal.depth -= 1;
            self.journal.bytes -= queued.bytes;
        }
    }

    /// The journal holds this much. What is more than was known of counts as accepted: an earlier
    /// process left it, or it was written and comes again because it could not be acknowledged.
    pub(super) fn recount(&mut self, depth: u64, bytes: u64) {
        let known = (self.journal.depth, self.journal.bytes);
        self.counts.enqueued = self.counts.enqueued + depth - known.0;
        self.counts.depth = self.counts.depth + depth - known.0;
        self.bytes = self.bytes + bytes - known.1;
        (self.journal.depth, self.journal.bytes) = (depth, bytes);
    }

    /// Takes what came from the journal out of the lanes.
    pub(super) fn void(&mut self) {
        for lane in &mut self.lanes {
            let before = lane.queued.len();
            lane.queued
                .retain(|queued| !matches!(queued.came, Came::Journal(_)));
            self.journal.voided += (before - lane.queued.len()) as u64;
            lane.bytes = lane.queued.iter().map(|queued| queued.entry.bytes()).sum();
        }
    }

    pub(super) fn all_pulled(&self) -> bool {
        self.next >= self.counts.enqueued + self.journal.voided
    }

    /// How many entries of the journal are to be pulled: two batches for each lane wait at most.
    pub(super) fn wanted(&self, limits: &Limits) -> usize {
        let queued: usize = self.lanes.iter().map(|lane| lane.queued.len()).sum();
        let bytes: usize = self.lanes.iter().map(|lane| lane.bytes).sum();
        let most = 2 * limits.batch_entries * self.lanes.len();
        if bytes >= 2 * limits.batch_bytes * self.lanes.len() {
            return 0;
        }
        most.saturating_sub(queued).min(limits.batch_entries)
    }

    pub(super) fn due(&self, lane: usize, limits: &Limits, now: Tick) -> Due {
        let lane = &self.lanes[lane];
        let Some(first) = lane.queued.front() else {
            return match self.stage {
                Stage::Open => Due::Later,
                Stage::Draining if self.journal.pulling => Due::Later,
                Stage::Draining | Stage::Stopped => Due::Never,
            };
        };
        let deadline = first.at + limits.interval;
        match self.stage {
            Stage::Stopped => Due::Never,
            Stage::Draining => Due::Now,
            Stage::Open if lane.is_full(limits) => Due::Now,
            Stage::Open if first.number < self.flush_to + self.journal.voided => Due::Now,
            Stage::Open if deadline <= now => Due::Now,
            Stage::Open => Due::At(deadline),
        }
    }

    pub(super) fn cut(&mut self, lane: usize, limits: &Limits) -> Vec<Queued> {
        let lane = &mut self.lanes[lane];
        let mut batch = Vec::with_capacity(lane.queued.len().min(limits.batch_entries));
        let mut bytes = 0;
        while batch.len() < limits.batch_entries
            && let Some(next) = lane.queued.front()
            && (batch.is_empty() || bytes + next.entry.bytes() <= limits.batch_bytes)
        {
            bytes += next.entry.bytes();
            batch.extend(lane.queued.pop_front());
        }
        lane.bytes -= bytes;
        lane.cut
            .extend(batch.first().map(|first| (first.number, first.at)));
        batch
    }

    /// Everything with a smaller number is done.
    pub(super) fn done_to(&self) -> u64 {
        let oldest = self.lanes.iter().filter_map(Lane::oldest);
        let oldest = oldest.map(|(number, _)| number);
        let left = self.unwritten.iter().map(|queued| queued.number);
        oldest.chain(left).min().unwrap_or(self.next)
    }
}

impl Lane {
    /// Number and time of the oldest entry that is not done.
    pub(super) fn oldest(&self) -> Option<(u64, Tick)> {
        let queued = self.queued.front().map(|queued| (queued.number, queued.at));
        self.cut.front().copied().or(queued)
    }

    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.queued.len() >= limits.batch_entries || self.bytes >= limits.batch_bytes
    }
}
