//! Sessions on FIFO queues: a session is a message group.
//!
//! SQS gives out no message of a group while others of it are in flight, so a group's messages are
//! never in two hands at a time. It cannot be asked for one group: whichever comes is the session
//! that was accepted. Within this process a session has one holder; between the messages of a
//! session another process may be the next to get one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::receive::Visit;
use super::work::{Work, seconds};
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::{Moment, Received, SessionLock};
use crate::settlement::Receipt;

/// Messages without a session that an accept sets aside at most before it gives up.
const MOST_OTHERS: usize = 10;

/// The sessions held in this process.
#[derive(Default)]
pub(super) struct Sessions {
    table: Mutex<Table>,
    /// Something of a session was settled, or came.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    last: u64,
    held: HashMap<Arc<str>, Holding>,
}

struct Holding {
    number: u64,
    until: Tick,
    /// What came for the holder and was not fetched yet.
    waiting: VecDeque<Box<Received>>,
}

impl Sessions {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the holders that wait for SQS to go on with their groups.
    pub(super) fn something_settled(&self) {
        self.changed.notify_waiters();
    }

    /// `SessionLockLost`, unless this session is still held.
    pub(super) fn check(&self, number: u64, now: Tick) -> Result<()> {
        let mut table = self.table();
        table.held.retain(|_, holding| holding.until > now);
        match table.held.values().any(|holding| holding.number == number) {
            true => Ok(()),
            false => Err(lost()),
        }
    }

    fn take_waiting(&self, number: u64, most: usize) -> Vec<Box<Received>> {
        let mut table = self.table();
        let holding = table
            .held
            .values_mut()
            .find(|holding| holding.number == number);
        let Some(holding) = holding else {
            return Vec::new();
        };
        let most = most.min(holding.waiting.len());
        holding.waiting.drain(..most).collect()
    }
}

/// Messages that are not what was looked for. They are put aside when the look is over.
struct Others {
    work: Arc<Work>,
    lock: u32,
    messages: Vec<Box<Received>>,
}

impl Drop for Others {
    fn drop(&mut self) {
        self.work
            .put_aside(std::mem::take(&mut self.messages), self.lock);
    }
}

impl Work {
    /// Gives the messages of held sessions to their holders. Answers the others.
    pub(super) fn deal(&self, messages: Vec<Box<Received>>) -> Vec<Box<Received>> {
        let now = self.now();
        let mut table = self.shared.sessions.table();
        let mut others = Vec::with_capacity(messages.len());
        let mut dealt = false;
        for message in messages {
            let session = message.message.properties().session.clone();
            match session.and_then(|session| table.held.get_mut(&session)) {
                Some(holding) if holding.until > now => {
                    self.belongs(&message, holding.number);
                    holding.waiting.push_back(message);
                    dealt = true;
                }
                _ => others.push(message),
            }
        }
        drop(table);
        if dealt {
            self.shared.sessions.changed.notify_waiters();
        }
        others
    }

    fn belongs(&self, message: &Received, session: u64) {
        if let Receipt::Text(handle) = &message.receipt {
            self.shared
                .in_flight
                .change(handle, |held| held.session = Some(session));
        }
    }

    /// Takes whichever session has work.
    pub(super) async fn accept_next(
        self: Arc<Self>,
        wait: Duration,
        lock: u32,
    ) -> Result<Option<SessionLock>> {
        let deadline = self.now() + wait;
        let has_session = |message: &Received| message.message.properties().session.is_some();
        let mut others = Others {
            work: self.clone(),
            lock,
            messages: Vec::new(),
        };
        let mut found = None;
        while found.is_none() && others.messages.len() < MOST_OTHERS {
            let left = deadline.since(self.now());
            // One at a time: what else came would hold up other sessions.
            let came = Visit::new(&self, lock).gather(1, left, has_session).await?;
            let nothing = came.is_empty();
            for message in came {
                match has_session(&message) {
                    true => found = Some(message),
                    false => others.messages.push(message),
                }
            }
            if nothing {
                break;
            }
        }
        Ok(found.map(|message| self.hold(message, lock)))
    }

