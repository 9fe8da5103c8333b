//! From a step to the log: records are gathered into one frame, and the frame is written.

use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use super::step::{Ground, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::message::MessageId;
use crate::providers::file::fault::{self, store_full};
use crate::providers::file::index::layout::{
    BLOCK, Dedup, FREE_FILES, Message, NIL, Place, Queue, SEGMENTS, Session, flag,
};
use crate::providers::file::index::pool;
use crate::providers::file::index::region::{Cell, Region};
use crate::providers::file::log::frame::{Before, Builder, FRAME_HEAD, SECTOR};
use crate::providers::file::log::record::{self, Gone, Note, Written};
use crate::providers::file::log::segment::SegmentHead;

/// Notes that one frame takes along at most.
const NOTES_PER_FRAME: usize = 1024;
/// Changes that keeping the place of a record, or noting a message, may need.
const CHANGES_OF_A_PLACE: usize = 10;

/// What a step says to the log.
#[derive(Debug, Default)]
pub(in crate::providers::file) struct Batch {
    pub(in crate::providers::file) frame: Builder,
    /// What the records are of, so that their places can be kept.
    placed: Vec<(Of, Written)>,
    gone: Vec<Gone>,
    /// Dedup ids of this frame, whose records are not in the log yet.
    pub(super) new_ids: Vec<(u32, MessageId)>,
}

/// What a record is of: a node that keeps its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) enum Of {
    Message(u32),
    Death(u32),
    Dedup(u32),
    State(u32),
    Queue(u32),
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.frame.clear();
        self.placed.clear();
        self.gone.clear();
        self.new_ids.clear();
    }

    pub(in crate::providers::file) fn place(&mut self, of: Of, written: Written) {
        self.placed.push((of, written));
    }

    /// Notes that a message is gone for good.
    pub(super) fn gone(&mut self, slot: u32, number: u64) {
        self.gone.push(Gone { slot, number });
    }

    /// Changes that keeping the places of the records will need.
    pub(super) fn changes(&self) -> usize {
        self.placed.len() * CHANGES_OF_A_PLACE
    }

    /// The length that the frame will have, without notes.
    pub(in crate::providers::file) fn len(&self) -> usize {
        self.frame.len() + self.gone.len() * 16
    }
}

/// The place that a node keeps for a record.
fn place_of(region: &Region, of: Of) -> &Place {
    match of {
        Of::Message(id) => &region.node::<Message>(id).record,
        Of::Death(id) => &region.node::<Message>(id).death,
        Of::Dedup(id) => &region.node::<Dedup>(id).record,
        Of::State(id) => &region.node::<Session>(id).state,
        Of::Queue(id) => &region.node::<Queue>(id).record,
    }
}

/// Counts a record out of its segment: it is not needed any more.
pub(in crate::providers::file) fn forget(region: &Region, place: &Place) {
    let position = place.position.get();
    if position == 0 {
        return;
    }
    let header = region.header();
    let segment = region.segment(position / header.segment_bytes.get());
    let len = u64::from(place.len.get());
    region.set(&segment.live, segment.live.get().saturating_sub(1));
    let live_bytes = segment.live_bytes.get().saturating_sub(len);
    region.set(&segment.live_bytes, live_bytes);
    region.set(
        &header.live_bytes,
        header.live_bytes.get().saturating_sub(len),
    );
    region.set(&place.position, 0);
}

/// Counts a record into its segment and keeps its place.
pub(in crate::providers::file) fn remember(
    region: &Region,
    place: &Place,
    position: u64,
    len: u32,
) {
    forget(region, place);
    let header = region.header();
    let segment = region.segment(position / header.segment_bytes.get());
    region.set(&segment.live, segment.live.get() + 1);
    let bytes = u64::from(len);
    region.set(&segment.live_bytes, segment.live_bytes.get() + bytes);
    region.set(&header.live_bytes, header.live_bytes.get() + bytes);
    region.set(&place.position, position);
    region.set(&place.len, len);
}

