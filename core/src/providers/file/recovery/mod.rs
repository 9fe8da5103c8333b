//! Building the index from the log: after a restart of the machine, or when the index is damaged.
//!
//! ```text
//! reading.rs  the log from its files, and its end told from damage
//! facts.rs    what its records say, message by message
//! building.rs the index from that
//! salvage.rs  what could be read, out of the way of what could not
//! ```
//!
//! What the records say is gathered by the numbers of the messages' nodes, which stay as they were:
//! records of the log name them. Then the index is built anew. Locks are void, attempts are those
//! the log knows, delays and lives go by the calendar.

mod building;
mod facts;
mod reading;
mod salvage;

use std::path::Path;
use std::sync::atomic::Ordering;

pub(super) use self::facts::Facts;
use self::reading::Survey;
pub(super) use self::reading::{Damage, Lost, NO_FILE, Reading, read_log, survey};
use super::engine::append::{Batch, add_file};
use super::engine::step::{Ground, Step};
use super::fault;
use super::index::layout::{FREE_FILES, Header, ListHead, NIL, SEGMENTS, status};
use super::index::pool;
use super::index::region::Cell;
use super::log::frame;
use super::log::record;
use super::log::segment::SegmentHead;
use super::log::superblock::Superblock;
use crate::error::{Error, ErrorKind, Result};

/// A record's place.
type Spot = (u64, u32);

/// Builds the index anew. The caller owns the store's lock, or is alone.
pub(super) fn rebuild(
    folder: &Path,
    ground: &Ground,
    superblock: &Superblock,
    repair: bool,
) -> Result<Vec<Lost>> {
    let first_segment = first_segment(folder, superblock)?;
    let region = &ground.region;
    let header = region.header();
    header.status.put(status::VOID);
    region.commit();
    let survey = survey(folder, &ground.files)?;
    let mut facts = Facts::default();
    let reading = read_log(
        folder,
        &ground.files,
        first_segment,
        &survey,
        if repair {
            Damage::SetApart
        } else {
            Damage::Refuse
        },
        |frame| facts.frame(frame),
    )?;
    clear(header);
    pool::clear(region);
    ground.time.refresh();
    ground.time.not_before(facts.latest);
    if ground.time.is_virtual() {
        let latest = ground.time.virtual_nanos(facts.latest);
        header.virtual_now.fetch_max(latest, Ordering::AcqRel);
    }
    let mut batch = Batch::default();
    let now = ground.time.now(header);
    let mut step = Step::new(ground, &mut batch, now, NIL);
    step.settles = true;
    header.counter.put(facts.counter);
    let lost = match reading {
        None => {
            begin_log(&mut step, &survey)?;
            Vec::new()
        }
        Some(reading) => {
            header.counter.put(facts.counter.max(reading.counter));
            continue_log(&mut step, &survey, &reading, first_segment)?;
            reading.lost
        }
    };
    building::build(&mut step, facts)?;
    if lost.is_empty() {
        begin_era(&mut step)?;
        flush_segments(ground, header.first_segment.get())?;
    } else {
        salvage::salvage(&mut step, superblock)?;
    }
    header.synced.store(header.tail.get(), Ordering::Release);
    region.commit();
    header.status.put(status::READY);
    for lost in &lost {
        tracing::error!(
            folder = %folder.display(), segment = lost.segment, from = lost.from, to = lost.to,
            "a part of the log could not be read and was set apart"
        );
    }
    Ok(lost)
}

/// Where the log begins.
fn first_segment(folder: &Path, superblock: &Superblock) -> Result<u64> {
    let path = folder.join("store");
    let first = superblock.first_segment();
    first
        .map_err(|e| fault::io("read", &path, e))?
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{} is damaged; restore the folder from a copy",
                    path.display()
                ),
            )
        })
}

/// Brings the log to the disk, from a segment on.
fn flush_segments(ground: &Ground, first: u64) -> Result<()> {
    let header = ground.region.header();
    let last = (header.tail.get() - 1) / header.segment_bytes.get();
    for segment in first..=last {
        let file = ground.region.segment(segment).file.get();
        (ground.files.get(file))
            .and_then(|file| file.sync_data())
            .map_err(|e| fault::io("flush", &ground.files.path(file), e))?;
    }
    Ok(())
}

