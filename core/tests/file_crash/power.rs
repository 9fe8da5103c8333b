//! A power cut: of what was written and not flushed, each sector is there, or is not, or is
//! neither; the index is gone.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use queue_runtime_core::store::verify;

const SECTOR: u64 = 512;

pub fn cut(folder: &Path, random: &mut fastrand::Rng) -> Result<(), String> {
    let report = verify(folder).map_err(|e| e.to_string())?;
    let Some(flushed) = report.flushed else {
        // Killed before the first opening was done.
        return Ok(());
    };
    let size = report.segment_bytes;
    let end = report.end.max(flushed);
    for segment in &report.segments {
        let file = segment.file.as_ref().ok_or("a segment has no file")?;
        let file = OpenOptions::new().write(true).open(file).unwrap();
        let start = segment.number * size;
        // The first sector was written when the segment was begun.
        if start >= flushed {
            spoil(&file, 0, random);
        }
        let mut at = (start + SECTOR).max(flushed).next_multiple_of(SECTOR);
        while at < end.min(start + size) {
            spoil(&file, at - start, random);
            at += SECTOR;
        }
    }
    std::fs::remove_file(folder.join("index")).unwrap();
    Ok(())
}

fn spoil(file: &std::fs::File, at: u64, random: &mut fastrand::Rng) {
    let mut sector = [0; SECTOR as usize];
    match random.u8(..3) {
        0 => return,
        1 => {}
        _ => random.fill(&mut sector),
    }
    file.write_all_at(&sector, at).unwrap();
}
