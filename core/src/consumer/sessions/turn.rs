//! One session while a consumer holds it: its lock, and what becomes of its deliveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Tick;
use crate::consumer::shared::Shared;
use crate::error::{Error, ErrorKind};
use crate::sessions::SessionHold;
use crate::settlement::Verb;

/// After a renewal that failed, the next one comes no sooner.
const BREATH: Duration = Duration::from_millis(50);

pub(crate) struct Turn {
    hold: Arc<SessionHold>,
    pub(super) begun: Tick,
    /// Whether it was accepted for a consumer; otherwise it is somebody's who keeps it.
    pub(super) pooled: bool,
    /// One of its deliveries was handed out, or has ended.
    pub(super) changed: Notify,
    /// How many of its messages have failed. What was received before the last did must not follow
    /// it.
    failed: AtomicU64,
    let_go: AtomicBool,
    started: AtomicBool,
}

impl Turn {
    pub(super) fn new(hold: Arc<SessionHold>, pooled: bool) -> Arc<Self> {
        Arc::new(Self {
            begun: hold.queue().clock().now(),
            hold,
            pooled,
            changed: Notify::new(),
            failed: AtomicU64::new(0),
            let_go: AtomicBool::new(false),
            started: AtomicBool::new(false),
        })
    }

    pub(in crate::consumer) fn hold(&self) -> &Arc<SessionHold> {
        &self.hold
    }

    pub(in crate::consumer) fn id(&self) -> &Arc<str> {
        &self.hold.lock().id
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Acquire)
    }

    /// A delivery of it goes into somebody's hands.
    pub(in crate::consumer) fn handed_out(&self) {
        if self.pooled && !self.started.swap(true, Relaxed) {
            let queue = self.hold.queue();
            let waited = queue.clock().recent().since(self.begun);
            queue.metrics().session_started(waited);
        }
        self.changed.notify_one();
    }

    /// A delivery of it has ended. One that nobody settled is free again only when the session is.
    pub(in crate::consumer) fn ended(&self, verb: Option<&Verb>, go_on: bool) {
        if !go_on {
            self.failed.fetch_add(1, AcqRel);
        }
        if verb.is_none() {
            self.let_go.store(true, Release);
        }
        self.changed.notify_one();
    }

    /// One of its deliveries was in hand for too long.
    pub(in crate::consumer) fn let_go(&self) {
        self.let_go.store(true, Release);
        self.changed.notify_one();
    }

    /// Whether it must be let go for the sake of its messages.
    pub(super) fn is_let_go(&self) -> bool {
        self.pooled && self.let_go.load(Acquire)
    }

    /// Keeps the session's lock. Ends when that is lost.
    pub(super) async fn keep(&self, shared: &Shared) -> Error {
        use ErrorKind::{Closed, InvalidReceipt, SessionLockLost};
        let lock = shared.options.lock;
        let lock = lock.unwrap_or(shared.queue.definition().lock);
        loop {
            let (now, until) = (shared.queue.clock().now(), self.hold.until());
            let half = (until.since(now) / 2).max(BREATH.min(lock / 2));
            shared.queue.sleep_until(now + half).await;
            match self.hold.renew(Some(lock)).await {
                Ok(()) => shared.queue.metrics().renewed(),
                // It was closed, or its client: whoever did that ends the work.
                Err(error) if error.kind() == Closed => std::future::pending().await,
                Err(error)
                    if matches!(error.kind(), InvalidReceipt | SessionLockLost)
                        || self.hold.until() <= shared.queue.clock().now() =>
                {
                    return error;
                }
                // Tried again while the lock lasts.
                Err(_) => {}
            }
        }
    }
}