/// Empties the header, but for what processes that are attached rely on.
fn clear(header: &Header) {
    let generation = header.generation.get() + 1;
    header.generation.put(generation);
    for cell in [
        &header.free_files_len,
        &header.next_file,
        &header.files,
        &header.timers,
        &header.holds,
        &header.waiting,
        &header.next_queue,
        &header.is_short,
        &header.chain,
        &header.era,
    ] {
        cell.put(0);
    }
    for ends in [&header.queues, &header.members, &header.dirty] {
        let ends: &ListHead = ends;
        ends.first.put(NIL);
        ends.last.put(NIL);
    }
    for cell in [
        &header.tail,
        &header.flush_mark,
        &header.first_segment,
        &header.counter,
        &header.live_bytes,
        &header.writing,
    ] {
        cell.put(0);
    }
    header.making.store(0, Ordering::Relaxed);
    // Receipts of before are not mistaken for later ones.
    header.last_token.put(u64::from(generation) << 40);
}

/// The first segment of a new log, and the file that is kept for settlements.
fn begin_log(step: &mut Step<'_>, survey: &Survey) -> Result<()> {
    let (ground, header) = (step.ground, step.r.header());
    for number in &survey.spare {
        let _ = ground.files.remove(*number);
    }
    let (first, reserve) = (survey.next, survey.next + 1);
    for number in [first, reserve] {
        let made = ground.files.make(number);
        made.map_err(|e| fault::io("make", &ground.files.path(number), e))?;
        add_file(step.r, number);
    }
    header.free_files_len.put(1);
    header.free_files[0].put(reserve);
    let head = SegmentHead {
        segment: 0,
        before: frame::Before { chain: 0, era: 0 },
        counter: 0,
    };
    let begun = ground.files.dedicate(first, head);
    begun.map_err(|e| fault::io("begin", &ground.files.path(first), e))?;
    let segment = step.r.segment(0);
    segment.file.put(first);
    segment.live.put(0);
    segment.live_bytes.put(0);
    header.tail.put(ground.files.start(0));
    Ok(())
}

/// Goes on where the readable log ends.
fn continue_log(step: &mut Step<'_>, survey: &Survey, reading: &Reading, first: u64) -> Result<()> {
    let (ground, header) = (step.ground, step.r.header());
    if reading.files.len() as u64 >= SEGMENTS {
        return Err(fault::store_full(
            "the log has as many segments as it can have",
        ));
    }
    for (segment, number) in (first..).zip(&reading.files) {
        let entry = step.r.segment(segment);
        entry.file.put(*number);
        entry.live.put(0);
        entry.live_bytes.put(0);
    }
    header.first_segment.put(first);
    header.tail.put(reading.end.position);
    header.chain.put(reading.end.before.chain);
    header.era.put(reading.end.before.era);
    // What is known to be on the disk shares no sector with what comes.
    header.flush_mark.put(reading.end.position);
    header.files.put(reading.files.len() as u32);
    let used = reading.files.iter().max().map_or(0, |n| n + 1);
    header.next_file.put(survey.next.max(used));
    let segments = survey.segments.values().flatten();
    let left = segments
        .map(|(number, _)| *number)
        .chain(survey.spare.iter().copied());
    for number in left.filter(|number| !reading.files.contains(number)) {
        let whole = ground.files.get(number).is_ok();
        if whole && (header.free_files_len.get() as usize) < FREE_FILES / 2 {
            add_file(step.r, number);
        } else {
            let _ = ground.files.remove(number);
        }
        step.r.commit();
    }
    Ok(())
}

/// From here on frames are told from any that stood behind the end before.
fn begin_era(step: &mut Step<'_>) -> Result<()> {
    let era = fastrand::u32(1..);
    step.r.header().era.put(era);
    record::write_era(&mut step.batch.frame, era);
    step.keep()
}
