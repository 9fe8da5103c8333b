//! Waiting, in this process: a verb that finds nothing leaves a waiter in the index and sleeps; the
//! store's waiting thread sleeps on the bell of its member in shared memory, and wakes the verbs
//! whose waiters were moved to the woken.
//!
//! The thread sleeps until it is rung or until the next deadline of the store; while another store
//! has something in its hands, it also looks now and then whether that one still lives. A store
//! none of whose verbs wait has nobody to ring, and costs nothing.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::engine::step::Step;
use super::futex;
use super::index::layout::{Member, NEVER};
use super::store::Store;
use crate::clock::Tick;
use crate::error::Result;
use crate::provider::SessionLock;
use crate::sync::{Ordering, lock as locked, thread};

/// How often those who wait look whether the others live.
const LOOK_AFTER_OTHERS: Duration = Duration::from_millis(250);
/// A sleep is at most so long, for the boot clock goes on while the machine sleeps and this does not.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A verb that waits, for as long as it lives.
struct Waiting {
    store: Arc<Store>,
    notify: Arc<Notify>,
    key: u64,
    /// Its waiter in the index, once there is one.
    waiter: u32,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        locked(&self.store.waits).remove(&self.key);
        if self.waiter != 0 {
            let (waiter, key) = (self.waiter, self.key);
            let stopped = self.store.step(|step| {
                step.stop_waiting(waiter, key, false);
                Ok(())
            });
            if let Err(error) = stopped {
                tracing::debug!(%error, "a waiter was left behind");
            }
        }
    }
}

impl Store {
    /// Looks, and looks again after each wake, until something is found or time is up. A future
    /// that is dropped has taken nothing, and hands on a wake it did not use.
    pub(super) async fn wait<T>(
        self: &Arc<Self>,
        queue: u32,
        what: u32,
        held: Option<&SessionLock>,
        deadline: Tick,
        mut look: impl FnMut(&mut Step<'_>) -> Result<Option<T>>,
    ) -> Result<Option<(T, Option<u64>)>> {
        self.start_waiting_thread();
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let mut waiting = Waiting {
            store: self.clone(),
            notify: Arc::default(),
            key,
            waiter: 0,
        };
        locked(&self.waits).insert(key, waiting.notify.clone());
        let mut timeout = pin!(self.until(deadline));
        loop {
            let before = waiting.waiter;
            let (found, position) = self.step(|step| {
                let found = look(step)?;
                let mut waiter = before;
                if found.is_some() {
                    step.stop_waiting(before, key, true);
                    waiter = 0;
                } else if before == 0 || !step.wait_on(before, key) {
                    waiter = step.wait_for(queue, what, held, key)?;
                }
                Ok((found, waiter))
            })?;
            let (found, waiter) = found;
            waiting.waiter = waiter;
            if let Some(found) = found {
                return Ok(Some((found, position)));
            }
            if before == 0 && !self.threads.looks_soon.load(Ordering::Acquire) {
                // The thread sleeps on a longer leash while nobody waits.
                self.ring_own();
            }
            tokio::select! {
                biased;
                () = waiting.notify.notified() => {}
                () = &mut timeout => {
                    let (found, position) = self.step(|step| look(step))?;
                    return Ok(found.map(|found| (found, position)));
                }
            }
        }
    }

    fn until(&self, deadline: Tick) -> impl Future<Output = ()> + Send + use<> {
        let tasks = self.tasks.clone();
        async move {
            if deadline == Tick::NEVER {
                std::future::pending::<()>().await;
            }
            // A sleep is cut at a year; go on until it is really over.
            while tasks.clock().now() < deadline {
                tasks.sleep_until(deadline).await;
            }
        }
    }

    /// Wakes this store's own waiting thread.
    pub(super) fn ring_own(&self) {
        if let Some(member) = self.ground.region.find::<Member>(self.member()) {
            member.bell.fetch_add(1, Ordering::Release);
            futex::wake(&member.bell, i32::MAX);
        }
    }

    fn start_waiting_thread(self: &Arc<Self>) {
        if self.threads.waiting.swap(true, Ordering::AcqRel) {
            return;
        }
        let store = Arc::downgrade(self);
        let started = thread::Builder::new()
            .name("qrt-wait".to_owned())
            .spawn(move || run(&store));
        if let Err(error) = started {
            tracing::error!(%error, "no thread for those who wait");
            self.threads.waiting.store(false, Ordering::Release);
        }
    }

    /// One turn of the waiting thread: tells the woken, and says how long to sleep on which bell.
    /// However often it is rung, it looks after the others no sooner than it has to.
    fn turn(&self, next_look: &mut Option<Instant>) -> Result<(u32, u32, Option<Duration>)> {
        let header = self.ground.region.header();
        let id = self.member();
        let seen = match self.ground.region.find::<Member>(id) {
            Some(member) => member.bell.load(Ordering::Acquire),
            None => 0,
        };
        if self.ground.time.is_virtual() {
            let seen = header.virtual_now.load(Ordering::Acquire);
            self.tasks.clock().catch_up(Tick(seen));
        }
        // Until it is known, who begins to wait has to ring.
        self.threads.looks_soon.store(false, Ordering::Release);
        let waits = !locked(&self.waits).is_empty();
        let ((next, others, now), _) = self.step(|step| {
            // Who was woken is told at the end of every step.
            let others = step.others_hold();
            Ok((step.set_own_alarm(), others, step.now))
        })?;
        let mut sleep = match next {
            NEVER => None,
            next => Some(Duration::from_nanos(next.saturating_sub(now)).min(LONGEST_SLEEP)),
        };
        if waits && others {
            if next_look.is_none_or(|next| next <= Instant::now()) {
                self.bury_the_dead()?;
                *next_look = Some(Instant::now() + LOOK_AFTER_OTHERS);
            }
            let look = next_look.map_or(LOOK_AFTER_OTHERS, |next| next - Instant::now());
            sleep = Some(sleep.map_or(look, |s| s.min(look)));
            self.threads.looks_soon.store(true, Ordering::Release);
        }
        // The member is another one after the index was built anew.
        let still = self.member() == id;
        Ok((id, seen, if still { sleep } else { Some(Duration::ZERO) }))
    }
}

/// The thread: sleeps on the bell, until the store is gone. It keeps the mapping while it sleeps,
/// not the store, whose end rings it.
fn run(store: &Weak<Store>) {
    let mut next_look = None;
    while let Some(strong) = store.upgrade() {
        let turn = strong.turn(&mut next_look);
        let ground = strong.ground.clone();
        drop(strong);
        match turn {
            Ok((id, seen, sleep)) => {
                if let Some(member) = ground.region.find::<Member>(id) {
                    futex::wait(&member.bell, seen, sleep);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the waiting thread cannot look");
                thread::sleep(LOOK_AFTER_OTHERS);
            }
        }
    }
}
