//! What a queue is, said as plainly as possible: lists, searched from end to end. Nothing here is
//! shared with the engine but the words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use queue_runtime_core::dead_letter::{REDRIVE_COUNT, reason};
use queue_runtime_core::{ErrorKind, OnExpiry, OnFailure};

use crate::ops::{Send, Settle, Setup};

/// Milliseconds since the start of the clock.
pub type Time = u64;

pub fn millis(duration: Duration) -> Time {
    u64::try_from(duration.as_millis()).unwrap()
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Ready,
    /// Sent with a delay: has no place in the order yet.
    Scheduled(Time),
    /// Given back with a delay: keeps its place.
    Away {
        due: Time,
        nacked: bool,
    },
    /// In the delivery of this number.
    InFlight(usize),
}

#[derive(Clone, Debug)]
pub struct Message {
    /// Its name in the test; also its body.
    pub number: u32,
    pub session: Option<u8>,
    pub place: u64,
    pub state: State,
    pub attempts: u32,
    pub sent: Time,
    pub ttl: Option<Duration>,
    pub redriven: u32,
    own_bytes: usize,
}

impl Message {
    fn expires(&self) -> Option<Time> {
        self.ttl.map(|ttl| self.sent + millis(ttl))
    }

    pub fn bytes(&self) -> usize {
        let count = self.redriven.to_string().len();
        let header = (self.redriven > 0) as usize * (REDRIVE_COUNT.len() + count);
        self.own_bytes + header
    }
}

#[derive(Clone, Debug)]
pub struct Dead {
    pub message: Message,
    pub reason: &'static str,
    /// The caller's own; what the engine says of its reasons is its affair.
    pub description: Option<&'static str>,
    pub died: Time,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Settled,
    LockLost,
}

/// One delivery: to whom, and how it ended.
#[derive(Debug)]
pub struct Hand {
    pub number: u32,
    /// The accepted session it belongs to; without one it has a lock of its own.
    holder: Option<usize>,
    until: Time,
    /// What the receipt itself says about the end of the lock.
    receipt_until: Time,
    end: Option<End>,
}

/// One holding of a session.
#[derive(Debug)]
pub struct Holder {
    pub session: u8,
    lock: Duration,
    until: Time,
    pub lost: bool,
}

/// What a verb must answer.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Ok,
    /// One of these kinds.
    Error(Vec<ErrorKind>),
}

/// What a receive returned, as far as the order is concerned.
#[derive(Debug)]
pub struct Seen {
    pub number: u32,
    pub attempt: u32,
}

pub struct Model {
    setup: Setup,
    pub now: Time,
    pub messages: Vec<Message>,
    pub dead: Vec<Dead>,
    pub hands: Vec<Hand>,
    pub holders: Vec<Holder>,
    pub states: BTreeMap<u8, u8>,
    /// Sessions that have been free while others were accepted.
    passed: BTreeSet<u8>,
    dedup: BTreeMap<u8, (Time, u32)>,
    pub acked: BTreeSet<u32>,
    pub expired: BTreeSet<u32>,
    pub purged: BTreeSet<u32>,
    next_number: u32,
    next_place: u64,
}

