//! Accepted sessions: who holds one, and until when.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::lanes::{Hold, Session};
use super::state::State;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{AcceptRequest, Moment, SessionLock};
use crate::providers::embedded::{foreign, hold_is_over};
use crate::settlement::{Guard, Receipt};

impl State {
    /// Takes the session of the id asked for, or else the next one that has work, or a preferred one.
    pub(super) fn accept(
        &mut self,
        request: &AcceptRequest,
        now: Tick,
    ) -> Result<Option<SessionLock>> {
        let index = match &request.id {
            None => {
                let next = match &request.prefer {
                    None => self.sessions.pop_ring(),
                    Some(prefer) => self.sessions.pop_ring_of(prefer),
                };
                match next {
                    Some(index) => index,
                    None => return Ok(None),
                }
            }
            Some(id) => {
                let index = self.sessions.find_or_add(id);
                if self.sessions[index].is_taken() {
                    return Err(taken(&self.sessions[index], now));
                }
                index
            }
        };
        Ok(Some(self.hold(index, request.lock, now)))
    }

    fn hold(&mut self, index: u32, lock: Option<Duration>, now: Tick) -> SessionLock {
        let lock = lock.unwrap_or(self.definition.lock);
        let until = self.lock_end(now, lock);
        self.last_token += 1;
        let token = self.last_token;
        let session = &mut self.sessions[index];
        session.hold = Some(Box::new(Hold {
            token,
            until,
            lock,
            wake: Arc::new(Notify::new()),
        }));
        let id = session.id.clone();
        self.holds.insert((until, index));
        self.settle_session(index);
        SessionLock {
            id,
            receipt: Receipt::Slot {
                queue: self.engine,
                slot: index,
                token,
                until,
                guard: Guard::Session,
            },
            locked_until: Moment::Tick(until),
        }
    }

    /// The slot of a session that is still its holder's.
    pub(super) fn holder(&self, lock: &SessionLock) -> Result<u32> {
        let Receipt::Slot {
            queue, slot, token, ..
        } = lock.receipt
        else {
            return Err(foreign());
        };
        if queue != self.engine {
            return Err(foreign());
        }
        let hold = self.sessions.get(slot).and_then(|s| s.hold.as_deref());
        if hold.is_some_and(|hold| hold.token == token) {
            Ok(slot)
        } else {
            Err(hold_is_over())
        }
    }

    /// What wakes the receives of a held session.
    pub(super) fn wake_of(&self, lock: &SessionLock) -> Result<Arc<Notify>> {
        let session = self.holder(lock)?;
        let hold = self.sessions[session].hold.as_ref();
        Ok(hold.map(|hold| hold.wake.clone()).unwrap_or_default())
    }

    /// Keeps a session for this long from now, or for its own lock time.
    pub(super) fn renew(
        &mut self,
        lock: &SessionLock,
        duration: Option<Duration>,
        now: Tick,
    ) -> Result<Tick> {
        let session = self.holder(lock)?;
        let own = self.sessions[session].hold.as_ref().map(|hold| hold.lock);
        let duration = duration.or(own).unwrap_or(self.definition.lock);
        Ok(self.prolong(session, duration, now))
    }

    pub(super) fn prolong(&mut self, session: u32, lock: Duration, now: Tick) -> Tick {
        let until = self.lock_end(now, lock);
        if let Some(hold) = &mut self.sessions[session].hold {
            self.holds.remove(&(hold.until, session));
            hold.until = until;
            self.holds.insert((until, session));
        }
        until
    }

    /// The session is nobody's again; what its holder had goes back to its place.
    pub(super) fn end_hold(&mut self, session: u32, now: Tick) {
        while let Some(index) = self.sessions[session].held.front() {
            self.lapse(index, now);
        }
        if let Some(hold) = self.sessions[session].hold.take() {
            self.holds.remove(&(hold.until, session));
            self.wakes.holders.push(hold.wake);
        }
        self.settle_session(session);
    }

    pub(super) fn session_state(&self, lock: &SessionLock) -> Result<Option<Bytes>> {
        let session = self.holder(lock)?;
        Ok(self.sessions[session].state.clone())
    }

    /// Keeps these bytes with the session. They count against the queue's bytes.
    pub(super) fn set_session_state(
        &mut self,
        lock: &SessionLock,
        state: Option<Bytes>,
    ) -> Result<()> {
        let session = self.holder(lock)?;
        let bytes = |state: &Option<Bytes>| state.as_ref().map_or(0, Bytes::len) as u64;
        let (old, new) = (bytes(&self.sessions[session].state), bytes(&state));
        if new > old && self.bytes - old + new > self.definition.max_bytes {
            return Err(Error::new(
                ErrorKind::Full,
                "the queue's bytes leave no room for this session state",
            ));
        }
        self.bytes = self.bytes - old + new;
        self.sessions[session].state = state;
        Ok(())
    }
}

#[cold]
fn taken(session: &Session, now: Tick) -> Error {
    let error = Error::new(
        ErrorKind::SessionLocked,
        format!(
            "the session {:?} is in another receiver's hands",
            session.id
        ),
    );
    match &session.hold {
        Some(hold) => error.with_retry_after(hold.until.since(now)),
        None => error,
    }
}
