//! Keeping the files: making them before they are needed, and using them again.
//!
//! The log grows at one end and is used up at the other. The first segment is done with when no
//! record in it is needed. When little in it is, the rest is copied to the end of the log, so that
//! one message that nobody fetches pins nothing. The order of what then happens is what keeps a
//! power cut from losing or bringing back anything: the copies go to the disk, then the superblock
//! says that the segment is not needed, and only when that is on the disk too is its file free.
//!
//! One store at a time keeps, by a lock of its own. Copying takes the store's lock for a few hundred
//! records at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::engine::append::{Of, add_file, check_bound, gains_by_copying};
use super::engine::step::Step;
use super::fault;
use super::index::layout::{
    Dedup, FREE_FILES, Header, Message, NEVER, NIL, Queue, Session, standing,
};
use super::index::region::Cell;
use super::index::{lock, pool, tree};
use super::log::frame::{Before, End, RawRecord, read_frames, read_record};
use super::log::record::{self, Record};
use super::store::Store;
use super::sys::Mapping;
use crate::error::Result;
use crate::sync::{Ordering, lock as locked, thread};

/// Files that are free and kept: one to go on with, one for settlements, and some for a burst.
const KEPT_FILES: u32 = 4;
/// Empty blocks of the index that keep their space.
const KEPT_BLOCKS: u32 = 64;
/// Segments that the log may have beside twice what is needed.
const SLACK_SEGMENTS: u64 = 3;
/// Bytes that one step of copying writes at most, beside one record.
const COPY_BYTES: usize = 256 * 1024;

impl Store {
    /// Lets the keeper look whether there is something to do.
    pub(super) fn wake_keeper(self: &Store) {
        if let Some(store) = self.me.upgrade() {
            store.start_keeper();
        }
    }

    fn start_keeper(self: Arc<Self>) {
        if self.threads.keeper_wakes.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let spawned = thread::Builder::new().name("qrt-keep".to_owned()).spawn({
            let store = self.clone();
            move || store.keep_while_woken()
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for the keeper");
            self.threads.keeper_wakes.store(0, Ordering::Release);
            self.threads.kept.notify_waiters();
        }
    }

    /// The thread: looks once for each wake at least that came before it looked.
    fn keep_while_woken(&self) {
        let wakes = &self.threads.keeper_wakes;
        loop {
            let seen = wakes.load(Ordering::Acquire);
            if let Err(error) = self.keep() {
                tracing::warn!(folder = %self.folder.display(), %error, "files are not kept");
            }
            let none_since = wakes.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Relaxed);
            if none_since.is_ok() {
                self.threads.kept.notify_waiters();
                return;
            }
        }
    }

    /// Does everything there is to do, unless another store is at it.
    pub(super) fn keep(&self) -> Result<()> {
        let header = self.ground.region.header();
        let _one = locked(&self.keeping);
        let taken = lock::try_take(&header.keep_lock, self.locks.handle(), &self.locks);
        if taken.is_none() {
            return Ok(());
        }
        let kept = self.keep_all(header);
        lock::give(&header.keep_lock);
        kept
    }

    fn keep_all(&self, header: &Header) -> Result<()> {
        self.forget_old_dedup_ids()?;
        while self.drop_first_segment(header, false)? {}
        let made = self.make_files(header);
        let is_short = header.free_files_len.get() < 2;
        header.is_short.put(u32::from(is_short));
        while self.drop_first_segment(header, true)? {}
        self.step(|step| {
            pool::shrink(step.r, KEPT_BLOCKS, 256);
            Ok(())
        })?;
        made
    }

    // --- files --------------------------------------------------------------------------------

    fn needs_file(&self, header: &Header) -> bool {
        header.free_files_len.get() < 2 && self.has_space_for_file(header).is_ok()
    }

    fn has_space_for_file(&self, header: &Header) -> Result<()> {
        let more = match header.making.load(Ordering::Acquire) {
            0 => header.segment_bytes.get(),
            // It counts already.
            _ => 0,
        };
        check_bound(&self.ground.region, self.ground.max_store_bytes, more)
    }

