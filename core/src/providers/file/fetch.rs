//! Reading what messages say: from the log, outside of the store's lock.
//!
//! Between a step and the reading a message may be settled by others and its segment used again. So
//! what is read is checked: by the checksum of the record, and by the number of the message.

use std::os::unix::fs::FileExt;

use super::engine::step::Ground;
use super::index::region::Cell;
use super::log::frame::read_record;
use super::log::record::{Death, MessageHead, Record, read_message};
use crate::body_pool::BodyPool;
use crate::message::Message;

/// Neighbours are read at once up to this many bytes.
const AT_ONCE: u64 = 512 * 1024;
/// A gap of this many bytes is read over.
const GAP: u64 = 4096;

/// Where a record is.
pub(super) type Spot = (u64, u32);

impl Ground {
    /// Reads records, neighbours at once, and gives each to `each` with its index; `None` for one
    /// that cannot be read.
    pub(super) fn read_all(&self, spots: &[Spot], mut each: impl FnMut(usize, Option<&[u8]>)) {
        thread_local! {
            static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        let size = self.region.header().segment_bytes.get();
        let mut buffer = BUFFER.take();
        let mut first = 0;
        while first < spots.len() {
            let (start, len) = spots[first];
            let mut end = start + u64::from(len);
            let mut next = first + 1;
            while let Some((position, len)) = spots.get(next)
                && *position >= end
                && *position <= end + GAP
                && position / size == start / size
                && position + u64::from(*len) - start <= AT_ONCE
            {
                end = position + u64::from(*len);
                next += 1;
            }
            let read = self.read_range(&mut buffer, start, end, size);
            for (index, (position, len)) in spots.iter().enumerate().take(next).skip(first) {
                let at = (position - start) as usize;
                each(
                    index,
                    read.and_then(|()| buffer.get(at..at + *len as usize)),
                );
            }
            first = next;
        }
        if buffer.capacity() <= 2 * AT_ONCE as usize {
            BUFFER.set(buffer);
        }
    }

    fn read_range(&self, buffer: &mut Vec<u8>, start: u64, end: u64, size: u64) -> Option<()> {
        if start == 0 || end > (start / size + 1) * size {
            return None;
        }
        let len = (end - start) as usize;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let file = self.region.segment(start / size).file.get();
        let file = self.files.get(file).ok()?;
        file.read_exact_at(&mut buffer[..len], start % size).ok()
    }

    /// The messages of these numbers at these places.
    pub(super) fn read_messages(
        &self,
        bodies: &BodyPool,
        wanted: &[(Spot, u64)],
    ) -> Vec<Option<(MessageHead, Message)>> {
        let spots: Vec<Spot> = wanted.iter().map(|(spot, _)| *spot).collect();
        let mut messages: Vec<_> = wanted.iter().map(|_| None).collect();
        self.read_all(&spots, |index, bytes| {
            messages[index] = bytes.and_then(|bytes| message_in(bytes, wanted[index].1, bodies));
        });
        messages
    }

    /// The records of dead letters: with what each says to the caller.
    pub(super) fn read_deaths<T>(
        &self,
        spots: &[Spot],
        mut say: impl FnMut(&Death<'_>) -> T,
    ) -> Vec<Option<T>> {
        let mut said: Vec<_> = spots.iter().map(|_| None).collect();
        self.read_all(spots, |index, bytes| {
            said[index] = bytes.and_then(|bytes| death_in(bytes, &mut say));
        });
        said
    }
}

/// What the record of a death says to the caller, if these bytes are one.
pub(super) fn death_in<T>(bytes: &[u8], say: impl FnOnce(&Death<'_>) -> T) -> Option<T> {
    let (kind, payload) = read_record(bytes)?;
    match Record::read(kind, payload)? {
        Record::Death(death) => Some(say(&death)),
        _ => None,
    }
}

/// The message of this number, if these bytes are its record.
pub(super) fn message_in(
    bytes: &[u8],
    number: u64,
    bodies: &BodyPool,
) -> Option<(MessageHead, Message)> {
    use super::log::record::kind;
    let (kind, payload) = read_record(bytes)?;
    if kind != kind::MESSAGE {
        return None;
    }
    let (head, content) = read_message(payload)?;
    if head.number != number {
        return None;
    }
    let message = content.message(bodies.copy(content.body))?;
    Some((head, message))
}
