//! One queue as a state machine: every verb is a step at a moment. No locks, no waiting and no
//! clock in here; whom a step lets go on is noted in [`Wakes`].
//!
//! A message always stands somewhere: in a lane (ready), out of sight (delayed), in somebody's
//! hands (in flight), or among the dead. A step takes it out of where it stands and puts it
//! somewhere else; then its session, if it has one, is settled in turn.
//!
//! Invariants: `all` holds every message that is not dead, sorted by sequence number. A message
//! has at most one timer: the end of its delay, of its lock, or of its life, as its standing
//! says. Counts and bytes are those of the messages.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::dedup::Dedup;
use super::entry::{All, Entries, Place, Standing};
use super::lanes::{Lane, Sessions};
use super::list::{List, NIL};
use super::wheel::Wheel;
use crate::clock::Tick;
use crate::config::{OnExpiry, OnFailure, QueueDefinition};
use crate::dead_letter::reason;
use crate::message::{Message, SendResult};

/// Who can go on after a step.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// Receives of the whole queue: one for each message that became ready.
    pub(super) receivers: u32,
    /// Accepts of the next session.
    pub(super) acceptors: u32,
    /// Sends that wait for room.
    pub(super) senders: u32,
    /// Receives of a session.
    pub(super) holders: Vec<Arc<Notify>>,
}

impl Wakes {
    /// Nobody waits.
    #[inline]
    pub(super) fn forget(&mut self) {
        (self.receivers, self.acceptors, self.senders) = (0, 0, 0);
        if !self.holders.is_empty() {
            self.holders.clear();
        }
    }
}

/// How many messages stand where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) ready: u64,
    pub(super) delayed: u64,
    pub(super) in_flight: u64,
    pub(super) dead: u64,
}

/// What became of a message to be sent.
#[derive(Debug)]
pub(super) enum Sent {
    Done(SendResult),
    /// There is no room for it now.
    Full(Message),
}

/// How much longer an expired message lives that the full dead-letter queue cannot take.
const STAY: Duration = Duration::from_secs(1);
/// Dedup ids remembered at most, as a multiple of the messages held at most.
const DEDUP_IDS_PER_MESSAGE: u64 = 10;

#[derive(Debug)]
pub(super) struct State {
    pub(super) definition: QueueDefinition,
    /// The number of this queue in ids and receipts.
    pub(super) engine: u64,
    /// Added to the ends of locks, because `now` may be this much behind.
    pub(super) lag: Duration,
    pub(super) entries: Entries,
    pub(super) all: List<All>,
    /// Of `all`, those whose place is not that of their time: by the time of their sending.
    pub(super) late: BTreeSet<(Tick, u32)>,
    pub(super) lane: Lane,
    pub(super) sessions: Sessions,
    /// Sessions and messages without one take turns; this is whose turn it is.
    pub(super) session_turn: bool,
    pub(super) wheel: Wheel,
    /// Ends of session locks: moment and slot.
    pub(super) holds: BTreeSet<(Tick, u32)>,
    pub(super) dead: List<Place>,
    pub(super) dead_bytes: u64,
    dedup: Dedup,
    pub(super) counts: Counts,
    /// Of all that are not dead.
    pub(super) bytes: u64,
    last_sequence: u64,
    last_number: u64,
    pub(super) last_token: u64,
    pub(super) last_death: u64,
    pub(super) wakes: Wakes,
}

impl State {
    pub(super) fn new(definition: QueueDefinition, now: Tick, lag: Duration) -> Self {
        Self {
            sessions: Sessions::new(
                definition.on_failure == OnFailure::Park,
                definition.fair_groups,
            ),
            dedup: Dedup::new(definition.dedup_window),
            definition,
            engine: fastrand::u64(..),
            lag,
            entries: Entries::default(),
            all: List::new(),
            late: BTreeSet::new(),
            lane: Lane::new(),
            session_turn: false,
            wheel: Wheel::new(now),
            holds: BTreeSet::new(),
            dead: List::new(),
            dead_bytes: 0,
            counts: Counts::default(),
            bytes: 0,
            last_sequence: 0,
            last_number: 0,
            last_token: 0,
            last_death: 0,
            wakes: Wakes::default(),
        }
    }

    // --- time ---------------------------------------------------------------------------------

    /// Does what was due until now: ends of session locks, then of delays, locks and lives, each in
    /// the order of their time.
    #[inline]
    pub(super) fn advance(&mut self, now: Tick) {
        if !self.wheel.is_at(now) {
            self.fire(now);
        }
    }

    fn fire(&mut self, now: Tick) {
        while let Some((until, session)) = self.holds.first().copied()
            && until <= now
        {
            self.end_hold(session, now);
        }
        let mut due = Vec::new();
        self.wheel.advance(&mut self.entries, now, &mut due);
        due.sort_by_key(|i| (self.entries[*i].due, self.entries[*i].sequence));
        for index in due {
            match self.entries[index].standing {
                Standing::Fresh | Standing::Returned => {
                    if !self.end_life(index, now) {
                        self.entries[index].due = self.entries[index].expires;
                        self.wheel.set(&mut self.entries, index);
                    }
                }
                Standing::Delayed => self.appear(index, now),
                Standing::InFlight => self.lapse(index, now),
                Standing::Free | Standing::Dead => {}
            }
        }
    }

