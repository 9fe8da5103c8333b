//! Frames: a batch of records that is there as a whole or not at all.
//!
//! ```text
//! frame   0 crc u32      of bytes 4.. of this head and of the heads of all records
//!         4 chain u32    the crc of the frame before: what is old or out of order does not follow
//!         8 len u32      of the whole frame, a multiple of 8
//!        12 era u32      changes with each recovery, by a frame of kind "era" alone
//!        16 position u64 where the frame stands in the log
//!        24 time i64     wall time, ns
//!        32 synced u64   all before here was on the disk when the frame was written
//! record  0 crc u32      of the payload
//!         4 len u32      of the payload
//!         8 kind u32
//!        12 zero u32
//!        16 payload, filled up to a multiple of 8
//! ```
//!
//! All numbers are little-endian. A frame never crosses the end of its segment. It begins where
//! the one before ends, or, when that was the last of a flush, at the next sector: what a flush has
//! brought to the disk is never in a sector that is written again.
//!
//! Invariants that a reader checks: position is where it stands, `chain` is the crc of the frame
//! before, the era is that of the frame before unless the frame begins one, and both checksums hold.

use crc32fast::Hasher;

pub(in crate::providers::file) const FRAME_HEAD: usize = 40;
pub(in crate::providers::file) const RECORD_HEAD: usize = 16;
/// What a disk writes as a whole.
pub(in crate::providers::file) const SECTOR: u64 = 512;

/// What stands before the records of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct FrameHead {
    pub(in crate::providers::file) crc: u32,
    pub(in crate::providers::file) chain: u32,
    pub(in crate::providers::file) len: u32,
    pub(in crate::providers::file) era: u32,
    pub(in crate::providers::file) position: u64,
    pub(in crate::providers::file) time: i64,
    pub(in crate::providers::file) synced: u64,
}

/// What the next frame must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct Before {
    pub(in crate::providers::file) chain: u32,
    pub(in crate::providers::file) era: u32,
}

/// The kind of the record that begins an era; see `record.rs` for the others.
pub(in crate::providers::file) const ERA: u32 = 1;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

// --- writing ----------------------------------------------------------------------------------

/// A frame while records are added to it.
#[derive(Debug)]
pub(in crate::providers::file) struct Builder {
    bytes: Vec<u8>,
    open: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            bytes: vec![0; FRAME_HEAD],
            open: 0,
        }
    }
}

impl Builder {
    /// Memory that a builder keeps for the next frame.
    const KEPT: usize = 1 << 20;

    pub(in crate::providers::file) fn clear(&mut self) {
        if self.bytes.capacity() > Self::KEPT {
            self.bytes = Vec::with_capacity(Self::KEPT / 16);
            self.bytes.resize(FRAME_HEAD, 0);
        }
        self.bytes.truncate(FRAME_HEAD);
    }

    pub(in crate::providers::file) fn is_empty(&self) -> bool {
        self.bytes.len() == FRAME_HEAD
    }

    /// The length of the frame as it is.
    pub(in crate::providers::file) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Begins a record; its payload is what is added until [`Builder::end`]. Answers where in the
    /// frame it is.
    pub(in crate::providers::file) fn begin(&mut self, kind: u32) -> u32 {
        self.open = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEAD]);
        self.bytes[self.open + 8..self.open + 12].copy_from_slice(&kind.to_le_bytes());
        self.open as u32
    }

    pub(in crate::providers::file) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Ends the record. Answers its length without the filling.
    pub(in crate::providers::file) fn end(&mut self) -> u32 {
        let payload = self.open + RECORD_HEAD;
        let len = (self.bytes.len() - payload) as u32;
        let crc = crc32fast::hash(&self.bytes[payload..]);
        self.bytes[self.open..self.open + 4].copy_from_slice(&crc.to_le_bytes());
        self.bytes[self.open + 4..self.open + 8].copy_from_slice(&len.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        RECORD_HEAD as u32 + len
    }

    /// The frame, ready to be written at this position. Answers its bytes and its checksum.
    pub(in crate::providers::file) fn close(
        &mut self,
        position: u64,
        before: Before,
        time: i64,
        synced: u64,
    ) -> (&[u8], u32) {
        let len = self.bytes.len() as u32;
        let head = &mut self.bytes[..FRAME_HEAD];
        head[4..8].copy_from_slice(&before.chain.to_le_bytes());
        head[8..12].copy_from_slice(&len.to_le_bytes());
        head[12..16].copy_from_slice(&before.era.to_le_bytes());
        head[16..24].copy_from_slice(&position.to_le_bytes());
        head[24..32].copy_from_slice(&time.to_le_bytes());
        head[32..40].copy_from_slice(&synced.to_le_bytes());
        let crc = frame_crc(&self.bytes);
        self.bytes[..4].copy_from_slice(&crc.to_le_bytes());
        (&self.bytes, crc)
    }
}

/// The checksum of a whole frame whose records fill it.
fn frame_crc(frame: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&frame[4..FRAME_HEAD]);
    let mut at = FRAME_HEAD;
    while at < frame.len() {
        hasher.update(&frame[at..at + RECORD_HEAD]);
        at += record_room(u32_at(frame, at + 4));
    }
    hasher.finalize()
}

