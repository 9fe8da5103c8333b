//! Accepted sessions: who holds one, until when, and what is kept with it.

use super::append::{Of, forget};
use super::step::Step;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{AcceptRequest, SessionLock};
use crate::providers::file::index::layout::{NEVER, NIL, Session};
use crate::providers::file::index::region::Cell;
use crate::providers::file::index::{list, tree};
use crate::providers::file::log::record::{self, SessionState, nanos};
use crate::settlement::{Guard, Receipt};
use std::time::Duration;

impl Step<'_> {
    /// Takes the session of the id asked for, or else the next one that has work, or a preferred one.
    pub(in crate::providers::file) fn accept(
        &mut self,
        queue_id: u32,
        request: &AcceptRequest,
    ) -> Result<Option<SessionLock>> {
        let queue = self.queue(queue_id);
        let id = match &request.id {
            None => {
                let next = match &request.prefer {
                    None => self.pop_ring(queue),
                    Some(prefer) => self.pop_ring_of(queue, prefer),
                };
                match next {
                    Some(id) => id,
                    None => return Ok(None),
                }
            }
            Some(name) => {
                let id = self.find_or_add_session(queue_id, name)?;
                let session = self.session(id);
                if session.hold.get() != 0 || session.in_flight.get() > 0 {
                    return Err(self.taken(session));
                }
                id
            }
        };
        Ok(Some(self.hold(id, request.lock)))
    }

    fn hold(&mut self, id: u32, lock: Option<Duration>) -> SessionLock {
        let session = self.session(id);
        let queue = self.queue(session.queue.get());
        let lock = lock.map_or(queue.lock.get(), nanos);
        let until = self.lock_end(lock);
        let header = self.r.header();
        let token = header.last_token.get() + 1;
        self.set(&header.last_token, token);
        self.set(&session.hold, token);
        self.set(&session.hold_lock, lock);
        self.set(&session.holder, self.me);
        list::push_back::<list::OfHolder>(self.r, &self.member(self.me).sessions, id);
        self.set_hold_until(id, until);
        let name = session.name();
        self.settle_session(id);
        SessionLock {
            id: name.into(),
            receipt: Receipt::Slot {
                queue: queue.engine.get(),
                slot: id,
                guard: Guard::Session,
                token,
                until: Tick(until),
            },
            locked_until: self.ground.time.moment(until),
        }
    }

    fn set_hold_until(&self, id: u32, until: u64) {
        let (session, holds) = (self.session(id), &self.r.header().holds);
        if session.hold_until.get() != NEVER {
            tree::remove::<tree::Holds>(self.r, holds, id);
        }
        self.set(&session.hold_until, until);
        if until != NEVER {
            tree::insert::<tree::Holds>(self.r, holds, id);
        }
    }

    /// Keeps a session for this long from now, or for its own lock time.
    pub(in crate::providers::file) fn renew(
        &mut self,
        queue: u32,
        lock: &SessionLock,
        duration: Option<Duration>,
    ) -> Result<u64> {
        let id = self.holder(self.queue(queue), lock)?;
        let duration = duration.map_or(self.session(id).hold_lock.get(), nanos);
        Ok(self.prolong(id, duration))
    }

    pub(super) fn prolong(&mut self, id: u32, lock: u64) -> u64 {
        // `NEVER` would say that nobody holds it.
        let until = self.lock_end(lock).min(NEVER - 1);
        self.set_hold_until(id, until);
        until
    }

    /// Lets go of a session.
    pub(in crate::providers::file) fn close_session(
        &mut self,
        queue: u32,
        lock: &SessionLock,
    ) -> Result<()> {
        let id = self.holder(self.queue(queue), lock)?;
        self.end_hold_by_parts(id).map(drop)
    }

    /// The session is nobody's again; what its holder had goes back to its place. Answers whether
    /// it ended now; one with very many messages keeps what was done and goes on.
    pub(super) fn end_hold_by_parts(&mut self, id: u32) -> Result<bool> {
        let session = self.session(id);
        loop {
            let held = session.held.first.get();
            if held == NIL {
                break;
            }
            self.lapse(held);
            if !self.has_room_for_more() {
                self.keep()?;
            }
        }
        self.set_hold_until(id, NEVER);
        let holder = self.member(session.holder.get());
        list::remove::<list::OfHolder>(self.r, &holder.sessions, id);
        self.set(&session.holder, NIL);
        self.wake_holder(id);
        self.set(&session.hold, 0);
        self.settle_session(id);
        Ok(true)
    }

    /// The record of the bytes kept with a session, if there are some.
    pub(in crate::providers::file) fn session_state(
        &self,
        queue: u32,
        lock: &SessionLock,
    ) -> Result<Option<Vec<u8>>> {
        let session = self.session(self.holder(self.queue(queue), lock)?);
        if session.state.position.get() == 0 {
            return Ok(None);
        }
        self.read_place(&session.state).map(Some)
    }

    /// Keeps these bytes with the session. They count against the queue's bytes.
    pub(in crate::providers::file) fn set_session_state(
        &mut self,
        queue: u32,
        lock: &SessionLock,
        state: Option<&[u8]>,
    ) -> Result<()> {
        let queue = self.queue(queue);
        let id = self.holder(queue, lock)?;
        let session = self.session(id);
        let old = u64::from(session.state_bytes.get());
        let new = state.map_or(0, <[u8]>::len) as u64;
        if new > old && queue.bytes.get() - old + new > queue.max_bytes.get() {
            return Err(Error::new(
                ErrorKind::Full,
                "the queue's bytes leave no room for this session state",
            ));
        }
        self.set(&queue.bytes, queue.bytes.get() - old + new);
        self.set(&session.state_bytes, new as u32);
        forget(self.r, &session.state);
        let name = session.name();
        let said = SessionState {
            queue: queue.number.get(),
            id: &name,
            state,
        };
        let written = record::write_state(&mut self.batch.frame, &said);
        if state.is_some() {
            self.batch.place(Of::State(id), written);
        }
        self.lasting = true;
        Ok(())
    }

    #[cold]
    fn taken(&self, session: &Session) -> Error {
        let error = Error::new(
            ErrorKind::SessionLocked,
            format!(
                "the session {:?} is in another receiver's hands",
                session.name()
            ),
        );
        match session.hold_until.get() {
            NEVER => error,
            until => error.with_retry_after(Duration::from_nanos(until.saturating_sub(self.now))),
        }
    }
}
