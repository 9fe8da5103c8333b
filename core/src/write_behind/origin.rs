//! Deliveries that entries came by: settled once the entries are written.

use std::sync::Arc;

use super::buffer::Queued;
use super::rejected::RejectedEntry;
use crate::delivery::Delivery;
use crate::error::Result;
use crate::queue::Queue;
use crate::settlement::{Settlement, Verb};

/// The delivery an entry came by. The queue is the feed's one object, so that one settle can take
/// many.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) delivery: Delivery,
    pub(super) queue: Arc<Queue>,
}

/// Acknowledges the deliveries of entries that are written. One that cannot be acknowledged comes
/// again, and is written again.
pub(super) async fn acknowledge(written: impl Iterator<Item = &Queued>) {
    settle(written, Verb::Ack).await;
}

/// Gives deliveries back that were not written, unblamed.
pub(super) async fn release(left: impl Iterator<Item = &Queued>) {
    settle(left, Verb::Release { delay: None }).await;
}

async fn settle(entries: impl Iterator<Item = &Queued>, verb: Verb) {
    let mut queues: Vec<(&Arc<Queue>, Vec<Settlement>)> = Vec::new();
    for origin in entries.filter_map(|queued| queued.origin.as_deref()) {
        let settlement = origin.delivery.settlement(verb.clone());
        let known = queues
            .iter_mut()
            .find(|(queue, _)| Arc::ptr_eq(queue, &origin.queue));
        match known {
            Some((_, settlements)) => settlements.push(settlement),
            None => queues.push((&origin.queue, vec![settlement])),
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

impl Origin {
    /// To the dead letters of the queue it came from.
    pub(super) async fn dead_letter(&self, rejected: &RejectedEntry) -> Result<()> {
        let verb = Verb::DeadLetter {
            reason: rejected.reason.clone(),
            description: Some(rejected.description.clone()),
        };
        self.delivery.settle(verb).await
    }
}
