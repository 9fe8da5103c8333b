//! Counts and ages of a queue.

use queue_runtime_core::Statistics;

use crate::abi::millis;

/// Counts and ages of a queue at one moment.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct qrt_statistics_t {
    /// Messages to be received now.
    pub ready: u64,
    /// Messages in somebody's hands.
    pub in_flight: u64,
    /// Messages that appear later.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of all but the dead letters.
    pub bytes: u64,
    /// Sessions that have messages, a holder or a state.
    pub sessions: u64,
    /// Age of the oldest message that is not a dead letter, in milliseconds; -1 without any.
    pub oldest_age_ms: i64,
    /// Zero; for later versions.
    pub reserved: [u64; 5],
}

impl qrt_statistics_t {
    pub(crate) fn new(statistics: &Statistics) -> Self {
        Self {
            ready: statistics.ready,
            in_flight: statistics.in_flight,
            delayed: statistics.delayed,
            dead: statistics.dead,
            bytes: statistics.bytes,
            sessions: statistics.sessions,
            oldest_age_ms: statistics.oldest_age.map_or(-1, millis),
            reserved: [0; 5],
        }
    }
}