    /// Nothing happens by itself before this moment.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        let hold = self.holds.first().map(|(until, _)| *until);
        match (self.wheel.next(), hold) {
            (Some(timer), Some(hold)) => Some(timer.min(hold)),
            (timer, hold) => timer.or(hold),
        }
    }

    /// When a lock of this length ends that begins now: in whole milliseconds, as timers fire.
    pub(super) fn lock_end(&self, now: Tick, lock: Duration) -> Tick {
        let end = now + self.lag + lock;
        Tick(end.0.div_ceil(1_000_000).saturating_mul(1_000_000))
    }

    /// A delay is over.
    fn appear(&mut self, index: u32, now: Tick) {
        if self.end_life(index, now) {
            return;
        }
        self.take_out(index);
        if self.entries[index].given_back {
            self.make_ready(index, Standing::Returned);
        } else {
            // Its place in the order is that of its appearance.
            self.all.remove(&mut self.entries, index);
            self.append(index);
            self.late.insert((self.entries[index].enqueued, index));
            self.make_ready(index, Standing::Fresh);
        }
    }

    /// A lock ended without a settlement.
    pub(super) fn lapse(&mut self, index: u32, now: Tick) {
        let entry = &mut self.entries[index];
        entry.lapsed = true;
        let spent = entry.begun && entry.attempts >= self.definition.budget;
        if spent && self.check_dead_room(index).is_ok() {
            let description = "the lock ended while the message was in a handler's hands";
            self.bury(index, reason::CRASHED.into(), Some(description.into()), now);
        } else {
            self.put_back(index, Duration::ZERO, false, now);
        }
    }

    /// Ends the life of a message if it is over. One that the full dead-letter queue cannot take
    /// lives on a little.
    fn end_life(&mut self, index: u32, now: Tick) -> bool {
        if self.entries[index].expires > now {
            return false;
        }
        if self.definition.on_expiry == OnExpiry::Drop {
            self.remove(index);
        } else if self.check_dead_room(index).is_ok() {
            self.bury(index, reason::EXPIRED.into(), None, now);
        } else {
            self.entries[index].expires = now + STAY;
            return false;
        }
        true
    }

    // --- send ---------------------------------------------------------------------------------

    /// Stores a message, or says that there is no room for it now. `precise` is the time to count
    /// the message's delay and life from.
    pub(super) fn send(&mut self, message: Message, precise: Tick, now: Tick) -> Sent {
        let bytes = message.bytes() as u64;
        let properties = message.properties.as_deref();
        let dedup_id = properties.and_then(|p| p.dedup_id.clone());
        if let Some(id) = &dedup_id
            && let Some(first) = self.dedup.find(id, now)
        {
            return Sent::Done(SendResult::duplicate_of(first.clone()));
        }
        if !self.has_room(bytes) || (dedup_id.is_some() && self.dedup_is_full(now)) {
            return Sent::Full(message);
        }
        let delay = properties.and_then(|p| p.delay).filter(|d| !d.is_zero());
        let ttl = properties.and_then(|p| p.ttl).or(self.definition.ttl);
        let session = properties.and_then(|p| p.session.as_ref());
        let session = match session {
            Some(id) => self.sessions.find_or_add(id),
            None if self.sessions.are_fair() => self.sessions.no_group(),
            None => NIL,
        };

        let index = self.entries.insert(message);
        self.last_number += 1;
        let entry = &mut self.entries[index];
        entry.number = self.last_number;
        entry.enqueued = now;
        entry.session = session;
        if let Some(ttl) = ttl {
            entry.expires = precise + ttl;
        }
        let id = entry.id(self.engine);
        self.bytes += bytes;
        self.append(index);
        if session != NIL {
            self.sessions[session].live += 1;
        }
        match delay {
            Some(delay) => self.hide(index, precise + delay, false, false),
            None => self.make_ready(index, Standing::Fresh),
        }
        if let Some(dedup_id) = dedup_id {
            self.dedup.remember(dedup_id, id.clone(), precise);
        }
        Sent::Done(SendResult::stored(id))
    }

    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let live = self.counts.ready + self.counts.delayed + self.counts.in_flight;
        live < self.definition.max_messages && self.bytes + bytes <= self.definition.max_bytes
    }

    fn dedup_is_full(&mut self, now: Tick) -> bool {
        let most = self
            .definition
            .max_messages
            .saturating_mul(DEDUP_IDS_PER_MESSAGE);
        self.dedup.len(now) as u64 >= most
    }

    // --- moving a message ---------------------------------------------------------------------

    /// The end of the order of all.
    pub(super) fn append(&mut self, index: u32) {
        self.last_sequence += 1;
        self.entries[index].sequence = self.last_sequence;
        self.all.push_back(&mut self.entries, index);
    }

    /// Out of where it stands, with its timer and its count.
    #[inline]
    pub(super) fn take_out(&mut self, index: u32) {
        self.wheel.clear(&mut self.entries, index);
        let entry = &self.entries[index];
        let (session, sequence) = (entry.session, entry.sequence);
        match entry.standing {
            Standing::InFlight => {
                self.counts.in_flight -= 1;
                if session != NIL {
                    let session = &mut self.sessions[session];
                    session.in_flight -= 1;
                    if session.hold.is_some() {
                        session.held.remove(&mut self.entries, index);
                    }
                }
            }
            standing @ (Standing::Fresh | Standing::Returned) => {
                self.counts.ready -= 1;
                let lane = if session == NIL {
                    &mut self.lane
                } else {
                    &mut self.sessions[session].lane
                };
                if standing == Standing::Returned {
                    lane.remove_returned(sequence);
                } else {
                    lane.remove_fresh(&mut self.entries, index);
                }
            }
            Standing::Delayed => {
                self.counts.delayed -= 1;
                if std::mem::take(&mut self.entries[index].blocks) {
                    self.sessions[session].blocked -= 1;
                }
            }
            Standing::Dead => {
                self.counts.dead -= 1;
                self.dead_bytes -= self.entries[index].message.bytes() as u64;
                self.dead.remove(&mut self.entries, index);
            }
            Standing::Free => {}
        }
    }

    /// Into its lane: at the end, or back at its old place.
    #[inline]
    pub(super) fn make_ready(&mut self, index: u32, standing: Standing) {
        let entry = &mut self.entries[index];
        entry.standing = standing;
        entry.due = entry.expires;
        let (session, sequence) = (entry.session, entry.sequence);
        self.wheel.set(&mut self.entries, index);
        self.counts.ready += 1;
        if session == NIL || self.sessions.are_fair() {
            self.wakes.receivers += 1;
        }
        let lane = if session == NIL {
            &mut self.lane
        } else {
            &mut self.sessions[session].lane
        };
        if standing == Standing::Returned {
            lane.put_back(sequence, index);
        } else {
            lane.push(&mut self.entries, index);
        }
        self.settle_session(session);
    }

    /// Out of sight until a moment. `given_back`: it comes back to its old place. `blocks`: its
    /// session waits for it meanwhile.
    fn hide(&mut self, index: u32, until: Tick, given_back: bool, blocks: bool) {
        let entry = &mut self.entries[index];
        entry.standing = Standing::Delayed;
        entry.given_back = given_back;
        entry.due = until.min(entry.expires);
        let session = entry.session;
        entry.blocks = blocks && session != NIL && !self.sessions.are_fair();
        if entry.blocks {
            self.sessions[session].blocked += 1;
        }
        self.wheel.set(&mut self.entries, index);
        self.counts.delayed += 1;
        self.settle_session(session);
    }

    /// From somebody's hands back to its old place, now or later.
    pub(super) fn put_back(&mut self, index: u32, delay: Duration, blocks: bool, now: Tick) {
        if self.end_life(index, now) {
            return;
        }
        self.take_out(index);
        if delay.is_zero() {
            self.make_ready(index, Standing::Returned);
        } else {
            self.hide(index, self.lock_end(now, delay), true, blocks);
        }
    }

    /// Gone for good, wherever it stands.
    pub(super) fn remove(&mut self, index: u32) {
        self.take_out(index);
        self.leave_live(index);
        let session = self.entries[index].session;
        drop(self.entries.remove(index));
        self.settle_session(session);
    }

    /// Out of the order of all; room for another.
    pub(super) fn leave_live(&mut self, index: u32) {
        self.all.remove(&mut self.entries, index);
        let entry = &self.entries[index];
        if !self.late.is_empty() {
            self.late.remove(&(entry.enqueued, index));
        }
        self.bytes -= entry.message.bytes() as u64;
        self.wakes.senders += 1;
        if entry.session != NIL {
            self.sessions[entry.session].live -= 1;
        }
    }

    /// Puts the session of a moved message where it belongs, and notes who can go on with it.
    /// The session may be gone afterwards.
    #[inline]
    pub(super) fn settle_session(&mut self, index: u32) {
        if index != NIL {
            self.settle_session_at(index);
        }
    }

    fn settle_session_at(&mut self, index: u32) {
        let session = &self.sessions[index];
        let ready = session.lane.len();
        if let Some(hold) = &session.hold
            && session.flows(self.sessions.parks())
        {
            self.wakes.holders.push(hold.wake.clone());
        }
        if self.sessions.settle(index) && !self.sessions.are_fair() {
            self.wakes.receivers += ready;
            self.wakes.acceptors += 1;
        }
    }
}
