//! Lanes: where ready messages wait. One lane for messages without a session, one for each
//! session; the ring holds the sessions that have something to hand out, in turn. Where sessions are
//! fair groups, nobody takes one, and messages without a session are one more of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter::successors;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::entry::{Entries, Place};
use super::list::{Arena, Link, List};
use crate::clock::Tick;
use crate::providers::embedded::NEXT_SESSIONS;

/// List kind: sessions with something to hand out and no holder.
#[derive(Debug)]
pub(super) enum Ring {}

/// Ready messages in order: given-back ones keep their old places.
#[derive(Debug)]
pub(super) struct Lane {
    fresh: List<Place>,
    returned: BTreeMap<u64, u32>,
    len: u32,
}

impl Lane {
    pub(super) const fn new() -> Self {
        Self {
            fresh: List::new(),
            returned: BTreeMap::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Adds a message at the end.
    pub(super) fn push(&mut self, entries: &mut Entries, index: u32) {
        self.fresh.push_back(entries, index);
        self.len += 1;
    }

    /// Puts a message back at its old place.
    pub(super) fn put_back(&mut self, sequence: u64, index: u32) {
        self.returned.insert(sequence, index);
        self.len += 1;
    }

    /// Takes the first message.
    #[inline]
    pub(super) fn pop(&mut self, entries: &mut Entries) -> Option<u32> {
        let index = if self.returned_first(entries) {
            self.returned.pop_first()?.1
        } else {
            self.fresh.pop_front(entries)?
        };
        self.len -= 1;
        Some(index)
    }

    /// A message that was given back comes before the fresh ones, unless it died among them.
    #[inline]
    fn returned_first(&self, entries: &Entries) -> bool {
        let Some((returned, _)) = self.returned.first_key_value() else {
            return false;
        };
        let fresh = self.fresh.front().map(|index| entries[index].sequence);
        fresh.is_none_or(|fresh| *returned < fresh)
    }

    pub(super) fn remove_fresh(&mut self, entries: &mut Entries, index: u32) {
        self.fresh.remove(entries, index);
        self.len -= 1;
    }

    pub(super) fn remove_returned(&mut self, sequence: u64) {
        self.returned.remove(&sequence);
        self.len -= 1;
    }
}

/// The holder of an accepted session.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) token: u64,
    pub(super) until: Tick,
    pub(super) lock: std::time::Duration,
    /// Wakes the holder's receives.
    pub(super) wake: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: Arc<str>,
    pub(super) lane: Lane,
    /// Messages in the hands of the holder of an accepted session.
    pub(super) held: List<Place>,
    /// Messages in anybody's hands.
    pub(super) in_flight: u32,
    /// Messages that are away and must come back first.
    pub(super) blocked: u32,
    /// Messages that are not dead.
    pub(super) live: u32,
    pub(super) dead: u32,
    pub(super) hold: Option<Box<Hold>>,
    pub(super) state: Option<Bytes>,
    in_ring: bool,
    /// While it is in the ring: it was the first, and another one was taken.
    overtaken: bool,
    ring: Link,
}

impl Session {
    /// Whether its next message may be handed to its holder.
    pub(super) fn flows(&self, parks: bool) -> bool {
        self.lane.len() > 0 && self.blocked == 0 && !(parks && self.dead > 0)
    }

    /// Whether anybody has it.
    pub(super) fn is_taken(&self) -> bool {
        self.hold.is_some() || self.in_flight > 0
    }

    fn is_over(&self) -> bool {
        self.live == 0 && self.dead == 0 && self.hold.is_none() && self.state.is_none()
    }
}

#[derive(Debug)]
struct Slots(slab::Slab<Session>);

impl Arena<Ring> for Slots {
    fn link(&self, index: u32) -> &Link {
        &self.0[index as usize].ring
    }

