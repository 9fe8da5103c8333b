//! What holds a consumer back for a while: a pause by hand, its breaker, the memory of the process.
//! Meanwhile nothing is received and nothing handed out, and what is fetched ahead goes back.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::shared::{Shared, State};
use crate::clock::Tick;
use crate::message::MAX_DURATION;
use crate::resilience::{Breaker, BreakerState, Circuit};
use crate::settlement::Verb;

/// A probe that failed comes back so long after the pause, so that another message is tried first.
const BEHIND: Duration = Duration::from_secs(1);

/// Why a consumer is held back, as others see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct Standing {
    pub paused: bool,
    pub over_memory: bool,
    pub breaker: BreakerState,
    pub open_until: Option<Tick>,
}

impl Standing {
    /// Whether nothing passes.
    pub(super) fn is_shut(&self) -> bool {
        self.paused || self.over_memory || self.breaker == BreakerState::Open
    }

    /// Whether nothing holds it back.
    pub(super) fn is_free(&self) -> bool {
        !self.paused && !self.over_memory && self.breaker == BreakerState::Closed
    }
}

/// How much may pass: what the reasons come to, and the one thing that those who receive look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    All,
    /// One delivery, to see whether it can be handled again.
    Probe,
    Nothing,
}

#[derive(Debug)]
pub(super) struct Gate {
    pass: Pass,
    paused: bool,
    over_memory: bool,
    circuit: Option<Circuit>,
    /// Which hand has the probe.
    probe: Option<usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(Breaker::None)
    }
}

impl Gate {
    pub(super) fn new(breaker: Breaker) -> Self {
        Self {
            pass: Pass::All,
            paused: false,
            over_memory: false,
            circuit: Circuit::new(breaker),
            probe: None,
        }
    }

    pub(super) fn pass(&self) -> Pass {
        self.pass
    }

    pub(super) fn standing(&self) -> Standing {
        let circuit = self.circuit.as_ref();
        Standing {
            paused: self.paused,
            over_memory: self.over_memory,
            breaker: circuit.map_or(BreakerState::Closed, Circuit::state),
            open_until: circuit.and_then(Circuit::until),
        }
    }

    fn weigh(&mut self) {
        self.pass = match &self.circuit {
            _ if self.paused || self.over_memory => Pass::Nothing,
            Some(circuit) if !circuit.permits() => Pass::Nothing,
            Some(circuit) if circuit.state() == BreakerState::HalfOpen => Pass::Probe,
            _ => Pass::All,
        };
    }

    /// A delivery is on its way into a hand. Answers whether it is a probe.
    #[inline]
    pub(super) fn reserve(&mut self) -> bool {
        let probe = self.pass == Pass::Probe;
        if probe && let Some(circuit) = &mut self.circuit {
            circuit.begin();
            self.weigh();
        }
        probe
    }

    /// Whether what was received for a hand that was reserved may still be put into it.
    pub(super) fn lets(&self, probe: bool) -> bool {
        if !probe {
            return self.pass == Pass::All;
        }
        let standing = self.standing();
        !standing.paused && !standing.over_memory && standing.breaker != BreakerState::Open
    }

    /// Nothing came into the hand that was reserved for a probe.
    pub(super) fn spare(&mut self) {
        if let Some(circuit) = &mut self.circuit {
            circuit.end(true, None, Tick(0));
            self.weigh();
        }
    }

    /// A probe is in this hand.
    pub(super) fn probe(&mut self, hand: usize) {
        self.probe = Some(hand);
    }

    /// A delivery in this hand has ended. Answers whether anything changed.
    #[inline]
    pub(super) fn ended(
        &mut self,
        hand: usize,
        verb: Option<&Verb>,
        now: impl FnOnce() -> Tick,
    ) -> bool {
        let Some(circuit) = &mut self.circuit else {
            return false;
        };
        let probe = self.probe.take_if(|probe| *probe == hand).is_some();
        let changed = circuit.end(probe, verb.and_then(outcome), now());
        self.weigh();
        changed || probe
    }
}

/// What the end of a delivery says of the handlers: that they work, that they do not, or nothing.
fn outcome(verb: &Verb) -> Option<bool> {
    match verb {
        Verb::Ack => Some(true),
        Verb::Nack { .. } => Some(false),
        Verb::Release { delay } if delay.is_some_and(|delay| !delay.is_zero()) => Some(false),
        Verb::Release { .. } | Verb::DeadLetter { .. } => None,
    }
}

