//! A store that holds much: how quick it is to use, and to open.

use std::time::Instant;

use super::{AREA, Bench, Folder};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 7;
const DEEP: usize = 1_000_000;
const SHALLOW: usize = 1_000;
const COUNT: u64 = 50_000;
const REBUILDS: usize = 3;

pub fn rows() -> Result<Vec<Row>> {
    let (deep, shallow) = (Folder::new("deep")?, Folder::new("shallow")?);
    let url = deep.url("os");
    let (much, little) = (Bench::open(&url)?, Bench::open(&shallow.url("os"))?);
    for (bench, depth) in [(&much, DEEP), (&little, SHALLOW)] {
        (0..depth / 1000).try_for_each(|_| bench.send(1000))?;
    }
    let [deep_rate, shallow_rate] = take_turns(
        ROUNDS,
        [
            &mut || {
                let start = Instant::now();
                much.batches(COUNT)?;
                Ok(rate(COUNT, start))
            },
            &mut || {
                let start = Instant::now();
                little.batches(COUNT)?;
                Ok(rate(COUNT, start))
            },
        ],
    )?;
    let attach = micros(5, || Bench::open(&url).map(drop))?;
    drop(much);
    let index = deep.path().join("index");
    let mut rebuilds = Vec::new();
    for _ in 0..REBUILDS {
        // Threads of the last store may outlive it by what they are at.
        while std::fs::read_to_string("/proc/self/maps")?.contains(&*index.to_string_lossy()) {
            std::thread::yield_now();
        }
        std::fs::remove_file(&index)?;
        rebuilds.push(micros(1, || Bench::open(&url).map(drop))?);
    }
    rebuilds.sort_by(f64::total_cmp);
    let name = "batches of 100, os, at 1,000,000 queued: beside 1,000";
    Ok(vec![
        Row::beside(
            AREA,
            name,
            Unit::Rate,
            &deep_rate,
            &shallow_rate,
            Goal::AtLeast(1.0 / 1.3),
        ),
        Row::alone(
            AREA,
            "open with 1,000,000 queued, attach",
            Unit::Micros,
            attach,
            Goal::AtMost(5_000.0),
        ),
        Row::alone(
            AREA,
            "open with 1,000,000 queued, index built from the log",
            Unit::Micros,
            rebuilds[REBUILDS / 2],
            Goal::AtMost(500_000.0),
        )
        .unless_met("The log has a gigabyte, of which every byte is read and checked, once."),
    ])
}

/// The quickest of some turns.
fn micros(turns: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..turns {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(best)
}
