//! Nodes and the blocks they come from.
//!
//! A block holds nodes of one kind. Blocks of a kind that have room form a list; a block whose last
//! node is freed leaves it and is empty: free for any kind, and its space can go back to the disk.
//! Messages that are sent together share blocks, and leave them at about the same time.
//!
//! Invariants: a block's `used` counts its nodes in use; a block stands in its kind's list exactly
//! while 0 < used < all. A node's content may be anything while it is free, but for its link.

use std::io;

use super::layout::{BLOCK, BlockHead, FIRST_BLOCK, Header, NIL, Node};
use super::region::{Cell, GROW_BLOCKS, Region, damaged};

fn head(region: &Region, block: u32) -> &BlockHead {
    region.in_block(block, 0)
}

/// A node for use. Its content is what a node before it left; the link is the pool's.
pub(in crate::providers::file) fn take<T: Node>(region: &Region) -> io::Result<u32> {
    let partial = &region.header().partial[T::KIND as usize];
    let block = match partial.get() {
        0 => {
            let block = take_block(region)?;
            region.set(&head(region, block).kind, T::KIND);
            enlist(region, T::KIND, block);
            block
        }
        block => block,
    };
    let of = head(region, block);
    let place = match of.free.get() {
        0 => {
            let place = of.fresh.get();
            region.set(&of.fresh, place + 1);
            place
        }
        free => {
            let place = free - 1;
            let node: &T = region.node(block << 10 | place);
            region.set(&of.free, node.free_link().get());
            place
        }
    };
    if place as usize >= T::PER_BLOCK {
        damaged("a block has more nodes than fit");
    }
    region.set(&of.used, of.used.get() + 1);
    if of.used.get() as usize == T::PER_BLOCK {
        delist(region, T::KIND, block);
    }
    Ok(block << 10 | place)
}

/// Gives a node back.
pub(in crate::providers::file) fn free<T: Node>(region: &Region, id: u32) {
    let node: &T = region.node(id);
    let block = id >> 10;
    let of = head(region, block);
    let used = of.used.get();
    if used == 0 {
        damaged("a node is freed twice");
    }
    if used as usize == T::PER_BLOCK {
        enlist(region, T::KIND, block);
    }
    region.set(node.free_link(), of.free.get());
    region.set(&of.free, (id & 1023) + 1);
    region.set(&of.used, used - 1);
    if used == 1 {
        delist(region, T::KIND, block);
        region.set(&of.free, 0);
        region.set(&of.fresh, 0);
        // The kind stays, so that a late receipt finds the node it was for.
        let empty = &region.header().empty_blocks;
        region.set(&of.link.after, empty.get());
        region.set(empty, block);
    }
}

/// Bytes that the file grows by at once.
pub(in crate::providers::file) const GROWTH: u64 = GROW_BLOCKS as u64 * BLOCK as u64;

/// Whether the file has to grow for another node.
pub(in crate::providers::file) fn must_grow<T: Node>(region: &Region) -> bool {
    let header = region.header();
    header.partial[T::KIND as usize].get() == 0
        && header.empty_blocks.get() == 0
        && header.blocks.get() >= header.file_blocks.get()
}

fn take_block(region: &Region) -> io::Result<u32> {
    let header: &Header = region.header();
    match header.empty_blocks.get() {
        0 => {
            let block = header.blocks.get();
            region.grow(block + 1)?;
            region.set(&header.blocks, block + 1);
            let of = head(region, block);
            fill(region, of, block)?;
            for cell in [&of.used, &of.free, &of.fresh] {
                region.set(cell, 0);
            }
            Ok(block)
        }
        block => {
            let of = head(region, block);
            fill(region, of, block)?;
            region.set(&header.empty_blocks, of.link.after.get());
            Ok(block)
        }
    }
}

/// Takes space again for a block that gave it back.
fn fill(region: &Region, of: &BlockHead, block: u32) -> io::Result<()> {
    if of.hollow.get() != 0 {
        region.refill(block)?;
        region.set(&of.hollow, 0);
    }
    Ok(())
}

fn enlist(region: &Region, kind: u32, block: u32) {
    let first = &region.header().partial[kind as usize];
    let of = head(region, block);
    region.set(&of.link.before, 0);
    region.set(&of.link.after, first.get());
    if first.get() != 0 {
        region.set(&head(region, first.get()).link.before, block);
    }
    region.set(first, block);
}

fn delist(region: &Region, kind: u32, block: u32) {
    let of = head(region, block);
    let (before, after) = (of.link.before.get(), of.link.after.get());
    match before {
        0 => region.set(&region.header().partial[kind as usize], after),
        before => region.set(&head(region, before).link.after, after),
    }
    if after != 0 {
        region.set(&head(region, after).link.before, before);
    }
}

/// Gives the space of up to `max` empty blocks back to the disk, but for `keep` of them. Answers
/// how many. Called with the lock, outside of a step.
pub(in crate::providers::file) fn shrink(region: &Region, keep: u32, max: u32) -> u32 {
    let header = region.header();
    let (mut block, mut seen, mut given) = (header.empty_blocks.get(), 0, 0);
    while block != NIL && given < max && seen < header.blocks.get() {
        let of = head(region, block);
        let after = of.link.after.get();
        seen += 1;
        // The first page of the block stays: it says what the block is.
        if seen > keep && of.hollow.get() == 0 && region.give_back_all_but_head(block) {
            of.hollow.put(1);
            given += 1;
        }
        block = after;
    }
    given
}

/// No node is in use any more. Called while the index is void.
pub(in crate::providers::file) fn clear(region: &Region) {
    let header = region.header();
    for first in &header.partial {
        first.put(0);
    }
    header.empty_blocks.put(0);
    header.blocks.put(FIRST_BLOCK);
}

/// Takes nodes of one kind at given numbers, of a region that was cleared: the places by block.
pub(in crate::providers::file) fn restore<T: Node>(
    region: &Region,
    used: &[Vec<u32>],
) -> io::Result<()> {
    let header = region.header();
    let blocks = used.iter().rposition(|places| !places.is_empty());
    let Some(last) = blocks else { return Ok(()) };
    region.grow(last as u32 + 1)?;
    header.blocks.put(last as u32 + 1);
    for block in (FIRST_BLOCK..=last as u32).rev() {
        let of = head(region, block);
        fill(region, of, block)?;
        let places = &used[block as usize];
        of.kind.put(T::KIND);
        of.used.put(places.len() as u32);
        of.fresh.put(T::PER_BLOCK as u32);
        of.free.put(0);
        if places.is_empty() {
            of.fresh.put(0);
            of.link.after.put(header.empty_blocks.get());
            header.empty_blocks.put(block);
            continue;
        }
        for place in (0..T::PER_BLOCK as u32).rev() {
            if places.binary_search(&place).is_err() {
                let node: &T = region.node(block << 10 | place);
                node.free_link().put(of.free.get());
                of.free.put(place + 1);
            }
        }
        if places.len() < T::PER_BLOCK {
            enlist(region, T::KIND, block);
        }
        region.commit();
    }
    Ok(())
}
