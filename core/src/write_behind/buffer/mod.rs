//! What was accepted and is not written yet: bounded, counted, and in lanes that keep its order.
//!
//! One lock holds entries and counts together, so that the counts add up at every moment.

mod state;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use self::state::{Counts, Due, Journaled, Lane, Stage, State, Way};
use super::entry::Entry;
use super::locked;
use super::metrics::{Observed, WriteBehindMetrics};
use super::rejected::RejectedEntry;
use crate::clock::{Tick, Timestamp};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::room::Room;
use crate::runtime::Tasks;

/// When the buffer is full, and when a part of it is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_entries: u64,
    pub(super) max_bytes: u64,
    /// What there is no room for goes into the journal.
    pub(super) spill: bool,
    pub(super) batch_entries: usize,
    pub(super) batch_bytes: usize,
    pub(super) interval: Duration,
}

/// An entry on its way to the sink.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) entry: Entry,
    pub(super) came: Came,
    /// What it counts against the bound.
    bytes: u64,
    /// Its place among all that came into lanes.
    pub(super) number: u64,
    /// When it was accepted.
    pub(super) at: Tick,
}

/// How an entry came.
#[derive(Debug)]
pub(super) enum Came {
    /// The program gave it, and it is nowhere else.
    Here,
    /// A queue delivered it.
    Fed(Box<Delivery>),
    /// The program gave it, and it is in the journal.
    Journal(Box<Delivery>),
}

impl Queued {
    /// What is settled once the entry is written.
    pub(super) fn delivery(&self) -> Option<&Delivery> {
        match &self.came {
            Came::Here => None,
            Came::Fed(delivery) | Came::Journal(delivery) => Some(delivery),
        }
    }
}

pub(super) struct Buffer {
    limits: Limits,
    tasks: Tasks,
    state: Mutex<State>,
    /// For each lane: something may be due.
    due: Box<[Notify]>,
    /// Something left the buffer.
    room: Room,
    /// A batch was done, a send to the journal has ended, or the stage changed.
    progress: Notify,
    /// There may be less to pull from the journal, or room for more of it.
    pull: Notify,
}