    fn make_files(&self, header: &Header) -> Result<()> {
        while self.needs_file(header) {
            self.make_file(header)?;
        }
        Ok(())
    }

    fn make_file(&self, header: &Header) -> Result<()> {
        // A keeper that died over a file has left its number: that file is made again.
        let left = header.making.load(Ordering::Acquire);
        let number = match left {
            0 => {
                let (number, _) = self.step(|step| {
                    self.has_space_for_file(header)?;
                    let next = &step.r.header().next_file;
                    let number = next.get();
                    step.r.set(next, number + 1);
                    header.making.store(number + 1, Ordering::Release);
                    Ok(number)
                })?;
                number
            }
            left => left - 1,
        };
        match self.ground.files.make(number) {
            Ok(()) => {}
            Err(e) => return Err(fault::io("make", &self.ground.files.path(number), e)),
        }
        self.step(|step| {
            if step.r.header().making.swap(0, Ordering::AcqRel) == number + 1 {
                add_file(step.r, number);
            }
            Ok(())
        })
        .map(drop)
    }

    // --- segments -----------------------------------------------------------------------------

    /// Drops the first segment, if it is time: nothing in it is needed, or the rest may be copied,
    /// and the log is long, or the file is needed. Answers whether it was dropped.
    fn drop_first_segment(&self, header: &Header, may_copy: bool) -> Result<bool> {
        let (first, number, live, wanted) = {
            let _shared = self.enter();
            let size = header.segment_bytes.get();
            let (first, last) = (header.first_segment.get(), (header.tail.get() - 1) / size);
            let segment = self.ground.region.segment(first);
            let live = segment.live.get();
            let used = last - first + 1;
            let needed = header.live_bytes.get().saturating_mul(2) / size + SLACK_SEGMENTS;
            let is_long = used > needed && header.free_files_len.get() > 1;
            let copy = may_copy && (is_long || gains_by_copying(&self.ground.region));
            let wanted = first < last && (live == 0 || copy);
            (first, segment.file.get(), live, wanted)
        };
        if !wanted {
            return Ok(false);
        }
        if live > 0 && !self.copy_forward(first, number)? {
            return Ok(false);
        }
        let tail = header.tail.get();
        self.flush(tail)?;
        // Still nothing in it is needed: a segment gains no records once it is not the last.
        if self.ground.region.segment(first).live.get() > 0 {
            return Ok(false);
        }
        self.superblock
            .set_first_segment(first + 1)
            .map_err(|e| fault::io("write", &self.folder.join("store"), e))?;
        let (is_kept, _) = self.step(|step| {
            let header = step.r.header();
            if header.first_segment.get() != first {
                return Ok(true);
            }
            step.r.set(&header.first_segment, first + 1);
            step.r.set(&header.files, header.files.get() - 1);
            let free = header.free_files_len.get();
            let is_kept = free < KEPT_FILES.min(FREE_FILES as u32);
            if is_kept {
                add_file(step.r, number);
            }
            Ok(is_kept)
        })?;
        if !is_kept {
            let removed = self.ground.files.remove(number);
            removed.map_err(|e| fault::io("remove", &self.ground.files.path(number), e))?;
        }
        Ok(true)
    }

