//! What was accepted and is not written yet: bounded, counted, and in lanes that keep its order.
//!
//! One lock holds entries and counts together, so that the counts add up at every moment.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::entry::Entry;
use super::locked;
use super::metrics::{Observed, WriteBehindMetrics};
use super::origin::Origin;
use super::rejected::RejectedEntry;
use crate::clock::{Tick, Timestamp};
use crate::error::{Error, Result};
use crate::runtime::Tasks;

/// When the buffer is full, and when a part of it is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_entries: u64,
    pub(super) max_bytes: u64,
    pub(super) batch_entries: usize,
    pub(super) batch_bytes: usize,
    pub(super) interval: Duration,
}

/// An entry on its way to the sink.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) entry: Entry,
    /// Its place among all that were accepted.
    pub(super) number: u64,
    pub(super) at: Tick,
    /// What is settled once it is written.
    pub(super) origin: Option<Box<Origin>>,
}

pub(super) struct Buffer {
    limits: Limits,
    tasks: Tasks,
    state: Mutex<State>,
    /// For each lane: something may be due.
    due: Box<[Notify]>,
    /// Something left the buffer.
    room: Notify,
    /// Held by the first of those who wait for room; the others queue up for it.
    turn: tokio::sync::Mutex<()>,
    /// A batch was done, or the stage changed.
    progress: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    /// Nothing more is taken in; what is there is written.
    Draining,
    /// What is there stays.
    Stopped,
}

struct State {
    stage: Stage,
    lanes: Box<[Lane]>,
    counts: Counts,
    observed: Observed,
    /// Bytes of all that takes room.
    bytes: u64,
    /// The number of the next entry that comes into a lane.
    next: u64,
    /// What has a smaller number is due at once.
    flush_to: u64,
    /// Those who wait for room. Nobody goes before them.
    waiting: usize,
    /// Given up, and for the program to take. They take room.
    rejected: VecDeque<RejectedEntry>,
    /// What was on its way when writing stopped.
    unwritten: Vec<Queued>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    enqueued: u64,
    persisted: u64,
    failed: u64,
    retries: u64,
    batches: u64,
    /// Accepted, and neither persisted nor failed.
    depth: u64,
}

#[derive(Default)]
struct Lane {
    queued: VecDeque<Queued>,
    bytes: usize,
    /// Of each batch that was cut and is not done, in order: its first entry's number and time.
    cut: VecDeque<(u64, Tick)>,
}

/// When a lane has something to write.
enum Due {
    Now,
    At(Tick),
    /// When something comes.
    Later,
    /// Nothing will come any more.
    Never,
}

/// A push that had to be given back.
pub(super) enum Refused {
    Full(Entry),
    Error(Error),
}

impl Buffer {
    pub(super) fn new(limits: Limits, lanes: usize, tasks: Tasks) -> Self {
        Self {
            limits,
            tasks,
            state: Mutex::new(State {
                stage: Stage::Open,
                lanes: (0..lanes).map(|_| Lane::default()).collect(),
                counts: Counts::default(),
                observed: Observed::default(),
                bytes: 0,
                next: 0,
                flush_to: 0,
                waiting: 0,
                rejected: VecDeque::new(),
                unwritten: Vec::new(),
            }),
            due: (0..lanes).map(|_| Notify::new()).collect(),
            room: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
            progress: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    // Entries come in.

    /// Takes an entry in if there is room and nobody waits for it.
    #[inline]
    pub(super) fn try_push(&self, lane: usize, entry: Entry) -> Result<(), Refused> {
        self.push_after(lane, entry, 0)
    }

    /// Takes an entry in if there is room and no more than this many wait for it.
    #[inline]
    fn push_after(&self, lane: usize, entry: Entry, waiting: usize) -> Result<(), Refused> {
        let now = self.tasks.clock().recent();
        let mut state = self.state();
        if state.stage != Stage::Open {
            return Err(Refused::Error(Error::closed("write-behind")));
        }
        let bytes = entry.bytes() as u64;
        if bytes > self.limits.max_bytes {
            let error = Error::too_large(bytes, self.limits.max_bytes);
            return Err(Refused::Error(error));
        }
        if state.waiting > waiting || !state.has_room(&self.limits, bytes) {
            return Err(Refused::Full(entry));
        }
        state.counts.enqueued += 1;
        state.counts.depth += 1;
        state.bytes += bytes;
        self.put(state, lane, entry, now, None);
        Ok(())
    }

    /// Takes an entry in, after those who waited before.
    pub(super) async fn push(&self, lane: usize, entry: Entry) -> Result<()> {
        let entry = match self.try_push(lane, entry) {
            Ok(()) => return Ok(()),
            Err(Refused::Error(error)) => return Err(error),
            Err(Refused::Full(entry)) => entry,
        };
        self.with_room(entry, |entry| self.push_after(lane, entry, usize::MAX))
            .await
    }

    /// Tries again whenever room was made, first come, first served.
    async fn with_room(
        &self,
        mut entry: Entry,
        mut attempt: impl FnMut(Entry) -> Result<(), Refused>,
    ) -> Result<()> {
        let _waiting = Waiting::start(self);
        let _turn = self.turn.lock().await;
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            entry = match attempt(entry) {
                Ok(()) => return Ok(()),
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::Full(entry)) => entry,
            };
            room.await;
        }
    }

