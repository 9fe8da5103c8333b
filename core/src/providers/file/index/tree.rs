//! Ordered sets whose links live in the nodes: treaps. A node's priority is a hash of its number,
//! so nothing has to be kept in balance. O(log n) expected for every operation; the first is found
//! by going left.
//!
//! Invariants: a node comes after all in its left subtree and before all in its right one, by
//! [`Order::cmp`] and then by number; its priority is above theirs. What a node is ordered by must
//! not change while it is in the tree.

use std::cmp::Ordering;

use super::layout::{Dedup, Link, Message, NIL, Node, Session};
use super::region::{Cell, Cell32, Region, damaged};

/// A kind of tree: which nodes, by which of their links, in which order.
pub(in crate::providers::file) trait Order {
    type Node: Node + 'static;
    fn link(node: &Self::Node) -> &Link;
    fn cmp(a: &Self::Node, b: &Self::Node) -> Ordering;
}

/// Given-back messages of a lane, by their places.
#[derive(Debug)]
pub(in crate::providers::file) enum Returned {}
/// Messages with a timer, by its end.
#[derive(Debug)]
pub(in crate::providers::file) enum Timers {}
/// Messages whose place is not that of their time, by time.
#[derive(Debug)]
pub(in crate::providers::file) enum Late {}
/// Held sessions, by the ends of their locks.
#[derive(Debug)]
pub(in crate::providers::file) enum Holds {}
/// Sessions of a queue, by their ids.
#[derive(Debug)]
pub(in crate::providers::file) enum ById {}
/// Dedup ids of a queue, by their hashes.
#[derive(Debug)]
pub(in crate::providers::file) enum ByHash {}

impl Order for Returned {
    type Node = Message;

    #[inline]
    fn link(node: &Message) -> &Link {
        &node.place
    }

    #[inline]
    fn cmp(a: &Message, b: &Message) -> Ordering {
        a.sequence.get().cmp(&b.sequence.get())
    }
}

impl Order for Timers {
    type Node = Message;

    #[inline]
    fn link(node: &Message) -> &Link {
        &node.timer
    }

    #[inline]
    fn cmp(a: &Message, b: &Message) -> Ordering {
        (a.due.get(), a.sequence.get()).cmp(&(b.due.get(), b.sequence.get()))
    }
}

impl Order for Late {
    type Node = Message;

    #[inline]
    fn link(node: &Message) -> &Link {
        &node.late
    }

    #[inline]
    fn cmp(a: &Message, b: &Message) -> Ordering {
        a.enqueued.get().cmp(&b.enqueued.get())
    }
}

impl Order for Holds {
    type Node = Session;

    #[inline]
    fn link(node: &Session) -> &Link {
        &node.by_hold
    }

    #[inline]
    fn cmp(a: &Session, b: &Session) -> Ordering {
        a.hold_until.get().cmp(&b.hold_until.get())
    }
}

impl Order for ById {
    type Node = Session;

    #[inline]
    fn link(node: &Session) -> &Link {
        &node.by_id
    }

    #[inline]
    fn cmp(a: &Session, b: &Session) -> Ordering {
        a.hash.get().cmp(&b.hash.get())
    }
}

impl Order for ByHash {
    type Node = Dedup;

    #[inline]
    fn link(node: &Dedup) -> &Link {
        &node.by_hash
    }

    #[inline]
    fn cmp(a: &Dedup, b: &Dedup) -> Ordering {
        let key = |node: &Dedup| (node.hash[0].get(), node.hash[1].get());
        key(a).cmp(&key(b))
    }
}

#[inline]
fn priority(id: u32) -> u64 {
    u64::from(id)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[inline]
fn left<O: Order>(region: &Region, id: u32) -> &Cell32 {
    &O::link(region.node::<O::Node>(id)).before
}

#[inline]
fn right<O: Order>(region: &Region, id: u32) -> &Cell32 {
    &O::link(region.node::<O::Node>(id)).after
}

#[inline]
fn is_before<O: Order>(region: &Region, a: u32, b: u32) -> bool {
    match O::cmp(region.node(a), region.node(b)) {
        Ordering::Less => true,
        Ordering::Equal => a < b,
        Ordering::Greater => false,
    }
}

/// Adds a node that is not in the tree.
pub(in crate::providers::file) fn insert<O: Order>(region: &Region, root: &Cell32, id: u32) {
    let rank = priority(id);
    let mut at = root;
    while at.get() != NIL && priority(at.get()) > rank {
        let other = at.get();
        at = if is_before::<O>(region, id, other) {
            left::<O>(region, other)
        } else {
            right::<O>(region, other)
        };
    }
    // What is below here is split into what comes before the node and what comes after it.
    let mut rest = at.get();
    region.set(at, id);
    let (mut before, mut behind) = (left::<O>(region, id), right::<O>(region, id));
    while rest != NIL {
        if is_before::<O>(region, rest, id) {
            region.set(before, rest);
            before = right::<O>(region, rest);
            rest = before.get();
        } else {
            region.set(behind, rest);
            behind = left::<O>(region, rest);
            rest = behind.get();
        }
    }
    region.set(before, NIL);
    region.set(behind, NIL);
}

/// Takes out a node that is in the tree.
pub(in crate::providers::file) fn remove<O: Order>(region: &Region, root: &Cell32, id: u32) {
    let mut at = root;
    while at.get() != id {
        let other = at.get();
        if other == NIL {
            damaged("a node is not in its tree");
        }
        at = if is_before::<O>(region, id, other) {
            left::<O>(region, other)
        } else {
            right::<O>(region, other)
        };
    }
    let (mut before, mut behind) = (left::<O>(region, id).get(), right::<O>(region, id).get());
    while before != NIL && behind != NIL {
        if priority(before) > priority(behind) {
            region.set(at, before);
            at = right::<O>(region, before);
            before = at.get();
        } else {
            region.set(at, behind);
            at = left::<O>(region, behind);
            behind = at.get();
        }
    }
    region.set(at, before | behind);
}

/// The first node, or [`NIL`].
#[inline]
pub(in crate::providers::file) fn first<O: Order>(region: &Region, root: &Cell32) -> u32 {
    let mut id = root.get();
    while id != NIL {
        match left::<O>(region, id).get() {
            NIL => return id,
            less => id = less,
        }
    }
    NIL
}

/// Looks for the first node of those that `key` finds equal. `key` says how a node compares with
/// what is looked for.
pub(in crate::providers::file) fn find<O: Order>(
    region: &Region,
    root: &Cell32,
    key: impl Fn(&O::Node) -> Ordering,
) -> u32 {
    let (mut id, mut found) = (root.get(), NIL);
    while id != NIL {
        id = match key(region.node(id)) {
            Ordering::Less => right::<O>(region, id).get(),
            equal_or_greater => {
                if equal_or_greater == Ordering::Equal {
                    found = id;
                }
                left::<O>(region, id).get()
            }
        };
    }
    found
}

/// The node after this one in order, or [`NIL`].
pub(in crate::providers::file) fn next<O: Order>(region: &Region, root: &Cell32, id: u32) -> u32 {
    let (mut at, mut found) = (root.get(), NIL);
    while at != NIL {
        if is_before::<O>(region, id, at) {
            found = at;
            at = left::<O>(region, at).get();
        } else {
            at = right::<O>(region, at).get();
        }
    }
    found
}
