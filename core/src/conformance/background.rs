//! Verbs that go on while later steps run. They move only when somebody woke them: a waiter that
//! is forgotten stays pending and is found out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a step may take, in real time, before it is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A future that is polled when it was woken, and not before.
pub(super) struct Background<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    result: Option<T>,
    alarm: Arc<Alarm>,
}

impl<T> Background<T> {
    /// Polls the future for the first time.
    pub fn start(future: Pin<Box<dyn Future<Output = T> + Send>>) -> Self {
        let mut background = Self {
            future,
            result: None,
            alarm: Arc::new(Alarm {
                rung: AtomicBool::new(true),
                notify: Notify::new(),
            }),
        };
        background.advance();
        background
    }

    /// Whether the future is still to end, after every wake-up so far.
    pub fn is_pending(&mut self) -> bool {
        self.advance();
        self.result.is_none()
    }

    /// The result; `None` when nothing woke the future for long.
    pub async fn join(mut self) -> Option<T> {
        loop {
            self.advance();
            if self.result.is_some() {
                return self.result;
            }
            let rung = self.alarm.notify.notified();
            tokio::time::timeout(PATIENCE, rung).await.ok()?;
        }
    }

    fn advance(&mut self) {
        let waker = Waker::from(self.alarm.clone());
        while self.result.is_none() && self.alarm.rung.swap(false, Ordering::AcqRel) {
            let mut context = Context::from_waker(&waker);
            if let Poll::Ready(result) = self.future.as_mut().poll(&mut context) {
                self.result = Some(result);
            }
        }
    }
}

struct Alarm {
    rung: AtomicBool,
    notify: Notify,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_only_when_woken() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut background = Background::start(Box::pin(receive));
        assert!(background.is_pending());
        send.send(7).unwrap();
        assert!(!background.is_pending());
    }
}
