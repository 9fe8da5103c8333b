//! The breaker of sends: one for a queue of a client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Queue;
use super::client_breaker::{Calling, is_away};
use crate::clock::Tick;
use crate::config::QueueDefinition;
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::{Breaker, BreakerState, Permit, SharedCircuit};
use crate::telemetry::QueueMetrics;

/// The breakers of one client that are in use, by queue and policy.
#[derive(Default)]
pub(crate) struct SendBreakers(Mutex<HashMap<Key, Weak<SharedCircuit>>>);

type Key = (Arc<str>, Breaker);

impl SendBreakers {
    /// The breaker of this queue, if it has one.
    pub(crate) fn of(
        &self,
        queue: &Arc<str>,
        definition: &QueueDefinition,
        metrics: &QueueMetrics,
    ) -> Option<Arc<SharedCircuit>> {
        let policy = definition.breaker;
        if policy == Breaker::None {
            return None;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (queue.clone(), policy);
        if let Some(circuit) = all.get(&key).and_then(Weak::upgrade) {
            return Some(circuit);
        }
        all.retain(|_, circuit| circuit.strong_count() > 0);
        let (queue, metrics) = (queue.clone(), metrics.breaker("send"));
        let circuit = SharedCircuit::new(policy, Some(metrics), move |state| match state {
            BreakerState::Open => {
                tracing::warn!(%queue, breaker = %policy, "sends fail: their breaker is open");
            }
            BreakerState::HalfOpen => tracing::info!(%queue, "the breaker of sends is half open"),
            BreakerState::Closed => tracing::info!(%queue, "the breaker of sends is closed"),
        });
        all.insert(key, Arc::downgrade(&circuit));
        Some(circuit)
    }
}

/// The right to send: the queue's, nothing where it has no breaker, and the client's.
pub(super) struct Sending(Option<Permit>, Calling);

impl Sending {
    /// The provider has answered.
    #[inline]
    pub(super) fn ended(self, queue: &Queue, failure: Option<&Error>) {
        if let Some(permit) = self.0 {
            judge(permit, queue, failure, says_away);
        }
        self.1.ended(queue, failure);
    }

    /// As [`Sending::ended`], of many messages: one that was stored says that the provider is there.
    pub(super) fn ended_many<T>(self, queue: &Queue, answer: &Result<Vec<Result<T>>>) {
        let failure = match answer {
            Ok(results) if results.iter().any(Result::is_ok) => None,
            Ok(results) => {
                let errors = results.iter().filter_map(|result| result.as_ref().err());
                errors.max_by_key(|error| (is_away(error), says_away(error)))
            }
            Err(error) => Some(error),
        };
        self.ended(queue, failure);
    }
}

/// What an answer says to a breaker to which these errors say that the provider is away.
pub(super) fn judge(
    permit: Permit,
    queue: &Queue,
    failure: Option<&Error>,
    says_away: fn(&Error) -> bool,
) {
    match failure {
        None => permit.succeeded(),
        Some(error) if says_away(error) => permit.failed(queue.clock().now()),
        // It says nothing of whether the provider is there.
        Some(_) => drop(permit),
    }
}

/// Whether an error says that the provider is away, or wants to be left alone.
fn says_away(error: &Error) -> bool {
    is_away(error) || error.kind() == ErrorKind::Throttled
}

impl Queue {
    /// Where the breaker of its sends stands; closed where there is none.
    pub fn breaker_state(&self) -> BreakerState {
        let circuit = self.0.circuit.as_ref();
        circuit.map_or(BreakerState::Closed, |circuit| {
            circuit.state(self.clock().now())
        })
    }

    /// Closes the breaker of its sends by hand, and forgets what failed.
    pub fn reset_breaker(&self) {
        if let Some(circuit) = &self.0.circuit {
            circuit.reset();
        }
    }

    /// The right to send. `CircuitOpen` says when to try again.
    #[inline]
    pub(super) fn sending(&self) -> Result<Sending> {
        let of_queue = match &self.0.circuit {
            None => None,
            Some(circuit) => {
                let now = self.clock().now();
                let permit = circuit.permit(now);
                Some(permit.map_err(|until| self.pausing(until, now))?)
            }
        };
        Ok(Sending(of_queue, self.calling()?))
    }

    #[cold]
    fn pausing(&self, until: Tick, now: Tick) -> Error {
        let breaker = self.0.definition.breaker;
        if until == Tick::NEVER {
            let what = "the provider was away; one send is under way to see whether it is back";
            return Error::new(ErrorKind::CircuitOpen, what);
        }
        let what = format!("the provider is away, and the breaker {breaker} pauses sends");
        Error::new(ErrorKind::CircuitOpen, what).with_retry_after(until.since(now))
    }

    /// Waits while sends pause: for who would ask the provider again and again.
    pub(crate) async fn while_sends_pause(&self) {
        if let Some(circuit) = &self.0.circuit {
            let tasks = self.0.client.runtime().tasks();
            circuit.while_open(tasks).await;
        }
    }
}