impl Ground {
    /// Takes a step back that was not finished: its changes to the index, and the frame it may have
    /// left behind the end of the log. Another frame may go elsewhere, at the next sector or to
    /// another file; the one that is left would then be read in its place.
    pub(in crate::providers::file) fn roll_back(&self) -> std::io::Result<()> {
        self.region.roll_back();
        let header = self.region.header();
        let (writing, size) = (header.writing.get(), header.segment_bytes.get());
        if writing < header.tail.get() || writing == 0 {
            return Ok(());
        }
        let file = self.files.get(header.writing_file.get())?;
        file.write_all_at(&[0; FRAME_HEAD], writing % size)?;
        if writing / size != (header.tail.get() - 1) / size {
            // It was the first of a segment, which is not begun after all.
            file.write_all_at(&[0; FRAME_HEAD], 0)?;
            file.sync_data()?;
        }
        header.writing.put(0);
        Ok(())
    }
}

impl Step<'_> {
    /// Writes what was gathered, if anything was, as one frame at the end of the log.
    pub(super) fn write_frame(&mut self) -> Result<()> {
        if !self.batch.gone.is_empty() {
            record::write_gone(&mut self.batch.frame, &self.batch.gone);
        }
        if !self.batch.frame.is_empty() || self.lasting {
            self.write_notes();
        }
        if self.batch.frame.is_empty() {
            return Ok(());
        }
        let header = self.r.header();
        let size = header.segment_bytes.get();
        let (position, file) = self.make_room(self.batch.frame.len() as u64)?;
        // Not undone: whoever takes this step back must find the frame.
        header.writing_file.put(file);
        header.writing.put(position);
        let before = Before {
            chain: header.chain.get(),
            era: header.era.get(),
        };
        let synced = header.synced.load(Ordering::Acquire);
        let time = self.ground.time.to_wall(self.now);
        let (bytes, chain) = self.batch.frame.close(position, before, time, synced);
        let len = bytes.len() as u64;
        let written = (self.ground.files.get(file))
            .and_then(|file| file.write_all_at(bytes, position % size));
        written.map_err(|e| fault::io("write the log", &self.ground.files.path(file), e))?;
        self.set(&header.chain, chain);
        self.set(&header.tail, position + len);
        for (of, (offset, len)) in &self.batch.placed {
            let place = place_of(self.r, *of);
            remember(self.r, place, position + u64::from(*offset), *len);
        }
        self.batch.clear();
        Ok(())
    }

    /// Says to the log how all messages stand.
    pub(in crate::providers::file) fn say_all(&mut self) -> Result<()> {
        self.lasting = true;
        while self.r.header().dirty.first.get() != NIL {
            self.keep()?;
        }
        Ok(())
    }

    /// Adds how messages stand whose standing the log does not know.
    fn write_notes(&mut self) {
        let header = self.r.header();
        // Notes can wait; they take no part in using up the last segment there is.
        let longest = match header.free_files_len.get() {
            0 => self.max_frame().min(room_at_end(self.r) as usize),
            _ => self.max_frame(),
        };
        let room = longest.saturating_sub(self.batch.frame.len() + 4096) / 56;
        let mut notes = Vec::new();
        let spare = self.batch.changes() + 64;
        while notes.len() < NOTES_PER_FRAME.min(room)
            && self.r.changes_left() > spare + CHANGES_OF_A_PLACE
        {
            let id = header.dirty.first.get();
            if id == NIL {
                break;
            }
            notes.push(self.note(id));
            self.mark_clean(id);
            let message = self.message(id);
            self.set(&message.logged_attempts, message.attempts.get());
        }
        if !notes.is_empty() {
            record::write_notes(&mut self.batch.frame, &notes);
        }
    }

    fn note(&self, id: u32) -> Note {
        let message = self.message(id);
        Note {
            slot: id,
            attempts: message.attempts.get(),
            number: message.number.get(),
            sequence: message.sequence.get(),
            due: self.lasting_due(message),
            expires: self.wall(message.expires.get()),
            first_delivered: self.wall(message.first_delivered.get()),
            flags: lasting_flags(message),
        }
    }

    /// The end of a message's delay as wall time; no other timer outlasts the index.
    pub(super) fn lasting_due(&self, message: &Message) -> i64 {
        use crate::providers::file::index::layout::standing::DELAYED;
        if message.standing.get() == DELAYED {
            self.wall(message.due.get())
        } else {
            record::NO_TIME
        }
    }

    pub(super) fn wall(&self, tick: u64) -> i64 {
        self.ground.time.to_wall(tick)
    }

    /// The longest frame there can be.
    pub(in crate::providers::file) fn max_frame(&self) -> usize {
        (self.r.header().segment_bytes.get() - SECTOR) as usize
    }

    /// Where a frame of this length goes, and the file it goes to.
    fn make_room(&mut self, len: u64) -> Result<(u64, u32)> {
        let header = self.r.header();
        let size = header.segment_bytes.get();
        if len > self.max_frame() as u64 {
            let limit = self.max_frame() - FRAME_HEAD;
            return Err(Error::too_large(len, limit as u64));
        }
        let mut position = header.tail.get();
        let segment = (position - 1) / size;
        if position == header.flush_mark.get() {
            // What a flush brings to the disk shares no sector with what comes later.
            position = position.next_multiple_of(SECTOR);
        }
        let end = (segment + 1) * size;
        if !self.settles && header.free_files_len.get() == 0 {
            let needed = needed_before_last(self.r) + margin(size);
            if position + len + needed > end {
                // What settlements go on with, and what must still be copied here, has its room.
                self.make_file()?;
            }
        }
        if position + len <= end {
            self.wakes.keep |= end - position < size / 2;
            return Ok((position, self.r.segment(segment).file.get()));
        }
        let next = segment + 1;
        if next - header.first_segment.get() >= SEGMENTS {
            return Err(store_full("the log has as many segments as it can have"));
        }
        let file = self.take_file(len)?;
        let before = Before {
            chain: header.chain.get(),
            era: header.era.get(),
        };
        header.writing_file.put(file);
        header.writing.put(self.ground.files.start(next));
        let head = SegmentHead {
            segment: next,
            before,
            counter: header.counter.get(),
        };
        (self.ground.files.dedicate(file, head))
            .map_err(|e| fault::io("begin a segment in", &self.ground.files.path(file), e))?;
        let entry = self.r.segment(next);
        self.set(&entry.file, file);
        self.set(&entry.live, 0);
        self.set(&entry.live_bytes, 0);
        self.wakes.keep = true;
        Ok((self.ground.files.start(next), file))
    }

    /// A file for the next segment, which begins with a frame of this length. The last one that is
    /// free is for settlements, so that a queue on a full disk can be emptied; others take it only
    /// when all that is needed can be copied into it, which frees the files before.
    fn take_file(&mut self, len: u64) -> Result<u32> {
        let header = self.r.header();
        let size = header.segment_bytes.get();
        let kept = if self.settles { 0 } else { 1 };
        while header.free_files_len.get() <= kept {
            let made = self.make_file();
            let all = header.live_bytes.get() + len + margin(size);
            let free = header.free_files_len.get();
            match made {
                Ok(()) => {}
                Err(error) if free == 0 || error.kind() != ErrorKind::Full => return Err(error),
                Err(error) if all > self.max_frame() as u64 => return Err(error),
                Err(_) => break,
            }
        }
        let free = header.free_files_len.get() as usize;
        let last = &header.free_files[(free - 1).min(FREE_FILES - 1)];
        self.set(&header.free_files_len, free as u32 - 1);
        Ok(last.get())
    }

    /// Makes a file on the spot: nobody made one in time.
    fn make_file(&mut self) -> Result<()> {
        let made = self.try_to_make_file();
        if made.is_err() {
            self.r.header().is_short.put(1);
        }
        made
    }

    fn try_to_make_file(&mut self) -> Result<()> {
        let header = self.r.header();
        let size = header.segment_bytes.get();
        check_bound(self.r, self.ground.max_store_bytes, size)?;
        let number = header.next_file.get();
        match self.ground.files.make(number) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::StorageFull => {
                return Err(store_full("the disk is full"));
            }
            Err(e) => return Err(fault::io("make", &self.ground.files.path(number), e)),
        }
        add_file(self.r, number);
        Ok(())
    }

    /// Reads a record that is needed, as bytes with its head.
    pub(in crate::providers::file) fn read_place(&self, place: &Place) -> Result<Vec<u8>> {
        self.read_spot(place.position.get(), place.len.get())
    }

    /// Reads a record that is needed, by its place.
    pub(in crate::providers::file) fn read_spot(&self, position: u64, len: u32) -> Result<Vec<u8>> {
        let size = self.r.header().segment_bytes.get();
        let file = self.r.segment(position / size).file.get();
        let mut bytes = vec![0; len as usize];
        (self.ground.files.get(file))
            .and_then(|file| file.read_exact_at(&mut bytes, position % size))
            .map_err(|e| fault::io("read", &self.ground.files.path(file), e))?;
        Ok(bytes)
    }
}

