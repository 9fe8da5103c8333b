//! What is counted of the circuit breakers around one queue, and around whole clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::*};

use crate::resilience::BreakerState;

/// What breakers of a queue can be around.
pub(super) const SIDES: [&str; 2] = ["consume", "send"];

/// The breakers of one side, by where they stand: how many, and how often one came there.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    standing: [AtomicU64; 3],
    transitions: [AtomicU64; 3],
}

impl Breakers {
    /// Whether there is one, or was one that ever moved.
    pub(super) fn any(&self) -> bool {
        let all = self.standing.iter().chain(&self.transitions);
        all.map(|count| count.load(Relaxed)).any(|count| count > 0)
    }

    /// The number of the state of the one that is furthest from closed.
    pub(super) fn state(&self) -> u64 {
        let standing = |state: &&usize| self.standing[**state].load(Relaxed) > 0;
        [2, 1]
            .iter()
            .find(standing)
            .map_or(0, |state| *state as u64)
    }

    /// How often one came to each state.
    pub(super) fn transitions(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.transitions.iter().map(|count| count.load(Relaxed));
        BreakerState::ALL
            .map(BreakerState::name)
            .into_iter()
            .zip(counts)
    }
}

/// The metrics of one breaker, while it lives.
pub(crate) struct BreakerMetrics {
    breakers: Arc<Breakers>,
    state: AtomicU8,
}

impl BreakerMetrics {
    pub(super) fn new(breakers: Arc<Breakers>) -> Self {
        breakers.standing[0].fetch_add(1, Relaxed);
        Self {
            breakers,
            state: AtomicU8::new(0),
        }
    }

    /// It stands here now.
    pub(crate) fn is(&self, state: BreakerState) {
        let before = self.state.swap(state as u8, AcqRel);
        if before != state as u8 {
            let here = &self.breakers;
            here.standing[before as usize].fetch_sub(1, Relaxed);
            here.standing[state as usize].fetch_add(1, Relaxed);
            here.transitions[state as usize].fetch_add(1, Relaxed);
        }
    }
}

impl Drop for BreakerMetrics {
    fn drop(&mut self) {
        let state = *self.state.get_mut();
        self.breakers.standing[state as usize].fetch_sub(1, Relaxed);
    }
}