    /// Puts an entry that was counted into its lane.
    #[inline]
    fn put(
        &self,
        mut state: MutexGuard<'_, State>,
        lane: usize,
        entry: Entry,
        at: Tick,
        origin: Option<Box<Origin>>,
    ) {
        let number = state.next;
        state.next += 1;
        let to = &mut state.lanes[lane];
        let bytes = entry.bytes();
        let full_before = to.bytes >= self.limits.batch_bytes;
        to.bytes += bytes;
        to.queued.push_back(Queued {
            entry,
            number,
            at,
            origin,
        });
        // The first arms the timer, and whatever fills a batch makes it due.
        let length = to.queued.len();
        let wake = length == 1
            || length == self.limits.batch_entries
            || (!full_before && to.bytes >= self.limits.batch_bytes);
        drop(state);
        if wake {
            self.due[lane].notify_one();
        }
    }

    // Batches go out.

    /// The next batch of a lane, once it is due. `None` when nothing will come any more.
    pub(super) async fn due(&self, lane: usize) -> Option<Vec<Queued>> {
        loop {
            let due = {
                let mut state = self.state();
                let due = state.due(lane, &self.limits, self.tasks.clock().now());
                if let Due::Now = due {
                    return Some(state.cut(lane, &self.limits));
                }
                due
            };
            let woken = self.due[lane].notified();
            match due {
                Due::Never => return None,
                Due::At(deadline) => tokio::select! {
                    () = woken => {}
                    () = self.tasks.sleep_until(deadline) => {}
                },
                Due::Now | Due::Later => woken.await,
            }
        }
    }

    /// The next batch of a lane, once there is a whole one.
    pub(super) async fn full(&self, lane: usize) -> Vec<Queued> {
        loop {
            {
                let mut state = self.state();
                if state.lanes[lane].is_full(&self.limits) && state.stage != Stage::Stopped {
                    return state.cut(lane, &self.limits);
                }
            }
            self.due[lane].notified().await;
        }
    }

    /// Puts back what was cut last and goes into no batch yet, in its order.
    pub(super) fn give_back(&self, lane: usize, rest: impl DoubleEndedIterator<Item = Queued>) {
        let mut state = self.state();
        let to = &mut state.lanes[lane];
        for queued in rest.rev() {
            to.bytes += queued.entry.bytes();
            to.queued.push_front(queued);
        }
    }

