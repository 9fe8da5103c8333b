//! What is counted of one queue: where each number stands among its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::breakers::{BreakerMetrics, Breakers, SIDES};
use super::concurrency::ConcurrencyMetrics;
use super::counters::Counters;
use crate::error::ErrorKind;

/// A histogram among a queue's counters: the sum of what was observed, then the buckets.
pub(super) struct Histogram {
    at: usize,
    /// The upper bounds of all buckets but the last, which has none.
    pub(super) bounds: &'static [u64],
}

impl Histogram {
    const fn end(&self) -> usize {
        self.at + 1 + self.bounds.len() + 1
    }
}

/// In messages of one send or receive.
const BATCH_BOUNDS: &[u64] = &[1, 2, 5, 10, 20, 50, 100];
/// In nanoseconds: 1 ms to 5 s.
const DURATION_BOUNDS: &[u64] = &[
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];
/// In nanoseconds: 100 ms to 1 h.
const SESSION_BOUNDS: &[u64] = &[
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    60_000_000_000,
    300_000_000_000,
    900_000_000_000,
    3_600_000_000_000,
];
/// The verbs that end a delivery.
pub(super) const VERBS: [&str; 4] = ["ack", "nack", "release", "dead_letter"];

pub(super) const SENT: Histogram = Histogram {
    at: 0,
    bounds: BATCH_BOUNDS,
};
pub(super) const RECEIVED: Histogram = Histogram {
    at: SENT.end(),
    bounds: BATCH_BOUNDS,
};
/// In messages of one batch that was handed over to be handled together.
pub(super) const HANDLED: Histogram = Histogram {
    at: RECEIVED.end(),
    bounds: BATCH_BOUNDS,
};
pub(super) const PROCESSING: Histogram = Histogram {
    at: HANDLED.end(),
    bounds: DURATION_BOUNDS,
};
const SETTLED: usize = PROCESSING.end();
/// What happened to the locks of deliveries that are kept.
pub(super) const RENEWED: usize = SETTLED + VERBS.len();
pub(super) const LOST: usize = RENEWED + 1;
pub(super) const STALLED: usize = LOST + 1;
/// Sessions that consumers accepted; how long they held them, and waited for the first hand.
pub(super) const ACCEPTED: usize = STALLED + 1;
pub(super) const SESSION: Histogram = Histogram {
    at: ACCEPTED + 1,
    bounds: SESSION_BOUNDS,
};
pub(super) const SESSION_WAIT: Histogram = Histogram {
    at: SESSION.end(),
    bounds: DURATION_BOUNDS,
};
/// Of those accepted, the ones that were held by the same consumer before.
pub(super) const RESUMED: usize = SESSION_WAIT.end();
const COUNTERS: usize = RESUMED + 1;

/// Everything that is counted of one queue of one provider.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) provider: &'static str,
    pub(super) queue: Box<str>,
    counters: Counters<COUNTERS>,
    /// By the kind's place in [`ErrorKind::ALL`]. Errors are rare enough to share their counters.
    errors: [AtomicU64; ErrorKind::ALL.len()],
    /// By the place of their side in [`SIDES`].
    pub(super) breakers: [Arc<Breakers>; SIDES.len()],
    /// The size that adapting batches are to have now; zero where there are none.
    pub(super) batch_size_target: AtomicU64,
    /// How many deliveries consumers that scale may have in hand now; zero where there are none.
    pub(super) concurrency: AtomicU64,
}

impl Series {
    pub(super) fn new(provider: &'static str, queue: &str) -> Self {
        Self {
            provider,
            queue: queue.into(),
            counters: Counters::new(),
            errors: [const { AtomicU64::new(0) }; ErrorKind::ALL.len()],
            breakers: Default::default(),
            batch_size_target: AtomicU64::new(0),
            concurrency: AtomicU64::new(0),
        }
    }

    #[inline]
    fn observe(&self, histogram: &Histogram, value: u64) {
        let bounds = histogram.bounds.iter();
        let bucket = bounds.take_while(|bound| value > **bound).count();
        let counters = self.counters.mine();
        counters.add(histogram.at, value);
        counters.add(histogram.at + 1 + bucket, 1);
    }

    /// The sum of what a histogram observed, and each bucket's own count.
    pub(super) fn histogram(&self, histogram: &Histogram) -> (u64, Vec<u64>) {
        let buckets = histogram.at + 1..histogram.end();
        let counts = buckets.map(|bucket| self.counters.sum(bucket)).collect();
        (self.counters.sum(histogram.at), counts)
    }

