//! Messages that were received ahead. Those of one session go out in order, the sessions, and the
//! messages of none, take turns.
//!
//! Of an ordered session one message is in hand at a time. Where sessions are fair groups there may be
//! more, up to a number if one is given, and messages of none are one more group, without a number.
//!
//! Invariant: a lane is in `lanes` while one of its messages is in hand or waits; it is in `ready`
//! exactly while one waits that may go out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::hold::Kept;
use crate::delivery::Delivery;

#[derive(Default)]
pub(super) struct Buffer {
    ready: VecDeque<Next>,
    lanes: HashMap<Arc<str>, Lane>,
    /// Of fair groups.
    groups: Option<Groups>,
    count: usize,
    bytes: u64,
    /// What can be taken now, and its bytes.
    ready_count: usize,
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
    /// Of an ordered session one; more only while the end of an earlier one is still on its way here.
    in_hand: u32,
}

/// How fair groups share.
struct Groups {
    /// How many of a group may be in hand.
    most: u32,
    /// The lane of messages without a group. No group has this name.
    none: Arc<str>,
    /// Groups that have as many here, in hand or waiting, as may be in hand.
    full: Arc<HashSet<Arc<str>>>,
}

impl Groups {
    fn new(most: Option<NonZeroU32>) -> Self {
        Self {
            most: most.map_or(u32::MAX, NonZeroU32::get),
            none: "".into(),
            full: Arc::default(),
        }
    }

    /// Notes whether a group is full. Answers whether it was and is not any more.
    fn note(&mut self, group: &Arc<str>, lane: Option<&Lane>) -> bool {
        if self.most == u32::MAX || group.is_empty() {
            return false;
        }
        let here = lane.map_or(0, |lane| lane.in_hand as usize + lane.waiting.len());
        match (here >= self.most as usize, self.full.contains(group)) {
            (true, false) => {
                Arc::make_mut(&mut self.full).insert(group.clone());
                false
            }
            (false, true) => Arc::make_mut(&mut self.full).remove(group),
            _ => false,
        }
    }
}

fn bytes(delivery: &Delivery) -> u64 {
    delivery.message().bytes() as u64
}

impl Lane {
    /// Those that wait and may go out, where so many may be in hand.
    fn open(&self, most: u32) -> usize {
        let room = most.saturating_sub(self.in_hand) as usize;
        room.min(self.waiting.len())
    }

    /// Their number and bytes.
    fn open_load(&self, most: u32) -> (usize, u64) {
        let open = self.open(most);
        (open, self.waiting.iter().take(open).map(bytes).sum())
    }
}

