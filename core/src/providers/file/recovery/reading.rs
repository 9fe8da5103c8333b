//! Reading the log from its files, and telling its end from damage.
//!
//! The log is read from the first segment that is needed, frame by frame, each following the one
//! before. Where no frame follows, the log ends, unless something proves that what is missing was on
//! the disk: a later frame, for every frame says up to where the log was known to be there when it
//! was written; or a file that is cut short, for files are made whole before they are used. Such
//! damage is told, and gone around only when asked for (`repair`).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::Result;
use crate::providers::file::fault;
use crate::providers::file::log::frame::{self, Before, End, Frame, SECTOR};
use crate::providers::file::log::segment::{Files, SegmentHead};
use crate::providers::file::sys::Mapping;

/// A part of the log that could not be read.
#[derive(Clone, Debug)]
pub(in crate::providers::file) struct Lost {
    pub(in crate::providers::file) segment: u64,
    pub(in crate::providers::file) from: u64,
    pub(in crate::providers::file) to: u64,
}

/// The files of the log, as they were found.
pub(in crate::providers::file) struct Survey {
    /// Files by the segments they say to be.
    pub(super) segments: HashMap<u64, Vec<(u32, SegmentHead)>>,
    /// Files of this store that are no segment: free ones, and some that were not finished.
    pub(super) spare: Vec<u32>,
    /// Above the numbers of all files.
    pub(super) next: u32,
}

/// What a file with the name of a file of the log is.
enum Holds {
    Segment(SegmentHead),
    /// Nothing that is needed.
    Nothing,
    /// Something of somebody else's.
    Foreign,
}

/// Looks at the files of the log in a folder.
pub(in crate::providers::file) fn survey(folder: &Path, files: &Files) -> Result<Survey> {
    let failed = |e| fault::io("list", folder, e);
    let mut survey = Survey {
        segments: HashMap::new(),
        spare: Vec::new(),
        next: 0,
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(number) = name.to_str().and_then(Files::number) else {
            continue;
        };
        survey.next = survey.next.max(number.saturating_add(1));
        match look_at(files, number).map_err(|e| fault::io("read", &files.path(number), e))? {
            Holds::Segment(head) => {
                let same = survey.segments.entry(head.segment).or_default();
                same.push((number, head));
            }
            Holds::Nothing => survey.spare.push(number),
            Holds::Foreign => tracing::warn!(
                file = %files.path(number).display(),
                "this file is not of this store and is left alone"
            ),
        }
    }
    Ok(survey)
}

fn look_at(files: &Files, number: u32) -> io::Result<Holds> {
    let file = match File::open(files.path(number)) {
        Ok(file) => file,
        // Somebody at work has removed it meanwhile.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Holds::Foreign),
        Err(e) => return Err(e),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok(Holds::Foreign);
    }
    let mut head = vec![0; found.len().min(SECTOR) as usize];
    file.read_exact_at(&mut head, 0)?;
    if let Some(head) = files.head(&head) {
        return Ok(Holds::Segment(head));
    }
    let is_new = found.len() <= files.segment_bytes() && head.iter().all(|byte| *byte == 0);
    // A power cut may garble the first sector of a file that was about to become a segment.
    let is_ours = found.len() == files.segment_bytes() && !Files::is_of_some_store(&head);
    Ok(if is_new || is_ours {
        Holds::Nothing
    } else {
        Holds::Foreign
    })
}

/// What is to become of damage in the part of the log that was on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::file) enum Damage {
    /// It is an error.
    Refuse,
    /// Reading goes around it and changes nothing.
    Note,
    /// Reading goes around it, and copies of the damaged files are kept.
    SetApart,
}

/// Stands for the file of a segment that is missing.
pub(in crate::providers::file) const NO_FILE: u32 = u32::MAX;

/// The log, read from the first segment to its end.
pub(in crate::providers::file) struct Reading {
    pub(in crate::providers::file) end: End,
    /// The files of the segments from the first one on.
    pub(in crate::providers::file) files: Vec<u32>,
    pub(in crate::providers::file) counter: u64,
    pub(in crate::providers::file) lost: Vec<Lost>,
}