impl Model {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            now: 0,
            messages: Vec::new(),
            dead: Vec::new(),
            hands: Vec::new(),
            holders: Vec::new(),
            states: BTreeMap::new(),
            passed: BTreeSet::new(),
            dedup: BTreeMap::new(),
            acked: BTreeSet::new(),
            expired: BTreeSet::new(),
            purged: BTreeSet::new(),
            next_number: 0,
            next_place: 0,
        }
    }

    // Time.

    /// Every coming moment at which something changes by itself.
    pub fn deadlines(&self) -> Vec<Time> {
        let mut all: Vec<Time> = self.events().into_iter().map(|(at, _)| at).collect();
        all.extend(self.dedup.values().map(|(until, _)| *until));
        all.retain(|at| *at > self.now);
        all.sort();
        all.dedup();
        all
    }

    fn events(&self) -> Vec<(Time, Event)> {
        let mut events = Vec::new();
        for (h, holder) in self.holders.iter().enumerate() {
            if !holder.lost {
                events.push((holder.until, Event::HolderLost(h)));
            }
        }
        for (h, hand) in self.hands.iter().enumerate() {
            if hand.end.is_none() && hand.holder.is_none() {
                events.push((hand.until, Event::HandLost(h)));
            }
        }
        for message in &self.messages {
            let n = message.number;
            match message.state {
                State::Scheduled(due) | State::Away { due, .. } => {
                    events.push((due, Event::Due(n)))
                }
                _ => {}
            }
            if let Some(at) = message.expires()
                && !matches!(message.state, State::InFlight(_))
            {
                events.push((at, Event::Expired(n)));
            }
        }
        events
    }

    pub fn advance(&mut self, by: Time) {
        let target = self.now + by;
        // One event at a time, the earliest first: each may change the others.
        while let Some((at, event)) = self.events().into_iter().min_by_key(|(at, _)| *at) {
            if at > target {
                break;
            }
            self.now = at.max(self.now);
            match event {
                Event::HolderLost(h) => self.let_go(h),
                Event::HandLost(h) => {
                    self.hands[h].end = Some(End::LockLost);
                    self.crash(self.hands[h].number);
                }
                Event::Due(n) => {
                    let place = self.next_place;
                    let message = self.message(n);
                    if matches!(message.state, State::Scheduled(_)) {
                        message.place = place;
                        self.next_place += 1;
                    }
                    self.message(n).state = State::Ready;
                }
                Event::Expired(n) => self.expire(n),
            }
        }
        self.now = target;
    }

    // Single messages.

    fn message(&mut self, number: u32) -> &mut Message {
        let found = self.messages.iter_mut().find(|m| m.number == number);
        found.expect("the message is in the queue")
    }

    fn remove(&mut self, number: u32) -> Message {
        let at = self.messages.iter().position(|m| m.number == number);
        self.messages
            .remove(at.expect("the message is in the queue"))
    }

    fn die(&mut self, number: u32, reason: &'static str, description: Option<&'static str>) {
        let message = self.remove(number);
        self.dead.push(Dead {
            message,
            reason,
            description,
            died: self.now,
        });
    }

    fn expire(&mut self, number: u32) {
        match self.setup.on_expiry {
            OnExpiry::Drop => {
                self.remove(number);
                self.expired.insert(number);
            }
            OnExpiry::DeadLetter => self.die(number, reason::EXPIRED, None),
        }
    }

    /// The delivery ended without a settlement.
    fn crash(&mut self, number: u32) {
        if self.message(number).attempts >= self.setup.budget {
            self.die(number, reason::CRASHED, None);
        } else {
            self.back(number, Duration::ZERO, false);
        }
    }

    /// The message goes back to its place.
    fn back(&mut self, number: u32, delay: Duration, nacked: bool) {
        let now = self.now;
        let message = self.message(number);
        message.state = if delay.is_zero() {
            State::Ready
        } else {
            let due = now + millis(delay);
            State::Away { due, nacked }
        };
        if message.expires().is_some_and(|at| now >= at) {
            self.expire(number);
        }
    }

    // Sending.

    /// The number of the stored message, or of the one this is a duplicate of.
    pub fn send(&mut self, send: &Send) -> (u32, bool) {
        if let Some(id) = send.dedup
            && let Some((until, first)) = self.dedup.get(&id)
            && self.now < *until
        {
            return (*first, true);
        }
        let number = self.next_number;
        self.next_number += 1;
        if let Some(id) = send.dedup {
            let until = self.now + millis(self.setup.dedup_window);
            self.dedup.insert(id, (until, number));
        }
        let delay = send.delay.unwrap_or_default();
        let state = if delay.is_zero() {
            State::Ready
        } else {
            State::Scheduled(self.now + millis(delay))
        };
        self.messages.push(Message {
            number,
            session: send.session,
            place: self.next_place,
            state,
            attempts: 0,
            sent: self.now,
            ttl: send.ttl,
            redriven: 0,
            own_bytes: number.to_string().len()
                + send.session.map_or(0, |s| session_name(s).len())
                + send.dedup.map_or(0, |d| dedup_name(d).len()),
        });
        self.next_place += 1;
        (number, false)
    }

    pub fn next_number(&self) -> u32 {
        self.next_number
    }

    // Receiving.

    /// The messages that have a place, in their order.
    pub fn placed(&self) -> Vec<&Message> {
        let mut placed: Vec<_> = self.messages.iter().collect();
        placed.retain(|m| !matches!(m.state, State::Scheduled(_)));
        placed.sort_by_key(|m| m.place);
        placed
    }

    pub fn holder_of(&self, session: u8) -> Option<usize> {
        self.holders
            .iter()
            .position(|h| !h.lost && h.session == session)
    }

    /// Whether a message of it in somebody's hands keeps it from others.
    fn is_in_flight(&self, session: u8) -> bool {
        !self.setup.fair
            && self
                .messages
                .iter()
                .any(|m| m.session == Some(session) && matches!(m.state, State::InFlight(_)))
    }

    fn is_parked(&self, session: u8) -> bool {
        self.setup.on_failure == OnFailure::Park
            && self.dead.iter().any(|d| d.message.session == Some(session))
    }

    /// Whether one of its messages is away that the others wait for.
    fn is_blocked(&self, session: u8) -> bool {
        let skips = self.setup.on_failure == OnFailure::Skip;
        !self.setup.fair
            && self.messages.iter().any(|m| {
                m.session == Some(session)
                    && matches!(m.state, State::Away { nacked, .. } if !(nacked && skips))
            })
    }

    /// What a holder of this session is handed, in this order.
    fn next_of(&self, session: u8) -> Vec<u32> {
        if self.is_parked(session) || self.is_blocked(session) {
            return Vec::new();
        }
        let placed = self.placed();
        let ready = placed
            .iter()
            .filter(|m| m.session == Some(session) && m.state == State::Ready);
        ready.map(|m| m.number).collect()
    }

    /// What a plain receive may take, by source: no session, and each session nobody holds.
    fn sources(&self) -> BTreeMap<Option<u8>, Vec<u32>> {
        let mut sources = BTreeMap::new();
        let plain = self.placed();
        let plain = plain
            .iter()
            .filter(|m| m.session.is_none() && m.state == State::Ready);
        sources.insert(None, plain.map(|m| m.number).collect());
        for session in self.free_sessions() {
            sources.insert(Some(session), self.next_of(session));
        }
        sources
    }

    /// The sessions that nobody holds and that have something to hand out.
    pub fn free_sessions(&self) -> Vec<u8> {
        let sessions: BTreeSet<u8> = self.messages.iter().filter_map(|m| m.session).collect();
        let free = |s: &u8| self.holder_of(*s).is_none() && !self.is_in_flight(*s);
        let has_work = |s: &u8| !self.next_of(*s).is_empty();
        sessions.into_iter().filter(free).filter(has_work).collect()
    }

    /// Checks what a plain receive returned, and takes it over.
    pub fn received(
        &mut self,
        max: u32,
        lock: Option<Duration>,
        seen: &[Seen],
    ) -> Result<(), String> {
        let sources = self.sources();
        let available: usize = sources.values().map(Vec::len).sum();
        let expected = available.min(max as usize);
        if seen.len() != expected {
            return Err(format!(
                "received {} of {available}, with at most {max} asked for: {sources:?}",
                seen.len()
            ));
        }
        let mut taken: BTreeMap<Option<u8>, usize> = BTreeMap::new();
        for one in seen {
            let found = self.messages.iter().find(|m| m.number == one.number);
            let source = found.ok_or("received what is not in the queue")?.session;
            let so_far = taken.entry(source).or_default();
            let next = sources.get(&source).and_then(|run| run.get(*so_far));
            if next != Some(&one.number) {
                return Err(format!(
                    "{source:?} has {next:?} next, not {}: {sources:?}",
                    one.number
                ));
            }
            *so_far += 1;
        }
        take_turns(&sources, &taken, self.setup.fair)?;
        let until = self.now + millis(lock.unwrap_or(self.setup.lock));
        self.hand_over(seen, None, until)
    }

    /// Checks what a receive from a held session returned, and takes it over.
    pub fn received_from(&mut self, holder: usize, max: u32, seen: &[Seen]) -> Result<(), String> {
        let mut expected = self.next_of(self.holders[holder].session);
        expected.truncate(max as usize);
        let got: Vec<u32> = seen.iter().map(|s| s.number).collect();
        if got != expected {
            return Err(format!("the session has {expected:?} next, not {got:?}"));
        }
        let until = self.holders[holder].until;
        self.hand_over(seen, Some(holder), until)
    }

    fn hand_over(
        &mut self,
        seen: &[Seen],
        holder: Option<usize>,
        until: Time,
    ) -> Result<(), String> {
        for one in seen {
            let hand = self.hands.len();
            let message = self.message(one.number);
            message.attempts += 1;
            message.state = State::InFlight(hand);
            if message.attempts != one.attempt {
                return Err(format!(
                    "this is attempt {}, not {}",
                    message.attempts, one.attempt
                ));
            }
            self.hands.push(Hand {
                number: one.number,
                holder,
                until,
                receipt_until: until,
                end: None,
            });
        }
        Ok(())
    }

    // Settling.

    pub fn is_live(&self, hand: usize) -> bool {
        self.hands[hand].end.is_none()
    }

    /// What any verb on this delivery answers.
    fn answer(&self, hand: usize) -> Answer {
        let hand = &self.hands[hand];
        let lost = match hand.holder {
            Some(_) => ErrorKind::SessionLockLost,
            None => ErrorKind::LockLost,
        };
        // A receipt knows when its lock ended unless extended, and nothing else. Where it cannot
        // tell an earlier end from a settlement, either answer is right.
        let over = self.now >= hand.receipt_until;
        match hand.end {
            None => Answer::Ok,
            Some(End::LockLost) if over => Answer::Error(vec![lost]),
            Some(End::Settled) if !over => Answer::Error(vec![ErrorKind::InvalidReceipt]),
            Some(_) => Answer::Error(vec![ErrorKind::InvalidReceipt, lost]),
        }
    }

    pub fn settle(&mut self, hand: usize, verb: &Settle) -> Answer {
        let answer = self.answer(hand);
        if answer != Answer::Ok {
            return answer;
        }
        self.hands[hand].end = Some(End::Settled);
        let number = self.hands[hand].number;
        match *verb {
            Settle::Ack => {
                self.remove(number);
                self.acked.insert(number);
            }
            Settle::Nack(delay) => {
                if self.message(number).attempts >= self.setup.budget {
                    self.die(number, reason::MAX_ATTEMPTS, Some(NACK_REASON));
                } else {
                    self.back(number, delay, true);
                }
            }
            Settle::Release(delay) => {
                self.message(number).attempts -= 1;
                self.back(number, delay.unwrap_or_default(), false);
            }
            Settle::DeadLetter => self.die(number, "bad", Some("very bad")),
        }
        Answer::Ok
    }

    pub fn extend(&mut self, hand: usize, lock: Duration) -> Answer {
        let answer = self.answer(hand);
        if answer == Answer::Ok {
            let until = self.now + millis(lock);
            match self.hands[hand].holder {
                Some(holder) => self.holders[holder].until = until,
                None => self.hands[hand].until = until,
            }
        }
        answer
    }

    // Sessions.

    pub fn accept_id(&mut self, session: u8, lock: Option<Duration>) -> Answer {
        if self.holder_of(session).is_some() || self.is_in_flight(session) {
            return Answer::Error(vec![ErrorKind::SessionLocked]);
        }
        self.hold(session, lock);
        Answer::Ok
    }

    /// Checks which session was handed over to one who prefers these, and takes it over.
    pub fn accepted_next(&mut self, id: Option<&str>, prefer: &[u8]) -> Result<(), String> {
        let free = self.free_sessions();
        let Some(id) = id else {
            return match free[..] {
                [] => Ok(()),
                _ => Err(format!("none of {free:?} was handed over")),
            };
        };
        let Some(session) = free.iter().copied().find(|s| session_name(*s) == id) else {
            return Err(format!("{id} was handed over"));
        };
        let is_wanted = prefer.contains(&session) || !free.iter().any(|s| prefer.contains(s));
        if !is_wanted && !self.passed.contains(&session) {
            return Err(format!(
                "of {free:?}, {id} was handed over to one who prefers {prefer:?}"
            ));
        }
        self.hold(session, None);
        self.passed
            .extend(free.into_iter().filter(|other| *other != session));
        Ok(())
    }

    /// Forgets of the sessions that are not free that they were passed over.
    pub fn look_who_waits(&mut self) {
        let free = self.free_sessions();
        self.passed.retain(|session| free.contains(session));
    }

    fn hold(&mut self, session: u8, lock: Option<Duration>) {
        let lock = lock.unwrap_or(self.setup.lock);
        self.holders.push(Holder {
            session,
            lock,
            until: self.now + millis(lock),
            lost: false,
        });
    }

    /// What any verb of this holding answers.
    pub fn holding(&self, holder: usize) -> Answer {
        if self.holders[holder].lost {
            Answer::Error(vec![ErrorKind::SessionLockLost])
        } else {
            Answer::Ok
        }
    }

    pub fn renew(&mut self, holder: usize, lock: Option<Duration>) -> Answer {
        let answer = self.holding(holder);
        if answer == Answer::Ok {
            let holder = &mut self.holders[holder];
            holder.until = self.now + millis(lock.unwrap_or(holder.lock));
        }
        answer
    }

    /// The holding ends, by its holder or by time.
    pub fn let_go(&mut self, holder: usize) {
        if self.holders[holder].lost {
            return;
        }
        self.holders[holder].lost = true;
        for hand in 0..self.hands.len() {
            if self.hands[hand].holder == Some(holder) && self.hands[hand].end.is_none() {
                self.hands[hand].end = Some(End::LockLost);
                self.crash(self.hands[hand].number);
            }
        }
    }

    // Dead letters.

    /// Sends these dead letters back, in this order.
    pub fn redrive(&mut self, numbers: &[u32]) {
        for number in numbers {
            let at = self.dead.iter().position(|d| d.message.number == *number);
            let mut message = self.dead.remove(at.expect("it is dead")).message;
            if self.setup.on_failure != OnFailure::Park || message.session.is_none() {
                message.place = self.next_place;
                self.next_place += 1;
            }
            message.state = State::Ready;
            message.attempts = 0;
            message.redriven += 1;
            message.sent = self.now;
            self.messages.push(message);
        }
    }

    pub fn purge(&mut self, numbers: &[u32]) {
        self.dead.retain(|d| !numbers.contains(&d.message.number));
        self.purged.extend(numbers);
    }

    /// Sessions that have messages (dead ones too), a holder or a state.
    pub fn sessions(&self) -> BTreeSet<u8> {
        let dead = self.dead.iter().map(|d| &d.message);
        let messages = self.messages.iter().chain(dead).filter_map(|m| m.session);
        let held = self.holders.iter().filter(|h| !h.lost).map(|h| h.session);
        messages
            .chain(held)
            .chain(self.states.keys().copied())
            .collect()
    }
}

