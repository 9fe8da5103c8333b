//! Doubly linked lists whose links live in the nodes. A node is in at most one list of each kind.

use super::layout::{Dedup, Link, ListHead, Member, Message, NIL, Node, Queue, Session, Waiter};
use super::region::{Cell, Region};

/// A kind of list: which nodes, by which of their links.
pub(in crate::providers::file) trait Chain {
    type Node: Node;
    fn link(node: &Self::Node) -> &Link;
}

macro_rules! chain {
    ($(#[$doc:meta])* $name:ident, $node:ident, $($link:ident).+) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(in crate::providers::file) enum $name {}

        impl Chain for $name {
            type Node = $node;

            #[inline]
            fn link(node: &$node) -> &Link {
                &node.$($link).+
            }
        }
    };
}

chain!(/** Live messages of a queue, by sequence number. */ All, Message, all);
chain!(/** Where a message stands. */ Place, Message, place);
chain!(/** Messages whose standing the log does not know. */ Dirty, Message, dirty);
chain!(/** The queues of the store. */ Queues, Queue, link);
chain!(/** Sessions with something to hand out and no holder. */ Ring, Session, ring);
chain!(/** Sessions of one holder. */ OfHolder, Session, of_holder);
chain!(/** Dedup ids, by the ends of their windows. */ Ends, Dedup, by_end);
chain!(/** The stores that are open. */ Members, Member, link);
chain!(/** Verbs that wait. */ Waiters, Waiter, link);

#[inline]
fn link<C: Chain>(region: &Region, id: u32) -> &Link
where
    C::Node: 'static,
{
    C::link(region.node::<C::Node>(id))
}

/// The node after this one, or [`NIL`].
#[inline]
pub(in crate::providers::file) fn after<C: Chain>(region: &Region, id: u32) -> u32
where
    C::Node: 'static,
{
    link::<C>(region, id).after.get()
}

pub(in crate::providers::file) fn push_back<C: Chain>(region: &Region, list: &ListHead, id: u32)
where
    C::Node: 'static,
{
    let (own, last) = (link::<C>(region, id), list.last.get());
    region.set(&own.before, last);
    region.set(&own.after, NIL);
    match last {
        NIL => region.set(&list.first, id),
        last => region.set(&link::<C>(region, last).after, id),
    }
    region.set(&list.last, id);
}

/// Puts a node before another of this list; before [`NIL`], at the end.
pub(in crate::providers::file) fn insert_before<C: Chain>(
    region: &Region,
    list: &ListHead,
    id: u32,
    next: u32,
) where
    C::Node: 'static,
{
    if next == NIL {
        return push_back::<C>(region, list, id);
    }
    let (own, before) = (link::<C>(region, id), link::<C>(region, next).before.get());
    region.set(&own.before, before);
    region.set(&own.after, next);
    region.set(&link::<C>(region, next).before, id);
    match before {
        NIL => region.set(&list.first, id),
        before => region.set(&link::<C>(region, before).after, id),
    }
}

#[inline]
pub(in crate::providers::file) fn remove<C: Chain>(region: &Region, list: &ListHead, id: u32)
where
    C::Node: 'static,
{
    let own = link::<C>(region, id);
    let (before, after) = (own.before.get(), own.after.get());
    match before {
        NIL => region.set(&list.first, after),
        before => region.set(&link::<C>(region, before).after, after),
    }
    match after {
        NIL => region.set(&list.last, before),
        after => region.set(&link::<C>(region, after).before, before),
    }
}

pub(in crate::providers::file) fn pop_front<C: Chain>(
    region: &Region,
    list: &ListHead,
) -> Option<u32>
where
    C::Node: 'static,
{
    let first = list.first.get();
    if first == NIL {
        return None;
    }
    remove::<C>(region, list, first);
    Some(first)
}
