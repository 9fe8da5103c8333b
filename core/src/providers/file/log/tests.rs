//! The log under damage: cut, flipped, reordered, recycled.

use proptest::prelude::*;

use super::frame::{Before, Builder, End, Frame, SECTOR, find_frame, read_frames, read_record};
use super::record::{self, Death, DedupRecord, Gone, MessageHead, NO_TIME, Note, Record};
use super::segment::{Files, SegmentHead};
use super::superblock::{Identity, Refused, Superblock};
use crate::message::Message;

const SEGMENT: usize = 64 * 1024;
const START: u64 = 5 * SEGMENT as u64;
const FIRST: End = End {
    position: START + SECTOR,
    before: Before { chain: 77, era: 3 },
};

/// A segment with a frame for each of these bodies; at `flushed` ones the next starts a sector.
struct Written {
    bytes: Vec<u8>,
    frames: Vec<(u64, u64, Vec<u8>)>,
    end: End,
}

fn write(bodies: &[(Vec<u8>, bool)]) -> Written {
    let mut written = Written {
        bytes: vec![0; SEGMENT],
        frames: Vec::new(),
        end: FIRST,
    };
    for (body, flushed) in bodies {
        append(&mut written, body);
        if *flushed {
            written.end.position = written.end.position.next_multiple_of(SECTOR);
        }
    }
    written
}

fn append(to: &mut Written, body: &[u8]) {
    let mut builder = Builder::default();
    builder.begin(record::kind::STATE);
    builder.put(body);
    builder.end();
    let position = to.end.position;
    let (bytes, crc) = builder.close(position, to.end.before, 1, START);
    let at = (position - START) as usize;
    to.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    let end = position + bytes.len() as u64;
    to.frames.push((position, end, body.to_vec()));
    to.end.position = end;
    to.end.before.chain = crc;
}

/// The bodies that are read, and where reading ends.
fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, End) {
    let mut bodies = Vec::new();
    let end = read_frames(bytes, START, FIRST, |frame| {
        bodies.extend(frame.records().map(|r| r.payload.to_vec()));
    });
    (bodies, end)
}

fn bodies() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
    let body = proptest::collection::vec(any::<u8>(), 0..600);
    proptest::collection::vec((body, any::<bool>()), 1..40)
}

