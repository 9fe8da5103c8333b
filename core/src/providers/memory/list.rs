//! Doubly linked lists whose links live in the elements: O(1) to add and to take out anywhere,
//! and nothing to allocate.

use std::marker::PhantomData;

/// No element.
pub(super) const NIL: u32 = u32::MAX;

/// The links of one element in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    prev: u32,
    next: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            prev: NIL,
            next: NIL,
        }
    }
}

/// Where elements of lists of kind `K` keep their links.
pub(super) trait Arena<K> {
    fn link(&self, index: u32) -> &Link;
    fn link_mut(&mut self, index: u32) -> &mut Link;
}

/// A list of elements of an arena. An element is in at most one list of each kind.
#[derive(Debug)]
pub(super) struct List<K> {
    head: u32,
    tail: u32,
    kind: PhantomData<K>,
}

impl<K> List<K> {
    pub(super) const fn new() -> Self {
        Self {
            head: NIL,
            tail: NIL,
            kind: PhantomData,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head == NIL
    }

    pub(super) fn front(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    /// The element after this one.
    pub(super) fn after(&self, arena: &impl Arena<K>, index: u32) -> Option<u32> {
        let next = arena.link(index).next;
        (next != NIL).then_some(next)
    }

    pub(super) fn push_back(&mut self, arena: &mut impl Arena<K>, index: u32) {
        *arena.link_mut(index) = Link {
            prev: self.tail,
            next: NIL,
        };
        if self.tail == NIL {
            self.head = index;
        } else {
            arena.link_mut(self.tail).next = index;
        }
        self.tail = index;
    }

    /// Puts an element before another of this list.
    pub(super) fn insert_before(&mut self, arena: &mut impl Arena<K>, index: u32, next: u32) {
        let prev = arena.link(next).prev;
        *arena.link_mut(index) = Link { prev, next };
        arena.link_mut(next).prev = index;
        if prev == NIL {
            self.head = index;
        } else {
            arena.link_mut(prev).next = index;
        }
    }

    pub(super) fn remove(&mut self, arena: &mut impl Arena<K>, index: u32) {
        let Link { prev, next } = std::mem::take(arena.link_mut(index));
        if prev == NIL {
            self.head = next;
        } else {
            arena.link_mut(prev).next = next;
        }
        if next == NIL {
            self.tail = prev;
        } else {
            arena.link_mut(next).prev = prev;
        }
    }

    pub(super) fn pop_front(&mut self, arena: &mut impl Arena<K>) -> Option<u32> {
        let front = self.front()?;
        self.remove(arena, front);
        Some(front)
    }
}
