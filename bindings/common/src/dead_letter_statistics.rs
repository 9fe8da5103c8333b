//! Statistics of dead letters: how many died of what, since when, and from which queue.

use queue_runtime::*;

use crate::abi::{Handle, some_ms, text};

/// How many dead letters there are, why, since when, and from which queue.
pub struct DeadLetterStatistics(pub(crate) Handle<qrt_dead_letter_statistics_t>);

/// Dead letters of one reason, or of one queue.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterGroup<'a> {
    /// The reason, or the queue.
    pub name: &'a str,
    /// How many.
    pub count: u64,
    /// When the first of them was given up, in milliseconds since 1970 UTC.
    pub oldest: i64,
    /// When the last of them was given up, in milliseconds since 1970 UTC.
    pub newest: i64,
}

impl DeadLetterStatistics {
    /// Dead letters.
    pub fn count(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_dead_letter_statistics_count(self.0.get()) }
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_dead_letter_statistics_bytes(self.0.get()) }
    }

    /// When the first of them was given up, in milliseconds since 1970 UTC.
    pub fn oldest(&self) -> Option<i64> {
        // SAFETY: the handle is owned.
        some_ms(unsafe { qrt_dead_letter_statistics_oldest(self.0.get()) })
    }

    /// When the last of them was given up, in milliseconds since 1970 UTC.
    pub fn newest(&self) -> Option<i64> {
        // SAFETY: the handle is owned.
        some_ms(unsafe { qrt_dead_letter_statistics_newest(self.0.get()) })
    }

    /// By their reason.
    pub fn by_reason(&self) -> impl ExactSizeIterator<Item = DeadLetterGroup<'_>> {
        self.groups(QRT_BY_REASON)
    }

    /// By the queue they were sent to.
    pub fn by_source(&self) -> impl ExactSizeIterator<Item = DeadLetterGroup<'_>> {
        self.groups(QRT_BY_SOURCE)
    }

    /// By the time since they were given up: how many milliseconds at most, and how many.
    pub fn by_age(&self) -> impl ExactSizeIterator<Item = (Option<i64>, u64)> {
        let statistics = self.0.get();
        // SAFETY: the handle is owned.
        let count = unsafe { qrt_dead_letter_statistics_ages(statistics) };
        (0..count).map(move |index| unsafe {
            // SAFETY: as above.
            (
                some_ms(qrt_dead_letter_statistics_age_up_to_ms(statistics, index)),
                qrt_dead_letter_statistics_age_count(statistics, index),
            )
        })
    }

    fn groups(&self, by: u32) -> impl ExactSizeIterator<Item = DeadLetterGroup<'_>> {
        let statistics = self.0.get();
        // SAFETY: the handle is owned, and what it lends lives as long.
        let count = unsafe { qrt_dead_letter_statistics_groups(statistics, by) };
        (0..count).map(move |index| unsafe {
            // SAFETY: as above.
            DeadLetterGroup {
                name: text(qrt_dead_letter_statistics_group_name(statistics, by, index)),
                count: qrt_dead_letter_statistics_group_count(statistics, by, index),
                oldest: qrt_dead_letter_statistics_group_oldest(statistics, by, index),
                newest: qrt_dead_letter_statistics_group_newest(statistics, by, index),
            }
        })
    }
}