    /// Copies what is needed of a segment to the end of the log. Answers whether all was copied.
    fn copy_forward(&self, segment: u64, number: u32) -> Result<bool> {
        let size = self.ground.region.header().segment_bytes.get();
        let failed = |e| fault::io("read", &self.ground.files.path(number), e);
        let file = self.ground.files.get(number).map_err(failed)?;
        let mapping = Mapping::read_only(&file, size as usize).map_err(failed)?;
        // SAFETY: the mapping lives as long as the slice and is as long as its file, which
        // `Files::get` has checked; a segment that is not the last is not written to before the
        // owner of the keeper's lock, who is the caller, lets it be used again.
        let bytes = unsafe { std::slice::from_raw_parts(mapping.base(), size as usize) };
        let Some(head) = self.ground.files.head(bytes) else {
            return Ok(false);
        };
        let from = End {
            position: self.ground.files.start(segment),
            before: Before {
                chain: head.before.chain,
                era: head.before.era,
            },
        };
        let mut records = VecDeque::new();
        read_frames(bytes, segment * size, from, |frame| {
            let is_some = |raw: &RawRecord<'_>| copies(raw.kind);
            records.extend(frame.records().filter(is_some));
        });
        while !records.is_empty() {
            self.step(|step| {
                while let Some(record) = records.front() {
                    step.copy(record)?;
                    records.pop_front();
                    if step.batch.len() > COPY_BYTES || !step.has_room_for_more() {
                        break;
                    }
                }
                // The copies of what can be lost by this are on the disk before it is.
                step.settles = true;
                Ok(())
            })?;
        }
        let left = self.ground.region.segment(segment).live.get();
        if left > 0 {
            tracing::error!(
                segment,
                left,
                "records that are needed were not found in the log"
            );
        }
        Ok(left == 0)
    }

    fn forget_old_dedup_ids(&self) -> Result<()> {
        loop {
            let (any, _) = self.step(|step| Ok(step.forget_all_dedup_ids()))?;
            if !any {
                return Ok(());
            }
        }
    }
}

/// Whether a record of this kind can be needed by itself.
fn copies(kind: u32) -> bool {
    use record::kind::{DEATH, DEDUP, MESSAGE, QUEUE, STATE};
    matches!(kind, DEATH | DEDUP | MESSAGE | QUEUE | STATE)
}

