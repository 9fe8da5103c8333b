//! Building the index from the log: after a restart of the machine, or when the index is damaged.
//!
//! The log is read from the first segment that is needed, frame by frame, each following the one
//! before. Where no frame follows, the log ends, unless a later frame proves that what is missing
//! was on the disk: every frame says up to where the log was known to be there when it was written.
//! Such damage is told, and gone around only when asked for (`repair`).
//!
//! What the records say is gathered by the numbers of the messages' nodes, which stay as they were:
//! records of the log name them. Then the index is built anew. Locks are void, attempts are those
//! the log knows, delays and lives go by the calendar.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::engine::append::{Batch, add_file, remember};
use super::engine::step::{Ground, Step};
use super::fault;
use super::index::layout::{
    Dedup, FIRST_BLOCK, FREE_FILES, Header, ListHead, Message, NIL, Node, Queue, SEGMENTS, Session,
    flag, standing, status,
};
use super::index::region::{Cell, Region};
use super::index::{list, pool};
use super::log::frame::{self, End, Frame, RawRecord};
use super::log::record::{self, Death, MessageHead, NO_TIME, Record};
use super::log::segment::{Files, SegmentHead};
use super::sys::Mapping;
use crate::config::QueueOptions;
use crate::error::Result;

/// A record's place.
type Spot = (u64, u32);

/// A message as the log knows it.
struct Found {
    head: MessageHead,
    spot: Spot,
    session: Option<u32>,
    death: Option<Box<FoundDeath>>,
}

struct FoundDeath {
    number: u64,
    at: i64,
    first_delivered: i64,
    attempts: u32,
    spot: Spot,
}

struct FoundQueue {
    number: u32,
    engine: u64,
    name: String,
    definition: String,
    spot: Spot,
}

/// What the records said so far.
#[derive(Default)]
pub(super) struct Facts {
    queues: Vec<FoundQueue>,
    /// By block and place of their nodes.
    messages: Vec<Vec<Option<Found>>>,
    sessions: Vec<(u32, String)>,
    session_numbers: HashMap<(u32, String), u32>,
    states: HashMap<u32, (Spot, usize)>,
    dedups: HashMap<(u32, String), (i64, Spot)>,
    counter: u64,
    latest: i64,
}

impl Facts {
    fn slot(&mut self, slot: u32) -> Option<&mut Option<Found>> {
        let (block, place) = ((slot >> 10) as usize, slot as usize & 1023);
        if block < FIRST_BLOCK as usize || place >= Message::PER_BLOCK || block > 1 << 21 {
            return None;
        }
        if self.messages.len() <= block {
            self.messages.resize_with(block + 1, Vec::new);
        }
        let nodes = &mut self.messages[block];
        if nodes.is_empty() {
            nodes.resize_with(Message::PER_BLOCK, || None);
        }
        nodes.get_mut(place)
    }

    fn of(&mut self, slot: u32, number: u64) -> Option<&mut Found> {
        let found = self.slot(slot)?.as_mut()?;
        (found.head.number == number).then_some(found)
    }

