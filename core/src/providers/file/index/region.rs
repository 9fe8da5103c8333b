//! The mapped file of the index: typed places in shared memory, and changes that can be taken back.
//!
//! Everything in the file is made of atomics, so that any process may look at any time. Changes
//! are made by the owner of the store's lock alone, through [`Region::set`]: it first writes the
//! old value into the undo journal, then the new one into its place. [`Region::commit`] empties the
//! journal. So whoever takes the lock after its owner died finds in the journal how to restore
//! what the last commit left.
//!
//! Invariants: the journal's length is raised only after its entry is whole, and a value is
//! changed only after the length covers its entry. A process that is killed has done a prefix of
//! its stores, so every change it began can be undone, in reverse.
//!
//! The file is cut into blocks. The first ones hold the header and the journal; the others belong
//! to pools (`pool.rs`). A reference to a node is its number: block and place. Numbers come from the
//! file, so each is checked before it is followed; a wrong one ends the step with [`Damaged`].

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::layout::{
    BLOCK, FIRST_BLOCK, Header, Node, SEGMENTS, SEGMENTS_AT, Segment, UNDO_AT, UNDO_LEN,
};
use crate::providers::file::sys::{self, Mapping};

/// A word of shared memory, changed by [`Region::set`].
#[derive(Debug)]
#[repr(transparent)]
pub(in crate::providers::file) struct Cell64(AtomicU64);

/// Half a word of shared memory, changed by [`Region::set`].
#[derive(Debug)]
#[repr(transparent)]
pub(in crate::providers::file) struct Cell32(AtomicU32);

/// A place that holds a value.
pub(in crate::providers::file) trait Cell {
    type Value: Copy + Eq;

    fn get(&self) -> Self::Value;

    /// Changes the value with no way back: for what is new, or not part of the state.
    fn put(&self, value: Self::Value);
}

impl Cell for Cell64 {
    type Value = u64;

    #[inline]
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn put(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}

impl Cell for Cell32 {
    type Value = u32;

