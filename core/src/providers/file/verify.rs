//! Looking at a store from outside: is it sound, and what does its log say? Nothing is changed, no
//! lock is taken. A store that is in use is read up to what is there; what is written meanwhile may
//! be seen or not.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::fault;
use super::index::layout::{Header, MAGIC, status};
use super::index::region::Cell;
use super::log::frame::Frame;
use super::log::record::{NO_TIME, Record};
use super::log::segment::Files;
use super::log::superblock::{Refused, Superblock, VERSION};
use super::recovery::{self, Damage, Facts, NO_FILE, Reading};
use super::sys;
use crate::error::{Error, ErrorKind, Result};

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoreReport {
    /// The folder.
    pub folder: PathBuf,
    /// The version of the format of its log.
    pub version: u32,
    /// The size of its segments in bytes.
    pub segment_bytes: u64,
    /// The segments that are needed, oldest first.
    pub segments: Vec<SegmentFile>,
    /// The position at which the log ends.
    pub end: u64,
    /// The position up to which the log is known to be on the disk, where the index says so.
    pub flushed: Option<u64>,
    /// Frames that were read.
    pub frames: u64,
    /// The queues, and what the log has of them.
    pub queues: Vec<QueueCount>,
    /// Parts of the log that were on the disk and cannot be read.
    pub damaged: Vec<DamagedPart>,
    /// Whether the index is of this run of the machine; otherwise it is built anew by the next
    /// that opens the store.
    pub index: bool,
}

impl StoreReport {
    /// Whether all of the log that was on the disk can be read.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }
}

/// A segment of the log and the file it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SegmentFile {
    /// The number of the segment; its first byte has the position `number` times the size.
    pub number: u64,
    /// Its file; `None` when it is missing.
    pub file: Option<PathBuf>,
}

/// What the log has of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueCount {
    /// Its name.
    pub name: String,
    /// Messages, wherever they stand.
    pub messages: u64,
    /// Dead letters.
    pub dead: u64,
}

/// A part of the log that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DamagedPart {
    /// Its first position.
    pub from: u64,
    /// The position after it.
    pub to: u64,
}

/// A store as it is read from outside.
struct Outside {
    superblock: Superblock,
    files: Files,
    first: u64,
}

fn outside(folder: &Path) -> Result<Outside> {
    let path = folder.join("store");
    let corrupt = |what: &str| {
        Err(Error::new(
            ErrorKind::Corrupt,
            format!("{} {what}", path.display()),
        ))
    };
    let file = File::open(&path).map_err(|e| fault::io("open", &path, e))?;
    let superblock = match Superblock::open(file).map_err(|e| fault::io("read", &path, e))? {
        Ok(superblock) => superblock,
        Err(Refused::Foreign) => return corrupt("is not a file of a store"),
        Err(Refused::Damaged) => return corrupt("is damaged"),
        Err(Refused::Version(version)) => {
            return corrupt(&format!("has the format {version}, this reads {VERSION}"));
        }
    };
    let first = superblock
        .first_segment()
        .map_err(|e| fault::io("read", &path, e))?;
    let Some(first) = first else {
        return corrupt("does not say where the log begins");
    };
    let identity = superblock.identity;
    Ok(Outside {
        files: Files::read_only(folder, identity.segment_bytes, identity.store),
        superblock,
        first,
    })
}