    /// Deliveries that ended by the verb of this place in [`VERBS`].
    pub(super) fn settled(&self, verb: usize) -> u64 {
        self.counters.sum(SETTLED + verb)
    }

    /// One of the counters named above.
    pub(super) fn counted(&self, counter: usize) -> u64 {
        self.counters.sum(counter)
    }

    /// How many sessions consumers hold.
    pub(super) fn sessions(&self) -> u64 {
        // Those that ended first: what ends meanwhile is not counted twice.
        let ended: u64 = self.histogram(&SESSION).1.iter().sum();
        self.counted(ACCEPTED).saturating_sub(ended)
    }

    /// Errors of each kind that came up.
    pub(super) fn errors(&self) -> impl Iterator<Item = (ErrorKind, u64)> {
        let counts = self.errors.iter().map(|count| count.load(Relaxed));
        ErrorKind::ALL
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
    }
}

/// The metrics of one queue, looked up once when it is opened. Any thread; never waits.
#[derive(Clone)]
pub(crate) struct QueueMetrics(pub(super) Arc<Series>);

impl QueueMetrics {
    /// The metrics of a breaker around this.
    pub(crate) fn breaker(&self, side: &'static str) -> BreakerMetrics {
        let side = SIDES.iter().position(|known| *known == side).unwrap_or(0);
        BreakerMetrics::new(self.0.breakers[side].clone())
    }

    /// The metrics of a consumer that scales.
    pub(crate) fn concurrency(&self) -> ConcurrencyMetrics {
        ConcurrencyMetrics::new(self.0.clone())
    }

    /// Messages were stored by one send.
    #[inline]
    pub(crate) fn sent(&self, messages: usize) {
        if messages > 0 {
            self.0.observe(&SENT, messages as u64);
        }
    }

    /// Messages were handed over by one receive.
    #[inline]
    pub(crate) fn received(&self, messages: usize) {
        if messages > 0 {
            self.0.observe(&RECEIVED, messages as u64);
        }
    }

    /// Messages were handed over to be handled together.
    pub(crate) fn handed_over(&self, messages: usize) {
        self.0.observe(&HANDLED, messages as u64);
    }

    /// The next batch of an adapting consumer is to have this size.
    pub(crate) fn batch_size_target(&self, messages: usize) {
        self.0.batch_size_target.store(messages as u64, Relaxed);
    }

    /// A delivery was ended by this verb.
    #[inline]
    pub(crate) fn settled(&self, verb: &'static str) {
        if let Some(verb) = VERBS.iter().position(|known| *known == verb) {
            self.0.counters.mine().add(SETTLED + verb, 1);
        }
    }

    /// A delivery was ended this long after it was handed over.
    #[inline]
    pub(crate) fn processed(&self, duration: Duration) {
        self.0.observe(&PROCESSING, nanos(duration));
    }

    /// A lock was renewed.
    pub(crate) fn renewed(&self) {
        self.0.counters.mine().add(RENEWED, 1);
    }

    /// A lock that was kept was lost.
    pub(crate) fn lock_lost(&self) {
        self.0.counters.mine().add(LOST, 1);
    }

    /// A delivery was in hand for as long as its lock may be kept.
    pub(crate) fn stalled(&self) {
        self.0.counters.mine().add(STALLED, 1);
    }

    /// A consumer accepted a session.
    pub(crate) fn session_accepted(&self) {
        self.0.counters.mine().add(ACCEPTED, 1);
    }

    /// It was one that this consumer held before.
    pub(crate) fn session_resumed(&self) {
        self.0.counters.mine().add(RESUMED, 1);
    }

    /// The first message of an accepted session was handed out, after so long.
    pub(crate) fn session_started(&self, waited: Duration) {
        self.0.observe(&SESSION_WAIT, nanos(waited));
    }

    /// A consumer let a session go, or lost it, after so long.
    pub(crate) fn session_held(&self, held: Duration) {
        self.0.observe(&SESSION, nanos(held));
    }

    /// A verb, or one message of it, failed.
    pub(crate) fn failed(&self, kind: ErrorKind) {
        if let Some(place) = ErrorKind::ALL.iter().position(|known| *known == kind) {
            self.0.errors[place].fetch_add(1, Relaxed);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
