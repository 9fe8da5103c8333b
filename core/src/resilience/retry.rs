//! Retry policies: how long a nacked message stays away.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How long a message stays away after its n-th failed attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Retry {
    /// `initial * multiplier^(n-1)`, at most `cap`; with jitter, a random part of it.
    Exponential {
        /// The wait after the first failure.
        #[serde(with = "crate::config::duration::plain")]
        initial: Duration,
        /// What each further wait is multiplied by; at least 1.
        multiplier: f64,
        /// The longest wait.
        #[serde(with = "crate::config::duration::plain")]
        cap: Duration,
        /// Full jitter: anything from zero to the wait, so that failures do not return together.
        jitter: bool,
    },
    /// `initial + (n-1) * step`, at most `cap`.
    Linear {
        /// The wait after the first failure.
        #[serde(with = "crate::config::duration::plain")]
        initial: Duration,
        /// What each further wait is longer by.
        #[serde(with = "crate::config::duration::plain")]
        step: Duration,
        /// The longest wait.
        #[serde(with = "crate::config::duration::plain")]
        cap: Duration,
    },
    /// The same wait each time.
    Fixed {
        /// The wait.
        #[serde(with = "crate::config::duration::plain")]
        delay: Duration,
    },
    /// No wait: the message is back at once.
    None,
}

impl Default for Retry {
    /// Exponential from 100 ms, doubling, at most 30 s, with full jitter.
    fn default() -> Self {
        Self::Exponential {
            initial: Duration::from_millis(100),
            multiplier: 2.0,
            cap: Duration::from_secs(30),
            jitter: true,
        }
    }
}

impl Retry {
    /// How long the message stays away after this failed attempt, counted from 1.
    pub fn delay(&self, attempt: u32) -> Duration {
        let before = attempt.saturating_sub(1);
        match *self {
            Self::Exponential {
                initial,
                multiplier,
                cap,
                jitter,
            } => {
                let grown = initial.as_secs_f64() * multiplier.powi(before.min(1024) as i32);
                let wait = Duration::try_from_secs_f64(grown).unwrap_or(cap).min(cap);
                if jitter {
                    wait.mul_f64(fastrand::f64())
                } else {
                    wait
                }
            }
            Self::Linear { initial, step, cap } => {
                initial.saturating_add(step.saturating_mul(before)).min(cap)
            }
            Self::Fixed { delay } => delay,
            Self::None => Duration::ZERO,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Exponential { multiplier, .. }
                if !(multiplier.is_finite() && *multiplier >= 1.0) =>
            {
                Err(Error::invalid_config(
                    "retry.multiplier",
                    "must be a number of at least 1",
                ))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn exponential_doubles_up_to_its_cap() {
        let retry = Retry::Exponential {
            initial: MS(100),
            multiplier: 2.0,
            cap: MS(1000),
            jitter: false,
        };
        let waits: Vec<_> = [1, 2, 3, 4, 5, u32::MAX].map(|n| retry.delay(n)).into();
        assert_eq!(
            waits,
            [MS(100), MS(200), MS(400), MS(800), MS(1000), MS(1000)]
        );
    }

    #[test]
    fn jitter_stays_below_the_wait() {
        for attempt in 1..50 {
            assert!(Retry::default().delay(attempt) <= Duration::from_secs(30));
        }
    }

    #[test]
    fn linear_and_fixed_and_none() {
        let linear = Retry::Linear {
            initial: MS(10),
            step: MS(5),
            cap: MS(18),
        };
        assert_eq!([1, 2, 3].map(|n| linear.delay(n)), [MS(10), MS(15), MS(18)]);
        assert_eq!(linear.delay(u32::MAX), MS(18));
        assert_eq!(Retry::Fixed { delay: MS(7) }.delay(9), MS(7));
        assert_eq!(Retry::None.delay(9), Duration::ZERO);
    }
}
