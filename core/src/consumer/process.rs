//! Handlers: a function for each delivery, as many at a time as the consumer has hands.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::{Consumer, ConsumerStatus, DrainReport};
use crate::delivery::Delivery;
use crate::settlement::Verb;

/// Why a handler did not do its work, and what is to become of the message. Every error becomes one
/// by `?`: the message is tried again.
#[derive(Debug)]
pub struct Failure(pub(super) Verb);

impl Failure {
    /// The attempt failed; another one follows after the delay of the queue's retry policy, while
    /// the budget lasts.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self(Verb::Nack {
            reason: Some(reason.to_string().into()),
            delay: None,
        })
    }

    /// The attempt failed; another one follows after this delay.
    pub fn retry_after(reason: impl fmt::Display, delay: Duration) -> Self {
        Self(Verb::Nack {
            reason: Some(reason.to_string().into()),
            delay: Some(delay),
        })
    }

    /// Not the message's fault: it comes back after the delay and the attempt does not count.
    pub fn release(delay: Duration) -> Self {
        Self(Verb::Release { delay: Some(delay) })
    }

    /// No attempt will ever succeed: to the dead letters, with the reason in a word and at length.
    pub fn permanent(reason: &str, description: impl fmt::Display) -> Self {
        Self(Verb::DeadLetter {
            reason: reason.into(),
            description: Some(description.to_string().into()),
        })
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

/// Runs a handler for each delivery of a queue until it is drained or dropped. Any thread.
#[must_use = "a worker that is dropped stops"]
pub struct Worker {
    consumer: Arc<Consumer>,
}

impl Worker {
    pub(crate) fn start<H, F>(consumer: Consumer, handler: H) -> Self
    where
        H: Fn(Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send,
    {
        let handler = Arc::new(handler);
        for _ in 0..consumer.shared().options.hands() {
            let (shared, handler) = (consumer.shared().clone(), handler.clone());
            consumer.shared().queue.spawn(async move {
                while let Some(delivery) = shared.next().await {
                    handle(Arc::new(delivery), &*handler).await;
                }
            });
        }
        Self::of(consumer)
    }

    pub(super) fn of(consumer: Consumer) -> Self {
        Self {
            consumer: Arc::new(consumer),
        }
    }

    /// How it goes.
    pub fn status(&self) -> ConsumerStatus {
        self.consumer.status()
    }

    /// Starts no handler until [`Worker::resume`]; see [`Consumer::pause`].
    pub fn pause(&self) {
        self.consumer.pause();
    }

    /// Ends the pause; see [`Consumer::resume`].
    pub fn resume(&self) {
        self.consumer.resume();
    }

    /// Closes the breaker by hand; see [`Consumer::reset_breaker`].
    pub fn reset_breaker(&self) {
        self.consumer.reset_breaker();
    }

    /// Stops the worker; see [`Consumer::drain`].
    pub async fn drain(&self, deadline: Duration) -> DrainReport {
        self.consumer.drain(deadline).await
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.consumer.fmt(f)
    }
}

/// Runs the handler and ends the delivery: `ack` when it returns, unless it settled by itself;
/// `nack` when it fails or panics. A handler whose delivery is cancelled is dropped.
async fn handle<H, F>(delivery: Arc<Delivery>, handler: &H)
where
    H: Fn(Arc<Delivery>) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let work = guarded(|| handler(delivery.clone()));
    let verb = tokio::select! {
        // Most handlers end at once, and then nobody asks whether they are to stop.
        biased;
        done = work => match done {
            Ok(()) => Verb::Ack,
            Err(Failure(verb)) => verb,
        },
        cause = delivery.cancelled() => {
            tracing::warn!(queue = delivery.queue().name(), ?cause, "a handler was cancelled");
            return;
        }
    };
    if delivery.is_settled() {
        return;
    }
    if let Err(error) = delivery.settle(verb).await {
        tracing::warn!(%error, "a handled message could not be settled");
    }
}

/// The handler's result; a panic is a failed attempt.
pub(super) async fn guarded<F, T>(handler: impl FnOnce() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let panicked = |_| Err(Failure::retry("the handler panicked"));
    let work = match catch_unwind(AssertUnwindSafe(handler)) {
        Ok(work) => work,
        Err(panic) => return panicked(panic),
    };
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| Poll::Ready(panicked(panic)))
    })
    .await
}
