//! Segments and the files they are in.
//!
//! The log is one line of positions, cut into segments of one size: position p is in segment
//! p / size. A segment is in a file `log-N`, written once with zeroes so that a flush has no space
//! to take, and used again for a later segment when nothing in it is needed. The first sector says
//! which segment it is at present:
//!
//! ```text
//! magic "QRTLOG\0\1" · store id 16 bytes · segment u64 · chain u32 · era u32 · counter u64 · crc u32
//! ```
//!
//! `chain` and `era` are those of the last frame before the segment, `counter` is the last number
//! that was given before it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{Before, SECTOR};
use crate::providers::file::{place, sys};
use crate::sync::{AtomicU32, Mutex, Ordering, lock as locked};

const MAGIC: [u8; 8] = *b"QRTLOG\0\x01";
const HEAD: usize = 52;

/// What the first bytes of a segment say, if they are such and whole.
fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (inside, crc) = bytes.get(..HEAD)?.split_at(HEAD - 4);
    (inside[..8] == MAGIC && crc32fast::hash(inside).to_le_bytes() == *crc).then_some(inside)
}

/// The files of the log in a folder.
#[derive(Debug)]
pub(in crate::providers::file) struct Files {
    folder: PathBuf,
    segment_bytes: u64,
    store: u128,
    writable: bool,
    open: Mutex<HashMap<u32, Arc<File>>>,
    /// The generation of the index whose files are open.
    generation: AtomicU32,
}

/// What the first sector of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct SegmentHead {
    pub(in crate::providers::file) segment: u64,
    pub(in crate::providers::file) before: Before,
    /// The last number given before.
    pub(in crate::providers::file) counter: u64,
}

impl Files {
    pub(in crate::providers::file) fn new(folder: &Path, segment_bytes: u64, store: u128) -> Self {
        Self {
            folder: folder.to_owned(),
            segment_bytes,
            store,
            writable: true,
            open: Mutex::default(),
            generation: AtomicU32::new(0),
        }
    }

    /// The same, for who only looks.
    pub(in crate::providers::file) fn read_only(
        folder: &Path,
        segment_bytes: u64,
        store: u128,
    ) -> Self {
        Self {
            writable: false,
            ..Self::new(folder, segment_bytes, store)
        }
    }

    /// The size of a segment, and of its file.
    pub(in crate::providers::file) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(in crate::providers::file) fn path(&self, file: u32) -> PathBuf {
        self.folder.join(format!("log-{file:06}"))
    }

    /// The number of a file of the log, from its name.
    pub(in crate::providers::file) fn number(name: &str) -> Option<u32> {
        let digits = name.strip_prefix("log-")?;
        (6..=9)
            .contains(&digits.len())
            .then(|| digits.parse().ok())
            .flatten()
    }

    /// The file of this number, opened at its first use.
    pub(in crate::providers::file) fn get(&self, number: u32) -> io::Result<Arc<File>> {
        let mut open = locked(&self.open);
        if let Some(file) = open.get(&number) {
            return Ok(file.clone());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(self.writable)
            .open(self.path(number))?;
        if file.metadata()?.len() < self.segment_bytes {
            let what = format!("{} is cut short", self.path(number).display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let file = Arc::new(file);
        open.insert(number, file.clone());
        Ok(file)
    }

    /// Makes a file, full of zeroes, on the disk. One of this number that is there is made anew.
    pub(in crate::providers::file) fn make(&self, number: u32) -> io::Result<()> {
        self.forget(number);
        let path = self.path(number);
        let made = self.fill(&path);
        if made.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    fn fill(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(path)?;
        place::share(&file, &self.folder);
        sys::allocate(&file, 0, self.segment_bytes)?;
        let zeroes = vec![0; (1 << 20).min(self.segment_bytes as usize)];
        let mut at = 0;
        while at < self.segment_bytes {
            let len = (self.segment_bytes - at).min(zeroes.len() as u64);
            file.write_all_at(&zeroes[..len as usize], at)?;
            at += len;
        }
        file.sync_data()?;
        self.sync_folder()
    }

    /// Gives a file that is cut short its length again, by zeroes.
    pub(in crate::providers::file) fn lengthen(&self, number: u32) -> io::Result<()> {
        self.forget(number);
        let file = OpenOptions::new().write(true).open(self.path(number))?;
        sys::allocate(&file, 0, self.segment_bytes)?;
        file.sync_data()
    }

    pub(in crate::providers::file) fn remove(&self, number: u32) -> io::Result<()> {
        self.forget(number);
        std::fs::remove_file(self.path(number))
    }

    /// The index was built anew, for this time: numbers may stand for other files than before.
    pub(in crate::providers::file) fn renew(&self, generation: u32) {
        if self.generation.load(Ordering::Relaxed) != generation {
            self.generation.store(generation, Ordering::Relaxed);
            let mut open = locked(&self.open);
            open.clear();
        }
    }

    fn forget(&self, number: u32) {
        let mut open = locked(&self.open);
        open.remove(&number);
    }

    pub(in crate::providers::file) fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// Makes a file the file of a segment.
    pub(in crate::providers::file) fn dedicate(
        &self,
        number: u32,
        head: SegmentHead,
    ) -> io::Result<()> {
        let mut bytes = Vec::from(MAGIC);
        bytes.extend_from_slice(&self.store.to_le_bytes());
        bytes.extend_from_slice(&head.segment.to_le_bytes());
        bytes.extend_from_slice(&head.before.chain.to_le_bytes());
        bytes.extend_from_slice(&head.before.era.to_le_bytes());
        bytes.extend_from_slice(&head.counter.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        self.get(number)?.write_all_at(&bytes, 0)
    }

    /// Whether these are the first bytes of a segment, of whichever store.
    pub(in crate::providers::file) fn is_of_some_store(bytes: &[u8]) -> bool {
        unsealed(bytes).is_some()
    }

    /// Which segment a file is, if it is one of this store.
    pub(in crate::providers::file) fn head(&self, bytes: &[u8]) -> Option<SegmentHead> {
        let inside = unsealed(bytes)?;
        if inside[8..24] != self.store.to_le_bytes() {
            return None;
        }
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&inside[at..at + 4]);
            u32::from_le_bytes(word)
        };
        Some(SegmentHead {
            segment: u64::from(word(24)) | u64::from(word(28)) << 32,
            before: Before {
                chain: word(32),
                era: word(36),
            },
            counter: u64::from(word(40)) | u64::from(word(44)) << 32,
        })
    }

    /// Where the frames of a segment begin.
    pub(in crate::providers::file) fn start(&self, segment: u64) -> u64 {
        segment * self.segment_bytes + SECTOR
    }
}