/// Reads the log. `None`: there is none yet.
pub(in crate::providers::file) fn read_log(
    folder: &Path,
    files: &Files,
    first: u64,
    survey: &Survey,
    damage: Damage,
    mut each: impl FnMut(Frame<'_>),
) -> Result<Option<Reading>> {
    if survey.segments.is_empty() && first == 0 {
        return Ok(None);
    }
    let log = Log {
        folder,
        files,
        survey,
        damage,
    };
    let mut reading = Reading {
        end: End {
            position: files.start(first),
            before: Before { chain: 0, era: 0 },
        },
        files: Vec::new(),
        counter: 0,
        lost: Vec::new(),
    };
    let last = survey.segments.keys().copied().max().unwrap_or(first);
    let mut is_damaged = false;
    for segment in first.. {
        let begins = segment == first;
        match log.file_of(segment, (!begins).then_some(reading.end.before))? {
            Some(chosen) => {
                is_damaged = log.read_segment(segment, chosen, &mut reading, &mut each)?;
            }
            None if begins || is_damaged && segment <= last => {
                log.go_around(segment, &mut reading)?;
                is_damaged = true;
            }
            None => break,
        }
    }
    Ok(Some(reading))
}

/// The file of a segment.
struct Chosen {
    number: u32,
    head: SegmentHead,
    contents: Contents,
}

/// Where reading could go on after a gap: a position, and what the frame there follows.
type Next = Option<(u64, Before)>;

/// A log in its folder.
struct Log<'a> {
    folder: &'a Path,
    files: &'a Files,
    survey: &'a Survey,
    damage: Damage,
}

