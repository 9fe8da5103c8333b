//! Retry policies: how long a nacked message stays away.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use humantime::format_duration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::duration;
use crate::error::{Error, Result};
use crate::message::MAX_DURATION;

/// How long a message stays away after its n-th failed attempt.
///
/// As text, in a URL, in JSON and in the environment:
///
/// | text | meaning |
/// |---|---|
/// | `exponential:100ms,2,30s,jitter` | `initial`, `multiplier`, `cap`; the last word only with jitter |
/// | `exponential` | the default, which is the one above |
/// | `linear:1s,500ms,30s` | `initial`, `step`, `cap` |
/// | `fixed:1s` | `delay` |
/// | `none` | |
///
/// ```
/// # use queue_runtime_core::Retry;
/// # use std::time::Duration;
/// let retry: Retry = "fixed:1s".parse()?;
/// assert_eq!(retry, Retry::Fixed { delay: Duration::from_secs(1) });
/// # Ok::<(), queue_runtime_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Retry {
    /// `initial * multiplier^(n-1)`, at most `cap`; with jitter, a random part of it.
    Exponential {
        /// The wait after the first failure.
        initial: Duration,
        /// What each further wait is multiplied by; at least 1.
        multiplier: f64,
        /// The longest wait.
        cap: Duration,
        /// Full jitter: anything from zero to the wait, so that failures do not return together.
        jitter: bool,
    },
    /// `initial + (n-1) * step`, at most `cap`.
    Linear {
        /// The wait after the first failure.
        initial: Duration,
        /// What each further wait is longer by.
        step: Duration,
        /// The longest wait.
        cap: Duration,
    },
    /// The same wait each time.
    Fixed {
        /// The wait.
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
        let (least, most) = self.range(attempt);
        if least == most {
            most
        } else {
            most.mul_f64(fastrand::f64())
        }
    }

    /// Between which two that is, by chance where they differ.
    pub fn range(&self, attempt: u32) -> (Duration, Duration) {
        let before = attempt.saturating_sub(1);
        let wait = match *self {
            Self::Exponential {
                initial,
                multiplier,
                cap,
                jitter,
            } => {
                let grown = initial.as_secs_f64() * multiplier.powi(before.min(1024) as i32);
                let wait = Duration::try_from_secs_f64(grown).unwrap_or(cap).min(cap);
                if jitter {
                    return (Duration::ZERO, wait);
                }
                wait
            }
            Self::Linear { initial, step, cap } => {
                initial.saturating_add(step.saturating_mul(before)).min(cap)
            }
            Self::Fixed { delay } => delay,
            Self::None => Duration::ZERO,
        };
        (wait, wait)
    }

    /// The longest wait there can be.
    #[cfg_attr(not(feature = "sqs"), allow(dead_code))]
    pub(crate) fn longest(&self) -> Duration {
        match *self {
            Self::Exponential { cap, .. } | Self::Linear { cap, .. } => cap,
            Self::Fixed { delay } => delay,
            Self::None => Duration::ZERO,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let longest = match *self {
            Self::Exponential {
                initial,
                multiplier,
                cap,
                ..
            } => {
                if !(multiplier.is_finite() && multiplier >= 1.0) {
                    let what = "the multiplier must be a number of at least 1";
                    return Err(Error::invalid_config("retry", what));
                }
                initial.max(cap)
            }
            Self::Linear { initial, step, cap } => initial.max(step).max(cap),
            Self::Fixed { delay } => delay,
            Self::None => Duration::ZERO,
        };
        if longest > MAX_DURATION {
            let what = "every duration must be at most 100 years";
            return Err(Error::invalid_config("retry", what));
        }
        Ok(())
    }
}

impl fmt::Display for Retry {
    /// The text it is read from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exponential {
                initial,
                multiplier,
                cap,
                jitter,
            } => {
                let (initial, cap) = (format_duration(initial), format_duration(cap));
                let jitter = if jitter { ",jitter" } else { "" };
                write!(f, "exponential:{initial},{multiplier},{cap}{jitter}")
            }
            Self::Linear { initial, step, cap } => {
                let [initial, step, cap] = [initial, step, cap].map(format_duration);
                write!(f, "linear:{initial},{step},{cap}")
            }
            Self::Fixed { delay } => write!(f, "fixed:{}", format_duration(delay)),
            Self::None => f.write_str("none"),
        }
    }
}

