//! A consumer that works through held sessions: `max_sessions` of them at most, or a given one.
//!
//! Each slot holds one session at a time (`work.rs`), its lock kept (`turn.rs`). A session that has
//! nothing more is held for `session_idle`, unless another one waits and all slots hold one: then it
//! makes room at once.
//!
//! Invariant: a session of the pool is let go only when none of its deliveries is in hand, unless it
//! was lost or is let go for the sake of such a delivery.

mod before;
mod turn;
mod work;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::pump::{may_receive, stay_away, went_well};
use super::shared::Shared;
use crate::clock::Tick;
use crate::error::{ErrorKind, Result};
use crate::queue::{Calling, SessionOptions};
use crate::sessions::SessionHold;
use before::Before;
pub(crate) use turn::Turn;
use work::{After, work};

/// For how long a session that has had enough is left to other consumers: they wait to be woken,
/// and would always come too late.
const BREATH: Duration = Duration::from_millis(2);
/// For how long it stays away when it accepted a session of which a message is still in hand here,
/// its lock lost or let go.
const LONG_BREATH: Duration = Duration::from_secs(1);

/// What the slots of a consumer share.
pub(super) struct Pool {
    /// How many sessions are held.
    pub(super) held: watch::Sender<usize>,
    slots: AtomicU32,
    /// The right to wait for a session, with how many accepts in a row have failed.
    accepting: Mutex<u32>,
    /// Sessions that have had enough, and when; of the last breath.
    enough: std::sync::Mutex<VecDeque<(Arc<str>, Tick)>>,
    before: Before,
    /// Whether a given session was seen to have nothing, since something of it came.
    pub(super) dry: watch::Sender<bool>,
    /// How many are giving back what was fetched ahead. No session is let go meanwhile: that would
    /// take the same messages back, and the one who gives them back would find them gone.
    returning: watch::Sender<usize>,
    /// Cancelled once every session was let go.
    pub(super) parted: CancellationToken,
}

/// What was fetched ahead is on its way back, until this is dropped.
pub(super) struct Returning<'a>(&'a Pool);

impl Drop for Returning<'_> {
    fn drop(&mut self) {
        self.0.returning.send_modify(|returning| *returning -= 1);
    }
}

impl Pool {
    /// `max_sessions`: none for a given session.
    pub(super) fn new(max_sessions: Option<u32>) -> Self {
        Self {
            held: watch::Sender::new(0),
            slots: AtomicU32::new(0),
            accepting: Mutex::new(0),
            enough: Default::default(),
            before: Before::new(max_sessions.unwrap_or(0)),
            dry: watch::Sender::new(false),
            returning: watch::Sender::new(0),
            parted: CancellationToken::new(),
        }
    }

    /// Keeps all sessions. To be asked before anything is taken out of the buffer.
    pub(super) fn returning(&self) -> Returning<'_> {
        self.returning.send_modify(|returning| *returning += 1);
        Returning(self)
    }

    /// Waits until nothing of a session is on its way back.
    async fn returned(&self) {
        let mut returning = self.returning.subscribe();
        let _ = returning.wait_for(|returning| *returning == 0).await;
    }

    /// This session has had enough for now.
    fn has_had_enough(&self, id: &Arc<str>, now: Tick) {
        self.lately(now).push_back((id.clone(), now));
    }

    /// Whether it had enough just now.
    fn had_enough(&self, id: &str, now: Tick) -> bool {
        self.lately(now).iter().any(|(lately, _)| **lately == *id)
    }

    fn lately(&self, now: Tick) -> MutexGuard<'_, VecDeque<(Arc<str>, Tick)>> {
        let mut enough = self.enough.lock().unwrap_or_else(PoisonError::into_inner);
        while enough
            .front()
            .is_some_and(|(_, at)| now.since(*at) >= BREATH)
        {
            enough.pop_front();
        }
        enough
    }
}

/// A slot's part in what goes on until the last slot is done with it.
#[derive(Clone)]
struct Seat {
    /// Gone once it takes nothing more in.
    intake: Option<mpsc::Sender<Infallible>>,
    _holding: mpsc::Sender<Infallible>,
}

