//! The end of a consumer, so that the numbers add up: every delivery it had is finished, released
//! or abandoned.

use std::sync::Arc;
use std::time::Duration;

use super::hold::{CancelCause, Held};
use super::shared::Shared;
use crate::settlement::{Settlement, Verb};

/// What became of the deliveries that a consumer had when its drain began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// In hand, and settled by their handlers in time.
    pub finished: u64,
    /// Given back with their attempts restored: those nobody had begun, and those whose handlers
    /// were not done at the deadline.
    pub released: u64,
    /// Neither: dropped unsettled, lost, or not to be given back. They come back when their locks
    /// end.
    pub abandoned: u64,
}

/// Stops intake, gives back what was prefetched, waits for what is in hand until the deadline,
/// cancels that and gives it back.
pub(super) async fn drain(shared: &Arc<Shared>, deadline: Duration) -> DrainReport {
    let deadline = shared.queue.clock().now() + deadline;
    let mut report = DrainReport::default();

    (report.released, report.abandoned) = stop(shared).await;

    let in_time = shared.queue.sleep_until(deadline);
    tokio::select! {
        () = idle(shared) => {}
        () = in_time => {
            let late = shared.take_from_hands();
            give_back(shared, late, &mut report).await;
        }
    }
    {
        let state = shared.state();
        report.finished = state.settled;
        report.abandoned += state.left;
    }
    if let Some(pool) = &shared.pool {
        pool.parted.cancelled().await;
    }
    report
}

/// Stops intake and gives back what was prefetched. Answers how many went back, and how many could
/// not.
pub(super) async fn stop(shared: &Shared) -> (u64, u64) {
    let returning = shared.pool.as_ref().map(|pool| pool.returning());
    let prefetched = shared.close();
    let given_back = shared.release(&prefetched).await.unwrap_or(0);
    let abandoned = prefetched.len() - given_back;
    drop(prefetched);
    drop(returning);
    shared.pumped.cancelled().await;
    (given_back as u64, abandoned as u64)
}

/// Waits until nothing is in hand.
async fn idle(shared: &Shared) {
    loop {
        let idle = shared.idle.notified();
        if shared.state().in_hand() == 0 {
            return;
        }
        idle.await;
    }
}

/// Gives back what was taken out of hands, and tells who works on it: not before, since a handler
/// that ends when it is told might settle it first. What a handler settled in the meantime counts
/// as finished already.
async fn give_back(shared: &Shared, late: Vec<Held>, report: &mut DrainReport) {
    let release = |held: &Held| {
        let receipt = held.entry().receipt.clone();
        Settlement::new(receipt, Verb::Release { delay: None }, 1)
    };
    let settlements = late.iter().map(release).collect();
    let results = shared.queue.start_settle(settlements).await;
    let mut results = results.map(Vec::into_iter);
    for held in late {
        let given_back = match &mut results {
            Ok(results) => matches!(results.next(), Some(Ok(()))),
            Err(_) => false,
        };
        held.cancel(CancelCause::Drained);
        if !held.entry().end_drain() {
            continue;
        }
        shared.drained(&held);
        if given_back {
            report.released += 1;
        } else {
            report.abandoned += 1;
        }
    }
}
