//! The ring of a queue: the sessions that have something to hand out and no holder, in turn.

use std::collections::HashSet;
use std::iter::successors;
use std::sync::Arc;

use super::step::Step;
use crate::providers::embedded::NEXT_SESSIONS;
use crate::providers::file::index::layout::{NIL, Queue, ring};
use crate::providers::file::index::list;
use crate::providers::file::index::region::Cell;

impl Step<'_> {
    /// The next free session with something to hand out. It leaves the ring.
    pub(super) fn pop_ring(&self, queue: &Queue) -> Option<u32> {
        let first = queue.ring.first.get();
        if first == NIL {
            return None;
        }
        self.leave_ring(queue, first);
        Some(first)
    }

    pub(super) fn leave_ring(&self, queue: &Queue, id: u32) {
        list::remove::<list::Ring>(self.r, &queue.ring, id);
        self.set(&self.session(id).in_ring, ring::OUT);
    }

    /// As [`Step::pop_ring`], but rather the first of these among those that are next. The one whose
    /// turn it is lets another one pass once.
    pub(super) fn pop_ring_of(&self, queue: &Queue, prefer: &HashSet<Arc<str>>) -> Option<u32> {
        let first = queue.ring.first.get();
        if first == NIL || self.session(first).in_ring.get() == ring::OVERTAKEN {
            return self.pop_ring(queue);
        }
        let after = |id: &u32| Some(list::after::<list::Ring>(self.r, *id)).filter(|id| *id != NIL);
        let mut next = successors(Some(first), after).take(NEXT_SESSIONS);
        let preferred = next.find(|id| prefer.contains(&*self.session(*id).name()));
        let Some(id) = preferred.filter(|id| *id != first) else {
            return self.pop_ring(queue);
        };
        self.set(&self.session(first).in_ring, ring::OVERTAKEN);
        self.leave_ring(queue, id);
        Some(id)
    }
}
