//! Where a circuit breaker stands.

use queue_runtime_core::BreakerState;

/// Work goes on.
pub const QRT_BREAKER_CLOSED: u32 = 0;
/// One thing at a time is tried.
pub const QRT_BREAKER_HALF_OPEN: u32 = 1;
/// Nothing is tried, because it would fail.
pub const QRT_BREAKER_OPEN: u32 = 2;

/// One of `QRT_BREAKER_...`.
pub(crate) fn code(state: BreakerState) -> u32 {
    match state {
        BreakerState::Closed => QRT_BREAKER_CLOSED,
        BreakerState::HalfOpen => QRT_BREAKER_HALF_OPEN,
        BreakerState::Open => QRT_BREAKER_OPEN,
    }
}
