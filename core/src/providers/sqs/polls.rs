//! Polls on their way, and what they bring.
//!
//! A poll that was begun is never cut off: SQS may have answered already, and the messages in an
//! answer that nobody reads would be hidden from everybody until their locks end. So when the
//! receive that began a poll goes away, the poll stays, and the next receive takes it over. What
//! arrives with nobody waiting is kept for a moment and then given back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::provider::Received;

/// How long messages wait for a receive before they are given back.
pub(super) const LINGER: Duration = Duration::from_millis(250);

/// What a poll brought.
pub(super) struct Arrival {
    pub(super) poll: u64,
    pub(super) brought: Result<Brought>,
}

pub(super) struct Brought {
    pub(super) messages: Vec<Box<Received>>,
    /// Whether SQS gave all that was asked for: there is more.
    pub(super) full: bool,
}

/// The polls of one queue.
#[derive(Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// Something was put aside.
    arrived: Notify,
}

#[derive(Default)]
struct State {
    last: u64,
    polls: HashMap<u64, Poll>,
    aside: VecDeque<Aside>,
    /// What the last poll that nobody waited for failed with, and when.
    failure: Option<(Error, Tick)>,
}

struct Poll {
    part: usize,
    lock: u32,
    /// `None` when the receive that began it went away.
    owner: Option<mpsc::UnboundedSender<Arrival>>,
}

/// A message with nobody waiting for it.
struct Aside {
    received: Box<Received>,
    lock: u32,
    since: Tick,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a poll that begins.
    pub(super) fn begin(
        &self,
        part: usize,
        lock: u32,
        owner: &mpsc::UnboundedSender<Arrival>,
    ) -> u64 {
        let mut state = self.state();
        state.last += 1;
        let poll = state.last;
        state.polls.insert(
            poll,
            Poll {
                part,
                lock,
                owner: Some(owner.clone()),
            },
        );
        poll
    }

    /// Takes over a poll that nobody waits for.
    pub(super) fn adopt(
        &self,
        part: usize,
        lock: u32,
        owner: &mpsc::UnboundedSender<Arrival>,
    ) -> Option<u64> {
        let mut state = self.state();
        let fits = |poll: &Poll| poll.owner.is_none() && (poll.part, poll.lock) == (part, lock);
        let (number, poll) = state.polls.iter_mut().find(|(_, poll)| fits(poll))?;
        poll.owner = Some(owner.clone());
        Some(*number)
    }

    /// Leaves polls to whoever comes next.
    pub(super) fn leave(&self, polls: &[u64]) {
        let mut state = self.state();
        for poll in polls {
            if let Some(poll) = state.polls.get_mut(poll) {
                poll.owner = None;
            }
        }
    }

    /// Whether there are polls that nobody waits for.
    pub(super) fn has_left(&self) -> bool {
        self.state().polls.values().any(|poll| poll.owner.is_none())
    }

    /// Ends a poll. Answers what nobody waits for.
    pub(super) fn end(&self, poll: u64, brought: Result<Brought>, now: Tick) -> Vec<Box<Received>> {
        let mut state = self.state();
        let owner = state.polls.remove(&poll).and_then(|poll| poll.owner);
        let arrival = Arrival { poll, brought };
        let unread = match owner {
            Some(owner) => owner.send(arrival).err().map(|unread| unread.0),
            None => Some(arrival),
        };
        match unread.map(|arrival| arrival.brought) {
            Some(Ok(brought)) => return brought.messages,
            Some(Err(error)) => state.failure = Some((error, now)),
            None => {}
        }
        Vec::new()
    }

    /// What a poll has just failed with that nobody waited for: it is for the next receive.
    pub(super) fn take_failure(&self, now: Tick) -> Option<Error> {
        let (error, at) = self.state().failure.take()?;
        (now.since(at) < LINGER).then_some(error)
    }

    /// Keeps messages for a moment.
    pub(super) fn put_aside(&self, messages: Vec<Box<Received>>, lock: u32, now: Tick) {
        let mut state = self.state();
        let aside = |received| Aside {
            received,
            lock,
            since: now,
        };
        state.aside.extend(messages.into_iter().map(aside));
        drop(state);
        self.arrived.notify_waiters();
    }

    /// Takes up to so many of the messages that are kept, if they are locked as long as asked.
    pub(super) fn take_aside(
        &self,
        most: usize,
        lock: u32,
        fits: impl Fn(&Received) -> bool,
    ) -> Vec<Box<Received>> {
        let mut state = self.state();
        let mut taken = Vec::new();
        let mut at = 0;
        while at < state.aside.len() && taken.len() < most {
            let aside = &state.aside[at];
            if aside.lock == lock && fits(&aside.received) {
                taken.extend(state.aside.remove(at).map(|aside| aside.received));
            } else {
                at += 1;
            }
        }
        taken
    }

    /// Takes what was kept since then or before.
    pub(super) fn take_stale(&self, since: Tick) -> Vec<Box<Received>> {
        let mut state = self.state();
        let (stale, fresh) = std::mem::take(&mut state.aside)
            .into_iter()
            .partition(|aside| aside.since <= since);
        state.aside = fresh;
        let stale: VecDeque<Aside> = stale;
        stale.into_iter().map(|aside| aside.received).collect()
    }

    /// Ends when something is put aside from now on.
    pub(super) fn arrived(&self) -> tokio::sync::futures::Notified<'_> {
        self.arrived.notified()
    }
}
