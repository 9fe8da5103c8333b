//! Deliveries that entries came by: settled once the entries are written.

use super::buffer::Queued;
use super::rejected::RejectedEntry;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::queue::Queue;
use crate::settlement::{Settlement, Verb};

/// Acknowledges the deliveries of entries that are written. One that cannot be acknowledged comes
/// again, and is written again.
pub(super) async fn acknowledge(written: impl Iterator<Item = &Queued>) {
    settle(written, Verb::Ack).await;
}

/// Gives deliveries back that were not written, unblamed.
pub(super) async fn release(left: impl Iterator<Item = &Queued>) {
    settle(left, Verb::Release { delay: None }).await;
}

/// Settles many deliveries: one call for each queue.
async fn settle(entries: impl Iterator<Item = &Queued>, verb: Verb) {
    let mut queues: Vec<(&Queue, Vec<Settlement>)> = Vec::new();
    for delivery in entries.filter_map(Queued::delivery) {
        let settlement = delivery.settlement(verb.clone());
        let queue = delivery.queue();
        let known = queues
            .iter_mut()
            .find(|(known, _)| known.identity() == queue.identity());
        match known {
            Some((_, settlements)) => settlements.push(settlement),
            None => queues.push((queue, vec![settlement])),
        }
    }
    for (queue, settlements) in queues {
        let results = match queue.settle(settlements).await {
            Ok(results) => results,
            Err(error) => vec![Err(error)],
        };
        let errors = || results.iter().filter_map(|result| result.as_ref().err());
        if let Some(error) = errors().next() {
            let count = errors().count();
            tracing::warn!(%error, count, verb = verb.name(), "entries will come again");
        }
    }
}

/// Brings a delivery to the dead letters of the queue it came from. One that is lost comes again
/// by itself, and is given up again then.
pub(super) async fn dead_letter(delivery: &Delivery, rejected: &RejectedEntry) -> Result<()> {
    let verb = Verb::DeadLetter {
        reason: rejected.reason.clone(),
        description: Some(rejected.description.clone()),
    };
    match delivery.settle(verb).await {
        Err(error) if is_lost(&error) => {
            tracing::warn!(%error, "a bad entry will come again");
            Ok(())
        }
        settled => settled,
    }
}

/// Whether the delivery is not ours any more.
pub(super) fn is_lost(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidReceipt | ErrorKind::LockLost | ErrorKind::SessionLockLost
    )
}
