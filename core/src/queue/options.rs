//! What is asked of a receive and of an accept, and within which limits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::check_lock;
use crate::consumer::{Keep, MAX_LOCK_RENEWAL};
use crate::error::{Error, Result};
use crate::provider::{ReceiveRequest, SessionLock};

/// The longest wait of a receive or accept.
const MAX_WAIT: Duration = Duration::from_secs(12 * 60 * 60);
/// The most messages one receive or peek asks for.
pub(crate) const MAX_RECEIVE: u32 = 100_000;

/// What is asked of a receive.
///
/// ```
/// # use queue_runtime_core::ReceiveOptions;
/// # use std::time::Duration;
/// let options = ReceiveOptions::new().max_messages(10).wait(Duration::from_secs(20));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveOptions {
    max_messages: u32,
    wait: Duration,
    lock: Option<Duration>,
    pub(super) keep_lock: bool,
}

impl Default for ReceiveOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveOptions {
    /// One message, waited for up to 10 seconds, locked as long as the queue says.
    pub const fn new() -> Self {
        Self {
            max_messages: 1,
            wait: Duration::from_secs(10),
            lock: None,
            keep_lock: false,
        }
    }

    /// At most this many messages.
    pub const fn max_messages(mut self, max: u32) -> Self {
        self.max_messages = max;
        self
    }

    /// How long to wait for the first message; zero looks once.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How long the messages are locked, if not as long as the queue says.
    pub const fn lock(mut self, lock: Duration) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Whether the locks of the messages are kept until each is settled or dropped, for up to 10
    /// minutes; see [`Delivery::cancelled`](crate::Delivery::cancelled).
    pub const fn keep_lock(mut self, keep: bool) -> Self {
        self.keep_lock = keep;
        self
    }

    /// Whether and how the locks are kept, in a queue of this lock.
    pub(crate) fn keep(&self, lock: Duration) -> Option<Keep> {
        self.keep_lock.then(|| Keep {
            lock: self.lock.unwrap_or(lock),
            longest: MAX_LOCK_RENEWAL,
            consumer: None,
            turn: None,
        })
    }

    #[inline]
    pub(crate) fn request(&self, session: Option<Box<SessionLock>>) -> Result<ReceiveRequest> {
        if self.max_messages == 0 || self.max_messages > MAX_RECEIVE {
            return Err(Error::invalid_argument(
                "max_messages",
                format!("must be between 1 and {MAX_RECEIVE}"),
            ));
        }
        check_wait(self.wait)?;
        if let Some(lock) = self.lock {
            check_lock_argument(lock)?;
        }
        Ok(ReceiveRequest {
            max_messages: self.max_messages,
            wait: self.wait,
            lock: self.lock,
            begin: true,
            session,
            without: None,
        })
    }
}

fn check_wait(wait: Duration) -> Result<()> {
    if wait > MAX_WAIT {
        return Err(Error::invalid_argument("wait", "must be at most 12 h"));
    }
    Ok(())
}

pub(crate) fn check_lock_argument(lock: Duration) -> Result<()> {
    check_lock("lock", lock).map_err(|e| Error::invalid_argument("lock", e.message().to_owned()))
}

/// Which session to take, and how long to wait for it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionOptions {
    pub(super) id: Option<Arc<str>>,
    pub(super) wait: Duration,
    pub(super) lock: Option<Duration>,
    pub(super) prefer: Option<Arc<HashSet<Arc<str>>>>,
}

impl SessionOptions {
    /// The session of this id, whether it has messages or not. `SessionLocked` when it is held.
    pub fn id(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: Some(id.into()),
            wait: Duration::ZERO,
            lock: None,
            prefer: None,
        }
    }

    /// Whichever session has work and no holder, waited for up to 10 seconds.
    pub fn next() -> Self {
        Self {
            id: None,
            wait: Duration::from_secs(10),
            lock: None,
            prefer: None,
        }
    }

    /// Rather one of these: for what stands on the core.
    #[doc(hidden)]
    pub fn prefer(mut self, ids: Option<Arc<HashSet<Arc<str>>>>) -> Self {
        self.prefer = ids;
        self
    }

    /// How long to wait for a session with work; zero looks once.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How long the session is locked, if not as long as the queue says.
    pub fn lock(mut self, lock: Duration) -> Self {
        self.lock = Some(lock);
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        check_wait(self.wait)?;
        self.lock.map_or(Ok(()), check_lock_argument)?;
        let Some(id) = &self.id else { return Ok(()) };
        crate::message::check_id("session", id)
            .map_err(|e| Error::invalid_argument("session", e.message().to_owned()))
    }
}