fn expected(bodies: &[(Vec<u8>, bool)]) -> Vec<Vec<u8>> {
    bodies.iter().map(|(body, _)| body.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn what_is_written_is_read(bodies in bodies()) {
        let written = write(&bodies);
        let (read, end) = read(&written.bytes);
        prop_assert_eq!(read, expected(&bodies));
        prop_assert_eq!(end.before, written.end.before);
    }

    #[test]
    fn a_cut_log_is_a_prefix_of_whole_frames(bodies in bodies(), cut in any::<proptest::sample::Index>()) {
        let mut written = write(&bodies);
        let len = (written.end.position - START) as usize;
        let cut = cut.index(len);
        written.bytes[cut..].fill(0);
        let whole = written.frames.iter().filter(|(_, end, _)| (*end - START) as usize <= cut);
        let (read, _) = read(&written.bytes);
        // A cut that took only zeroes away took nothing.
        prop_assert!(read.len() >= whole.count());
        prop_assert_eq!(&read[..], &expected(&bodies)[..read.len()]);
    }

    #[test]
    fn a_flipped_bit_ends_the_log_before_its_frame(
        bodies in bodies(), which in any::<proptest::sample::Index>(), bit in 0..8u8,
    ) {
        let mut written = write(&bodies);
        let (number, at) = {
            let number = which.index(written.frames.len());
            let (start, end, _) = &written.frames[number];
            (number, start + which.index((end - start) as usize) as u64)
        };
        written.bytes[(at - START) as usize] ^= 1 << bit;
        let (read, _) = read(&written.bytes);
        // Filling between records is no part of anything, and may be flipped unseen.
        prop_assert!(read.len() == number || read == expected(&bodies));
        prop_assert_eq!(&read[..], &expected(&bodies)[..read.len()]);
    }

    #[test]
    fn frames_in_another_order_do_not_follow(bodies in bodies()) {
        prop_assume!(bodies.len() >= 2);
        // Frames of one length, so that one fits where another was.
        let equal: Vec<_> = bodies.iter().enumerate().map(|(i, _)| (vec![i as u8; 64], false)).collect();
        let mut written = write(&equal);
        let (a, b) = (written.frames[0].clone(), written.frames[1].clone());
        let len = (a.1 - a.0) as usize;
        let (at_a, at_b) = ((a.0 - START) as usize, (b.0 - START) as usize);
        let first = written.bytes[at_a..at_a + len].to_vec();
        written.bytes.copy_within(at_b..at_b + len, at_a);
        written.bytes[at_b..at_b + len].copy_from_slice(&first);
        prop_assert_eq!(read(&written.bytes).0, Vec::<Vec<u8>>::new());
    }

    #[test]
    fn what_stood_behind_an_old_end_never_follows_a_new_one(bodies in bodies(), keep in any::<proptest::sample::Index>()) {
        // The log is cut, say by a power cut, and goes on in a new era over what stood there.
        let mut written = write(&bodies);
        let keep = keep.index(bodies.len());
        let mut again = write(&bodies[..keep]);
        again.bytes = std::mem::take(&mut written.bytes);
        again.end.before.era += 1;
        let mut builder = Builder::default();
        record::write_era(&mut builder, again.end.before.era);
        let (bytes, crc) = builder.close(again.end.position, again.end.before, 1, START);
        let at = (again.end.position - START) as usize;
        again.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        again.end.position += bytes.len() as u64;
        again.end.before.chain = crc;
        append(&mut again, b"new");
        let (read, end) = read(&again.bytes);
        prop_assert_eq!(end, again.end);
        prop_assert_eq!(read.len(), keep + 2);
    }

    #[test]
    fn reading_can_go_on_after_damage(bodies in bodies(), which in any::<proptest::sample::Index>()) {
        let mut written = write(&bodies);
        let number = which.index(written.frames.len());
        let (start, end, _) = written.frames[number].clone();
        written.bytes[(start - START) as usize..(end - START) as usize].fill(0xa5);
        let found = find_frame(&written.bytes, START, start).map(|f| f.head.position);
        let next = written.frames.get(number + 1).map(|(start, _, _)| *start);
        prop_assert_eq!(found, next);
    }

    #[test]
    fn random_bytes_are_no_frame_and_no_record(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Frame::read(&bytes, START).is_none());
        if let Some((kind, payload)) = read_record(&bytes) {
            let _ = Record::read(kind, payload);
        }
        for kind in 0..10 {
            let _ = Record::read(kind, &bytes);
        }
    }

    #[test]
    fn a_message_is_itself_after_the_log(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        texts in proptest::collection::vec(proptest::option::of("[ -~]{1,40}"), 5),
        headers in proptest::collection::btree_map(".{1,10}", ".{0,20}", 0..4),
        ttl in proptest::option::of(1..u64::MAX / 2),
    ) {
        let mut message = Message::new(body);
        if let Some(id) = &texts[0] { message = message.id(id.as_str()); }
        if let Some(text) = &texts[1] { message = message.session(text.as_str()); }
        if let Some(text) = &texts[2] { message = message.correlation_id(text.as_str()); }
        if let Some(text) = &texts[3] { message = message.content_type(text.as_str()); }
        if let Some(text) = &texts[4] { message = message.dedup_id(text.as_str()); }
        for (name, value) in headers { message = message.header(name, value); }
        if let Some(ttl) = ttl { message = message.ttl(std::time::Duration::from_nanos(ttl)); }
        let mut builder = Builder::default();
        record::write_message(&mut builder, &head(), &message);
        let (bytes, _) = builder.close(START, FIRST.before, 0, 0);
        let frame = Frame::read(bytes, START).unwrap();
        let raw = frame.records().next().unwrap();
        let Some(Record::Message(read, content)) = Record::read(raw.kind, raw.payload) else {
            panic!("no message");
        };
        prop_assert_eq!(read, head());
        prop_assert_eq!(content.keys().unwrap(), (texts[1].as_deref(), texts[4].as_deref()));
        let again = content.message(bytes::Bytes::copy_from_slice(content.body)).unwrap();
        prop_assert_eq!(again, message);
    }
}

fn head() -> MessageHead {
    MessageHead {
        slot: 1,
        queue: 2,
        number: 3,
        sequence: 4,
        enqueued: -5,
        expires: NO_TIME,
        due: 6,
        first_delivered: 7,
        dedup_end: 8,
        attempts: 9,
        flags: 10,
        bytes: 11,
    }
}