impl Step<'_> {
    /// Says again, at the end of the log, what a record says, if it is still needed.
    pub(super) fn copy(&mut self, raw: &RawRecord<'_>) -> Result<()> {
        match Record::read(raw.kind, raw.payload) {
            Some(Record::Message(head, content)) => {
                let is_it = |slot: &&Message| {
                    slot.standing.get() != standing::FREE
                        && slot.number.get() == head.number
                        && slot.record.position.get() == raw.position
                };
                let slot = self.r.find::<Message>(head.slot).filter(is_it);
                let keys = content.keys().unwrap_or_default();
                let dedup = keys
                    .1
                    .map_or(NIL, |id| self.dedup_at(head.queue, id, raw.position));
                let end = match dedup {
                    NIL => NEVER,
                    dedup => self.r.node::<Dedup>(dedup).end.get(),
                };
                match slot {
                    Some(slot) => {
                        let new = self.head_of(head.slot, end);
                        let written = record::copy_message(&mut self.batch.frame, &new, &content);
                        self.batch.place(Of::Message(head.slot), written);
                        if dedup != NIL {
                            self.batch.place(Of::Dedup(dedup), written);
                        }
                        if slot.standing.get() == standing::DEAD {
                            self.copy_death(head.slot)?;
                        }
                    }
                    None if dedup != NIL => {
                        let engine = self.queue_of(head.queue).map_or(0, |q| q.engine.get());
                        let id = content.given_id().unwrap_or_else(|| {
                            crate::message::MessageId::made(engine, head.number)
                        });
                        self.write_dedup(
                            dedup,
                            head.queue,
                            keys.1.unwrap_or_default(),
                            &id.to_string(),
                        );
                    }
                    None => {}
                }
            }
            Some(Record::Death(death)) => {
                let slot = self.r.find::<Message>(death.slot);
                if slot.is_some_and(|slot| {
                    slot.standing.get() == standing::DEAD
                        && slot.number.get() == death.number
                        && slot.death.position.get() == raw.position
                }) {
                    self.copy_death(death.slot)?;
                }
            }
            Some(Record::State(state)) => {
                let id = self.session_at(state.queue, state.id, raw.position);
                if id != NIL {
                    let written = record::write_state(&mut self.batch.frame, &state);
                    self.batch.place(Of::State(id), written);
                }
            }
            Some(Record::Dedup(dedup)) => {
                let id = self.dedup_at(dedup.queue, dedup.id, raw.position);
                if id != NIL {
                    self.write_dedup(id, dedup.queue, dedup.id, dedup.message);
                }
            }
            Some(Record::Queue(queue)) => {
                let id = self.queue_id_of(queue.number);
                if id != NIL && self.r.node::<Queue>(id).record.position.get() == raw.position {
                    self.write_queue(id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn write_dedup(&mut self, id: u32, queue: u32, dedup_id: &str, message: &str) {
        let end = self.r.node::<Dedup>(id).end.get();
        let said = record::DedupRecord {
            queue,
            end: self.ground.time.to_wall(end),
            id: dedup_id,
            message,
        };
        let written = record::write_dedup(&mut self.batch.frame, &said);
        self.batch.place(Of::Dedup(id), written);
    }

    fn copy_death(&mut self, slot: u32) -> Result<()> {
        let place = &self.r.node::<Message>(slot).death;
        let bytes = self.read_place(place)?;
        let death = read_record(&bytes).and_then(|(kind, payload)| Record::read(kind, payload));
        let Some(Record::Death(death)) = death else {
            return Err(super::engine::append::unreadable(place.position.get()));
        };
        let written = record::write_death(&mut self.batch.frame, &death);
        self.batch.place(Of::Death(slot), written);
        Ok(())
    }

    fn queue_id_of(&self, number: u32) -> u32 {
        let is_it = |id: &u32| self.r.node::<Queue>(*id).number.get() == number;
        self.queue_ids().into_iter().find(is_it).unwrap_or(NIL)
    }

    fn queue_of(&self, number: u32) -> Option<&Queue> {
        match self.queue_id_of(number) {
            NIL => None,
            id => Some(self.r.node(id)),
        }
    }

    /// The dedup id whose record is at this position.
    fn dedup_at(&self, queue: u32, id: &str, position: u64) -> u32 {
        let Some(queue) = self.queue_of(queue) else {
            return NIL;
        };
        let hash = self.ground.hash(id.as_bytes());
        let mut node = tree::find::<tree::ByHash>(self.r, &queue.dedup, |d| {
            (d.hash[0].get(), d.hash[1].get()).cmp(&(hash[0], hash[1]))
        });
        while node != NIL {
            let dedup: &Dedup = self.r.node(node);
            if (dedup.hash[0].get(), dedup.hash[1].get()) != (hash[0], hash[1]) {
                return NIL;
            }
            if dedup.record.position.get() == position {
                return node;
            }
            node = tree::next::<tree::ByHash>(self.r, &queue.dedup, node);
        }
        NIL
    }

    /// The session whose state's record is at this position.
    fn session_at(&self, queue: u32, id: &str, position: u64) -> u32 {
        let Some(queue) = self.queue_of(queue) else {
            return NIL;
        };
        let hash = self.ground.hash(id.as_bytes())[0];
        let mut node =
            tree::find::<tree::ById>(self.r, &queue.sessions, |s| s.hash.get().cmp(&hash));
        while node != NIL {
            let session: &Session = self.r.node(node);
            if session.hash.get() != hash {
                return NIL;
            }
            if session.state.position.get() == position {
                return node;
            }
            node = tree::next::<tree::ById>(self.r, &queue.sessions, node);
        }
        NIL
    }

    /// Forgets dedup ids whose windows are over, of all queues. Answers whether there were some.
    fn forget_all_dedup_ids(&mut self) -> bool {
        let mut any = false;
        for id in self.queue_ids() {
            let queue: &Queue = self.r.node(id);
            while self.has_room_for_more() {
                let first = queue.dedup_ends.first.get();
                if first == NIL || self.r.node::<Dedup>(first).end.get() > self.now {
                    break;
                }
                self.forget_dedup(queue, first);
                any = true;
            }
        }
        any
    }
}