    fn hold(&self, message: Box<Received>, lock: u32) -> SessionLock {
        let id = message
            .message
            .properties()
            .session
            .clone()
            .unwrap_or_default();
        let more = |other: &Received| other.message.properties().session.as_ref() == Some(&id);
        let mut waiting = VecDeque::from([message]);
        waiting.extend(self.shared.desk.take_aside(usize::MAX, lock, more));
        let until = self.now() + Duration::from_secs(u64::from(lock));
        let mut table = self.shared.sessions.table();
        table.last += 1;
        let number = table.last;
        for message in &waiting {
            self.belongs(message, number);
        }
        table.held.insert(
            id.clone(),
            Holding {
                number,
                until,
                waiting,
            },
        );
        SessionLock {
            id,
            receipt: receipt(number),
            locked_until: Moment::Tick(until),
        }
    }

    /// Receives messages of a held session.
    pub(super) async fn receive_from(
        self: Arc<Self>,
        session: SessionLock,
        most: usize,
        wait: Duration,
        lock: u32,
    ) -> Result<Vec<Box<Received>>> {
        let number = self.number(&session)?;
        let deadline = self.now() + wait;
        loop {
            let changed = self.shared.sessions.changed.notified();
            self.shared.sessions.check(number, self.now())?;
            let waiting = self.shared.sessions.take_waiting(number, most);
            if !waiting.is_empty() {
                return Ok(waiting);
            }
            let left = deadline.since(self.now());
            if !self.shared.in_flight.of_session(number).is_empty() {
                // SQS gives no more of a group while some of it is in hand.
                tokio::select! {
                    () = changed => continue,
                    () = self.tasks.sleep_until(deadline) => return Ok(Vec::new()),
                }
            }
            let others = tokio::select! {
                biased;
                () = changed => continue,
                others = Visit::new(&self, lock).gather(1, left, |_| false) => others?,
            };
            // Another session came first. Who holds this one learns that it has no work now.
            self.put_aside(others, lock);
            return Ok(self.shared.sessions.take_waiting(number, most));
        }
    }

    /// Keeps a session and all that was handed over in it.
    pub(super) async fn renew(self: &Arc<Self>, number: u64, lock: Duration) -> Result<Moment> {
        self.shared.sessions.check(number, self.now())?;
        let until = self.now() + Duration::from_secs(u64::from(seconds(lock)));
        let handles = self.shared.in_flight.of_session(number);
        for part in 0..self.shared.parts.len() {
            let of_it = handles
                .iter()
                .filter(|handle| self.shared.in_flight.part(handle) == Some(part));
            let changes: Vec<_> = of_it
                .map(|handle| (handle.clone(), seconds(lock)))
                .enumerate()
                .collect();
            if changes.is_empty() {
                continue;
            }
            let url = self.remote(part).await?.url.clone();
            for (_, result) in self.change(&url, changes).await {
                result?;
            }
        }
        for handle in &handles {
            self.shared
                .in_flight
                .change(handle, |held| held.until = until);
        }
        let mut table = self.shared.sessions.table();
        let holding = table
            .held
            .values_mut()
            .find(|holding| holding.number == number);
        holding.ok_or_else(lost)?.until = until;
        Ok(Moment::Tick(until))
    }

    /// Lets go of a session: what nobody fetched goes back unblamed, what is in hand goes back.
    pub(super) async fn close_session(self: Arc<Self>, session: SessionLock) -> Result<()> {
        let number = self.number(&session)?;
        self.shared.sessions.check(number, self.now())?;
        let waiting = self.shared.sessions.take_waiting(number, usize::MAX);
        self.shared
            .sessions
            .table()
            .held
            .retain(|_, holding| holding.number != number);
        self.shared.sessions.something_settled();
        let waiting = waiting
            .iter()
            .map(|message| message.receipt.clone())
            .collect();
        self.give_back(waiting).await;
        self.back(self.shared.in_flight.take_session(number)).await;
        Ok(())
    }

    pub(super) fn number(&self, session: &SessionLock) -> Result<u64> {
        let number = match &session.receipt {
            Receipt::Text(text) => text
                .strip_prefix(SESSION)
                .and_then(|number| number.parse().ok()),
            _ => None,
        };
        number.ok_or_else(lost)
    }
}

const SESSION: &str = "session ";

fn receipt(number: u64) -> Receipt {
    Receipt::Text(format!("{SESSION}{number}").into())
}

fn lost() -> Error {
    let what = "the lock of the session has ended; its messages are, or will be, somebody else's";
    Error::new(ErrorKind::SessionLockLost, what)
}
