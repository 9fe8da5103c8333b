//! When to leave alone what fails again and again: the policy of a breaker, and where it stands.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use humantime::format_duration;
use serde::{Serialize, Serializer};

use crate::config::duration;
use crate::config::options::number;
use crate::error::{Error, Result};
use crate::message::MAX_DURATION;

/// When work pauses since it would only fail: the handling of messages, sending, or the writing of
/// a write-behind. As text: `5,30s,3` for failures, pause and successes, or `none`.
///
/// ```
/// # use queue_runtime_core::Breaker;
/// assert_eq!("5,30s,3".parse::<Breaker>()?, Breaker::default());
/// # Ok::<(), queue_runtime_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breaker {
    /// Work pauses when it failed several times in a row.
    After {
        /// Failures in a row that open the breaker; at least 1.
        failures: u32,
        /// How long nothing is tried then. After it one thing at a time is.
        pause: Duration,
        /// Successes in a row that close it again; at least 1.
        successes: u32,
    },
    /// It never pauses: only the retry policy decides.
    None,
}

impl Breaker {
    /// Checks one that was not read from text. `InvalidConfig` says what is wrong.
    pub(crate) fn check(&self) -> Result<()> {
        let Self::After {
            failures,
            pause,
            successes,
        } = *self
        else {
            return Ok(());
        };
        let what = if failures == 0 || successes == 0 {
            "failures and successes must be at least 1"
        } else if pause > MAX_DURATION {
            "the pause must be at most 100 years"
        } else {
            return Ok(());
        };
        Err(Error::invalid_config("breaker", what))
    }
}

impl Default for Breaker {
    /// 5 failures, 30 s, 3 successes.
    fn default() -> Self {
        Self::After {
            failures: 5,
            pause: Duration::from_secs(30),
            successes: 3,
        }
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::After {
                failures,
                pause,
                successes,
            } => write!(f, "{failures},{},{successes}", format_duration(pause)),
            Self::None => f.write_str("none"),
        }
    }
}

impl FromStr for Breaker {
    type Err = Error;

    /// Reads what [`Display`](fmt::Display) writes. `InvalidConfig` says what is wrong.
    fn from_str(text: &str) -> Result<Self> {
        let breaker = read(text).map_err(|what| Error::invalid_config("breaker", what))?;
        breaker.check()?;
        Ok(breaker)
    }
}

fn read(text: &str) -> std::result::Result<Breaker, String> {
    if text.trim() == "none" {
        return Ok(Breaker::None);
    }
    let parts: Vec<&str> = text.split(',').collect();
    let [failures, pause, successes] = parts[..] else {
        let what = "is not a breaker like \"5,30s,3\" (failures, pause, successes) or \"none\"";
        return Err(format!("{text:?} {what}"));
    };
    Ok(Breaker::After {
        failures: number(failures)?,
        pause: duration::parse(pause)?,
        successes: number(successes)?,
    })
}

impl Serialize for Breaker {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Work goes on.
    #[default]
    Closed,
    /// One thing at a time is tried.
    HalfOpen,
    /// Nothing is tried.
    Open,
}

impl BreakerState {
    /// All of them, in the order of their numbers in metrics.
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// Its name, as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_the_same_both_ways() {
        for text in ["5,30s,3", "1,1m 30s,1", "none"] {
            assert_eq!(text.parse::<Breaker>().unwrap().to_string(), text);
        }
        assert_eq!("5,30s,3".parse::<Breaker>().unwrap(), Breaker::default());
        for text in [
            "", "5", "5,30s", "0,30s,3", "5,30s,0", "5,30,3", "a,1s,1", "1,1s,1,1",
        ] {
            let error = text.parse::<Breaker>().unwrap_err();
            assert_eq!(error.field(), Some("breaker"), "{text:?}");
        }
    }
}
