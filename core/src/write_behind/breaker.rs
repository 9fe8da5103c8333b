//! Keeps writers from asking a sink that is away more often than it helps.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use humantime::format_duration;
use serde::{Serialize, Serializer};
use tokio::sync::Notify;

use super::locked;
use crate::clock::Tick;
use crate::config::duration;
use crate::config::options::number;
use crate::error::{Error, Result};
use crate::runtime::Tasks;

/// When writing pauses. As text: `5,30s,3` for failures, pause and successes, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Writing pauses when the sink failed several times in a row.
    After {
        /// Failures in a row that open the breaker; at least 1.
        failures: u32,
        /// How long nothing is written then. After it one write at a time is tried.
        pause: Duration,
        /// Successes in a row that close it again; at least 1.
        successes: u32,
    },
    /// Only the retry policy decides.
    None,
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
        read(text).map_err(|what| Error::invalid_config("breaker", what))
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
    let (failures, successes) = (number(failures)?, number(successes)?);
    if failures == 0 || successes == 0 {
        return Err("failures and successes must be at least 1".to_owned());
    }
    Ok(Breaker::After {
        failures,
        pause: duration::parse(pause)?,
        successes,
    })
}

impl Serialize for Breaker {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything is written as it comes.
    Closed,
    /// One write at a time is tried.
    HalfOpen,
    /// Nothing is written.
    Open,
}

impl BreakerState {
    /// Its name, as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// A breaker at work, shared by the writers of one sink.
pub(super) struct Circuit {
    policy: Breaker,
    state: Mutex<State>,
    /// A write that was tried alone has ended.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Failures in a row while closed.
    failures: u32,
    /// Set while it is open or half open: until when nothing is tried.
    open_until: Option<Tick>,
    /// Successes in a row while half open.
    successes: u32,
    /// Whether the one write of the half-open state is on its way.
    trying: bool,
}

/// The right to try one write. Dropped without an outcome it changes nothing.
pub(super) struct Permit<'a> {
    circuit: &'a Circuit,
    probe: bool,
}

impl Circuit {
    pub(super) fn new(policy: Breaker) -> Self {
        Self {
            policy,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Waits for the right to write.
    pub(super) async fn permitted(&self, tasks: &Tasks) -> Permit<'_> {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let until = match self.permit(tasks.clock().now()) {
                Ok(permit) => return permit,
                Err(until) => until,
            };
            tokio::select! {
                () = tasks.sleep_until(until) => {}
                () = changed => {}
            }
        }
    }

    /// The right to write now, or when to ask again if nothing changes before.
    fn permit(&self, now: Tick) -> std::result::Result<Permit<'_>, Tick> {
        let mut state = locked(&self.state);
        let probe = match state.open_until {
            None => false,
            Some(until) if now < until => return Err(until),
            Some(_) if state.trying => return Err(Tick::NEVER),
            Some(_) => {
                state.trying = true;
                true
            }
        };
        Ok(Permit {
            circuit: self,
            probe,
        })
    }

    pub(super) fn state(&self, now: Tick) -> BreakerState {
        match locked(&self.state).open_until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }
}

impl Permit<'_> {
    /// The sink answered.
    pub(super) fn succeeded(self) {
        let Breaker::After { successes, .. } = self.circuit.policy else {
            return;
        };
        let mut state = locked(&self.circuit.state);
        state.failures = 0;
        state.successes += 1;
        if self.probe && state.successes >= successes {
            state.open_until = None;
            tracing::info!("the sink is back: the breaker is closed");
        }
    }

    /// The sink is away.
    pub(super) fn failed(self, now: Tick) {
        let Breaker::After {
            failures, pause, ..
        } = self.circuit.policy
        else {
            return;
        };
        let mut state = locked(&self.circuit.state);
        state.failures += 1;
        state.successes = 0;
        if self.probe || state.failures >= failures {
            state.failures = 0;
            state.open_until = Some(now + pause);
            tracing::warn!(?pause, "the sink is away: the breaker is open");
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.probe {
            locked(&self.circuit.state).trying = false;
            self.circuit.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn it_opens_tries_one_and_closes() {
        let circuit = Circuit::new("2,10s,2".parse().unwrap());
        let mut now = Tick(0);
        for _ in 0..2 {
            assert_eq!(circuit.state(now), BreakerState::Closed);
            circuit.permit(now).unwrap().failed(now);
        }
        assert_eq!(circuit.state(now), BreakerState::Open);
        assert_eq!(circuit.permit(now).err(), Some(Tick(0) + S(10)));

        now = now + S(10);
        let probe = circuit.permit(now).unwrap();
        assert_eq!(circuit.state(now), BreakerState::HalfOpen);
        assert!(circuit.permit(now).is_err(), "one at a time");
        probe.failed(now);
        assert_eq!(circuit.state(now), BreakerState::Open);

        now = now + S(10);
        circuit.permit(now).unwrap().succeeded();
        assert_eq!(circuit.state(now), BreakerState::HalfOpen);
        drop(circuit.permit(now).unwrap());
        circuit.permit(now).unwrap().succeeded();
        assert_eq!(circuit.state(now), BreakerState::Closed);
    }

    #[test]
    fn a_success_forgets_failures() {
        let circuit = Circuit::new("2,10s,1".parse().unwrap());
        for _ in 0..5 {
            circuit.permit(Tick(0)).unwrap().failed(Tick(0));
            circuit.permit(Tick(0)).unwrap().succeeded();
        }
        assert_eq!(circuit.state(Tick(0)), BreakerState::Closed);
    }

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
