//! How many deliveries the consumers of one queue that scale may have in hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*};

use super::series::Series;

/// The share of one consumer in that number, while it lives.
pub(crate) struct ConcurrencyMetrics {
    series: Arc<Series>,
    share: AtomicU64,
}

impl ConcurrencyMetrics {
    pub(super) fn new(series: Arc<Series>) -> Self {
        Self {
            series,
            share: AtomicU64::new(0),
        }
    }

    /// It may have so many in hand now.
    pub(crate) fn is(&self, limit: u64) {
        let before = self.share.swap(limit, AcqRel);
        // Sums up also where it becomes less: the counter wraps.
        let change = limit.wrapping_sub(before);
        self.series.concurrency.fetch_add(change, Relaxed);
    }
}

impl Drop for ConcurrencyMetrics {
    fn drop(&mut self) {
        self.is(0);
    }
}
