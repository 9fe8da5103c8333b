//! After damage was gone around: what could be read is said again behind it, so that the damaged
//! part of the log is not needed any more and the next recovery does not meet it.

use std::path::Path;

use super::Spot;
use crate::error::Result;
use crate::providers::file::engine::append::{add_file, unreadable};
use crate::providers::file::engine::step::{Ground, Step};
use crate::providers::file::fault;
use crate::providers::file::index::layout::{
    Dedup, FREE_FILES, ListHead, Message, NIL, Place, Queue, Session,
};
use crate::providers::file::index::region::{Cell, Region};
use crate::providers::file::index::{list, tree};
use crate::providers::file::log::frame::{RawRecord, read_record};
use crate::providers::file::log::superblock::Superblock;

/// One step of copying writes about as much at most.
const AT_ONCE: usize = 256 * 1024;

/// Copies all that is needed into new segments, and lets the old ones go.
pub(super) fn salvage(step: &mut Step<'_>, superblock: &Superblock) -> Result<()> {
    let (ground, header) = (step.ground, step.r.header());
    let size = header.segment_bytes.get();
    let old = header.first_segment.get();
    let places = needed(step);
    // What follows goes to another segment than what is damaged.
    header.tail.put(header.tail.get().next_multiple_of(size));
    let first = header.tail.get() / size;
    super::begin_era(step)?;
    for (position, len) in places {
        copy(step, position, len)?;
        if step.batch.len() > AT_ONCE || !step.has_room_for_more() {
            step.keep()?;
        }
    }
    step.keep()?;
    super::flush_segments(ground, first)?;
    superblock
        .set_first_segment(first)
        .map_err(|e| fault::io("write", Path::new("the file store"), e))?;
    header.first_segment.put(first);
    for segment in old..first {
        give_back(ground, step.r.segment(segment).file.get());
    }
    Ok(())
}

fn give_back(ground: &Ground, file: u32) {
    let region = &ground.region;
    let files = &region.header().files;
    files.put(files.get() - 1);
    if (region.header().free_files_len.get() as usize) < FREE_FILES / 2 {
        add_file(region, file);
    } else {
        let _ = ground.files.remove(file);
    }
    region.commit();
}

fn copy(step: &mut Step<'_>, position: u64, len: u32) -> Result<()> {
    let bytes = step.read_spot(position, len)?;
    let Some((kind, payload)) = read_record(&bytes) else {
        return Err(unreadable(position));
    };
    step.copy(&RawRecord {
        kind,
        position,
        len,
        payload,
    })
}

/// The places of all records that are needed, in the order of the log.
fn needed(step: &Step<'_>) -> Vec<Spot> {
    let region = step.r;
    let mut places = Vec::new();
    let mut add = |place: &Place| {
        if place.position.get() != 0 {
            places.push((place.position.get(), place.len.get()));
        }
    };
    for id in step.queue_ids() {
        let queue: &Queue = region.node(id);
        add(&queue.record);
        each::<list::All>(region, &queue.all, |id| {
            add(&region.node::<Message>(id).record);
        });
        each::<list::Place>(region, &queue.dead_list, |id| {
            add(&region.node::<Message>(id).record);
            add(&region.node::<Message>(id).death);
        });
        let mut id = tree::first::<tree::ById>(region, &queue.sessions);
        while id != NIL {
            add(&region.node::<Session>(id).state);
            id = tree::next::<tree::ById>(region, &queue.sessions, id);
        }
        let mut id = tree::first::<tree::ByHash>(region, &queue.dedup);
        while id != NIL {
            add(&region.node::<Dedup>(id).record);
            id = tree::next::<tree::ByHash>(region, &queue.dedup, id);
        }
    }
    places.sort_unstable();
    places.dedup();
    places
}

fn each<C: list::Chain>(region: &Region, of: &ListHead, mut visit: impl FnMut(u32))
where
    C::Node: 'static,
{
    let mut id = of.first.get();
    while id != NIL {
        visit(id);
        id = list::after::<C>(region, id);
    }
}