impl Outside {
    fn read(&self, folder: &Path, each: impl FnMut(Frame<'_>)) -> Result<Option<Reading>> {
        let survey = recovery::survey(folder, &self.files)?;
        recovery::read_log(folder, &self.files, self.first, &survey, Damage::Note, each)
    }
}

/// Reads the whole log of the store in this folder and says what is there. Fails when the folder
/// holds no store, or one of another version.
pub fn verify(folder: impl AsRef<Path>) -> Result<StoreReport> {
    let folder = folder.as_ref();
    let outside = outside(folder)?;
    let (mut facts, mut frames) = (Facts::default(), 0);
    let reading = outside.read(folder, |frame| {
        frames += 1;
        facts.frame(frame);
    })?;
    let (is_true, flushed) = index_says(folder);
    let file_of = |number: &u32| (*number != NO_FILE).then(|| outside.files.path(*number));
    Ok(StoreReport {
        folder: folder.to_owned(),
        version: VERSION,
        segment_bytes: outside.superblock.identity.segment_bytes,
        segments: reading
            .iter()
            .flat_map(|r| &r.files)
            .zip(outside.first..)
            .map(|(file, number)| SegmentFile {
                number,
                file: file_of(file),
            })
            .collect(),
        end: reading.as_ref().map_or(0, |r| r.end.position),
        flushed,
        frames,
        queues: facts
            .queues()
            .into_iter()
            .map(|(name, messages, dead)| QueueCount {
                name,
                messages,
                dead,
            })
            .collect(),
        damaged: reading
            .iter()
            .flat_map(|r| &r.lost)
            .map(|lost| DamagedPart {
                from: lost.from,
                to: lost.to,
            })
            .collect(),
        index: is_true,
    })
}

/// Whether the index is of this run of the machine, and what it says is on the disk.
fn index_says(folder: &Path) -> (bool, Option<u64>) {
    let Ok(file) = File::open(folder.join("index")) else {
        return (false, None);
    };
    let len = size_of::<Header>();
    let is_long_enough = file.metadata().is_ok_and(|found| found.len() >= len as u64);
    let Some(mapping) = is_long_enough
        .then(|| sys::Mapping::read_only(&file, len).ok())
        .flatten()
    else {
        return (false, None);
    };
    // SAFETY: the mapping is as long as a header, page-aligned, and lives as long as the
    // reference; a header is made of atomics that are only loaded here.
    let header = unsafe { &*mapping.base().cast::<Header>() };
    let boot = u128::from(header.boot[0].get()) | u128::from(header.boot[1].get()) << 64;
    let is_true = header.magic.get() == MAGIC
        && header.status.get() == status::READY
        && boot == sys::boot_id();
    let synced = header.synced.load(std::sync::atomic::Ordering::Acquire);
    (is_true, is_true.then_some(synced))
}

/// Writes what the log says, a record a line, as JSON. Bodies are not shown, only their sizes; ids,
/// headers' names and sessions are not secrets, headers' values are left out.
pub fn dump(folder: impl AsRef<Path>, out: &mut dyn Write) -> Result<()> {
    let folder = folder.as_ref();
    let mut failed = None;
    outside(folder)?.read(folder, |frame| {
        for raw in frame.records() {
            let Some(record) = Record::read(raw.kind, raw.payload) else {
                continue;
            };
            let mut line = line_of(&record);
            line["position"] = json!(raw.position);
            line["time"] = json!(millis(frame.head.time));
            if let Err(error) = writeln!(out, "{line}") {
                failed.get_or_insert(error);
            }
        }
    })?;
    match failed {
        None => Ok(()),
        Some(error) => Err(fault::io("write", Path::new("the dump"), error)),
    }
}

/// A wall time in milliseconds.
fn millis(wall: i64) -> Option<i64> {
    (wall != NO_TIME).then(|| wall.div_euclid(1_000_000))
}

fn line_of(record: &Record<'_>) -> serde_json::Value {
    match record {
        Record::Era => json!({ "record": "era" }),
        Record::Queue(queue) => json!({
            "record": "queue", "queue": queue.number, "name": queue.name,
            "definition": serde_json::from_str::<serde_json::Value>(queue.definition).ok(),
        }),
        Record::Message(head, content) => {
            let message = content.message(bytes::Bytes::new()).unwrap_or_default();
            let properties = message.properties();
            json!({
                "record": "message", "queue": head.queue, "number": head.number,
                "sequence": head.sequence, "enqueued": millis(head.enqueued),
                "expires": millis(head.expires), "due": millis(head.due),
                "attempts": head.attempts, "body_bytes": content.body.len(),
                "session": properties.session.as_deref(),
                "id": properties.id.as_ref().map(ToString::to_string),
                "dedup_id": properties.dedup_id.as_deref(),
                "headers": properties.headers.keys().map(|name| &**name).collect::<Vec<_>>(),
            })
        }
        Record::Gone(gone) => json!({
            "record": "gone", "numbers": gone.iter().map(|g| g.number).collect::<Vec<_>>(),
        }),
        Record::Notes(notes) => json!({
            "record": "notes",
            "notes": notes.iter().map(|note| json!({
                "number": note.number, "attempts": note.attempts, "sequence": note.sequence,
                "due": millis(note.due),
            })).collect::<Vec<_>>(),
        }),
        Record::Death(death) => json!({
            "record": "death", "number": death.number, "death_number": death.death_number,
            "at": millis(death.at), "attempts": death.attempts, "reason": death.reason,
            "description": death.description,
        }),
        Record::State(state) => json!({
            "record": "session_state", "queue": state.queue, "session": state.id,
            "bytes": state.state.map(<[u8]>::len),
        }),
        Record::Dedup(dedup) => json!({
            "record": "dedup", "queue": dedup.queue, "dedup_id": dedup.id,
            "message": dedup.message, "until": millis(dedup.end),
        }),
    }
}
