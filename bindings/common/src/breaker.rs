//! Where a circuit breaker stands.

use queue_runtime::*;

/// Where a circuit breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Work goes on.
    Closed,
    /// One thing at a time is tried.
    HalfOpen,
    /// Nothing is tried, because it would fail.
    Open,
}

impl Breaker {
    pub(crate) fn of(code: u32) -> Self {
        match code {
            QRT_BREAKER_HALF_OPEN => Self::HalfOpen,
            QRT_BREAKER_OPEN => Self::Open,
            _ => Self::Closed,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}
