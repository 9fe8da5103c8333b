//! The breaker of a whole client: what is asked of its provider, of whatever queue, counts together.
//!
//! Whoever asks for something new needs the right to: sends, receives, accepts of sessions, looks.
//! What belongs to deliveries and sessions in hand goes on as if there were no breaker, so that no
//! work is lost and no attempt used.

use std::sync::Arc;
use std::time::Duration;

use super::Queue;
use super::breaker::judge;
use crate::client::ClientInner;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::ProviderQueue;
use crate::reply::Reply;
use crate::resilience::{Breaker, BreakerState, Permit, SharedCircuit};
use crate::telemetry::Telemetry;

/// The breaker of a client of this provider, if it has one.
pub(crate) fn circuit(
    policy: Breaker,
    provider: &'static str,
    telemetry: &Telemetry,
) -> Option<Arc<SharedCircuit>> {
    if policy == Breaker::None {
        return None;
    }
    let metrics = telemetry.client_breaker(provider);
    let circuit = SharedCircuit::new(policy, Some(metrics), move |state| match state {
        BreakerState::Open => {
            tracing::warn!(provider, breaker = %policy, "the provider is away: the breaker of its client is open");
        }
        BreakerState::HalfOpen => tracing::info!(provider, "the breaker of a client is half open"),
        BreakerState::Closed => tracing::info!(provider, "the breaker of a client is closed"),
    });
    Some(circuit)
}

/// The right to ask the provider for something; dropped without an answer it says nothing.
pub(crate) struct Calling(Option<Permit>);

impl Calling {
    /// The provider has answered.
    #[inline]
    pub(super) fn ended(self, queue: &Queue, failure: Option<&Error>) {
        if let Some(permit) = self.0 {
            judge(permit, queue, failure, is_away);
        }
    }

    /// Whether everybody waits for its end.
    #[inline]
    pub(super) fn is_probe(&self) -> bool {
        self.0.as_ref().is_some_and(Permit::is_probe)
    }

    /// For how long to wait for a message: a probe looks once.
    #[inline]
    pub(super) fn wait(&self, wait: Duration) -> Duration {
        if self.is_probe() {
            Duration::ZERO
        } else {
            wait
        }
    }
}

/// Whether an error says that the provider is away, for whatever queue.
pub(crate) fn is_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}

impl Queue {
    /// The right to ask the provider for something new. `CircuitOpen` says when to try again.
    #[inline]
    pub(crate) fn calling(&self) -> Result<Calling> {
        let client = self.client();
        match client.circuit() {
            None => Ok(Calling(None)),
            Some(circuit) => {
                let now = client.clock().now();
                let permit = circuit.permit(now);
                let permit = permit.map_err(|until| refusal(client, until, now))?;
                Ok(Calling(Some(permit)))
            }
        }
    }

    /// Asks the provider for something new that is no send and no receive.
    pub(super) fn ask<T: Send + 'static, U>(
        &self,
        operation: &'static str,
        ask: impl FnOnce(&dyn ProviderQueue) -> Reply<T>,
        done: impl FnOnce(&Queue, T) -> U + Send + 'static,
    ) -> Reply<U> {
        match self.calling() {
            Ok(calling) => self.finish_called(operation, calling, ask(self.provider()), done),
            Err(error) => Reply::error(self.fail(operation, error)),
        }
    }

    /// [`Queue::finish`] of what needed the right to be asked.
    #[inline]
    pub(super) fn finish_called<T: Send + 'static, U>(
        &self,
        operation: &'static str,
        calling: Calling,
        reply: Reply<T>,
        done: impl FnOnce(&Queue, T) -> U + Send + 'static,
    ) -> Reply<U> {
        self.end(operation, reply, |queue, answer| {
            calling.ended(queue, answer.as_ref().err());
            answer.map(|answer| done(queue, answer))
        })
    }

    /// Waits until the provider may be asked for something new, unless somebody else is faster.
    /// Answers whether everybody may.
    pub(crate) async fn until_callable(&self) -> bool {
        let Some(circuit) = self.client().circuit() else {
            return true;
        };
        let tasks = self.client().runtime().tasks();
        circuit.until_permitted(tasks).await;
        circuit.state(tasks.clock().now()) == BreakerState::Closed
    }

    /// Waits until the client's breaker, after it was open, lets something through again.
    pub(crate) async fn client_recovered(&self) {
        match self.client().circuit() {
            Some(circuit) => circuit.recovered(self.client().runtime().tasks()).await,
            None => std::future::pending().await,
        }
    }
}

#[cold]
fn refusal(client: &ClientInner, until: Tick, now: Tick) -> Error {
    if until == Tick::NEVER {
        let what = "the provider was away; one call is under way to see whether it is back";
        return Error::new(ErrorKind::CircuitOpen, what);
    }
    let breaker = client.breaker();
    let what =
        format!("the provider is away, and the breaker {breaker} of its client pauses calls");
    Error::new(ErrorKind::CircuitOpen, what).with_retry_after(until.since(now))
}