/// Sessions take turns with each other, and together with the messages of no session: nobody is
/// two ahead of one that still has something. Among fair groups, those of no session are one more.
fn take_turns(
    sources: &BTreeMap<Option<u8>, Vec<u32>>,
    taken: &BTreeMap<Option<u8>, usize>,
    fair: bool,
) -> Result<(), String> {
    let count = |source: &Option<u8>| taken.get(source).copied().unwrap_or(0);
    let sessions = || sources.keys().filter(|source| fair || source.is_some());
    let left = |source: &Option<u8>| count(source) < sources[source].len();
    let plain = count(&None);
    let together: usize = sessions().map(count).sum();
    let most = sessions().map(count).max().unwrap_or(0);
    let passed_over = sessions().find(|s| left(s) && most > count(s) + 1);
    let apart = left(&None) && together > plain + 1 || sessions().any(left) && plain > together + 1;
    if passed_over.is_some() || !fair && apart {
        return Err(format!("{taken:?} are no turns: {sources:?}"));
    }
    Ok(())
}

enum Event {
    HolderLost(usize),
    HandLost(usize),
    Due(u32),
    Expired(u32),
}

pub const NACK_REASON: &str = "not today";

pub fn session_name(session: u8) -> String {
    format!("session-{session}")
}

pub fn dedup_name(dedup: u8) -> String {
    format!("dedup-{dedup}")
}
