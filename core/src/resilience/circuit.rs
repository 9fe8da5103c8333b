//! A breaker at work: what failed and succeeded in a row, and what follows from it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::breaker::{Breaker, BreakerState};
use crate::clock::Tick;
use crate::runtime::Tasks;
use crate::telemetry::BreakerMetrics;

/// A breaker at work. Whoever has it locks it, and tells it the time.
#[derive(Debug)]
pub(crate) struct Circuit {
    failures: u32,
    pause: Duration,
    successes: u32,
    state: BreakerState,
    /// While it is open: until when.
    until: Tick,
    /// Failures in a row while closed, successes in a row while half open.
    row: u32,
    /// Whether something is tried, while half open.
    probing: bool,
    /// How often the state was set: what was begun before it was last says nothing any more.
    turn: u64,
}

impl Circuit {
    /// Nothing, where there is no breaker.
    pub(crate) fn new(policy: Breaker) -> Option<Self> {
        let Breaker::After {
            failures,
            pause,
            successes,
        } = policy
        else {
            return None;
        };
        Some(Self {
            failures,
            pause,
            successes,
            state: BreakerState::Closed,
            until: Tick(0),
            row: 0,
            probing: false,
            turn: 0,
        })
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.state
    }

    /// Until when it is open, if it is.
    pub(crate) fn until(&self) -> Option<Tick> {
        (self.state == BreakerState::Open).then_some(self.until)
    }

    /// How long it is open, once it is.
    pub(crate) fn pause(&self) -> Duration {
        self.pause
    }

    /// Ends the pause when it is over. This and what follows answer whether the state changed.
    pub(crate) fn pass(&mut self, now: Tick) -> bool {
        let over = self.state == BreakerState::Open && now >= self.until;
        if over {
            self.go(BreakerState::HalfOpen);
        }
        over
    }

    /// Whether something may be tried now.
    pub(crate) fn permits(&self) -> bool {
        match self.state {
            BreakerState::Closed => true,
            BreakerState::HalfOpen => !self.probing,
            BreakerState::Open => false,
        }
    }

    /// Something that is permitted is tried. Answers whether it is the probe of the half-open state,
    /// as which it is to be ended.
    pub(crate) fn begin(&mut self) -> bool {
        self.probing = self.state == BreakerState::HalfOpen;
        self.probing
    }

    /// Something that was tried has succeeded (`Some(true)`), failed, or says nothing. What was
    /// begun before the breaker opened says nothing any more.
    pub(crate) fn end(&mut self, probe: bool, outcome: Option<bool>, now: Tick) -> bool {
        let probe = probe && self.state == BreakerState::HalfOpen;
        if probe {
            self.probing = false;
        } else if self.state != BreakerState::Closed {
            return false;
        }
        match outcome {
            Some(true) if probe => {
                self.row += 1;
                if self.row >= self.successes {
                    return self.go(BreakerState::Closed);
                }
            }
            Some(true) => self.row = 0,
            Some(false) => {
                self.row += 1;
                if probe || self.row >= self.failures {
                    self.until = now + self.pause;
                    return self.go(BreakerState::Open);
                }
            }
            None => {}
        }
        false
    }

    /// Closes it by hand.
    pub(crate) fn reset(&mut self) -> bool {
        let changed = self.state != BreakerState::Closed;
        self.go(BreakerState::Closed);
        changed
    }

    fn go(&mut self, state: BreakerState) -> bool {
        self.state = state;
        self.row = 0;
        self.probing = false;
        self.turn += 1;
        true
    }
}

/// A circuit for many at once.
pub(crate) struct SharedCircuit {
    /// `None` where there is no breaker.
    circuit: Option<Mutex<Circuit>>,
    /// Something that was tried alone has ended, or the state changed.
    changed: Notify,
    /// Follows the state under its lock, so that changes are counted in their order.
    metrics: Option<BreakerMetrics>,
    /// Told of each change of the state, with no lock held.
    tell: Box<dyn Fn(BreakerState) + Send + Sync>,
}

