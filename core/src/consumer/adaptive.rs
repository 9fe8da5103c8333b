//! How many messages the next batch is to have, so that it takes about as long as it should.

use std::collections::VecDeque;
use std::time::Duration;

/// Batches that are remembered.
const HISTORY: usize = 50;
/// Of those, the ones that count.
const RECENT: usize = 10;

/// Batch sizes between two limits, after the mean time of a message in the last batches. Knows no
/// clock: it is told what took how long.
#[derive(Debug)]
pub(super) struct AdaptiveSize {
    least: usize,
    most: usize,
    target: Duration,
    history: VecDeque<Done>,
}

/// A batch that was handled.
#[derive(Debug)]
struct Done {
    messages: usize,
    took: Duration,
}

impl AdaptiveSize {
    pub(super) fn new(least: usize, most: usize, target: Duration) -> Self {
        Self {
            least,
            most,
            target,
            history: VecDeque::with_capacity(HISTORY),
        }
    }

    /// A batch of so many messages, at least one, took so long.
    pub(super) fn done(&mut self, messages: usize, took: Duration) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Done { messages, took });
    }

    /// The size of the next batch. The least one while nothing is known.
    pub(super) fn size(&self) -> usize {
        let recent = self.history.iter().rev().take(RECENT);
        let count = recent.len() as u128;
        if count == 0 {
            return self.least;
        }
        let each = recent.map(|done| done.took.as_nanos() / done.messages as u128);
        let mean = each.sum::<u128>() / count;
        // Where messages take no time at all, any number takes as long.
        let size = self
            .target
            .as_nanos()
            .checked_div(mean)
            .unwrap_or(u128::MAX);
        usize::try_from(size).map_or(self.most, |size| size.clamp(self.least, self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_first_batch_is_the_least() {
        assert_eq!(AdaptiveSize::new(3, 100, ms(500)).size(), 3);
    }

    #[test]
    fn a_size_fills_the_target() {
        let mut size = AdaptiveSize::new(1, 100, ms(500));
        size.done(5, ms(100));
        assert_eq!(size.size(), 25);
        // The mean of 20 ms and 180 ms each, whatever their numbers of messages.
        size.done(1, ms(180));
        assert_eq!(size.size(), 5);
    }

    #[test]
    fn what_takes_no_time_and_what_takes_too_long_stay_within_the_limits() {
        let mut size = AdaptiveSize::new(2, 64, ms(100));
        size.done(10, Duration::ZERO);
        assert_eq!(size.size(), 64);
        size.done(1, Duration::from_secs(3600));
        assert_eq!(size.size(), 2);
    }

    #[test]
    fn only_the_last_ten_count() {
        let mut size = AdaptiveSize::new(1, 1000, ms(1000));
        (0..100).for_each(|_| size.done(1, Duration::from_secs(60)));
        assert_eq!(size.history.len(), HISTORY);
        (0..RECENT).for_each(|_| size.done(1, ms(10)));
        assert_eq!(size.size(), 100);
    }

    proptest! {
        #[test]
        fn sizes_stay_within_limits_and_steady_work_meets_its_target(
            least in 1usize..50,
            more in 0usize..1000,
            target in 1u64..10_000,
            noise in prop::collection::vec((1usize..1000, 0u64..100_000), 0..80),
            each in 1u64..1000,
        ) {
            let most = least + more;
            let mut size = AdaptiveSize::new(least, most, ms(target));
            for (messages, took) in noise {
                size.done(messages, Duration::from_micros(took));
                prop_assert!((least..=most).contains(&size.size()));
            }
            for _ in 0..RECENT {
                let messages = size.size();
                size.done(messages, Duration::from_micros(each * messages as u64));
            }
            let fitting = (target * 1000) as f64 / each as f64;
            let expected = (fitting as usize).clamp(least, most);
            // Within rounding of the mean.
            prop_assert!(size.size().abs_diff(expected) <= 1, "{} is not {expected}", size.size());
        }
    }
}