    fn session(&mut self, queue: u32, id: &str) -> u32 {
        let key = (queue, id.to_owned());
        let next = self.sessions.len() as u32;
        let number = *self.session_numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.sessions.push(key);
        }
        number
    }

    fn count(&mut self, number: u64) {
        self.counter = self.counter.max(number);
    }

    /// The queues: number, name, and how many messages and dead letters they have.
    pub(super) fn queues(&self) -> Vec<(String, u64, u64)> {
        let mut counts: HashMap<u32, (u64, u64)> = HashMap::new();
        for found in self.messages.iter().flatten().flatten() {
            let (living, dead) = counts.entry(found.head.queue).or_default();
            match found.death {
                None => *living += 1,
                Some(_) => *dead += 1,
            }
        }
        let named = |queue: &FoundQueue| {
            let (living, dead) = counts.get(&queue.number).copied().unwrap_or_default();
            (queue.name.clone(), living, dead)
        };
        self.queues.iter().map(named).collect()
    }

    pub(super) fn frame(&mut self, frame: Frame<'_>) {
        self.latest = self.latest.max(frame.head.time);
        for raw in frame.records() {
            self.record(raw);
        }
    }

    fn record(&mut self, raw: RawRecord<'_>) {
        let spot = (raw.position, raw.len);
        match Record::read(raw.kind, raw.payload) {
            Some(Record::Message(head, content)) => {
                let Some((session, dedup)) = content.keys() else {
                    return;
                };
                let session = session.map(|id| self.session(head.queue, id));
                if let Some(id) = dedup
                    && head.dedup_end != NO_TIME
                {
                    let key = (head.queue, id.to_owned());
                    self.dedups.insert(key, (head.dedup_end, spot));
                }
                self.count(head.number.max(head.sequence));
                if let Some(slot) = self.slot(head.slot) {
                    *slot = Some(Found {
                        head,
                        spot,
                        session,
                        death: None,
                    });
                }
            }
            Some(Record::Gone(gone)) => {
                for gone in gone {
                    self.count(gone.number);
                    if self.of(gone.slot, gone.number).is_some()
                        && let Some(slot) = self.slot(gone.slot)
                    {
                        *slot = None;
                    }
                }
            }
            Some(Record::Notes(notes)) => {
                for note in notes {
                    self.count(note.sequence);
                    if let Some(found) = self.of(note.slot, note.number) {
                        found.head.attempts = note.attempts;
                        found.head.sequence = note.sequence;
                        found.head.due = note.due;
                        found.head.expires = note.expires;
                        found.head.first_delivered = note.first_delivered;
                        found.head.flags = note.flags;
                    }
                }
            }
            Some(Record::Death(death)) => self.death(&death, spot),
            Some(Record::Queue(queue)) => {
                let found = FoundQueue {
                    number: queue.number,
                    engine: queue.engine,
                    name: queue.name.to_owned(),
                    definition: queue.definition.to_owned(),
                    spot,
                };
                self.queues.retain(|other| other.number != queue.number);
                self.queues.push(found);
            }
            Some(Record::State(state)) => {
                let session = self.session(state.queue, state.id);
                match state.state {
                    Some(bytes) => self.states.insert(session, (spot, bytes.len())),
                    None => self.states.remove(&session),
                };
            }
            Some(Record::Dedup(dedup)) => {
                let key = (dedup.queue, dedup.id.to_owned());
                self.dedups.insert(key, (dedup.end, spot));
            }
            Some(Record::Era) | None => {}
        }
    }

    fn death(&mut self, death: &Death<'_>, spot: Spot) {
        self.count(death.death_number);
        if let Some(found) = self.of(death.slot, death.number) {
            found.death = Some(Box::new(FoundDeath {
                number: death.death_number,
                at: death.at,
                first_delivered: death.first_delivered,
                attempts: death.attempts,
                spot,
            }));
        }
    }
}

/// A part of the log that could not be read.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) segment: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The files of the log, as they were found.
pub(super) struct Survey {
    /// Files by the segments they say to be.
    pub(super) segments: HashMap<u64, Vec<(u32, SegmentHead)>>,
    pub(super) all: Vec<u32>,
}

/// Looks at the files of the log in a folder.
pub(super) fn survey(folder: &Path, files: &Files) -> Result<Survey> {
    let failed = |e| fault::io("list", folder, e);
    let mut survey = Survey {
        segments: HashMap::new(),
        all: Vec::new(),
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(Files::number) else {
            continue;
        };
        survey.all.push(number);
        let Ok(file) = files.get(number) else {
            continue;
        };
        let mut head = [0; 64];
        if file.read_exact_at(&mut head, 0).is_ok()
            && let Some(head) = files.head(&head)
        {
            let same = survey.segments.entry(head.segment).or_default();
            same.push((number, head));
        }
    }
    survey.all.sort_unstable();
    Ok(survey)
}

/// What is to become of damage in the part of the log that was on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// It is an error.
    Refuse,
    /// Reading goes around it and changes nothing.
    Note,
    /// Reading goes around it, and copies of the damaged files are kept.
    SetApart,
}