/// The right to try something. Dropped without an outcome it says nothing.
pub(crate) struct Permit {
    circuit: Arc<SharedCircuit>,
    probe: bool,
    /// The circuit's when it was given.
    turn: u64,
}

impl SharedCircuit {
    pub(crate) fn new(
        policy: Breaker,
        metrics: Option<BreakerMetrics>,
        tell: impl Fn(BreakerState) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            circuit: Circuit::new(policy).map(Mutex::new),
            changed: Notify::new(),
            metrics,
            tell: Box::new(tell),
        })
    }

    fn lock(&self) -> Option<MutexGuard<'_, Circuit>> {
        let circuit = self.circuit.as_ref()?;
        Some(circuit.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the circuit, and lets everybody know if that changed its state.
    fn change<T>(&self, change: impl FnOnce(&mut Circuit) -> T) -> Option<T> {
        let mut circuit = self.lock()?;
        let before = circuit.state();
        let answer = change(&mut circuit);
        let state = circuit.state();
        if let Some(metrics) = &self.metrics {
            metrics.is(state);
        }
        drop(circuit);
        if state != before {
            (self.tell)(state);
            self.changed.notify_waiters();
        }
        Some(answer)
    }

    /// Waits for the right to try something.
    pub(crate) async fn permitted(self: &Arc<Self>, tasks: &Tasks) -> Permit {
        loop {
            if let Ok(permit) = self.permit(tasks.clock().now()) {
                return permit;
            }
            self.until_permitted(tasks).await;
        }
    }

    /// Waits until something may be tried, unless somebody else is faster.
    pub(crate) async fn until_permitted(&self, tasks: &Tasks) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let until = match self.lock() {
                Some(circuit) if !circuit.permits() => circuit.until().unwrap_or(Tick::NEVER),
                _ => return,
            };
            if until <= tasks.clock().now() {
                return;
            }
            tokio::select! {
                () = tasks.sleep_until(until) => {}
                () = changed => {}
            }
        }
    }

    /// Waits until something may be tried again after nothing was. One that is closed opens first.
    pub(crate) async fn recovered(&self, tasks: &Tasks) {
        let changed = self.changed.notified();
        let mut changed = std::pin::pin!(changed);
        changed.as_mut().enable();
        let is_closed = self
            .lock()
            .is_none_or(|circuit| circuit.state() == BreakerState::Closed);
        if is_closed {
            changed.await;
        }
        self.while_open(tasks).await;
    }

    /// The right to try something now, or when to ask again if nothing changes before.
    pub(crate) fn permit(self: &Arc<Self>, now: Tick) -> Result<Permit, Tick> {
        let begun = self.change(|circuit| {
            circuit.pass(now);
            if circuit.permits() {
                Ok((circuit.begin(), circuit.turn))
            } else {
                Err(circuit.until().unwrap_or(Tick::NEVER))
            }
        });
        let (probe, turn) = begun.unwrap_or(Ok((false, 0)))?;
        Ok(Permit {
            circuit: self.clone(),
            probe,
            turn,
        })
    }

    /// Waits until it is not open.
    pub(crate) async fn while_open(&self, tasks: &Tasks) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let until = self.lock().and_then(|circuit| circuit.until());
            match until {
                Some(until) if tasks.clock().now() < until => tokio::select! {
                    () = tasks.sleep_until(until) => {}
                    () = changed => {}
                },
                _ => return,
            }
        }
    }

    /// Closes it by hand.
    pub(crate) fn reset(&self) {
        self.change(Circuit::reset);
    }

    /// Where it stands: half open once the pause is over, though nobody has tried yet.
    pub(crate) fn state(&self, now: Tick) -> BreakerState {
        self.lock()
            .map_or(BreakerState::Closed, |circuit| match circuit.until() {
                Some(until) if now >= until => BreakerState::HalfOpen,
                _ => circuit.state(),
            })
    }
}

