//! A result that is there already, or comes later. What a provider can answer at once costs
//! neither an allocation nor a wake-up, in any language.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use smallvec::SmallVec;

use crate::error::{Error, Result};

/// Several of something; one of it takes no allocation.
pub type Batch<T> = SmallVec<[T; 1]>;

/// The answer of a provider to a verb: the verb has begun when this is returned, and a future
/// that is dropped gives back what it took.
#[must_use = "a reply does nothing more unless awaited"]
pub struct Reply<T>(Answer<T>);

enum Answer<T> {
    Now(Option<Result<T>>),
    Later(Pin<Box<dyn Future<Output = Result<T>> + Send>>),
}

impl<T> Reply<T> {
    /// The answer is there.
    pub fn now(result: Result<T>) -> Self {
        Self(Answer::Now(Some(result)))
    }

    /// The answer is this error.
    pub fn error(error: Error) -> Self {
        Self::now(Err(error))
    }

    /// The answer comes from this future.
    pub fn later(future: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self(Answer::Later(Box::pin(future)))
    }

    /// The answer if it is there, else the reply again, to be awaited.
    pub fn try_now(self) -> Result<Result<T>, Self> {
        match self.0 {
            Answer::Now(Some(result)) => Ok(result),
            other => Err(Self(other)),
        }
    }
}

impl<T> Unpin for Reply<T> {}

impl<T> Future for Reply<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        match &mut self.0 {
            Answer::Now(result) => Poll::Ready(result.take().unwrap_or_else(|| {
                Err(Error::new(
                    crate::ErrorKind::Panic,
                    "a reply was polled again after its end",
                ))
            })),
            Answer::Later(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Answer::Now(_) => "Reply::now",
            Answer::Later(_) => "Reply::later",
        })
    }
}