    fn link_mut(&mut self, index: u32) -> &mut Link {
        &mut self.0[index as usize].ring
    }
}

/// Every session that has messages, a holder, dead letters or a state.
#[derive(Debug)]
pub(super) struct Sessions {
    slots: Slots,
    by_id: HashMap<Arc<str>, u32>,
    ring: List<Ring>,
    parks: bool,
    fair: bool,
}

/// The group of messages without one, among fair groups. No session has this id.
pub(super) const NO_GROUP: &str = "";

impl Sessions {
    /// `parks`: a session with dead letters hands out nothing. `fair`: they are fair groups.
    pub(super) fn new(parks: bool, fair: bool) -> Self {
        Self {
            slots: Slots(slab::Slab::new()),
            by_id: HashMap::new(),
            ring: List::new(),
            parks,
            fair,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len() - usize::from(self.by_id.contains_key(NO_GROUP))
    }

    /// Whether they are fair groups.
    pub(super) fn are_fair(&self) -> bool {
        self.fair
    }

    /// The group of messages without one.
    pub(super) fn no_group(&mut self) -> u32 {
        match self.by_id.get(NO_GROUP) {
            Some(index) => *index,
            None => self.find_or_add(&NO_GROUP.into()),
        }
    }

    pub(super) fn parks(&self) -> bool {
        self.parks
    }

    pub(super) fn find_or_add(&mut self, id: &Arc<str>) -> u32 {
        if let Some(index) = self.by_id.get(id) {
            return *index;
        }
        let index = self.slots.0.insert(Session {
            id: id.clone(),
            lane: Lane::new(),
            held: List::new(),
            in_flight: 0,
            blocked: 0,
            live: 0,
            dead: 0,
            hold: None,
            state: None,
            in_ring: false,
            overtaken: false,
            ring: Link::default(),
        }) as u32;
        self.by_id.insert(id.clone(), index);
        index
    }

    /// The next free session with something to hand out. It leaves the ring.
    pub(super) fn pop_ring(&mut self) -> Option<u32> {
        let index = self.ring.pop_front(&mut self.slots)?;
        self[index].in_ring = false;
        Some(index)
    }

    /// As [`Sessions::pop_ring`], but rather the first of these among those that are next. The one
    /// whose turn it is lets another one pass once.
    pub(super) fn pop_ring_of(&mut self, prefer: &HashSet<Arc<str>>) -> Option<u32> {
        let first = self.ring.front()?;
        if self[first].overtaken {
            return self.pop_ring();
        }
        let after = |index: &u32| self.ring.after(&self.slots, *index);
        let mut next = successors(Some(first), after).take(NEXT_SESSIONS);
        let preferred = next.find(|index| prefer.contains(&self[*index].id));
        let Some(index) = preferred.filter(|index| *index != first) else {
            return self.pop_ring();
        };
        self[first].overtaken = true;
        self.ring.remove(&mut self.slots, index);
        self[index].in_ring = false;
        Some(index)
    }

    /// The next group with something to hand out that is wanted, of which one message is about to
    /// leave its lane: it stands behind the others then, if it has more.
    pub(super) fn next_group(&mut self, wanted: impl Fn(&str) -> bool) -> Option<u32> {
        let mut next = self.ring.front()?;
        while !wanted(&self[next].id) {
            next = self.ring.after(&self.slots, next)?;
        }
        self.ring.remove(&mut self.slots, next);
        if self[next].lane.len() > 1 {
            self.ring.push_back(&mut self.slots, next);
        } else {
            self[next].in_ring = false;
        }
        Some(next)
    }

    pub(super) fn ring_is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Puts a session where its counts say it belongs: into the ring, out of it, or away.
    /// Answers whether it now has something to hand out to anybody.
    pub(super) fn settle(&mut self, index: u32) -> bool {
        let session = &self[index];
        let wants = (self.fair || !session.is_taken()) && session.flows(self.parks);
        let (in_ring, over) = (session.in_ring, session.is_over());
        if wants && !in_ring {
            self.ring.push_back(&mut self.slots, index);
            self[index].in_ring = true;
            self[index].overtaken = false;
        } else if !wants && in_ring {
            self.ring.remove(&mut self.slots, index);
            self[index].in_ring = false;
        }
        if over {
            let session = self.slots.0.remove(index as usize);
            self.by_id.remove(&session.id);
        }
        wants
    }

    /// The session in this slot, if there is one.
    pub(super) fn get(&self, index: u32) -> Option<&Session> {
        self.slots.0.get(index as usize)
    }
}

impl std::ops::Index<u32> for Sessions {
    type Output = Session;

    fn index(&self, index: u32) -> &Session {
        &self.slots.0[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Sessions {
    fn index_mut(&mut self, index: u32) -> &mut Session {
        &mut self.slots.0[index as usize]
    }
}