/// The room that a record with this payload takes.
fn record_room(payload: u32) -> usize {
    RECORD_HEAD + (payload as usize).next_multiple_of(8)
}

// --- reading ----------------------------------------------------------------------------------

/// A record as it stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct RawRecord<'a> {
    pub(in crate::providers::file) kind: u32,
    /// Where its head stands in the log.
    pub(in crate::providers::file) position: u64,
    /// Its length with its head.
    pub(in crate::providers::file) len: u32,
    pub(in crate::providers::file) payload: &'a [u8],
}

/// The payload of a record that begins with these bytes, if it is whole.
pub(in crate::providers::file) fn read_record(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let head = bytes.get(..RECORD_HEAD)?;
    let payload = bytes.get(RECORD_HEAD..RECORD_HEAD + u32_at(head, 4) as usize)?;
    (crc32fast::hash(payload) == u32_at(head, 0)).then(|| (u32_at(head, 8), payload))
}

/// A frame that was found whole.
#[derive(Clone, Copy, Debug)]
pub(in crate::providers::file) struct Frame<'a> {
    pub(in crate::providers::file) head: FrameHead,
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the beginning of these bytes, which must be at this position. `None` if there
    /// is none, or it is not whole. Its chain and era are the caller's to check.
    pub(in crate::providers::file) fn read(bytes: &'a [u8], position: u64) -> Option<Self> {
        let head = bytes.get(..FRAME_HEAD)?;
        let head = FrameHead {
            crc: u32_at(head, 0),
            chain: u32_at(head, 4),
            len: u32_at(head, 8),
            era: u32_at(head, 12),
            position: u64_at(head, 16),
            time: u64_at(head, 24) as i64,
            synced: u64_at(head, 32),
        };
        let len = head.len as usize;
        if head.position != position || len <= FRAME_HEAD || !len.is_multiple_of(8) {
            return None;
        }
        let frame = Self {
            head,
            bytes: bytes.get(..len)?,
        };
        frame.is_whole().then_some(frame)
    }

    fn is_whole(&self) -> bool {
        let mut at = FRAME_HEAD;
        while at < self.bytes.len() {
            let Some(head) = self.bytes.get(at..at + RECORD_HEAD) else {
                return false;
            };
            let room = record_room(u32_at(head, 4));
            let Some(record) = self.bytes.get(at..at + room) else {
                return false;
            };
            if read_record(record).is_none() {
                return false;
            }
            at += room;
        }
        frame_crc(self.bytes) == self.head.crc
    }

    /// Whether the frame comes after this one.
    pub(in crate::providers::file) fn follows(&self, before: Before) -> bool {
        self.head.chain == before.chain && (self.head.era == before.era || self.begins_era())
    }

    fn begins_era(&self) -> bool {
        u32_at(self.bytes, FRAME_HEAD + 8) == ERA
    }

    /// What the next frame must follow.
    pub(in crate::providers::file) fn before_next(&self) -> Before {
        Before {
            chain: self.head.crc,
            era: self.head.era,
        }
    }

    pub(in crate::providers::file) fn records(
        &self,
    ) -> impl Iterator<Item = RawRecord<'a>> + use<'a> {
        let (bytes, position) = (self.bytes, self.head.position);
        let mut at = FRAME_HEAD;
        std::iter::from_fn(move || {
            let head = bytes.get(at..at + RECORD_HEAD)?;
            let payload = u32_at(head, 4);
            let record = RawRecord {
                kind: u32_at(head, 8),
                position: position + at as u64,
                len: RECORD_HEAD as u32 + payload,
                payload: &bytes[at + RECORD_HEAD..at + RECORD_HEAD + payload as usize],
            };
            at += record_room(payload);
            Some(record)
        })
    }
}

/// How the reading of a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) struct End {
    /// Where the last frame that follows ends.
    pub(in crate::providers::file) position: u64,
    /// What a frame there would have to follow.
    pub(in crate::providers::file) before: Before,
}

/// Reads the frames of a segment that follow one another, from a position on.
pub(in crate::providers::file) fn read_frames<'a>(
    segment: &'a [u8],
    start: u64,
    from: End,
    mut each: impl FnMut(Frame<'a>),
) -> End {
    let mut end = from;
    loop {
        let next = [end.position, end.position.next_multiple_of(SECTOR)]
            .into_iter()
            .find_map(|position| {
                let at = (position - start) as usize;
                let frame = Frame::read(segment.get(at..)?, position)?;
                frame.follows(end.before).then_some(frame)
            });
        let Some(frame) = next else { return end };
        end = End {
            position: frame.head.position + u64::from(frame.head.len),
            before: frame.before_next(),
        };
        each(frame);
    }
}

/// Finds a frame that is whole by itself, from a position on: where reading can go on after damage.
pub(in crate::providers::file) fn find_frame(
    segment: &[u8],
    start: u64,
    from: u64,
) -> Option<Frame<'_>> {
    let mut position = from.next_multiple_of(8);
    while let Some(bytes) = segment.get((position - start) as usize..) {
        if bytes.len() < FRAME_HEAD {
            return None;
        }
        if u64_at(bytes, 16) == position
            && let Some(frame) = Frame::read(bytes, position)
        {
            return Some(frame);
        }
        position += 8;
    }
    None
}
