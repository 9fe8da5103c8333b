//! One request to SQS: its limit of time, and retries in one budget.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{Instant, sleep, timeout};

use super::error;
use crate::error::{ErrorKind, Result};
use crate::resilience::Retry;

/// How often a request is tried.
const TRIES: u32 = 5;
/// How long the tries of one request may take together; at least two of them.
const TOTAL: Duration = Duration::from_secs(30);

/// The way to one account's SQS.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) sqs: aws_sdk_sqs::Client,
    /// How long one try may take, beside its own wait.
    pub(super) timeout: Duration,
}

impl Link {
    /// Makes a request, again if need be.
    pub(super) async fn ask<T, E, F>(
        &self,
        action: &'static str,
        request: impl Fn() -> F,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let end = Instant::now() + TOTAL.max(self.timeout * 2);
        self.call(action, self.timeout, end, request).await
    }

    /// Makes a request that SQS itself may wait so long with. Whoever asked waits as long, and for
    /// no more tries than fit beside it.
    pub(super) async fn poll<T, E, F>(
        &self,
        action: &'static str,
        wait: Duration,
        request: impl Fn() -> F,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let whole = wait + self.timeout;
        self.call(action, whole, Instant::now() + whole, request)
            .await
    }

    async fn call<T, E, F>(
        &self,
        action: &'static str,
        each: Duration,
        end: Instant,
        request: impl Fn() -> F,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match timeout(each, request()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error::of_request(action, &error),
                Err(_) => error::timed_out(action),
            };
            let pause = pause(tried, error.kind());
            if !error.retryable() || tried >= TRIES || Instant::now() + pause >= end {
                return Err(error);
            }
            tracing::debug!(action, tried, %error, "a request to SQS is made again");
            sleep(pause).await;
        }
    }
}

/// How long to wait after the n-th failure. Who is asked to slow down begins with a second.
pub(super) fn pause(tried: u32, kind: ErrorKind) -> Duration {
    let further = if kind == ErrorKind::Throttled { 3 } else { 0 };
    Retry::default().delay(tried + further)
}

/// Whether the entries of a batch that failed so are tried again.
pub(super) fn again(tried: u32) -> bool {
    tried < TRIES
}