impl FromStr for Retry {
    type Err = Error;

    /// Reads what [`Display`](fmt::Display) writes. `InvalidConfig` says what is wrong.
    fn from_str(text: &str) -> Result<Self> {
        let retry = read(text).map_err(|what| Error::invalid_config("retry", what))?;
        retry.check()?;
        Ok(retry)
    }
}

fn read(text: &str) -> std::result::Result<Retry, String> {
    let (policy, rest) = text.split_once(':').unwrap_or((text, ""));
    let parts: Vec<&str> = match rest {
        "" => Vec::new(),
        rest => rest.split(',').map(str::trim).collect(),
    };
    let time = duration::parse;
    Ok(match (policy.trim(), parts.as_slice()) {
        ("none", []) => Retry::None,
        ("fixed", [delay]) => Retry::Fixed {
            delay: time(delay)?,
        },
        ("linear", [initial, step, cap]) => Retry::Linear {
            initial: time(initial)?,
            step: time(step)?,
            cap: time(cap)?,
        },
        ("exponential", []) => Retry::default(),
        ("exponential", [initial, multiplier, cap, jitter @ ..])
            if matches!(jitter, [] | ["jitter"]) =>
        {
            Retry::Exponential {
                initial: time(initial)?,
                multiplier: multiplier
                    .parse()
                    .map_err(|_| format!("the multiplier {multiplier:?} is not a number"))?,
                cap: time(cap)?,
                jitter: !jitter.is_empty(),
            }
        }
        _ => {
            return Err(format!(
                "{text:?} is not a retry policy like \"exponential:100ms,2,30s,jitter\", \
                 \"linear:1s,500ms,30s\", \"fixed:1s\" or \"none\""
            ));
        }
    })
}

impl Serialize for Retry {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Retry {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
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

    #[test]
    fn text_says_the_same_both_ways() {
        let policies = [
            ("exponential:100ms,2,30s,jitter", Retry::default()),
            (
                "exponential:1m 30s,1.5,1h",
                Retry::Exponential {
                    initial: MS(90_000),
                    multiplier: 1.5,
                    cap: MS(3_600_000),
                    jitter: false,
                },
            ),
            (
                "linear:1s,500ms,30s",
                Retry::Linear {
                    initial: MS(1000),
                    step: MS(500),
                    cap: MS(30_000),
                },
            ),
            ("fixed:7ms", Retry::Fixed { delay: MS(7) }),
            ("none", Retry::None),
        ];
        for (text, policy) in policies {
            assert_eq!(policy.to_string(), text);
            assert_eq!(text.parse::<Retry>().unwrap(), policy);
            let json = serde_json::to_string(&policy).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Retry>(&json).unwrap(), policy);
        }
        assert_eq!("exponential".parse::<Retry>().unwrap(), Retry::default());
    }

    #[test]
    fn what_is_not_a_policy_is_refused() {
        let texts = [
            "",
            "never",
            "none:1s",
            "fixed",
            "fixed:",
            "fixed:1",
            "fixed:-1s",
            "fixed:1s,2s",
            "fixed:101y",
            "fixed:99999999999999999999s",
            "linear:1s,1s",
            "linear:1s,101y,1s",
            "exponential:1s",
            "exponential:1s,2,30s,no",
            "exponential:1s,2,30s,jitter,jitter",
            "exponential:1s,0.5,30s",
            "exponential:1s,NaN,30s",
            "exponential:1s,inf,30s",
            "exponential:1s,-2,30s",
            "exponential:1s,two,30s",
            "exponential:1s,2,101y",
        ];
        for text in texts {
            let error = text.parse::<Retry>().unwrap_err();
            assert_eq!(error.field(), Some("retry"), "{text:?}");
        }
    }
}