impl Buffer {
    /// For messages whose sessions are fair groups, with at most so many of each in hand.
    pub(super) fn of_groups(most: Option<NonZeroU32>) -> Self {
        Self {
            groups: Some(Groups::new(most)),
            ..Self::default()
        }
    }

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
        self.ready_count
    }

    /// How many bytes they have.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    /// The groups of which no more is wanted, if there are such.
    pub(super) fn full_groups(&self) -> Option<Arc<HashSet<Arc<str>>>> {
        let full = &self.groups.as_ref()?.full;
        (!full.is_empty()).then(|| full.clone())
    }

    /// The bytes of the message that is taken next.
    pub(super) fn next_bytes(&self) -> Option<u64> {
        self.ready.front().map(|next| match next {
            Next::Message(delivery) => bytes(delivery),
            Next::Lane(session) => {
                let lane = self.lanes.get(session);
                lane.and_then(|lane| lane.waiting.front()).map_or(0, bytes)
            }
        })
    }

    /// How many of this lane may be in hand.
    fn most(&self, lane: &str) -> u32 {
        match &self.groups {
            None => 1,
            Some(_) if lane.is_empty() => u32::MAX,
            Some(groups) => groups.most,
        }
    }

    /// Adds a message behind those that came before.
    pub(super) fn push(&mut self, delivery: Delivery) {
        let bytes = bytes(&delivery);
        self.count += 1;
        self.bytes += bytes;
        let session = delivery.properties().session.clone();
        let none = || self.groups.as_ref().map(|groups| groups.none.clone());
        let Some(session) = session.or_else(none) else {
            self.ready_count += 1;
            self.ready_bytes += bytes;
            self.ready.push_back(Next::Message(delivery));
            return;
        };
        let most = self.most(&session);
        let lane = self.lanes.entry(session.clone()).or_default();
        let before = lane.open(most);
        lane.waiting.push_back(delivery);
        if lane.open(most) > before {
            self.ready_count += 1;
            self.ready_bytes += bytes;
        }
        if let Some(groups) = &mut self.groups {
            groups.note(&session, Some(lane));
        }
        if before == 0 && lane.open(most) > 0 {
            self.ready.push_back(Next::Lane(session));
        }
    }

    /// Takes the next message; its session has one more in hand now.
    pub(super) fn take(&mut self) -> Option<Delivery> {
        let delivery = match self.ready.pop_front()? {
            Next::Message(delivery) => delivery,
            Next::Lane(session) => {
                let most = self.most(&session);
                let lane = self.lanes.get_mut(&session)?;
                let delivery = lane.waiting.pop_front()?;
                // Nobody counts those without a group, for as many as like may be in hand.
                lane.in_hand += u32::from(!session.is_empty());
                if lane.open(most) > 0 {
                    self.ready.push_back(Next::Lane(session));
                } else if lane.in_hand == 0 {
                    self.lanes.remove(&session);
                }
                delivery
            }
        };
        let bytes = bytes(&delivery);
        self.count -= 1;
        self.bytes -= bytes;
        self.ready_count -= 1;
        self.ready_bytes -= bytes;
        Some(delivery)
    }

    /// A message that did not wait here was handed out.
    pub(super) fn handed_out(&mut self, delivery: &Delivery) {
        let Some(session) = &delivery.properties().session else {
            return;
        };
        let most = self.most(session);
        let lane = self.lanes.entry(session.clone()).or_default();
        let (count, bytes) = lane.open_load(most);
        lane.in_hand += 1;
        let (left, bytes_left) = lane.open_load(most);
        self.ready_count -= count - left;
        self.ready_bytes -= bytes - bytes_left;
        if let Some(groups) = &mut self.groups {
            groups.note(session, Some(lane));
        }
        if count > 0 && left == 0 {
            self.leave_ready(session);
        }
    }

    /// A message of this session that was in hand has ended: the next may go out, or, if they must not
    /// overtake it, those that wait are given up. Answers also whether more of its group is wanted
    /// now.
    pub(super) fn ended(&mut self, session: &Arc<str>, go_on: bool) -> (VecDeque<Delivery>, bool) {
        let most = self.most(session);
        let Some(lane) = self.lanes.get_mut(session) else {
            return (VecDeque::new(), false);
        };
        let before = lane.open(most);
        lane.in_hand = lane.in_hand.saturating_sub(1);
        let mut given_up = VecDeque::new();
        if !go_on {
            // Only ordered sessions give up what waits, and of those nothing that waits is open while
            // one is in hand.
            given_up = std::mem::take(&mut lane.waiting);
        }
        let open = lane.open(most);
        if open > before {
            self.ready_count += open - before;
            self.ready_bytes += lane.waiting.range(before..open).map(bytes).sum::<u64>();
        }
        let wanted = match &mut self.groups {
            Some(groups) => groups.note(session, Some(lane)),
            None => false,
        };
        if before == 0 && open > 0 {
            self.ready.push_back(Next::Lane(session.clone()));
        } else if lane.in_hand == 0 && lane.waiting.is_empty() {
            self.lanes.remove(session);
        }
        self.count -= given_up.len();
        self.bytes -= given_up.iter().map(bytes).sum::<u64>();
        (given_up, wanted)
    }

    fn leave_ready(&mut self, session: &str) {
        let is_it = |next: &Next| matches!(next, Next::Lane(of) if **of == *session);
        self.ready.retain(|next| !is_it(next));
    }

    /// Whether messages of this session wait or are in hand.
    pub(super) fn has(&self, session: &str) -> bool {
        self.lanes.contains_key(session)
    }

    /// How many messages of this session wait.
    pub(super) fn waiting_of(&self, session: &str) -> usize {
        self.lanes.get(session).map_or(0, |lane| lane.waiting.len())
    }

    /// Takes out what waits of this ordered session.
    pub(super) fn give_up(&mut self, session: &str) -> VecDeque<Delivery> {
        let Some(lane) = self.lanes.get_mut(session) else {
            return VecDeque::new();
        };
        let (count, open_bytes) = lane.open_load(1);
        let given_up = std::mem::take(&mut lane.waiting);
        if lane.in_hand == 0 {
            self.lanes.remove(session);
            self.leave_ready(session);
        }
        self.ready_count -= count;
        self.ready_bytes -= open_bytes;
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
        let ordered = self.groups.is_none();
        for lane in self.lanes.values_mut() {
            if !ordered {
                let (old, rest) = lane.waiting.drain(..).partition(is_stale);
                stale.extend::<Vec<_>>(old);
                lane.waiting = Vec::into(rest);
            } else if let Some(first) = lane.waiting.iter().position(is_stale) {
                stale.extend(lane.waiting.drain(first..));
            }
        }
        self.count -= stale.len();
        self.bytes -= stale.iter().map(bytes).sum::<u64>();
        self.recount();
        stale
    }

    /// Everything that waits.
    pub(super) fn drain(&mut self) -> Vec<Delivery> {
        self.count = 0;
        self.bytes = 0;
        let mut all = Vec::new();
        for next in self.ready.drain(..) {
            if let Next::Message(delivery) = next {
                all.push(delivery);
            }
        }
        for lane in self.lanes.values_mut() {
            all.extend(lane.waiting.drain(..));
        }
        self.recount();
        all
    }

    /// Makes what is known of the lanes true again after much was taken out of them.
    fn recount(&mut self) {
        let mut lanes = std::mem::take(&mut self.lanes);
        lanes.retain(|_, lane| lane.in_hand > 0 || !lane.waiting.is_empty());
        let mut ready = std::mem::take(&mut self.ready);
        let open = |session: &Arc<str>| {
            let lane = lanes.get(session);
            lane.map_or((0, 0), |lane| lane.open_load(self.most(session)))
        };
        let (mut count, mut load) = (0, 0);
        ready.retain(|next| {
            let (messages, all) = match next {
                Next::Message(delivery) => (1, bytes(delivery)),
                Next::Lane(session) => open(session),
            };
            count += messages;
            load += all;
            messages > 0
        });
        (self.ready, self.ready_count, self.ready_bytes) = (ready, count, load);
        if let Some(groups) = &mut self.groups {
            Arc::make_mut(&mut groups.full).clear();
            for (group, lane) in &lanes {
                groups.note(group, Some(lane));
            }
        }
        self.lanes = lanes;
    }
}