    #[inline]
    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn put(&self, value: u32) {
        self.0.store(value, Ordering::Release);
    }
}

/// The payload of a panic that says: the index holds what cannot be.
#[derive(Debug)]
pub(in crate::providers::file) struct Damaged(pub(in crate::providers::file) &'static str);

/// Ends the step: the index is to be rebuilt from the log.
#[cold]
pub(in crate::providers::file) fn damaged(what: &'static str) -> ! {
    std::panic::resume_unwind(Box::new(Damaged(what)))
}

/// Address space kept for the index, so that it never moves as it grows.
const RESERVED: usize = 64 << 30;
/// What must do where address space is short.
const RESERVED_AT_LEAST: usize = 1 << 30;
/// The file grows by this many blocks at once.
pub(super) const GROW_BLOCKS: u32 = 16;

/// The mapped index file.
#[derive(Debug)]
pub(in crate::providers::file) struct Region {
    mapping: Mapping,
    file: File,
}

impl Region {
    /// Maps the file, which is grown to hold at least the header and the journal.
    pub(in crate::providers::file) fn open(file: File) -> io::Result<Self> {
        let fixed = u64::from(FIRST_BLOCK) * BLOCK as u64;
        if file.metadata()?.len() < fixed {
            sys::allocate(&file, 0, fixed)?;
        }
        let mut len = RESERVED;
        let mapping = loop {
            match Mapping::shared(&file, len) {
                Ok(mapping) => break mapping,
                Err(_) if len > RESERVED_AT_LEAST => len /= 2,
                Err(error) => return Err(error),
            }
        };
        Ok(Self { mapping, file })
    }

    #[inline]
    fn at<T>(&self, offset: usize) -> &T {
        if offset + size_of::<T>() > self.mapping.len() || !offset.is_multiple_of(8) {
            damaged("an offset is out of range");
        }
        // SAFETY: inside the mapping, which lives as long as self and, being page-aligned, is
        // aligned at multiples of 8; callers ask only for structures made of atomics, for which
        // every bit pattern is a value. The file is never shortened while it is mapped, and
        // callers stay below its end.
        unsafe { &*self.mapping.base().add(offset).cast::<T>() }
    }

    #[inline]
    pub(in crate::providers::file) fn header(&self) -> &Header {
        self.at(0)
    }

    /// Something in the fixed part of the file.
    #[inline]
    pub(super) fn fixed<T>(&self, offset: usize) -> &T {
        debug_assert!(offset + size_of::<T>() <= FIRST_BLOCK as usize * BLOCK);
        self.at(offset)
    }

    /// Something at a place of a block.
    #[inline]
    pub(super) fn in_block<T>(&self, block: u32, offset: usize) -> &T {
        if block < FIRST_BLOCK || block >= self.header().blocks.get() || offset >= BLOCK {
            damaged("a number of a block is out of range");
        }
        self.at(block as usize * BLOCK + offset)
    }

    /// The node of this number.
    #[inline]
    pub(in crate::providers::file) fn node<T: Node>(&self, id: u32) -> &T {
        self.find(id)
            .unwrap_or_else(|| damaged("a number leads to no node of its kind"))
    }

    /// The node of this number, if it is one of its kind.
    #[inline]
    pub(in crate::providers::file) fn find<T: Node>(&self, id: u32) -> Option<&T> {
        let (block, place) = (id >> 10, id as usize & 1023);
        if block < FIRST_BLOCK || block >= self.header().blocks.get() || place >= T::PER_BLOCK {
            return None;
        }
        let kind: &Cell32 = self.at(block as usize * BLOCK);
        (kind.get() == T::KIND)
            .then(|| self.at(block as usize * BLOCK + 64 + place * size_of::<T>()))
    }

    // --- changes ------------------------------------------------------------------------------

    /// Changes a value, in a way that [`Region::roll_back`] can take back.
    #[inline]
    pub(in crate::providers::file) fn set<C: Cell>(&self, cell: &C, value: C::Value) {
        if cell.get() != value {
            self.save(std::ptr::from_ref(cell).addr());
            cell.put(value);
        }
    }

    /// Writes the word around an address into the journal.
    #[inline]
    fn save(&self, address: usize) {
        let offset = address.wrapping_sub(self.mapping.base().addr()) & !7;
        debug_assert!(offset < self.mapping.len(), "not a place of the region");
        let length = &self.header().undo_length;
        let n = length.get() as usize;
        if n >= UNDO_LEN {
            damaged("a step made more changes than the journal holds");
        }
        let entry: &[Cell64; 2] = self.fixed(UNDO_AT + n * 16);
        entry[0].put(offset as u64);
        entry[1].put(self.at::<Cell64>(offset).get());
        length.put(n as u64 + 1);
    }

    /// Room for changes that is left in the journal.
    pub(in crate::providers::file) fn changes_left(&self) -> usize {
        UNDO_LEN - (self.header().undo_length.get() as usize).min(UNDO_LEN)
    }

    /// Keeps all changes since the last commit.
    #[inline]
    pub(in crate::providers::file) fn commit(&self) {
        self.header().undo_length.put(0);
    }

    /// Takes back all changes since the last commit. Killed in the middle, it can be done again.
    pub(in crate::providers::file) fn roll_back(&self) {
        let length = &self.header().undo_length;
        let mut n = (length.get() as usize).min(UNDO_LEN);
        while n > 0 {
            n -= 1;
            let entry: &[Cell64; 2] = self.fixed(UNDO_AT + n * 16);
            let offset = entry[0].get() as usize;
            if offset + 8 > self.file_len() {
                damaged("the journal names a place that is not there");
            }
            self.at::<Cell64>(offset).put(entry[1].get());
        }
        length.put(0);
    }

    fn file_len(&self) -> usize {
        self.header().file_blocks.get() as usize * BLOCK
    }

    // --- space --------------------------------------------------------------------------------

    /// Makes the file long enough for another block. The space is taken from the disk here, for a
    /// full disk is an error now and a signal that kills later.
    pub(super) fn grow(&self, blocks: u32) -> io::Result<()> {
        let has = self.header().file_blocks.get();
        if blocks <= has {
            return Ok(());
        }
        if blocks as usize * BLOCK > self.mapping.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let room = (self.mapping.len() / BLOCK) as u32;
        let wanted = (has + GROW_BLOCKS).max(blocks).min(room);
        let start = u64::from(has) * BLOCK as u64;
        sys::allocate(&self.file, start, u64::from(wanted - has) * BLOCK as u64)?;
        // Not undone: a file that is longer than need be harms nobody.
        self.header().file_blocks.put(wanted);
        Ok(())
    }

    /// Takes space for a block that was given back.
    pub(super) fn refill(&self, block: u32) -> io::Result<()> {
        sys::allocate(&self.file, u64::from(block) * BLOCK as u64, BLOCK as u64)
    }

    /// Gives the space of a block, but for its first page, back to the disk; false where that
    /// cannot be done.
    pub(super) fn give_back_all_but_head(&self, block: u32) -> bool {
        const PAGE: u64 = 4096;
        let start = u64::from(block) * BLOCK as u64 + PAGE;
        sys::punch(&self.file, start, BLOCK as u64 - PAGE).is_ok()
    }

    /// The whole blocks of the file as the disk has it.
    pub(in crate::providers::file) fn blocks_on_disk(&self) -> io::Result<u32> {
        Ok((self.file.metadata()?.len() / BLOCK as u64).min(u64::from(u32::MAX)) as u32)
    }

    /// The lasting numbers of a segment of the log.
    #[inline]
    pub(in crate::providers::file) fn segment(&self, number: u64) -> &Segment {
        let at = (number % SEGMENTS) as usize * size_of::<Segment>();
        self.fixed(SEGMENTS_AT + at)
    }
}
