//! Sessions: ordered groups with one holder at a time.

mod hold;
mod key;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::consumer::{Consumer, ConsumerOptions};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::provider::{Moment, SessionLock};
use crate::queue::{Queue, ReceiveOptions, same};
use crate::reply::Reply;
pub(crate) use hold::SessionHold;
pub use key::SessionKey;

/// A held session: its messages come in order, to this holder alone, until it is closed, dropped
/// or its lock ends. Not to be cloned; any thread.
#[must_use = "a session that is dropped is let go"]
pub struct Session(Arc<SessionHold>);

impl Session {
    pub(crate) fn new(queue: Queue, lock: SessionLock) -> Self {
        Self(Arc::new(SessionHold::new(queue, lock)))
    }

    pub(crate) fn into_hold(self) -> Arc<SessionHold> {
        self.0
    }

    fn queue(&self) -> &Queue {
        self.0.queue()
    }

    /// Which session.
    pub fn id(&self) -> &str {
        &self.0.lock().id
    }

    /// When the lock ends, unless renewed.
    pub fn locked_until(&self) -> Timestamp {
        self.queue().timestamp(Moment::Tick(self.0.until()))
    }

    /// Receives messages of this session, in order. As [`Queue::receive`] otherwise.
    /// `SessionLockLost` once the lock has ended.
    pub async fn receive(&self, options: &ReceiveOptions) -> Result<Vec<Delivery>> {
        self.start_receive(options).await
    }

    /// [`Session::receive`], started at once: for what stands on the core.
    #[doc(hidden)]
    pub fn start_receive(&self, options: &ReceiveOptions) -> Reply<Vec<Delivery>> {
        let queue = self.queue();
        let request = self
            .0
            .check_open()
            .and_then(|()| options.request(Some(Box::new(self.0.lock().clone()))));
        match queue.placed("receive", request) {
            Ok(request) => {
                let keep = options.keep(queue.definition().lock);
                queue.start_request(request, keep)
            }
            Err(error) => Reply::error(error),
        }
    }

    /// Receives from this session alone until it is drained or dropped, the session's lock kept.
    /// When that is lost, what is in hand is cancelled, the consumer ends, and its status has the
    /// failure. The session is let go when both it and the consumer are gone, or at its `close`.
    /// Not with what is of a pool: `max_sessions` and the `session_...` options.
    pub fn consume(&self, options: ConsumerOptions) -> Result<Consumer> {
        let started = self
            .0
            .check_open()
            .and_then(|()| Consumer::start_of(self.0.clone(), options));
        self.queue().placed("consume", started)
    }

    /// Keeps the session, and all its deliveries, for its lock time from now.
    pub async fn renew(&self) -> Result<()> {
        self.renew_for(None).await
    }

    /// Keeps the session, and all its deliveries, for this long from now, or its lock time.
    pub async fn renew_for(&self, lock: Option<Duration>) -> Result<()> {
        self.0.renew(lock).await
    }

    /// The bytes kept with this session, across holders.
    pub async fn state(&self) -> Result<Option<Bytes>> {
        let queue = self.queue();
        queue.placed("session_state", self.0.check_open())?;
        let reply = queue.provider().session_state(self.0.lock().clone());
        queue.finish("session_state", reply, same).await
    }

    /// Keeps these bytes with this session; `None` removes them.
    pub async fn set_state(&self, state: Option<Bytes>) -> Result<()> {
        let queue = self.queue();
        queue.placed("set_session_state", self.0.check_open())?;
        let lock = self.0.lock().clone();
        let reply = queue.provider().set_session_state(lock, state);
        queue.finish("set_session_state", reply, same).await
    }

    /// Lets go of the session. What is not settled goes back to its place, its attempt used;
    /// release it first to give the attempt back.
    /// Closing again does nothing.
    pub async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("queue", &self.queue().name())
            .field("id", &self.id())
            .finish()
    }
}