/// What one record reads as.
fn through(write: impl FnOnce(&mut Builder)) -> String {
    let mut builder = Builder::default();
    write(&mut builder);
    let (bytes, _) = builder.close(START, FIRST.before, 0, 0);
    let frame = Frame::read(bytes, START).unwrap();
    let raw = frame.records().next().unwrap();
    format!("{:?}", Record::read(raw.kind, raw.payload).unwrap())
}

#[test]
fn every_record_reads_as_it_was_written() {
    let note = Note {
        slot: 1,
        attempts: 2,
        number: 3,
        sequence: 4,
        due: 5,
        expires: NO_TIME,
        first_delivered: 6,
        flags: 7,
    };
    let notes = through(|b| {
        record::write_notes(b, &[note, note]);
    });
    assert_eq!(notes, format!("{:?}", Record::Notes(vec![note, note])));
    let gone = Gone { slot: 1, number: 2 };
    let read = through(|b| {
        record::write_gone(b, &[gone]);
    });
    assert_eq!(read, format!("{:?}", Record::Gone(vec![gone])));
    for description in [None, Some("at length")] {
        let death = Death {
            slot: 1,
            number: 2,
            death_number: 3,
            at: 4,
            first_delivered: NO_TIME,
            attempts: 5,
            reason: "bad",
            description,
        };
        let read = through(|b| {
            record::write_death(b, &death);
        });
        assert_eq!(read, format!("{:?}", Record::Death(death)));
    }
    let dedup = DedupRecord {
        queue: 1,
        end: 2,
        id: "d",
        message: "m",
    };
    let read = through(|b| {
        record::write_dedup(b, &dedup);
    });
    assert_eq!(read, format!("{:?}", Record::Dedup(dedup)));
}

fn folder(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("qrt-log-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn a_segment_file_says_what_it_is_and_is_used_again() {
    let folder = folder("segment");
    let files = Files::new(&folder, SEGMENT as u64, 42);
    files.make(7).unwrap();
    let mut bytes = std::fs::read(files.path(7)).unwrap();
    assert_eq!(bytes.len(), SEGMENT);
    assert_eq!(files.head(&bytes), None);
    for segment in [3, 900] {
        let head = SegmentHead {
            segment,
            before: Before { chain: 1, era: 2 },
            counter: 1 << 40,
        };
        files.dedicate(7, head).unwrap();
        bytes = std::fs::read(files.path(7)).unwrap();
        assert_eq!(files.head(&bytes), Some(head));
    }
    assert_eq!(Files::new(&folder, SEGMENT as u64, 43).head(&bytes), None);
    bytes[30] ^= 1;
    assert_eq!(files.head(&bytes), None);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_superblock_outlives_a_cut_write_and_refuses_what_it_does_not_know() {
    use std::os::unix::fs::FileExt;
    let folder = folder("superblock");
    let path = folder.join("store");
    let open = || {
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .unwrap()
    };
    let identity = Identity {
        store: 9,
        segment_bytes: 4096,
        is_virtual: true,
    };
    let block = Superblock::create(open(), identity).unwrap();
    for first in 1..6 {
        block.set_first_segment(first).unwrap();
    }
    let again = Superblock::open(open()).unwrap().unwrap();
    assert_eq!(again.identity, identity);
    assert_eq!(again.first_segment().unwrap(), Some(5));
    // The newest copy is cut: the one before it stands.
    let newest = if again.first_segment().unwrap() == Some(5) {
        4096
    } else {
        8192
    };
    open().write_all_at(&[0xff; 9], newest).unwrap();
    assert!(matches!(again.first_segment().unwrap(), Some(4 | 5)));
    open().write_all_at(&[0xff; 9], 12288 - newest).unwrap();
    assert_eq!(again.first_segment().unwrap(), None);
    open().write_all_at(&[9], 30).unwrap();
    assert_eq!(
        Superblock::open(open()).unwrap().unwrap_err(),
        Refused::Damaged
    );
    open().write_all_at(&[2], 8).unwrap();
    assert_eq!(
        Superblock::open(open()).unwrap().unwrap_err(),
        Refused::Version(2)
    );
    open().write_all_at(b"X", 0).unwrap();
    assert_eq!(
        Superblock::open(open()).unwrap().unwrap_err(),
        Refused::Foreign
    );
    std::fs::remove_dir_all(folder).unwrap();
}
