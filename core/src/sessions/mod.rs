//! Sessions: ordered groups with one holder at a time.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::provider::{Moment, SessionLock};
use crate::queue::{Queue, ReceiveOptions, check_lock_argument, same};
use crate::reply::Reply;

/// A held session: its messages come in order, to this holder alone, until it is closed, dropped
/// or its lock ends. Not to be cloned; any thread.
#[must_use = "a session that is dropped is let go"]
pub struct Session {
    queue: Queue,
    lock: SessionLock,
    until: Mutex<Moment>,
    closed: AtomicBool,
}

impl Session {
    pub(crate) fn new(queue: Queue, lock: SessionLock) -> Self {
        let until = Mutex::new(lock.locked_until);
        Self {
            queue,
            lock,
            until,
            closed: AtomicBool::new(false),
        }
    }

    /// Which session.
    pub fn id(&self) -> &str {
        &self.lock.id
    }

    /// When the lock ends, unless renewed.
    pub fn locked_until(&self) -> Timestamp {
        let until = *self.until.lock().unwrap_or_else(|e| e.into_inner());
        self.queue.timestamp(until)
    }

    /// Receives messages of this session, in order. As [`Queue::receive`] otherwise.
    /// `SessionLockLost` once the lock has ended.
    pub async fn receive(&self, options: &ReceiveOptions) -> Result<Vec<Delivery>> {
        self.start_receive(options).await
    }

    /// [`Session::receive`], started at once: for what stands on the core.
    #[doc(hidden)]
    pub fn start_receive(&self, options: &ReceiveOptions) -> Reply<Vec<Delivery>> {
        let request = self
            .check_open()
            .and_then(|()| options.request(Some(Box::new(self.lock.clone()))));
        match self.queue.placed("receive", request) {
            Ok(request) => {
                let keep = options.keep(self.queue.definition().lock);
                self.queue.start_request(request, keep)
            }
            Err(error) => Reply::error(error),
        }
    }

    /// Keeps the session, and all its deliveries, for its lock time from now.
    pub async fn renew(&self) -> Result<()> {
        self.renew_for(None).await
    }

    /// Keeps the session, and all its deliveries, for this long from now, or its lock time.
    pub async fn renew_for(&self, lock: Option<Duration>) -> Result<()> {
        let checked = self
            .check_open()
            .and_then(|()| lock.map_or(Ok(()), check_lock_argument));
        self.queue.placed("renew_session", checked)?;
        let reply = self.queue.provider().renew_session(self.lock.clone(), lock);
        let until = self.queue.finish("renew_session", reply, same).await?;
        *self.until.lock().unwrap_or_else(|e| e.into_inner()) = until;
        Ok(())
    }

    /// The bytes kept with this session, across holders.
    pub async fn state(&self) -> Result<Option<Bytes>> {
        self.queue.placed("session_state", self.check_open())?;
        let reply = self.queue.provider().session_state(self.lock.clone());
        self.queue.finish("session_state", reply, same).await
    }

    /// Keeps these bytes with this session; `None` removes them.
    pub async fn set_state(&self, state: Option<Bytes>) -> Result<()> {
        self.queue.placed("set_session_state", self.check_open())?;
        let reply = self
            .queue
            .provider()
            .set_session_state(self.lock.clone(), state);
        self.queue.finish("set_session_state", reply, same).await
    }

    /// Lets go of the session. What is not settled goes back to its place, its attempt used;
    /// release it first to give the attempt back.
    /// Closing again does nothing.
    pub async fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let reply = self.queue.provider().close_session(self.lock.clone());
        self.queue
            .placed("close_session", self.queue.check_open())?;
        self.queue.finish("close_session", reply, same).await
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed("session"));
        }
        self.queue.check_open()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::Acquire) {
            let reply = self.queue.provider().close_session(self.lock.clone());
            self.queue.detach(reply);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("queue", &self.queue.name())
            .field("id", &self.lock.id)
            .finish()
    }
}
