//! What is asked of batches, and how long they take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::adaptive::AdaptiveSize;
use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::queue::{MAX_RECEIVE, Queue};

/// When messages that are handled together are handed over.
///
/// ```
/// # use queue_runtime_core::BatchOptions;
/// # use std::time::Duration;
/// let options = BatchOptions::new().batch_size(500).batch_linger(Duration::from_millis(50));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchOptions {
    pub(super) size: u32,
    pub(super) bytes: u64,
    pub(super) linger: Duration,
    pub(super) concurrency: u32,
    adaptive: Option<(u32, Duration)>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchOptions {
    /// Up to 100 messages of up to 4 MiB, waited for 5 milliseconds; one batch at a time.
    pub const fn new() -> Self {
        Self {
            size: 100,
            bytes: 4 * 1024 * 1024,
            linger: Duration::from_millis(5),
            concurrency: 1,
            adaptive: None,
        }
    }

    /// Messages of a batch, at most; as many are handed over at once.
    pub const fn batch_size(mut self, messages: u32) -> Self {
        self.size = messages;
        self
    }

    /// Bytes of a batch's bodies and headers, at most (one message may have more); as many are
    /// handed over at once.
    pub const fn batch_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// How long a batch waits for more, from when its first message could be handed over. It does
    /// not wait while messages are there that it cannot have: those of sessions that it has one of.
    pub const fn batch_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Batches that are handled at one time.
    pub const fn batch_concurrency(mut self, batches: u32) -> Self {
        self.concurrency = batches;
        self
    }

    /// Sizes between `min` and `max` (the batch size), such that a batch takes about as long as
    /// `target` from its hand-over until its last message is settled: after the mean time of a
    /// message in the last ten batches. The first one has `min`.
    pub const fn adaptive(mut self, min: u32, max: u32, target: Duration) -> Self {
        self.size = max;
        self.adaptive = Some((min, target));
        self
    }

    /// Messages in hand when as many batches are handled as may be.
    pub(super) fn hands(&self) -> u32 {
        self.size.saturating_mul(self.concurrency)
    }

    pub(super) fn check(&self) -> Result<()> {
        for (field, count) in [
            ("batch_size", self.size),
            ("batch_concurrency", self.concurrency),
        ] {
            if count == 0 || count > MAX_RECEIVE {
                let what = format!("must be between 1 and {MAX_RECEIVE}");
                return Err(Error::invalid_argument(field, what));
            }
        }
        if self.bytes == 0 {
            return Err(Error::invalid_argument("batch_bytes", "must be at least 1"));
        }
        let Some((least, target)) = self.adaptive else {
            return Ok(());
        };
        if least == 0 || least > self.size {
            let what = format!("must be between 1 and batch_size, {}", self.size);
            return Err(Error::invalid_argument("min_batch_size", what));
        }
        if target.is_zero() {
            let what = "must not be zero: no batch takes no time";
            return Err(Error::invalid_argument("target_batch_duration", what));
        }
        Ok(())
    }
}

/// The sizes of a consumer's batches.
pub(super) struct Sizes {
    adaptive: Mutex<AdaptiveSize>,
    queue: Queue,
}

impl Sizes {
    /// `None` where they do not adapt.
    pub(super) fn new(options: &BatchOptions, queue: &Queue) -> Option<Arc<Self>> {
        let (least, target) = options.adaptive?;
        let sizes = Self {
            adaptive: AdaptiveSize::new(least as usize, options.size as usize, target).into(),
            queue: queue.clone(),
        };
        queue.metrics().batch_size_target(sizes.size());
        Some(sizes.into())
    }

    fn adaptive(&self) -> MutexGuard<'_, AdaptiveSize> {
        self.adaptive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size of the next batch.
    pub(super) fn size(&self) -> usize {
        self.adaptive().size()
    }

    /// A batch of so many messages is handed over now.
    pub(super) fn start(self: &Arc<Self>, messages: usize) -> Arc<Timed> {
        Arc::new(Timed {
            sizes: self.clone(),
            messages,
            since: self.queue.clock().now(),
        })
    }
}

/// A batch in hand. Each of its deliveries has a share in it until it ends; with the last one the
/// batch has.
pub(super) struct Timed {
    sizes: Arc<Sizes>,
    messages: usize,
    since: Tick,
}

impl Drop for Timed {
    fn drop(&mut self) {
        let Sizes { queue, .. } = &*self.sizes;
        let took = queue.clock().now().since(self.since);
        let mut adaptive = self.sizes.adaptive();
        adaptive.done(self.messages, took);
        queue.metrics().batch_size_target(adaptive.size());
    }
}
