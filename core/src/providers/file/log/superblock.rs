//! The file `store`: what the folder is, and where the log begins.
//!
//! ```text
//! sector 0   magic "QRTSTORE" · version u32 · flags u32 (1: virtual time) · store id 16 bytes ·
//!            segment bytes u64 · crc u32 of what stands before it
//! sector 8, 16   two copies of: count u64 · first segment u64 · crc u32 of what stands before it
//! ```
//!
//! The first segment that is needed moves on as segments are done with. It is written, to the copy
//! that is older, and brought to the disk *before* the file of a segment is used again. So the copy
//! with the higher count is true, and a write that is cut leaves the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: [u8; 8] = *b"QRTSTORE";
/// The version of the format of the log.
pub(in crate::providers::file) const VERSION: u32 = 1;
const LEN: usize = 4096 * 3;
const COPIES: [u64; 2] = [4096, 8192];

/// What never changes about a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct Identity {
    pub(in crate::providers::file) store: u128,
    pub(in crate::providers::file) segment_bytes: u64,
    pub(in crate::providers::file) is_virtual: bool,
}

/// Why a superblock cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) enum Refused {
    /// It is none.
    Foreign,
    /// It is of a version that is not known here.
    Version(u32),
    /// It is one, and damaged.
    Damaged,
}

/// The superblock, open.
#[derive(Debug)]
pub(in crate::providers::file) struct Superblock {
    file: File,
    pub(in crate::providers::file) identity: Identity,
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The bytes before the checksum, if it is right.
fn unsealed(bytes: &[u8], len: usize) -> Option<&[u8]> {
    let (inside, crc) = bytes.get(..len + 4)?.split_at(len);
    (crc32fast::hash(inside).to_le_bytes() == *crc).then_some(inside)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

impl Superblock {
    /// Writes the superblock of a new store and brings it to the disk.
    pub(in crate::providers::file) fn create(file: File, identity: Identity) -> io::Result<Self> {
        let mut head = Vec::from(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&u32::from(identity.is_virtual).to_le_bytes());
        head.extend_from_slice(&identity.store.to_le_bytes());
        head.extend_from_slice(&identity.segment_bytes.to_le_bytes());
        let mut bytes = sealed(head);
        bytes.resize(LEN, 0);
        let new = Self { file, identity };
        new.file.write_all_at(&bytes, 0)?;
        new.write_first(1, 0)?;
        Ok(new)
    }

    /// Reads the superblock of a store.
    pub(in crate::providers::file) fn open(file: File) -> io::Result<Result<Self, Refused>> {
        let mut bytes = vec![0; 48];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Err(Refused::Foreign)),
            Err(e) => return Err(e),
        }
        if bytes[..8] != MAGIC {
            return Ok(Err(Refused::Foreign));
        }
        let version = u64_at(&bytes, 8) as u32;
        if version != VERSION {
            return Ok(Err(Refused::Version(version)));
        }
        let Some(head) = unsealed(&bytes, 40) else {
            return Ok(Err(Refused::Damaged));
        };
        let mut store = [0; 16];
        store.copy_from_slice(&head[16..32]);
        let identity = Identity {
            store: u128::from_le_bytes(store),
            segment_bytes: u64_at(head, 32),
            is_virtual: head[12] & 1 != 0,
        };
        Ok(Ok(Self { file, identity }))
    }

    /// The first segment that is needed; `None` when both copies are damaged.
    pub(in crate::providers::file) fn first_segment(&self) -> io::Result<Option<u64>> {
        Ok(self.newest()?.map(|(_, first)| first))
    }

    fn newest(&self) -> io::Result<Option<(u64, u64)>> {
        let mut newest = None;
        for at in COPIES {
            let mut bytes = [0; 20];
            match self.file.read_exact_at(&mut bytes, at) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(e) => return Err(e),
            }
            if let Some(copy) = unsealed(&bytes, 16) {
                newest = newest.max(Some((u64_at(copy, 0), u64_at(copy, 8))));
            }
        }
        Ok(newest)
    }

    /// Says that the segments before this one are not needed, for good.
    pub(in crate::providers::file) fn set_first_segment(&self, first: u64) -> io::Result<()> {
        let count = self.newest()?.map_or(0, |(count, _)| count);
        self.write_first(count + 1, first)
    }

    fn write_first(&self, count: u64, first: u64) -> io::Result<()> {
        let mut copy = Vec::from(count.to_le_bytes());
        copy.extend_from_slice(&first.to_le_bytes());
        self.file
            .write_all_at(&sealed(copy), COPIES[(count % 2) as usize])?;
        self.file.sync_data()
    }
}
