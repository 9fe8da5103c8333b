//! The lock of a held session: one for the session and all its deliveries.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::provider::SessionLock;
use crate::queue::{Queue, check_lock_argument, same};

/// A held session. Whoever has it last lets it go.
pub(crate) struct SessionHold {
    queue: Queue,
    lock: SessionLock,
    until: AtomicU64,
    closed: AtomicBool,
}

impl SessionHold {
    pub(crate) fn new(queue: Queue, lock: SessionLock) -> Self {
        Self {
            until: AtomicU64::new(queue.tick(lock.locked_until).0),
            closed: AtomicBool::new(false),
            queue,
            lock,
        }
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// What proves to the provider that it is held.
    pub(crate) fn lock(&self) -> &SessionLock {
        &self.lock
    }

    /// When the lock ends, unless renewed.
    pub(crate) fn until(&self) -> Tick {
        Tick(self.until.load(Ordering::Acquire))
    }

    /// The lock was extended.
    pub(crate) fn extended(&self, until: Tick) {
        self.until.store(until.0, Ordering::Release);
    }

    /// Keeps it, and all its deliveries, for this long from now, or for its lock time.
    pub(crate) async fn renew(&self, lock: Option<Duration>) -> Result<()> {
        let checked = self
            .check_open()
            .and_then(|()| lock.map_or(Ok(()), check_lock_argument));
        self.queue.placed("renew_session", checked)?;
        let reply = self.queue.provider().renew_session(self.lock.clone(), lock);
        let until = self.queue.finish("renew_session", reply, same).await?;
        self.extended(self.queue.tick(until));
        Ok(())
    }

    /// Lets it go. Again does nothing.
    pub(crate) async fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let reply = self.queue.provider().close_session(self.lock.clone());
        self.queue
            .placed("close_session", self.queue.check_open())?;
        self.queue.finish("close_session", reply, same).await
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed("session"));
        }
        self.queue.check_open()
    }
}

impl Drop for SessionHold {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            let reply = self.queue.provider().close_session(self.lock.clone());
            self.queue.detach(reply);
        }
    }
}