    /// Entries are in the sink.
    pub(super) fn persisted<'a>(&self, entries: impl Iterator<Item = &'a Queued>) {
        let now = self.tasks.clock().now();
        let mut state = self.state();
        for queued in entries {
            state.counts.persisted += 1;
            state.counts.depth -= 1;
            state.bytes -= queued.entry.bytes() as u64;
            state.observed.lag(now.since(queued.at));
        }
        self.made_room(&state);
    }

    /// An entry was given up, and is somewhere else.
    pub(super) fn failed(&self, queued: &Queued) {
        let mut state = self.state();
        state.counts.failed += 1;
        state.counts.depth -= 1;
        state.bytes -= queued.entry.bytes() as u64;
        self.made_room(&state);
    }

    /// An entry was given up, and is kept here for the program to take.
    pub(super) fn keep(&self, rejected: RejectedEntry) {
        let mut state = self.state();
        state.counts.failed += 1;
        state.counts.depth -= 1;
        state.rejected.push_back(rejected);
    }

    /// The entries that were given up and kept here, with the room they took.
    pub(super) fn take_rejected(&self) -> Vec<RejectedEntry> {
        let mut state = self.state();
        let rejected: Vec<_> = std::mem::take(&mut state.rejected).into();
        let bytes: usize = rejected.iter().map(|r| r.entry.bytes()).sum();
        state.bytes -= bytes as u64;
        self.made_room(&state);
        rejected
    }

    fn made_room(&self, state: &State) {
        if state.waiting > 0 {
            self.room.notify_waiters();
        }
    }

    /// The oldest batch of a lane is done: written, given up or left.
    pub(super) fn done(&self, lane: usize) {
        self.state().lanes[lane].cut.pop_front();
        self.progress.notify_waiters();
    }

    /// Entries that were on their way when writing stopped.
    pub(super) fn leave(&self, unwritten: impl IntoIterator<Item = Queued>) {
        self.state().unwritten.extend(unwritten);
    }

    /// Entries are tried again.
    pub(super) fn retried(&self, entries: usize) {
        self.state().counts.retries += entries as u64;
    }

    /// A write of this many entries was answered after this time.
    pub(super) fn wrote(&self, entries: usize, took: Duration) {
        let mut state = self.state();
        state.counts.batches += 1;
        state.observed.batch(entries, took);
    }

    // Everything goes out.

    /// Makes everything accepted so far due, and waits until it is written or given up.
    pub(super) async fn flush(&self) -> Result<()> {
        let target = {
            let mut state = self.state();
            let target = state.counts.enqueued;
            state.flush_to = state.flush_to.max(target);
            target
        };
        self.wake_all();
        loop {
            let mut progress = pin!(self.progress.notified());
            progress.as_mut().enable();
            {
                let state = self.state();
                if state.stage == Stage::Stopped && state.counts.depth > 0 {
                    return Err(Error::closed("write-behind"));
                }
                // What could not be accepted after all is not waited for.
                if state.done_to() >= target.min(state.counts.enqueued) {
                    return Ok(());
                }
            }
            progress.await;
        }
    }

    /// Takes nothing more in, and makes everything due.
    pub(super) fn drain(&self) {
        self.enter(Stage::Draining);
    }

    /// Leaves what is not written.
    pub(super) fn stop(&self) {
        self.enter(Stage::Stopped);
    }

    fn enter(&self, stage: Stage) {
        {
            let mut state = self.state();
            state.stage = state.stage.max(stage);
        }
        self.room.notify_waiters();
        self.progress.notify_waiters();
        self.wake_all();
    }

    fn wake_all(&self) {
        for lane in &self.due {
            lane.notify_one();
        }
    }

    /// What was not written when writing had stopped, in the order of its coming.
    pub(super) fn take_unwritten(&self) -> Vec<Queued> {
        let mut state = self.state();
        let mut unwritten = std::mem::take(&mut state.unwritten);
        for lane in &mut state.lanes {
            lane.bytes = 0;
            unwritten.extend(lane.queued.drain(..));
        }
        unwritten.sort_unstable_by_key(|queued| queued.number);
        unwritten
    }

    // Looks.

    pub(super) fn metrics(&self, timestamp: Timestamp) -> WriteBehindMetrics {
        let counts = self.state().counts;
        WriteBehindMetrics {
            total_enqueued: counts.enqueued,
            total_persisted: counts.persisted,
            total_failed: counts.failed,
            total_retries: counts.retries,
            total_batches: counts.batches,
            current_queue_depth: counts.depth,
            timestamp,
        }
    }

    /// Distributions, and the age of the oldest entry that is not done.
    pub(super) fn observed(&self) -> (Observed, Duration) {
        let state = self.state();
        let oldest = state.lanes.iter().filter_map(Lane::oldest);
        let oldest = oldest.map(|(_, at)| at).min();
        let age = oldest.map_or(Duration::ZERO, |at| self.tasks.clock().now().since(at));
        (state.observed.clone(), age)
    }
}

impl State {
    #[inline]
    fn has_room(&self, limits: &Limits, bytes: u64) -> bool {
        let held = self.counts.depth + self.rejected.len() as u64;
        held < limits.max_entries && self.bytes + bytes <= limits.max_bytes
    }

    fn due(&self, lane: usize, limits: &Limits, now: Tick) -> Due {
        let lane = &self.lanes[lane];
        let Some(first) = lane.queued.front() else {
            return match self.stage {
                Stage::Open => Due::Later,
                Stage::Draining | Stage::Stopped => Due::Never,
            };
        };
        let deadline = first.at + limits.interval;
        match self.stage {
            Stage::Stopped => Due::Never,
            Stage::Draining => Due::Now,
            Stage::Open if lane.is_full(limits) => Due::Now,
            Stage::Open if first.number < self.flush_to || deadline <= now => Due::Now,
            Stage::Open => Due::At(deadline),
        }
    }

    fn cut(&mut self, lane: usize, limits: &Limits) -> Vec<Queued> {
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
    fn done_to(&self) -> u64 {
        let oldest = self.lanes.iter().filter_map(Lane::oldest);
        let oldest = oldest.map(|(number, _)| number);
        let left = self.unwritten.iter().map(|queued| queued.number);
        oldest.chain(left).min().unwrap_or(self.next)
    }
}

impl Lane {
    /// Number and time of the oldest entry that is not done.
    fn oldest(&self) -> Option<(u64, Tick)> {
        let queued = self.queued.front().map(|queued| (queued.number, queued.at));
        self.cut.front().copied().or(queued)
    }

    fn is_full(&self, limits: &Limits) -> bool {
        self.queued.len() >= limits.batch_entries || self.bytes >= limits.batch_bytes
    }
}

/// Somebody waits for room; ends when dropped.
struct Waiting<'a>(&'a Buffer);

impl<'a> Waiting<'a> {
    fn start(buffer: &'a Buffer) -> Self {
        buffer.state().waiting += 1;
        Self(buffer)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}