/// Stands for the file of a segment that is missing.
pub(super) const NO_FILE: u32 = u32::MAX;

/// The log, read from the first segment to its end.
pub(super) struct Reading {
    pub(super) end: End,
    /// The files of the segments from the first one on.
    pub(super) files: Vec<u32>,
    pub(super) counter: u64,
    pub(super) lost: Vec<Lost>,
}

/// Reads the log. `None`: there is none yet.
pub(super) fn read_log(
    folder: &Path,
    files: &Files,
    segment_bytes: u64,
    first: u64,
    survey: &Survey,
    damage: Damage,
    mut each: impl FnMut(Frame<'_>),
) -> Result<Option<Reading>> {
    if survey.segments.is_empty() && first == 0 {
        return Ok(None);
    }
    let map = |number: u32| {
        files
            .get(number)
            .and_then(|file| Mapping::read_only(&file, segment_bytes as usize))
            .map_err(|e| fault::io("read", &files.path(number), e))
    };
    let mut reading = Reading {
        end: End {
            position: files.start(first),
            before: frame::Before { chain: 0, era: 0 },
        },
        files: Vec::new(),
        counter: 0,
        lost: Vec::new(),
    };
    let last = survey.segments.keys().copied().max().unwrap_or(first);
    let mut segment = first;
    loop {
        let start = segment * segment_bytes;
        let candidates = survey.segments.get(&segment).map_or(&[][..], Vec::as_slice);
        let follows = |head: &SegmentHead| segment == first || head.before == reading.end.before;
        let mut chosen = None;
        for (number, head) in candidates.iter().filter(|(_, head)| follows(head)) {
            let mapping = map(*number)?;
            let from = End {
                position: files.start(segment),
                before: head.before,
            };
            let has_any = {
                let mut any = false;
                frame::read_frames(bytes(&mapping), start, from, |_| any = true);
                any
            };
            if chosen.is_none() || has_any {
                chosen = Some((*number, *head, mapping, from));
            }
        }
        let Some((number, head, mapping, from)) = chosen else {
            if segment == first || damage != Damage::Refuse && segment <= last {
                let why = "the segment that begins there is missing";
                if damage == Damage::Refuse {
                    return Err(fault::damaged(folder, start, why));
                }
                reading.lost.push(Lost {
                    segment,
                    from: start,
                    to: start + segment_bytes,
                });
                // A file of zeroes takes its place, so that segments stay in one line.
                let number = survey.all.iter().copied().max().map_or(0, |n| n + 1)
                    + reading.lost.len() as u32;
                if damage == Damage::SetApart {
                    let made = files.make(number);
                    made.map_err(|e| fault::io("make", &files.path(number), e))?;
                    reading.files.push(number);
                } else {
                    reading.files.push(NO_FILE);
                }
                segment += 1;
                if segment > last {
                    reading.end.position = files.start(segment - 1);
                    return Ok(Some(reading));
                }
                if let Some((_, head)) = survey.segments.get(&segment).and_then(|s| s.first()) {
                    reading.end.before = head.before;
                }
                continue;
            }
            return Ok(Some(reading));
        };
        reading.files.push(number);
        reading.counter = reading.counter.max(head.counter);
        let mut from = from;
        loop {
            reading.end = frame::read_frames(bytes(&mapping), start, from, &mut each);
            let Some((proof, next)) = proof_of_damage(
                bytes(&mapping),
                start,
                reading.end,
                segment,
                survey,
                segment_bytes,
                files,
            )?
            else {
                break;
            };
            if damage == Damage::Refuse {
                let why = format!(
                    "a later part, at {proof}, was written when this one was known to be on the disk"
                );
                return Err(fault::damaged(folder, reading.end.position, &why));
            }
            if damage == Damage::SetApart {
                set_apart(folder, files, number, segment)?;
            }
            reading.lost.push(Lost {
                segment,
                from: reading.end.position,
                to: next.map_or(start + segment_bytes, |(position, _)| position),
            });
            match next {
                Some((position, before)) => from = End { position, before },
                None => {
                    // The rest of the segment is lost; the next one begins its own chain.
                    if let Some((_, head)) =
                        survey.segments.get(&(segment + 1)).and_then(|s| s.first())
                    {
                        reading.end.before = head.before;
                    }
                    break;
                }
            }
        }
        let next_follows = survey.segments.get(&(segment + 1)).is_some_and(|heads| {
            heads
                .iter()
                .any(|(_, head)| head.before == reading.end.before)
        });
        if !next_follows {
            return Ok(Some(reading));
        }
        segment += 1;
    }
}

/// The bytes of a mapping of a file that is at least as long.
fn bytes(mapping: &Mapping) -> &[u8] {
    // SAFETY: the mapping is of this length and lives as long as the slice; its file is as long,
    // which `Files::get` has checked, and nobody writes to a segment that is being recovered: the
    // caller holds the store's lock.
    unsafe { std::slice::from_raw_parts(mapping.base(), mapping.len()) }
}

/// Where reading could go on after a gap: a position, and what the frame there follows.
type Next = Option<(u64, frame::Before)>;

/// Looks behind the end of the readable log for a frame that was written when more than that was
/// known to be on the disk. Answers where, and where in this segment reading could go on.
fn proof_of_damage(
    segment_bytes_now: &[u8],
    start: u64,
    end: End,
    segment: u64,
    survey: &Survey,
    segment_bytes: u64,
    files: &Files,
) -> Result<Option<(u64, Next)>> {
    let mut at = end.position;
    let mut first_after: Next = None;
    while let Some(found) = frame::find_frame(segment_bytes_now, start, at) {
        let position = found.head.position;
        let before = frame::Before {
            chain: found.head.chain,
            era: found.head.era,
        };
        first_after = first_after.or(Some((position, before)));
        if found.head.synced > end.position {
            return Ok(Some((position, first_after)));
        }
        at = position + u64::from(found.head.len);
    }
    let mut later: Vec<u64> = survey
        .segments
        .keys()
        .copied()
        .filter(|s| *s > segment)
        .collect();
    later.sort_unstable();
    for later in later {
        // A segment that follows is no gap; it is read next.
        for (number, head) in &survey.segments[&later] {
            if later == segment + 1 && head.before == end.before {
                return Ok(None);
            }
            let mapping = files
                .get(*number)
                .and_then(|file| Mapping::read_only(&file, segment_bytes as usize))
                .map_err(|e| fault::io("read", &files.path(*number), e))?;
            let start = later * segment_bytes;
            let mut at = files.start(later);
            while let Some(found) = frame::find_frame(bytes(&mapping), start, at) {
                if found.head.synced > end.position {
                    return Ok(Some((found.head.position, first_after)));
                }
                at = found.head.position + u64::from(found.head.len);
            }
        }
    }
    Ok(None)
}

/// Keeps a copy of a damaged file.
fn set_apart(folder: &Path, files: &Files, number: u32, segment: u64) -> Result<()> {
    let to = folder.join(format!("damaged-{segment}"));
    std::fs::copy(files.path(number), &to)
        .map(drop)
        .map_err(|e| fault::io("keep a copy in", &to, e))
}

/// Builds the index anew. The caller owns the store's lock, or is alone.
pub(super) fn rebuild(
    folder: &Path,
    ground: &Ground,
    first_segment: u64,
    repair: bool,
) -> Result<Vec<Lost>> {
    let region = &ground.region;
    let header = region.header();
    header.status.put(status::VOID);
    region.commit();
    let segment_bytes = header.segment_bytes.get();
    let survey = survey(folder, &ground.files)?;
    let mut facts = Facts::default();
    let reading = read_log(
        folder,
        &ground.files,
        segment_bytes,
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
    build(&mut step, facts)?;
    begin_era(&mut step)?;
    for segment in header.first_segment.get()..=(header.tail.get() - 1) / segment_bytes {
        let file = region.segment(segment).file.get();
        (ground.files.get(file))
            .and_then(|file| file.sync_data())
            .map_err(|e| fault::io("flush", &ground.files.path(file), e))?;
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
    for number in &survey.all {
        let _ = ground.files.remove(*number);
    }
    for number in [0, 1] {
        let made = ground.files.make(number);
        made.map_err(|e| fault::io("make", &ground.files.path(number), e))?;
        add_file(step.r, number);
    }
    header.free_files_len.put(1);
    header.free_files[0].put(1);
    let head = SegmentHead {
        segment: 0,
        before: frame::Before { chain: 0, era: 0 },
        counter: 0,
    };
    (ground.files.dedicate(0, head)).map_err(|e| fault::io("begin", &ground.files.path(0), e))?;
    let segment = step.r.segment(0);
    segment.file.put(0);
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
    let most = reading.files.iter().chain(&survey.all).max();
    header.next_file.put(most.map_or(0, |n| n + 1));
    for number in &survey.all {
        if reading.files.contains(number) {
            continue;
        }
        let whole = ground.files.get(*number).is_ok();
        if whole && (header.free_files_len.get() as usize) < FREE_FILES / 2 {
            add_file(step.r, *number);
        } else {
            let _ = ground.files.remove(*number);
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

/// Puts what the log says into the index.
fn build(step: &mut Step<'_>, facts: Facts) -> Result<()> {
    let region = step.r;
    restore_nodes(region, &facts)?;
    let mut queues = HashMap::new();
    for queue in &facts.queues {
        let definition = QueueOptions::from_json(&queue.definition).and_then(|o| o.define())?;
        let id = step.add_queue(queue.number, queue.engine, &queue.name, &definition)?;
        remember(
            region,
            &region.node::<Queue>(id).record,
            queue.spot.0,
            queue.spot.1,
        );
        queues.insert(queue.number, id);
        region.commit();
    }
    // Sessions of which only their name is left are not made.
    let mut sessions = vec![NIL; facts.sessions.len()];
    let mut session_of = |step: &mut Step<'_>, number: u32| -> Result<u32> {
        let (queue, name) = &facts.sessions[number as usize];
        let Some(queue) = queues.get(queue) else {
            return Ok(NIL);
        };
        if sessions[number as usize] == NIL {
            sessions[number as usize] = step.find_or_add_session(*queue, name)?;
        }
        Ok(sessions[number as usize])
    };
    let mut living: Vec<&Found> = Vec::new();
    let mut dead: Vec<(&Found, &FoundDeath)> = Vec::new();
    for found in facts.messages.iter().flatten().flatten() {
        if !queues.contains_key(&found.head.queue) {
            continue;
        }
        match &found.death {
            None => living.push(found),
            Some(death) => dead.push((found, death)),
        }
    }
    living.sort_unstable_by_key(|found| (found.head.queue, found.head.sequence));
    dead.sort_unstable_by_key(|(_, death)| death.number);
    for (found, death) in dead {
        let session = match found.session {
            Some(number) => session_of(step, number)?,
            None => NIL,
        };
        step.restore_dead(
            queues[&found.head.queue],
            &found.head,
            found.spot,
            session,
            &Grave {
                number: death.number,
                at: death.at,
                first_delivered: death.first_delivered,
                attempts: death.attempts,
                spot: death.spot,
            },
        );
        region.commit();
    }
    for found in living {
        let session = match found.session {
            Some(number) => session_of(step, number)?,
            None => NIL,
        };
        step.restore_living(queues[&found.head.queue], &found.head, found.spot, session);
        region.commit();
    }
    for (number, (spot, bytes)) in &facts.states {
        let id = session_of(step, *number)?;
        if id == NIL {
            continue;
        }
        let session: &Session = region.node(id);
        remember(region, &session.state, spot.0, spot.1);
        region.set(&session.state_bytes, *bytes as u32);
        let queue: &Queue = region.node(session.queue.get());
        region.set(&queue.bytes, queue.bytes.get() + *bytes as u64);
        region.commit();
    }
    let mut dedups: Vec<_> = facts.dedups.iter().collect();
    dedups.sort_unstable_by_key(|(_, (end, _))| *end);
    for ((queue, id), (end, spot)) in dedups {
        let end = step.ground.time.tick_at(*end);
        if let Some(queue) = queues.get(queue)
            && end > step.now
        {
            let node = step.remember_dedup_id(*queue, id, end)?;
            remember(region, &region.node::<Dedup>(node).record, spot.0, spot.1);
            region.commit();
        }
    }
    Ok(())
}

/// A dead letter's end.
struct Grave {
    number: u64,
    at: i64,
    first_delivered: i64,
    attempts: u32,
    spot: Spot,
}

impl Step<'_> {
    fn restore(&mut self, queue: u32, head: &MessageHead, spot: Spot, session: u32) {
        let slot: &Message = self.r.node(head.slot);
        let tick = |wall| self.ground.time.tick_at(wall);
        slot.flags.put(head.flags & flag::YOUNG);
        slot.queue.put(queue);
        slot.session.put(session);
        slot.bytes.put(head.bytes);
        slot.holder.put(NIL);
        slot.attempts.put(head.attempts);
        slot.logged_attempts.put(head.attempts);
        slot.number.put(head.number);
        slot.sequence.put(head.sequence);
        slot.token.put(0);
        slot.enqueued.put(tick(head.enqueued));
        slot.first_delivered.put(tick(head.first_delivered));
        slot.expires.put(tick(head.expires));
        slot.due.put(tick(NO_TIME));
        slot.record.position.put(0);
        slot.death.position.put(0);
        remember(self.r, &slot.record, spot.0, spot.1);
    }

    fn restore_living(&mut self, queue: u32, head: &MessageHead, spot: Spot, session: u32) {
        let due = self.ground.time.tick_at(head.due);
        self.restore(queue, head, spot, session);
        let of: &Queue = self.r.node(queue);
        self.r
            .set(&of.bytes, of.bytes.get() + u64::from(head.bytes));
        list::push_back::<list::All>(self.r, &of.all, head.slot);
        if session != NIL {
            let live = &self.r.node::<Session>(session).live;
            self.r.set(live, live.get() + 1);
        }
        if head.flags & flag::LATE != 0 {
            self.set_late(head.slot);
        }
        if head.due == NO_TIME {
            self.make_ready(head.slot, standing::FRESH);
        } else {
            let given_back = head.flags & flag::GIVEN_BACK != 0;
            let blocks = head.flags & flag::BLOCKS != 0;
            self.hide(head.slot, due, given_back, blocks);
        }
    }

    fn restore_dead(
        &mut self,
        queue: u32,
        head: &MessageHead,
        spot: Spot,
        session: u32,
        grave: &Grave,
    ) {
        let tick = |wall| self.ground.time.tick_at(wall);
        let (died, first) = (tick(grave.at), tick(grave.first_delivered));
        self.restore(queue, head, spot, session);
        let slot: &Message = self.r.node(head.slot);
        slot.standing.put(standing::DEAD);
        slot.attempts.put(grave.attempts);
        slot.logged_attempts.put(grave.attempts);
        slot.death_number.put(grave.number);
        slot.died.put(died);
        slot.first_delivered.put(first);
        remember(self.r, &slot.death, grave.spot.0, grave.spot.1);
        let of: &Queue = self.r.node(queue);
        self.r.set(&of.dead, of.dead.get() + 1);
        self.r
            .set(&of.dead_bytes, of.dead_bytes.get() + u64::from(head.bytes));
        list::push_back::<list::Place>(self.r, &of.dead_list, head.slot);
        if session != NIL {
            let dead = &self.r.node::<Session>(session).dead;
            self.r.set(dead, dead.get() + 1);
        }
    }
}

/// Makes the nodes of the messages, at the numbers they had.
fn restore_nodes(region: &Region, facts: &Facts) -> Result<()> {
    let used: Vec<Vec<u32>> = facts
        .messages
        .iter()
        .map(|nodes| {
            let used = nodes
                .iter()
                .enumerate()
                .filter(|(_, found)| found.is_some());
            used.map(|(place, _)| place as u32).collect()
        })
        .collect();
    pool::restore::<Message>(region, &used).map_err(|e| fault::index_io("grow", e))
}