impl Shared {
    /// Takes nothing in and hands nothing out until [`Shared::resume`].
    pub(super) fn pause(self: &Arc<Self>) {
        self.change(|gate| gate.paused = true);
    }

    pub(super) fn resume(self: &Arc<Self>) {
        self.change(|gate| gate.paused = false);
    }

    /// The process has more memory than it may, or not.
    pub(super) fn over_memory(self: &Arc<Self>, over: bool) {
        if self.standing.borrow().over_memory != over {
            self.change(|gate| gate.over_memory = over);
        }
    }

    /// Closes the breaker by hand.
    pub(super) fn reset_breaker(self: &Arc<Self>) {
        self.change(|gate| {
            gate.probe = None;
            if let Some(circuit) = &mut gate.circuit {
                circuit.reset();
            }
        });
    }

    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Gate)) {
        let mut state = self.state();
        change(&mut state.gate);
        state.gate.weigh();
        self.regulate(state);
    }

    /// Lets what changed at the gate take effect.
    pub(super) fn regulate(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let standing = state.gate.standing();
        let before = *self.standing.borrow();
        let shut = state.gate.pass() == Pass::Nothing && standing != before;
        let given_up = if shut {
            state.buffer.drain()
        } else {
            Vec::new()
        };
        // In the order of the changes.
        if standing != before {
            self.standing.send_replace(standing);
            if let Some(metrics) = &self.breaker {
                metrics.is(standing.breaker);
            }
        }
        drop(state);
        if standing.breaker != before.breaker {
            self.breaker_is(standing);
        }
        self.give_back(given_up);
        self.work.notify_waiters();
        self.make_room();
        self.make_room_in_bytes();
    }

    fn breaker_is(self: &Arc<Self>, standing: Standing) {
        let queue = self.queue.name();
        match standing.breaker {
            BreakerState::Closed => tracing::info!(queue, "the breaker of a consumer is closed"),
            BreakerState::HalfOpen => {
                tracing::info!(queue, "the breaker of a consumer is half open");
            }
            BreakerState::Open => {
                let breaker = self.options.breaker;
                tracing::warn!(queue, %breaker, "handlers fail: the breaker of a consumer is open");
            }
        }
        if let Some(until) = standing.open_until {
            let shared = self.clone();
            self.queue.spawn(async move {
                let pause = shared.queue.sleep_until(until);
                if shared.stop.run_until_cancelled(pause).await.is_some() {
                    let now = shared.queue.clock().now();
                    shared.change(|gate| {
                        if let Some(circuit) = &mut gate.circuit {
                            circuit.pass(now);
                        }
                    });
                }
            });
        }
    }

    /// While the breaker is not closed no attempt is used: what failed goes back unblamed, for as
    /// long as nothing is tried.
    #[inline]
    pub(crate) fn soften(&self, hand: usize, verb: &mut Verb) {
        if self.options.breaker != Breaker::None {
            self.soften_now(hand, verb);
        }
    }

    fn soften_now(&self, hand: usize, verb: &mut Verb) {
        let (Verb::Nack { delay, .. } | Verb::Release { delay }) = verb else {
            return;
        };
        let delay = *delay;
        if outcome(verb) != Some(false) {
            return;
        }
        let rest = {
            let state = self.state();
            let Some(circuit) = &state.gate.circuit else {
                return;
            };
            match circuit.state() {
                BreakerState::Closed => return,
                BreakerState::HalfOpen if state.gate.probe == Some(hand) => {
                    circuit.pause() + BEHIND
                }
                BreakerState::HalfOpen => Duration::ZERO,
                BreakerState::Open => {
                    let until = circuit.until().unwrap_or(Tick(0));
                    until.since(self.queue.clock().now())
                }
            }
        };
        let delay = delay.unwrap_or_default().max(rest).min(MAX_DURATION);
        *verb = Verb::Release { delay: Some(delay) };
    }

    /// Ends when nothing could be handed out for so long, while nothing held the consumer back.
    pub(super) async fn idle_for(&self, idle: Duration) {
        let mut standing = self.standing.subscribe();
        loop {
            let _ = standing.wait_for(Standing::is_free).await;
            let deadline = self.queue.clock().now() + idle;
            tokio::select! {
                biased;
                _ = standing.wait_for(|standing| !standing.is_free()) => {}
                () = self.queue.sleep_until(deadline) => return,
            }
        }
    }
}
