//! Feeding a write-behind from a queue: each message is acknowledged once it is written.

use std::time::Duration;

use super::buffer::Came;
use super::journal::entry_of;
use super::origin;
use super::rejected::RejectedEntry;
use super::{Handle, WriteBehind};
use crate::consumer::ConsumerOptions;
use crate::delivery::Delivery;
use crate::error::Result;
use crate::queue::{MAX_RECEIVE, Queue};

impl WriteBehind {
    /// Writes the messages of a queue, batch by batch, until this is closed. Each is acknowledged
    /// after the sink's commit; one that can never be written goes to the dead-letter queue, or
    /// without one to the queue's own dead letters. Their locks are kept meanwhile. What is not
    /// written when this closes goes back unblamed.
    ///
    /// Dropping the future stops the intake; what was taken in is written. `InvalidArgument` and
    /// `Closed` as [`Queue::consume`].
    ///
    /// ```
    /// # async fn example() -> queue_runtime_core::Result<()> {
    /// # use queue_runtime_core::{Runtime, WriteBehind, WriteBehindOptions, connect};
    /// let orders = connect("file:///var/lib/app/jobs").await?.queue("orders")?;
    /// let table = r#"{"sink": "postgres://app@db/app", "table": "orders", "key": "id"}"#;
    /// let options = WriteBehindOptions::from_json(table)?;
    /// let rows = WriteBehind::open(&Runtime::shared()?, options).await?;
    /// rows.feed(&orders).await
    /// # }
    /// ```
    pub async fn feed(&self, queue: &Queue) -> Result<()> {
        let hands = self.0.shared.buffer.hands().min(MAX_RECEIVE as usize) as u32;
        let options = ConsumerOptions::new()
            .concurrency(hands)
            // Nothing that a queue delivered is let go because the sink is away for long.
            .max_lock_renewal(Duration::MAX);
        self.feed_with(queue, options).await
    }

    /// [`WriteBehind::feed`] with options of the intake: a batch holds at most as many messages as
    /// may be in hand, their `concurrency`.
    pub async fn feed_with(&self, queue: &Queue, options: ConsumerOptions) -> Result<()> {
        let consumer = queue.consume(options)?;
        let Handle { shared, .. } = &*self.0;
        let most = shared.buffer.hands();
        loop {
            let deliveries = tokio::select! {
                biased;
                () = shared.buffer.closed() => return Ok(()),
                deliveries = consumer.next_batch(most) => deliveries,
            };
            let Some(deliveries) = deliveries else {
                return Ok(());
            };
            for delivery in deliveries {
                self.take_in(delivery).await;
            }
        }
    }

    async fn take_in(&self, delivery: Delivery) {
        let Handle {
            shared, lane_of, ..
        } = &*self.0;
        let entry = entry_of(&delivery);
        let lane = lane_of.lane(&entry);
        let came = Came::Fed(Box::new(delivery));
        let Err(refused) = shared.buffer.push(lane, entry, came).await else {
            return;
        };
        let (Came::Fed(delivery), Some(error)) = (refused.came, refused.error) else {
            return;
        };
        let settled = if error.size().is_some() {
            let enqueued_at = delivery.enqueued_at();
            let rejected = RejectedEntry::new(refused.entry, &error, 0, enqueued_at);
            origin::dead_letter(&delivery, &rejected).await
        } else {
            delivery.release(None).await
        };
        if let Err(error) = settled {
            tracing::warn!(%error, "a message that was not taken in comes again");
        }
    }
}