/// An entry that is not taken in: for an error, or until there is room.
pub(super) struct Refused {
    pub(super) entry: Entry,
    pub(super) came: Came,
    pub(super) error: Option<Error>,
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
                rejected: VecDeque::new(),
                unwritten: Vec::new(),
                journal: Journaled::default(),
            }),
            due: (0..lanes).map(|_| Notify::new()).collect(),
            room: Room::default(),
            progress: Notify::new(),
            pull: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    // Entries come in.

    /// Takes an entry in if there is room and nobody waits for it.
    #[inline]
    pub(super) fn try_push(&self, lane: usize, entry: Entry, came: Came) -> Result<(), Refused> {
        self.push_before(lane, entry, came, 0)
    }

    /// Takes an entry in if there is room and no more than this many wait for it.
    #[inline]
    fn push_before(
        &self,
        lane: usize,
        entry: Entry,
        came: Came,
        waiting: usize,
    ) -> Result<(), Refused> {
        let now = self.tasks.clock().recent();
        let bytes = entry.bytes() as u64;
        let way = match came {
            Came::Here => Way::Memory,
            Came::Fed(_) | Came::Journal(_) => Way::Fed,
        };
        let mut state = self.state();
        match state.admit(&self.limits, way, bytes, self.room.waiting() > waiting) {
            Ok(true) => {}
            Ok(false) => {
                let error = None;
                return Err(Refused { entry, came, error });
            }
            Err(error) => {
                let error = Some(error);
                return Err(Refused { entry, came, error });
            }
        }
        let wake = state.put(lane, &self.limits, entry, came, bytes, now);
        drop(state);
        if wake {
            self.due[lane].notify_one();
        }
        Ok(())
    }

    /// Takes an entry in, after those who waited before.
    pub(super) async fn push(&self, lane: usize, entry: Entry, came: Came) -> Result<(), Refused> {
        let refused = match self.try_push(lane, entry, came) {
            Err(refused) if refused.error.is_none() => refused,
            done => return done,
        };
        let mut waiting = Some((refused.entry, refused.came));
        self.room
            .when(|| {
                let (entry, came) = waiting.take()?;
                match self.push_before(lane, entry, came, usize::MAX) {
                    Err(refused) if refused.error.is_none() => {
                        waiting = Some((refused.entry, refused.came));
                        None
                    }
                    done => Some(done),
                }
            })
            .await
    }

    /// Takes entries in, as many as there is room for now, and gives their results. The rest stays.
    pub(super) fn try_push_many(
        &self,
        entries: &mut VecDeque<(usize, Entry)>,
        results: &mut Vec<Result<()>>,
        waiting: usize,
    ) {
        let now = self.tasks.clock().recent();
        let mut woken = Vec::new();
        let mut state = self.state();
        while let Some((lane, entry)) = entries.pop_front() {
            let bytes = entry.bytes() as u64;
            let waits = self.room.waiting() > waiting;
            match state.admit(&self.limits, Way::Memory, bytes, waits) {
                Ok(true) => {
                    if state.put(lane, &self.limits, entry, Came::Here, bytes, now) {
                        woken.push(lane);
                    }
                    results.push(Ok(()));
                }
                Ok(false) => {
                    entries.push_front((lane, entry));
                    break;
                }
                Err(error) => results.push(Err(error)),
            }
        }
        drop(state);
        for lane in woken {
            self.due[lane].notify_one();
        }
    }

    /// Takes all these entries in, after those who waited before.
    pub(super) async fn push_many(&self, mut entries: VecDeque<(usize, Entry)>) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(entries.len());
        self.try_push_many(&mut entries, &mut results, 0);
        while !entries.is_empty() {
            self.room
                .when(|| {
                    let before = entries.len();
                    self.try_push_many(&mut entries, &mut results, usize::MAX);
                    (entries.len() < before).then_some(())
                })
                .await;
        }
        results
    }

    // Entries go into the journal, and come out of it.

    /// Counts the first of entries of these sizes, as many as there is room for, before they are
    /// sent into the journal. Waits for room for one, if asked to; else answers `Full`.
    pub(super) async fn reserve(&self, sizes: &[u64], wait: bool) -> Result<usize> {
        if let Some(reserved) = self.try_reserve(sizes, 0) {
            return reserved;
        }
        if !wait {
            return Err(full());
        }
        self.room.when(|| self.try_reserve(sizes, usize::MAX)).await
    }

    fn try_reserve(&self, sizes: &[u64], waiting: usize) -> Option<Result<usize>> {
        let mut state = self.state();
        if state.journal.paused {
            return None;
        }
        let mut count = 0;
        for bytes in sizes {
            let waits = self.room.waiting() > waiting;
            match state.admit(&self.limits, Way::Journal, *bytes, waits) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if count == 0 => return Some(Err(error)),
                Err(_) => break,
            }
            count += 1;
            state.journal.depth += 1;
            state.journal.bytes += bytes;
        }
        state.journal.sending += count as u64;
        (count > 0).then_some(Ok(count))
    }

    /// A send into the journal has ended: entries of these sizes are not in it after all.
    pub(super) fn sent(&self, count: usize, failed: impl Iterator<Item = u64>) {
        let mut state = self.state();
        state.journal.sending -= count as u64;
        for bytes in failed {
            state.counts.enqueued -= 1;
            state.counts.depth -= 1;
            state.bytes -= bytes;
            state.journal.depth -= 1;
            state.journal.bytes -= bytes;
        }
        self.room.made();
        let ended = state.journal.sending == 0;
        drop(state);
        if ended {
            self.progress.notify_waiters();
            self.pull.notify_one();
        }
    }

    /// The journal is there, with what an earlier process left in it.
    pub(super) fn journaled(&self, depth: u64, bytes: u64) {
        let mut state = self.state();
        state.journal.pulling = true;
        state.recount(depth, bytes);
    }

    /// How many entries the lanes want of the journal, once they want any; `None` when it is
    /// drained.
    pub(super) async fn wanted(&self) -> Option<usize> {
        loop {
            let pull = self.pull.notified();
            {
                let state = self.state();
                if state.stage != Stage::Open && state.all_pulled() {
                    return None;
                }
                let wanted = state.wanted(&self.limits);
                if wanted > 0 {
                    return Some(wanted);
                }
            }
            pull.await;
        }
    }

    /// Something changed about what is wanted.
    pub(super) async fn pull_changed(&self) {
        self.pull.notified().await;
    }

    /// Entries came out of the journal.
    pub(super) fn pulled(
        &self,
        entries: impl Iterator<Item = (usize, Entry, Box<Delivery>, Tick)>,
    ) {
        let mut state = self.state();
        for (lane, entry, delivery, at) in entries {
            let bytes = delivery.message().bytes() as u64;
            let came = Came::Journal(delivery);
            if state.put(lane, &self.limits, entry, came, bytes, at) {
                self.due[lane].notify_one();
            }
        }
    }

    /// Nothing more will be pulled.
    pub(super) fn pull_ended(&self) {
        self.state().journal.pulling = false;
        self.wake_all();
    }

    /// Waits until no lane has a batch on its way.
    pub(super) async fn idle(&self) {
        self.progressed(|state| state.lanes.iter().all(|lane| lane.cut.is_empty()))
            .await;
    }

    /// The journal is not ours any more: what was pulled and is on no way yet goes back, and
    /// nothing is sent into it until it was counted.
    pub(super) async fn lost_journal(&self) {
        let next = {
            let mut state = self.state();
            state.journal.paused = true;
            state.void();
            state.next
        };
        self.progressed(|state| state.journal.sending == 0 && state.done_to() >= next)
            .await;
    }

    /// The journal is ours again, and holds this much.
    pub(super) fn found_journal(&self, depth: u64, bytes: u64) {
        let mut state = self.state();
        state.recount(depth, bytes);
        state.journal.paused = false;
        drop(state);
        self.room.made();
    }

    /// Waits until this is so.
    async fn progressed(&self, mut condition: impl FnMut(&State) -> bool) {
        loop {
            let mut progress = pin!(self.progress.notified());
            progress.as_mut().enable();
            if condition(&self.state()) {
                return;
            }
            progress.await;
        }
    }

    // Batches go out.

    /// The next batch of a lane, once it is due. `None` when nothing will come any more.
    pub(super) async fn due(&self, lane: usize) -> Option<Vec<Queued>> {
        loop {
            let due = {
                let state = self.state();
                let due = state.due(lane, &self.limits, self.tasks.clock().now());
                if let Due::Now = due {
                    return Some(self.cut(state, lane));
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
                let state = self.state();
                if state.lanes[lane].is_full(&self.limits) && state.stage != Stage::Stopped {
                    return self.cut(state, lane);
                }
            }
            self.due[lane].notified().await;
        }
    }

    fn cut(&self, mut state: MutexGuard<'_, State>, lane: usize) -> Vec<Queued> {
        let batch = state.cut(lane, &self.limits);
        let pulling = state.journal.pulling;
        drop(state);
        if pulling {
            self.pull.notify_one();
        }
        batch
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
            state.leave(queued);
            state.observed.lag(now.since(queued.at));
        }
        self.room.made();
    }

    /// An entry was given up, and is somewhere else.
    pub(super) fn failed(&self, queued: &Queued) {
        let mut state = self.state();
        state.counts.failed += 1;
        state.leave(queued);
        self.room.made();
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
        self.room.made();
        rejected
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
                let target = target.min(state.counts.enqueued) + state.journal.voided;
                if state.done_to() >= target {
                    return Ok(());
                }
            }
            progress.await;
        }
    }

    /// Waits until nothing more is taken in.
    pub(super) async fn closed(&self) {
        self.progressed(|state| state.stage != Stage::Open).await;
    }

    /// How many entries keep all lanes busy: of each, one batch on its way and one to follow.
    pub(super) fn hands(&self) -> usize {
        let busy = 2 * self.limits.batch_entries * self.due.len();
        busy.min(usize::try_from(self.limits.max_entries).unwrap_or(usize::MAX))
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
        self.room.made();
        self.progress.notify_waiters();
        self.pull.notify_one();
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

    /// Entries that are in the journal.
    pub(super) fn in_journal(&self) -> u64 {
        self.state().journal.depth
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

/// There is no room.
pub(super) fn full() -> Error {
    Error::new(ErrorKind::Full, "the buffer is full")
}
