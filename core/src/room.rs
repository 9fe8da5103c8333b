//! Waiting for room in what is bounded, first come, first served.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::{Mutex, Notify};

/// Those who wait for room. Whoever comes while somebody waits is to wait as well.
#[derive(Default)]
pub(crate) struct Room {
    waiting: AtomicUsize,
    made: Notify,
    /// Held by the first of those who wait; the others queue up for it.
    turn: Mutex<()>,
}

impl Room {
    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// There is more room, or none is needed any more.
    pub(crate) fn made(&self) {
        if self.waiting() > 0 {
            self.made.notify_waiters();
        }
    }

    /// Tries whenever room was made, until it succeeds.
    pub(crate) async fn when<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        // Before the first attempt, so that whoever makes room after it sees that somebody waits.
        let _waiting = Waiting::start(&self.waiting);
        let _turn = self.turn.lock().await;
        loop {
            let mut made = pin!(self.made.notified());
            made.as_mut().enable();
            if let Some(done) = attempt() {
                return done;
            }
            made.await;
        }
    }
}

/// Somebody waits; ends when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn start(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
