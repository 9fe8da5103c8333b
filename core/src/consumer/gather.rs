//! Batches that wait for more, so that handling them together is worth it.
//!
//! What a batch waits with stays in the buffer: nothing of it is in hand, and a stop gives it back
//! unblamed as all that was fetched ahead.

use std::pin::pin;
use std::sync::Arc;

use super::batches::BatchOptions;
use super::shared::Shared;
use super::take::Asking;
use crate::delivery::Delivery;

impl Shared {
    /// The next batch of up to `max`, once it is due. `None` once the consumer has stopped or was
    /// idle for too long.
    pub(super) async fn gather(
        self: &Arc<Self>,
        max: usize,
        options: &BatchOptions,
    ) -> Option<Vec<Delivery>> {
        // One forms at a time: several at once would all be small.
        let _turn = self.gathering.lock().await;
        let size = match &self.sizes {
            Some(sizes) => sizes.size(),
            None => options.size as usize,
        };
        let max = max.min(size);
        let mut asking = Asking::new(self, max);
        loop {
            self.look(0);
            self.unless_idle(self.first()).await?;
            if !options.linger.is_zero() {
                self.linger(max, options).await;
            }
            let batch = self.take_batch(max, options.bytes, &mut asking.wanted)?;
            // Somebody else may have been quicker.
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    /// Waits until something can be taken. `None` once the consumer has stopped.
    async fn first(&self) -> Option<()> {
        loop {
            let mut woken = pin!(self.work.notified());
            woken.as_mut().enable();
            if self.state().has_batch()? {
                return Some(());
            }
            self.make_room();
            woken.await;
        }
    }

    /// Waits until there is a whole batch, for as long as it may wait.
    async fn linger(self: &Arc<Self>, max: usize, options: &BatchOptions) {
        let deadline = self.queue.clock().now() + options.linger;
        let mut over = pin!(self.queue.sleep_until(deadline));
        loop {
            let mut woken = pin!(self.work.notified());
            woken.as_mut().enable();
            if self.state().is_whole(max, options.bytes) {
                return;
            }
            self.make_room();
            tokio::select! {
                biased;
                () = woken => {}
                () = &mut over => {
                    // What came in this very moment belongs to it.
                    return self.look(0);
                }
            }
        }
    }
}
