//! What is counted and measured of a write-behind.

use std::time::Duration;

use crate::clock::Timestamp;

/// Counts of a write-behind, all of one moment:
/// `total_enqueued == total_persisted + total_failed + current_queue_depth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteBehindMetrics {
    /// Entries that were accepted. Those that an earlier process left in the journal are among
    /// them.
    pub total_enqueued: u64,
    /// Entries that are in the sink, or for which a later one of their key is.
    pub total_persisted: u64,
    /// Entries that were given up: they are dead letters, or kept for the program to take.
    pub total_failed: u64,
    /// How often an entry was tried again.
    pub total_retries: u64,
    /// Batches that the sink answered.
    pub total_batches: u64,
    /// Entries that were accepted and are neither persisted nor failed: waiting or on their way.
    /// What `close` gave back stays counted here.
    pub current_queue_depth: u64,
    /// When this was so.
    pub timestamp: Timestamp,
}

/// In entries of one batch.
pub(super) const BATCH_BOUNDS: [u64; 7] = [1, 10, 50, 100, 500, 1000, 5000];
/// In nanoseconds: 1 ms to a minute.
pub(super) const DURATION_BOUNDS: [u64; 10] = [
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// How often a value fell between two bounds, and the sum of all.
#[derive(Clone, Debug)]
pub(super) struct Histogram<const N: usize> {
    pub(super) bounds: &'static [u64; N],
    pub(super) counts: [u64; N],
    /// Of what is above the last bound.
    pub(super) above: u64,
    pub(super) sum: u64,
}

impl<const N: usize> Histogram<N> {
    const fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            counts: [0; N],
            above: 0,
            sum: 0,
        }
    }

    fn observe(&mut self, value: u64) {
        let place = self.bounds.iter().position(|bound| value <= *bound);
        match place {
            Some(place) => self.counts[place] += 1,
            None => self.above += 1,
        }
        self.sum = self.sum.saturating_add(value);
    }
}

/// Distributions of a write-behind.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) batches: Histogram<{ BATCH_BOUNDS.len() }>,
    /// From handing a batch to the sink to its answer.
    pub(super) flushes: Histogram<{ DURATION_BOUNDS.len() }>,
    /// From accepting an entry to its being in the sink.
    pub(super) lags: Histogram<{ DURATION_BOUNDS.len() }>,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            batches: Histogram::new(&BATCH_BOUNDS),
            flushes: Histogram::new(&DURATION_BOUNDS),
            lags: Histogram::new(&DURATION_BOUNDS),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Observed {
    pub(super) fn batch(&mut self, entries: usize, took: Duration) {
        self.batches.observe(entries as u64);
        self.flushes.observe(nanos(took));
    }

    pub(super) fn lag(&mut self, lag: Duration) {
        self.lags.observe(nanos(lag));
    }
}