impl Permit {
    /// Whether nothing else is tried meanwhile.
    pub(crate) fn is_probe(&self) -> bool {
        self.probe
    }

    fn end(&self, outcome: Option<bool>, now: Tick) {
        self.circuit.change(|circuit| {
            if circuit.turn == self.turn {
                circuit.end(self.probe, outcome, now);
            }
        });
        if self.probe {
            self.circuit.changed.notify_waiters();
        }
    }

    /// It succeeded.
    pub(crate) fn succeeded(mut self) {
        self.end(Some(true), Tick(0));
        self.probe = false;
    }

    /// It failed.
    pub(crate) fn failed(mut self, now: Tick) {
        self.end(Some(false), now);
        self.probe = false;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.probe {
            self.end(None, Tick(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn circuit(policy: &str) -> Arc<SharedCircuit> {
        SharedCircuit::new(policy.parse().unwrap(), None, |_| {})
    }

    #[test]
    fn it_opens_tries_one_and_closes() {
        let circuit = circuit("2,10s,2");
        let mut now = Tick(0);
        for _ in 0..2 {
            assert_eq!(circuit.state(now), BreakerState::Closed);
            circuit.permit(now).ok().unwrap().failed(now);
        }
        assert_eq!(circuit.state(now), BreakerState::Open);
        assert_eq!(circuit.permit(now).err(), Some(Tick(0) + S(10)));

        now = now + S(10);
        let probe = circuit.permit(now).ok().unwrap();
        assert_eq!(circuit.state(now), BreakerState::HalfOpen);
        assert!(circuit.permit(now).is_err(), "one at a time");
        probe.failed(now);
        assert_eq!(circuit.state(now), BreakerState::Open);

        now = now + S(10);
        circuit.permit(now).ok().unwrap().succeeded();
        assert_eq!(circuit.state(now), BreakerState::HalfOpen);
        drop(circuit.permit(now).ok().unwrap());
        circuit.permit(now).ok().unwrap().succeeded();
        assert_eq!(circuit.state(now), BreakerState::Closed);
    }

    #[test]
    fn a_success_forgets_failures() {
        let circuit = circuit("2,10s,1");
        for _ in 0..5 {
            circuit.permit(Tick(0)).ok().unwrap().failed(Tick(0));
            circuit.permit(Tick(0)).ok().unwrap().succeeded();
        }
        assert_eq!(circuit.state(Tick(0)), BreakerState::Closed);
    }

    #[test]
    fn what_was_begun_before_it_opened_says_nothing_more() {
        let circuit = circuit("1,10s,1");
        let early: Vec<_> = (0..3)
            .map(|_| circuit.permit(Tick(0)).ok().unwrap())
            .collect();
        let mut early = early.into_iter();
        early.next().unwrap().failed(Tick(0));
        early.next().unwrap().succeeded();
        assert_eq!(circuit.state(Tick(0)), BreakerState::Open);
        early.next().unwrap().failed(Tick(0) + S(9));
        assert_eq!(circuit.state(Tick(0) + S(10)), BreakerState::HalfOpen);
    }

    #[test]
    fn a_probe_of_another_time_makes_no_room_for_a_second_one() {
        let circuit = circuit("1,10s,1");
        let mut now = Tick(0);
        let mut half_open = || {
            circuit.permit(now).ok().unwrap().failed(now);
            now = now + S(10);
            (circuit.permit(now).ok().unwrap(), now)
        };
        let (early, _) = half_open();
        circuit.reset();
        let (late, now) = half_open();
        drop(early);
        assert!(circuit.permit(now).is_err(), "one at a time");
        late.succeeded();
        assert_eq!(circuit.state(now), BreakerState::Closed);
        // What began before it was closed by hand is forgotten too.
        let before = circuit.permit(now).ok().unwrap();
        circuit.reset();
        before.failed(now);
        assert_eq!(circuit.state(now), BreakerState::Closed);
    }
}
