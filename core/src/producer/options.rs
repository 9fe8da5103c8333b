//! What is asked of a producer.

use std::time::Duration;

use crate::config::OnFull;
use crate::error::{Error, Result};
use crate::queue::MAX_RECEIVE;

/// When a producer sends, and how much it holds until then.
///
/// ```
/// # use queue_runtime_core::ProducerOptions;
/// # use std::time::Duration;
/// let options = ProducerOptions::new().batch_size(500).linger(Duration::from_millis(20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProducerOptions {
    pub(super) batch_size: u32,
    pub(super) batch_bytes: u64,
    pub(super) linger: Duration,
    pub(super) max_pending: u64,
    pub(super) max_pending_bytes: u64,
    pub(super) on_full: OnFull,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ProducerOptions {
    /// Batches of up to 100 messages and 4 MiB, each waited for 5 milliseconds; 10,000 messages and
    /// 64 MiB pending, then `send` waits.
    pub const fn new() -> Self {
        Self {
            batch_size: 100,
            batch_bytes: 4 * 1024 * 1024,
            linger: Duration::from_millis(5),
            max_pending: 10_000,
            max_pending_bytes: 64 * 1024 * 1024,
            on_full: OnFull::Wait,
        }
    }

    /// Messages of a batch, at most; as many are sent at once. What the provider takes fewer of with
    /// one call is sent with several.
    pub const fn batch_size(mut self, messages: u32) -> Self {
        self.batch_size = messages;
        self
    }

    /// Bytes of a batch's bodies and headers, at most (one message may have more); as many are sent
    /// at once.
    pub const fn batch_bytes(mut self, bytes: u64) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// How long a message waits for others at most, while no batch is on its way.
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Messages accepted and not yet sent, at most.
    pub const fn max_pending(mut self, messages: u64) -> Self {
        self.max_pending = messages;
        self
    }

    /// Bytes accepted and not yet sent, at most.
    pub const fn max_pending_bytes(mut self, bytes: u64) -> Self {
        self.max_pending_bytes = bytes;
        self
    }

    /// Whether `send` waits for room or fails with `Full`.
    pub const fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.batch_size == 0 || self.batch_size > MAX_RECEIVE {
            let what = format!("must be between 1 and {MAX_RECEIVE}");
            return Err(Error::invalid_argument("batch_size", what));
        }
        for (field, value) in [
            ("batch_bytes", self.batch_bytes),
            ("max_pending", self.max_pending),
            ("max_pending_bytes", self.max_pending_bytes),
        ] {
            if value == 0 {
                return Err(Error::invalid_argument(field, "must be at least 1"));
            }
        }
        Ok(())
    }
}