/// The flags of a message that outlast the index.
pub(in crate::providers::file) fn lasting_flags(message: &Message) -> u32 {
    message.flags.get() & (flag::GIVEN_BACK | flag::BLOCKS | flag::YOUNG | flag::LATE)
}

/// Bytes that copies of so many bytes take at most: records are filled up, and frames have heads.
fn room_of_copies(bytes: u64) -> u64 {
    bytes + bytes / 8 + 16 * SECTOR
}

/// Bytes at the end of the last segment there can be that only settlements use. It is much more
/// than copies need beside what they say, so that settlements do not take that before the copies
/// are made.
fn margin(segment_bytes: u64) -> u64 {
    segment_bytes / 8
}

/// Bytes that are left in the last segment.
fn room_at_end(region: &Region) -> u64 {
    let header = region.header();
    let (tail, size) = (header.tail.get(), header.segment_bytes.get());
    tail.next_multiple_of(size) - tail
}

/// Bytes that are needed of the segments before the last.
fn needed_before_last(region: &Region) -> u64 {
    let header = region.header();
    let last = (header.tail.get() - 1) / header.segment_bytes.get();
    let of_last = region.segment(last).live_bytes.get();
    header.live_bytes.get().saturating_sub(of_last)
}

/// Whether files are short, and copying what is needed of the first segment gives one back.
pub(in crate::providers::file) fn gains_by_copying(region: &Region) -> bool {
    let header = region.header();
    let free = header.free_files_len.get();
    if header.is_short.get() == 0 || free > 1 {
        return false;
    }
    let size = header.segment_bytes.get();
    let (first, last) = (header.first_segment.get(), (header.tail.get() - 1) / size);
    let needed = region.segment(first).live_bytes.get();
    first < last
        && match free {
            0 => room_of_copies(needed) <= room_at_end(region),
            _ => needed <= size / 2,
        }
}

