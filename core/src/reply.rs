//! A result that is there already, or comes later. What a provider can answer at once costs
//! neither an allocation nor a wake-up, in any language.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::{Error, Result};

/// The answer of a provider to a verb: the verb has begun when this is returned, and a future
/// that is dropped gives back what it took.
#[must_use = "a reply does nothing more unless awaited"]
pub struct Reply<T>(Answer<T>);

enum Answer<T> {
    Now(Result<T>),
    Later(Pin<Box<dyn Future<Output = Result<T>> + Send>>),
    Taken,
}

impl<T> Reply<T> {
    /// The answer is there.
    #[inline]
    pub fn now(result: Result<T>) -> Self {
        Self(Answer::Now(result))
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
    #[inline]
    pub fn try_now(self) -> Result<Result<T>, Self> {
        match self.0 {
            Answer::Now(result) => Ok(result),
            other => Err(Self(other)),
        }
    }
}

impl<T: Send + 'static> Reply<T> {
    /// The answer, gone through a function: now if it is there, else when it comes.
    #[inline]
    pub fn map<U>(self, then: impl FnOnce(T) -> Result<U> + Send + 'static) -> Reply<U> {
        match self.try_now() {
            Ok(result) => Reply::now(result.and_then(then)),
            Err(pending) => Reply::later(async move { then(pending.await?) }),
        }
    }
}

impl<T> Unpin for Reply<T> {}

impl<T> Future for Reply<T> {
    type Output = Result<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if let Answer::Later(future) = &mut self.0 {
            return future.as_mut().poll(cx);
        }
        match std::mem::replace(&mut self.0, Answer::Taken) {
            Answer::Now(result) => Poll::Ready(result),
            _ => Poll::Ready(Err(Error::new(
                crate::ErrorKind::Panic,
                "a reply was polled again after its end",
            ))),
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Answer::Now(_) => "Reply::now",
            Answer::Later(_) => "Reply::later",
            Answer::Taken => "Reply::taken",
        })
    }
}
