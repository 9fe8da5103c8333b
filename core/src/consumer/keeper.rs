//! Keeps locks: one keeper for a runtime, on the runtime's threads.
//!
//! What was received together is renewed together, at half of what is left of its lock; what is due
//! together, of one queue and for one length, in one call. An entry of the schedule is weak: what
//! nobody holds any more is dropped when it is due, or when such entries are more than the others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::hold::{CancelCause, Kept};
use crate::clock::Tick;
use crate::error::{ErrorKind, Result};
use crate::provider::Moment;
use crate::runtime::Tasks;

/// After a renewal that failed, the next one comes no sooner.
const BREATH: Duration = Duration::from_millis(50);

pub(crate) struct Keeper {
    tasks: Tasks,
    schedule: Mutex<Schedule>,
    /// An earlier time was put into the schedule.
    sooner: Notify,
    /// Entries of the schedule that nobody holds any more.
    forgotten: AtomicUsize,
}

#[derive(Default)]
struct Schedule {
    due: BinaryHeap<Reverse<Due>>,
    /// Whether the task that works on it runs.
    running: bool,
}

struct Due {
    at: Tick,
    kept: Weak<Kept>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Keeper {
    pub(crate) fn new(tasks: Tasks) -> Arc<Self> {
        Arc::new(Self {
            tasks,
            schedule: Mutex::default(),
            sooner: Notify::new(),
            forgotten: AtomicUsize::new(0),
        })
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the locks of these deliveries from now on.
    pub(super) fn keep(self: &Arc<Self>, kept: &Arc<Kept>) {
        let now = self.tasks.clock().recent();
        if let Some(at) = next(kept, now) {
            self.put(at, kept);
        }
    }

    /// Deliveries of the schedule are held by nobody any more.
    pub(super) fn forgotten(&self) {
        self.forgotten.fetch_add(1, Relaxed);
    }

    fn put(self: &Arc<Self>, at: Tick, kept: &Arc<Kept>) {
        let mut schedule = self.schedule();
        if self.forgotten.load(Relaxed) > schedule.due.len() / 2 + 64 {
            self.forgotten.store(0, Relaxed);
            schedule.due.retain(|due| due.0.kept.strong_count() > 0);
        }
        let first = schedule.due.peek().map(|due| due.0.at);
        let kept = Arc::downgrade(kept);
        schedule.due.push(Reverse(Due { at, kept }));
        let start = !std::mem::replace(&mut schedule.running, true);
        drop(schedule);
        if start {
            self.tasks.spawn(self.clone().work());
        } else if first.is_none_or(|first| at < first) {
            self.sooner.notify_one();
        }
    }

    /// Renews what is due, until nothing is scheduled.
    async fn work(self: Arc<Self>) {
        loop {
            let at = {
                let mut schedule = self.schedule();
                match schedule.due.peek() {
                    Some(due) => due.0.at,
                    None => {
                        schedule.running = false;
                        return;
                    }
                }
            };
            if self.tasks.clock().now() < at {
                tokio::select! {
                    () = self.tasks.sleep_until(at) => {}
                    () = self.sooner.notified() => continue,
                }
            }
            for (_, group) in self.take_due() {
                self.renew(group);
            }
        }
    }

    /// What is due, by queue and length of lock.
    fn take_due(&self) -> HashMap<(usize, Duration), Vec<Arc<Kept>>> {
        let now = self.tasks.clock().now();
        let mut groups: HashMap<_, Vec<_>> = HashMap::new();
        let mut schedule = self.schedule();
        while schedule.due.peek().is_some_and(|due| due.0.at <= now) {
            let Some(Reverse(due)) = schedule.due.pop() else {
                break;
            };
            match due.kept.upgrade() {
                Some(kept) => {
                    let group = (kept.queue.identity(), kept.lock);
                    groups.entry(group).or_default().push(kept);
                }
                None => {
                    let less = |n: usize| Some(n.saturating_sub(1));
                    let _ = self.forgotten.fetch_update(Relaxed, Relaxed, less);
                }
            }
        }
        groups
    }

    /// Renews the locks of one queue, and schedules the next time.
    fn renew(self: &Arc<Self>, group: Vec<Arc<Kept>>) {
        let now = self.tasks.clock().now();
        let mut renewed = Vec::new();
        for kept in &group {
            if now >= kept.give_up {
                give_up(kept);
                continue;
            }
            for (index, entry) in kept.entries.iter().enumerate() {
                if !entry.is_kept() || kept.turn.is_some() {
                } else if entry.until() <= now {
                    lost(kept, index);
                } else {
                    renewed.push((kept.clone(), index));
                }
            }
        }
        let Some((first, _)) = renewed.first() else {
            return;
        };
        let (queue, lock) = (first.queue.clone(), first.lock);
        let receipts = renewed
            .iter()
            .map(|(kept, i)| kept.entries[*i].receipt.clone());
        let reply = queue.start_extend(receipts.collect(), lock);
        match reply.try_now() {
            Ok(results) => self.renewed(group, renewed, results),
            Err(pending) => {
                let keeper = self.clone();
                self.tasks.spawn(async move {
                    let results = pending.await;
                    keeper.renewed(group, renewed, results);
                });
            }
        }
    }

    /// Takes in what became of a renewal.
    fn renewed(
        self: &Arc<Self>,
        group: Vec<Arc<Kept>>,
        entries: Vec<(Arc<Kept>, usize)>,
        results: Result<Vec<Result<Moment>>>,
    ) {
        use ErrorKind::{Closed, InvalidReceipt, LockLost, SessionLockLost};
        let now = self.tasks.clock().now();
        match results {
            Ok(results) => {
                for ((kept, index), result) in entries.iter().zip(results) {
                    match result {
                        Ok(until) => {
                            let until = kept.queue.tick(until);
                            kept.entries[*index].extended(until);
                            kept.queue.metrics().renewed();
                        }
                        Err(error)
                            if matches!(
                                error.kind(),
                                InvalidReceipt | LockLost | SessionLockLost
                            ) =>
                        {
                            lost(kept, *index);
                        }
                        // Tried again while the lock lasts.
                        Err(_) => {}
                    }
                }
            }
            Err(error) if error.kind() == Closed => return,
            Err(_) => {}
        }
        for kept in &group {
            if let Some(at) = next(kept, now) {
                self.put(at, kept);
            }
        }
    }
}

/// When these locks are to be renewed next; never, when nothing of them is held. Those of a held
/// session are its own, and only end here.
fn next(kept: &Kept, now: Tick) -> Option<Tick> {
    let held = kept.entries.iter().filter(|entry| entry.is_kept());
    let until = held.map(|entry| entry.until()).min()?;
    if kept.turn.is_some() {
        return Some(kept.give_up.max(now));
    }
    let half = now + (until.since(now) / 2).max(BREATH.min(kept.lock / 2));
    Some(half.min(until.max(now)).min(kept.give_up.max(now)))
}

/// The lock of a delivery has ended.
pub(super) fn lost(kept: &Kept, index: usize) {
    if kept.entries[index].is_kept() && kept.cancel(index, CancelCause::LockLost) {
        kept.queue.metrics().lock_lost();
        tracing::warn!(queue = kept.queue.name(), "the lock of a delivery was lost");
    }
}

/// These locks were kept as long as they may be: what nobody has begun goes back, and who works on
/// the rest is told.
fn give_up(kept: &Arc<Kept>) {
    if let Some(consumer) = &kept.consumer {
        consumer.give_back_of(kept);
    }
    for (index, entry) in kept.entries.iter().enumerate() {
        if entry.is_kept() && kept.cancel(index, CancelCause::Stalled) {
            kept.queue.metrics().stalled();
            tracing::warn!(
                queue = kept.queue.name(),
                "a delivery was in hand for as long as its lock may be kept; it is let go"
            );
        }
    }
}
