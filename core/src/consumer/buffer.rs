//! Messages that were received ahead. Those of one session go out one at a time, in order; the
//! sessions, and the messages of none, take turns.
//!
//! Invariant: a lane is in `lanes` while one of its messages is in hand or waits; it is in `ready`
//! exactly while one waits and none is in hand.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::hold::Kept;
use crate::delivery::Delivery;

#[derive(Default)]
pub(super) struct Buffer {
    ready: VecDeque<Next>,
    lanes: HashMap<Arc<str>, Lane>,
    count: usize,
    bytes: u64,
    /// Those of what can be taken now.
    ready_bytes: u64,
}

/// What goes out next.
enum Next {
    Message(Delivery),
    Lane(Arc<str>),
}

/// The messages of one session.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Delivery>,
    /// One; more only while the end of an earlier one is still on its way here.
    in_hand: u32,
}

fn bytes(delivery: &Delivery) -> u64 {
    delivery.message().bytes() as u64
}

impl Buffer {
    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// How many bytes they have.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is something to take.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many messages can be taken now.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many bytes they have.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    /// The bytes of the message that is taken next.
    pub(super) fn next_bytes(&self) -> Option<u64> {
        self.ready.front().map(|next| self.bytes_of(next))
    }

    fn bytes_of(&self, next: &Next) -> u64 {
        match next {
            Next::Message(delivery) => bytes(delivery),
            Next::Lane(session) => {
                let first = self
                    .lanes
                    .get(session)
                    .and_then(|lane| lane.waiting.front());
                first.map_or(0, bytes)
            }
        }
    }

    /// Adds a message behind those that came before.
    pub(super) fn push(&mut self, delivery: Delivery) {
        let bytes = bytes(&delivery);
        self.count += 1;
        self.bytes += bytes;
        let Some(session) = delivery.properties().session.clone() else {
            self.ready_bytes += bytes;
            self.ready.push_back(Next::Message(delivery));
            return;
        };
        let lane = self.lanes.entry(session.clone()).or_default();
        lane.waiting.push_back(delivery);
        if lane.waiting.len() == 1 && lane.in_hand == 0 {
            self.ready_bytes += bytes;
            self.ready.push_back(Next::Lane(session));
        }
    }

    /// Takes the next message; its session has one in hand now.
    pub(super) fn take(&mut self) -> Option<Delivery> {
        let delivery = match self.ready.pop_front()? {
            Next::Message(delivery) => delivery,
            Next::Lane(session) => {
                let lane = self.lanes.get_mut(&session)?;
                lane.in_hand += 1;
                lane.waiting.pop_front()?
            }
        };
        let bytes = bytes(&delivery);
        self.count -= 1;
        self.bytes -= bytes;
        self.ready_bytes -= bytes;
        Some(delivery)
    }

    /// A message that did not wait here was handed out.
    pub(super) fn handed_out(&mut self, delivery: &Delivery) {
        if let Some(session) = &delivery.properties().session {
            self.lanes.entry(session.clone()).or_default().in_hand += 1;
        }
    }

    /// The message of this session that was in hand has ended: the next may go out, or, if they
    /// must not overtake it, those that wait are given up.
    pub(super) fn ended(&mut self, session: &Arc<str>, go_on: bool) -> VecDeque<Delivery> {
        let Some(lane) = self.lanes.get_mut(session) else {
            return VecDeque::new();
        };
        lane.in_hand = lane.in_hand.saturating_sub(1);
        let none_in_hand = lane.in_hand == 0;
        let mut given_up = VecDeque::new();
        if !go_on {
            given_up = std::mem::take(&mut lane.waiting);
        }
        if none_in_hand && let Some(next) = lane.waiting.front() {
            self.ready_bytes += bytes(next);
            self.ready.push_back(Next::Lane(session.clone()));
        } else if none_in_hand {
            self.lanes.remove(session);
        }
        self.count -= given_up.len();
        self.bytes -= given_up.iter().map(bytes).sum::<u64>();
        given_up
    }

    /// Whether messages of this session wait or are in hand.
    pub(super) fn has(&self, session: &str) -> bool {
        self.lanes.contains_key(session)
    }

    /// How many messages of this session wait.
    pub(super) fn waiting_of(&self, session: &str) -> usize {
        self.lanes.get(session).map_or(0, |lane| lane.waiting.len())
    }

    /// Takes out what waits of this session.
    pub(super) fn give_up(&mut self, session: &str) -> VecDeque<Delivery> {
        let Some(lane) = self.lanes.get_mut(session) else {
            return VecDeque::new();
        };
        let given_up = std::mem::take(&mut lane.waiting);
        if lane.in_hand == 0 {
            self.lanes.remove(session);
            self.ready_bytes -= given_up.front().map_or(0, bytes);
            self.ready
                .retain(|next| !matches!(next, Next::Lane(of) if **of == *session));
        }
        self.count -= given_up.len();
        self.bytes -= given_up.iter().map(bytes).sum::<u64>();
        given_up
    }

    /// Takes out those of one receive, and what stands behind them in their sessions.
    pub(super) fn remove_of(&mut self, kept: &Arc<Kept>) -> Vec<Delivery> {
        let mut stale = Vec::new();
        let is_stale = |delivery: &Delivery| delivery.hold().is_some_and(|hold| hold.is_of(kept));
        for next in std::mem::take(&mut self.ready) {
            match next {
                Next::Message(delivery) if is_stale(&delivery) => stale.push(delivery),
                next => self.ready.push_back(next),
            }
        }
        for lane in self.lanes.values_mut() {
            if let Some(first) = lane.waiting.iter().position(is_stale) {
                stale.extend(lane.waiting.drain(first..));
            }
        }
        let lanes = &mut self.lanes;
        lanes.retain(|_, lane| lane.in_hand > 0 || !lane.waiting.is_empty());
        self.ready.retain(|next| match next {
            Next::Message(_) => true,
            Next::Lane(session) => lanes.get(session).is_some_and(|l| !l.waiting.is_empty()),
        });
        self.count -= stale.len();
        self.bytes -= stale.iter().map(bytes).sum::<u64>();
        self.ready_bytes = self.ready.iter().map(|next| self.bytes_of(next)).sum();
        stale
    }

    /// Everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Delivery> {
        self.count = 0;
        self.bytes = 0;
        self.ready_bytes = 0;
        let plain = self.ready.drain(..).filter_map(|next| match next {
            Next::Message(delivery) => Some(delivery),
            Next::Lane(_) => None,
        });
        let mut all: Vec<_> = plain.collect();
        for lane in self.lanes.values_mut() {
            all.extend(lane.waiting.drain(..));
        }
        self.lanes.retain(|_, lane| lane.in_hand > 0);
        all
    }
}