/// Runs until the consumer has stopped and its sessions are let go; with a given session, until
/// that is lost as well.
pub(super) async fn run(shared: Arc<Shared>, pool: Arc<Pool>, given: Option<Arc<SessionHold>>) {
    let (intake, mut taking) = mpsc::channel(1);
    let (holding, mut held) = mpsc::channel(1);
    let seat = Seat {
        intake: Some(intake),
        _holding: holding,
    };
    match given {
        Some(hold) => {
            let (shared, pool) = (shared.clone(), pool.clone());
            let queue = shared.queue.clone();
            queue.spawn(async move {
                let mut seat = seat;
                work(&shared, &pool, Turn::new(hold, false), &mut seat).await;
            });
        }
        None => add_slot(&shared, &pool, seat),
    }
    // Nobody ever sends: these end when the last sender is gone.
    taking.recv().await;
    let prefetched = shared.close();
    let _ = shared.release(&prefetched).await;
    shared.pumped.cancel();
    held.recv().await;
    pool.parted.cancel();
}

fn add_slot(shared: &Arc<Shared>, pool: &Arc<Pool>, seat: Seat) {
    pool.slots.fetch_add(1, Relaxed);
    let slot = slot(shared.clone(), pool.clone(), seat);
    shared.queue.spawn(slot);
}

/// Holds one session after the other until the consumer stops.
fn slot(
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    mut seat: Seat,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut alone = true;
        let mut next = None;
        loop {
            let hold = match next.take() {
                Some(hold) => hold,
                None => match accept(&shared, &pool).await {
                    Some(hold) => hold,
                    None => return,
                },
            };
            // There is a slot that accepts as long as there may be one.
            if std::mem::take(&mut alone)
                && Some(pool.slots.load(Relaxed)) < shared.options.max_sessions
            {
                add_slot(&shared, &pool, seat.clone());
            }
            if shared.state().buffer.has(&hold.lock().id) {
                // Somebody here still has a message of it from before.
                let _ = hold.close().await;
                stay_away_for(&shared, LONG_BREATH).await;
                continue;
            }
            match work(&shared, &pool, Turn::new(hold, true), &mut seat).await {
                After::Another(hold) => next = Some(hold),
                After::Any => {}
                After::Others => stay_away_for(&shared, BREATH).await,
                After::Nothing => return,
            }
        }
    })
}

async fn stay_away_for(shared: &Shared, time: Duration) {
    let away = shared.queue.sleep_until(shared.queue.clock().now() + time);
    let _ = shared.stop.run_until_cancelled(away).await;
}

/// Asks for a session that has work, and rather for one that was held before.
async fn ask(
    shared: &Shared,
    pool: &Pool,
    calling: Calling,
    wait: Duration,
) -> Result<Option<Arc<SessionHold>>> {
    let mut options = SessionOptions::next().wait(wait).prefer(pool.before.ids());
    if let Some(lock) = shared.options.lock {
        options = options.lock(lock);
    }
    let session = shared.queue.accept_called(calling, options).await?;
    let hold = session.map(|session| session.into_hold());
    if hold
        .as_ref()
        .is_some_and(|hold| pool.before.forget(&hold.lock().id))
    {
        shared.queue.metrics().session_resumed();
    }
    Ok(hold)
}

/// Takes a session that waits for a slot now, and not just since it had enough itself.
async fn accept_waiting(shared: &Shared, pool: &Pool) -> Option<Arc<SessionHold>> {
    // Whatever it failed with comes up again when one is waited for.
    let calling = shared.queue.may_receive().ok()?;
    let accepted = ask(shared, pool, calling, Duration::ZERO).await;
    let hold = accepted.ok().flatten()?;
    if pool.had_enough(&hold.lock().id, shared.queue.clock().now()) {
        let _ = hold.close().await;
        return None;
    }
    Some(hold)
}

/// Waits for a session that has work, and takes it. `None` once the consumer stops.
async fn accept(shared: &Shared, pool: &Pool) -> Option<Arc<SessionHold>> {
    let accepting = async {
        let mut failures = pool.accepting.lock().await;
        let mut standing = shared.standing.subscribe();
        loop {
            let _ = standing.wait_for(|standing| !standing.is_shut()).await;
            let accepted = match may_receive(shared).await {
                Ok(None) => continue,
                Ok(Some(calling)) => ask(shared, pool, calling, shared.options.wait).await,
                Err(error) => Err(error),
            };
            match accepted {
                Ok(hold) => {
                    *failures = 0;
                    went_well(shared);
                    if hold.is_some() {
                        return hold;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Closed => {
                    shared.stop.cancel();
                    return None;
                }
                Err(error) => {
                    *failures += 1;
                    stay_away(shared, error, *failures).await;
                }
            }
        }
    };
    shared.stop.run_until_cancelled(accepting).await.flatten()
}
