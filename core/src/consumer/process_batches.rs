//! Batch handlers: a function for deliveries that are handled together, and settled with one call.

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::task::Poll;

use super::process::guarded;
use super::{BatchOptions, CancelCause, Consumer, Failure, Worker};
use crate::delivery::Delivery;
use crate::settlement::Verb;

/// Deliveries that are handled together, at most one of each session.
#[derive(Debug)]
pub struct Batch(Vec<Delivery>);

impl Deref for Batch {
    type Target = [Delivery];

    fn deref(&self) -> &[Delivery] {
        &self.0
    }
}

impl Batch {
    /// Ends when work on one of the deliveries is to stop, with its position; at once when it is
    /// already. [`Delivery::cancel_cause`] tells it of each.
    pub async fn cancelled(&self) -> (usize, CancelCause) {
        let all = self.iter().map(|delivery| Box::pin(delivery.cancelled()));
        let mut all: Vec<_> = all.collect();
        poll_fn(|cx| {
            for (position, cancelled) in all.iter_mut().enumerate() {
                if let Poll::Ready(cause) = cancelled.as_mut().poll(cx) {
                    return Poll::Ready((position, cause));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Ends when there is nothing left to work on.
    async fn all_cancelled(&self) {
        for delivery in self.iter() {
            delivery.cancelled().await;
        }
    }
}

/// Which messages of a batch a handler could not handle, and why: nothing, pairs of positions and
/// failures, or one result for each message. A position that is not in the batch fails all of it.
#[derive(Debug, Default)]
pub struct Failures {
    failed: Vec<(usize, Failure)>,
    /// How many results there were, where there is one for each.
    results: Option<usize>,
}

impl From<()> for Failures {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<Vec<(usize, Failure)>> for Failures {
    fn from(failed: Vec<(usize, Failure)>) -> Self {
        Self {
            failed,
            results: None,
        }
    }
}

impl From<Vec<Result<(), Failure>>> for Failures {
    fn from(results: Vec<Result<(), Failure>>) -> Self {
        let count = results.len();
        let results = results.into_iter().enumerate();
        Self {
            failed: results
                .filter_map(|(position, result)| Some((position, result.err()?)))
                .collect(),
            results: Some(count),
        }
    }
}

impl Failures {
    /// How each of so many messages ends.
    fn verbs(self, messages: usize) -> Result<Vec<Verb>, Failure> {
        if let Some(results) = self.results.filter(|results| *results != messages) {
            let what = format!("the handler gave {results} results for {messages} messages");
            return Err(Failure::retry(what));
        }
        let mut verbs = vec![Verb::Ack; messages];
        for (position, Failure(verb)) in self.failed {
            let Some(place) = verbs.get_mut(position) else {
                let what = format!("the handler named message {position} of {messages}");
                return Err(Failure::retry(what));
            };
            *place = verb;
        }
        Ok(verbs)
    }
}

impl Worker {
    pub(crate) fn start_batches<H, F, R>(
        consumer: Consumer,
        options: BatchOptions,
        handler: H,
    ) -> Self
    where
        H: Fn(Arc<Batch>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R, Failure>> + Send,
        R: Into<Failures> + Send,
    {
        let handler = Arc::new(handler);
        for _ in 0..options.concurrency {
            let (shared, handler) = (consumer.shared().clone(), handler.clone());
            consumer.shared().queue.spawn(async move {
                while let Some(batch) = shared.next_batch(options.size as usize).await {
                    handle(Arc::new(Batch(batch)), &*handler).await;
                }
            });
        }
        Self::of(consumer)
    }
}

/// Runs the handler and ends the deliveries that it did not settle by itself.
async fn handle<H, F, R>(batch: Arc<Batch>, handler: &H)
where
    H: Fn(Arc<Batch>) -> F,
    F: Future<Output = Result<R, Failure>>,
    R: Into<Failures>,
{
    let work = guarded(|| handler(batch.clone()));
    let done = tokio::select! {
        biased;
        done = work => done,
        () = batch.all_cancelled() => {
            tracing::warn!(messages = batch.len(), "a batch handler was cancelled");
            return;
        }
    };
    let verbs = done.and_then(|failures| failures.into().verbs(batch.len()));
    let verbs = match verbs {
        Ok(verbs) => verbs,
        Err(Failure(verb)) => vec![verb; batch.len()],
    };
    settle(&batch, verbs).await;
}

/// Settles all that is still to be settled with one call.
async fn settle(batch: &Batch, verbs: Vec<Verb>) {
    let open = batch.iter().zip(verbs).filter(|(delivery, _)| {
        // What a drain took it has given back.
        !delivery.is_settled() && delivery.cancel_cause() != Some(CancelCause::Drained)
    });
    let (open, settlements): (Vec<_>, Vec<_>) = open
        .map(|(delivery, verb)| (delivery, delivery.settlement(verb)))
        .unzip();
    let Some(first) = open.first() else {
        return;
    };
    let results = match first.queue().settle(settlements).await {
        Ok(results) => results,
        Err(error) => {
            tracing::warn!(%error, "a handled batch could not be settled");
            return;
        }
    };
    for (delivery, result) in open.into_iter().zip(results) {
        match result {
            Ok(()) => delivery.settled_flag().store(true, Release),
            Err(error) => tracing::warn!(%error, "a handled message could not be settled"),
        }
    }
}