impl Log<'_> {
    fn contents(&self, number: u32) -> Result<Contents> {
        Contents::read(self.files, number)
            .map_err(|e| fault::io("read", &self.files.path(number), e))
    }

    fn heads(&self, segment: u64) -> &[(u32, SegmentHead)] {
        let heads = self.survey.segments.get(&segment);
        heads.map_or(&[][..], Vec::as_slice)
    }

    /// Of the files that say to be this segment, and to follow what was read before, the one that
    /// can be read furthest.
    fn file_of(&self, segment: u64, before: Option<Before>) -> Result<Option<Chosen>> {
        let follows = |head: &SegmentHead| before.is_none_or(|before| head.before == before);
        let heads = self.heads(segment).iter();
        let mut heads: Vec<_> = heads.filter(|(_, head)| follows(head)).collect();
        if heads.len() > 1 {
            let start = segment * self.files.segment_bytes();
            let mut ends = HashMap::new();
            for (number, head) in &heads {
                let (contents, from) = (self.contents(*number)?, self.begin(segment, head));
                let end = frame::read_frames(&contents, start, from, |_| {});
                ends.insert(*number, end.position);
            }
            heads.sort_by_key(|(number, _)| ends[number]);
        }
        let chosen = heads.last().map(|(number, head)| {
            Ok(Chosen {
                number: *number,
                head: *head,
                contents: self.contents(*number)?,
            })
        });
        chosen.transpose()
    }

    fn begin(&self, segment: u64, head: &SegmentHead) -> End {
        End {
            position: self.files.start(segment),
            before: head.before,
        }
    }

    /// Reads a segment to its end, around what is damaged. Answers whether its end is.
    fn read_segment(
        &self,
        segment: u64,
        of: Chosen,
        reading: &mut Reading,
        each: &mut impl FnMut(Frame<'_>),
    ) -> Result<bool> {
        let size = self.files.segment_bytes();
        let start = segment * size;
        reading.files.push(of.number);
        reading.counter = reading.counter.max(of.head.counter);
        let mut from = self.begin(segment, &of.head);
        loop {
            reading.end = frame::read_frames(&of.contents, start, from, &mut *each);
            let Some((why, next)) = self.damage_behind(segment, &of, reading.end)? else {
                return Ok(false);
            };
            match self.damage {
                Damage::Refuse => {
                    return Err(fault::damaged(self.folder, reading.end.position, &why));
                }
                Damage::SetApart => self.set_apart(segment, &of)?,
                Damage::Note => {}
            }
            reading.lost.push(Lost {
                segment,
                from: reading.end.position,
                to: next.map_or(start + size, |(position, _)| position),
            });
            let Some((position, before)) = next else {
                // The rest of the segment is lost; the next one begins its own chain.
                self.follow(segment + 1, reading);
                return Ok(true);
            };
            from = End { position, before };
        }
    }

    /// A segment that is missing: an error, or a part that is lost. A file of zeroes takes its
    /// place, so that segments stay in one line.
    fn go_around(&self, segment: u64, reading: &mut Reading) -> Result<()> {
        let start = segment * self.files.segment_bytes();
        if self.damage == Damage::Refuse {
            let why = "the segment that begins there is missing";
            return Err(fault::damaged(self.folder, start, why));
        }
        let number = match self.damage {
            Damage::SetApart => {
                let number = self.survey.next + reading.lost.len() as u32;
                let made = self.files.make(number);
                made.map_err(|e| fault::io("make", &self.files.path(number), e))?;
                number
            }
            _ => NO_FILE,
        };
        reading.files.push(number);
        reading.lost.push(Lost {
            segment,
            from: start,
            to: start + self.files.segment_bytes(),
        });
        reading.end.position = self.files.start(segment);
        self.follow(segment + 1, reading);
        Ok(())
    }

    /// Goes on with what a segment says to follow.
    fn follow(&self, segment: u64, reading: &mut Reading) {
        if let Some((_, head)) = self.heads(segment).first() {
            reading.end.before = head.before;
        }
    }

    /// Whether the log went on behind the end of what can be read: why that is known, and where in
    /// this segment reading could go on.
    fn damage_behind(&self, segment: u64, of: &Chosen, end: End) -> Result<Option<(String, Next)>> {
        let (next, proof) = self.proof_behind(segment, &of.contents, end)?;
        let why = match proof {
            Some(proof) => format!(
                "a later part, at {proof}, was written when this one was known to be on the disk"
            ),
            None if of.contents.is_cut() => {
                let path = self.files.path(of.number);
                format!("the file {} is cut short", path.display())
            }
            None => return Ok(None),
        };
        Ok(Some((why, next)))
    }

    /// Looks for a frame that was written when more than up to the end was known to be on the
    /// disk. Answers where this segment could be read on, and where that frame is.
    fn proof_behind(&self, segment: u64, bytes: &[u8], end: End) -> Result<(Next, Option<u64>)> {
        let size = self.files.segment_bytes();
        let mut first_after: Next = None;
        let mut at = end.position;
        while let Some(found) = frame::find_frame(bytes, segment * size, at) {
            let position = found.head.position;
            let before = Before {
                chain: found.head.chain,
                era: found.head.era,
            };
            first_after = first_after.or(Some((position, before)));
            if found.head.synced > end.position {
                return Ok((first_after, Some(position)));
            }
            at = position + u64::from(found.head.len);
        }
        // A segment that follows is no gap; it is read next.
        let follows = |(_, head): &(u32, SegmentHead)| head.before == end.before;
        if self.heads(segment + 1).iter().any(follows) {
            return Ok((None, None));
        }
        let later = self.survey.segments.keys().filter(|s| **s > segment);
        let mut later: Vec<u64> = later.copied().collect();
        later.sort_unstable();
        for later in later {
            for (number, _) in self.heads(later) {
                let contents = self.contents(*number)?;
                let mut at = self.files.start(later);
                while let Some(found) = frame::find_frame(&contents, later * size, at) {
                    if found.head.synced > end.position {
                        return Ok((first_after, Some(found.head.position)));
                    }
                    at = found.head.position + u64::from(found.head.len);
                }
            }
        }
        Ok((None, None))
    }

    /// Keeps a copy of a damaged file, and makes up for what was cut off.
    fn set_apart(&self, segment: u64, of: &Chosen) -> Result<()> {
        let to = self.folder.join(format!("damaged-{segment}"));
        if !to.exists() {
            std::fs::copy(self.files.path(of.number), &to)
                .map_err(|e| fault::io("keep a copy in", &to, e))?;
        }
        if of.contents.is_cut() {
            let lengthened = self.files.lengthen(of.number);
            lengthened.map_err(|e| fault::io("lengthen", &self.files.path(of.number), e))?;
        }
        Ok(())
    }
}

/// What is in the file of a segment.
enum Contents {
    Whole(Mapping),
    /// The file is cut short; here its end is made up for by zeroes.
    Cut(Vec<u8>),
}

impl Contents {
    fn read(files: &Files, number: u32) -> io::Result<Self> {
        let file = File::open(files.path(number))?;
        let (len, size) = (file.metadata()?.len(), files.segment_bytes());
        if len >= size {
            return Mapping::read_only(&file, size as usize).map(Self::Whole);
        }
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes[..len as usize], 0)?;
        Ok(Self::Cut(bytes))
    }

    fn is_cut(&self) -> bool {
        matches!(self, Self::Cut(_))
    }
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            // SAFETY: the mapping is of this length and lives as long as the slice. Its file is as
            // long, as was checked before it was mapped, and files of the log are never shortened.
            // Who recovers holds the store's lock, so nobody writes to it; who only looks may see
            // a frame that is being written, which its checksum tells.
            Self::Whole(mapping) => unsafe {
                std::slice::from_raw_parts(mapping.base(), mapping.len())
            },
            Self::Cut(bytes) => bytes,
        }
    }
}