/// `Full` when one more message needs more of an index than there may be.
pub(in crate::providers::file) fn check_index(region: &Region, max_store_bytes: u64) -> Result<()> {
    if pool::must_grow::<Message>(region) {
        check_bound(region, max_store_bytes, pool::GROWTH)?;
    }
    Ok(())
}

/// Bytes that log and index take on the disk, with a file that a keeper is making.
fn store_bytes(region: &Region) -> u64 {
    let header = region.header();
    let is_making = header.making.load(Ordering::Acquire) != 0;
    let files = u64::from(header.files.get()) + u64::from(is_making);
    files * header.segment_bytes.get() + u64::from(header.file_blocks.get()) * BLOCK as u64
}

/// `Full` when this many bytes more would make the store larger than it may be.
pub(in crate::providers::file) fn check_bound(
    region: &Region,
    max_store_bytes: u64,
    more: u64,
) -> Result<()> {
    if store_bytes(region) + more > max_store_bytes {
        return Err(store_full("max_store_bytes is reached"));
    }
    Ok(())
}

/// Adds a file that was made to those that are free.
pub(in crate::providers::file) fn add_file(region: &Region, number: u32) {
    let header = region.header();
    let free = header.free_files_len.get();
    if (free as usize) < FREE_FILES {
        region.set(&header.free_files[free as usize], number);
        region.set(&header.free_files_len, free + 1);
        region.set(&header.files, header.files.get() + 1);
    }
    region.set(&header.next_file, header.next_file.get().max(number + 1));
}

/// A step cannot go on because of what the log holds.
#[cold]
pub(in crate::providers::file) fn unreadable(position: u64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the record at position {position} of the log cannot be read"),
    )
}
