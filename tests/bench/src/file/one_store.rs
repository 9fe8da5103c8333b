//! One process: with a flush for each verb, and without.

use std::time::Instant;

use super::{AREA, BATCH, Bench, Folder};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::memory::BODY;
use crate::report::{Goal, Row, Unit};
use crate::yardsticks::bare_log::BareLog;
use crate::yardsticks::heed_queue::HeedQueue;
use crate::yardsticks::redb_queue::RedbQueue;
use crate::yardsticks::sqlite_queue::SqliteQueue;

const ROUNDS: usize = 7;
const MANY: u64 = 20_000;
const FEW: u64 = 300;
const MANY_OS: u64 = 100_000;
const FEW_OS: u64 = 20_000;
const ON_TOP: &str = "What a message costs with `os`, about a microsecond for its records and the \
                      index, comes on top of the two flushes.";
const BY_CALLS: &str = "heed writes into mapped memory, with almost no call of the system; ours \
                        appends to a file, and two fifths of its time are the file system's.";

pub fn rows() -> Result<Vec<Row>> {
    let mut rows = committed()?;
    rows.extend(uncommitted()?);
    Ok(rows)
}

fn row(
    name: &str,
    ours: &crate::measure::Samples,
    yardstick: &crate::measure::Samples,
    goal: f64,
) -> Row {
    let name = format!("send + receive + ack, {name}");
    Row::beside(AREA, name, Unit::Rate, ours, yardstick, Goal::AtLeast(goal))
}

fn committed() -> Result<Vec<Row>> {
    let folder = Folder::new("commit")?;
    let ours = Bench::open(&folder.url("commit"))?;
    let others = Folder::new("commit-yardsticks")?;
    let mut bare = BareLog::new(&others.path().join("bare"))?;
    let mut heed = HeedQueue::new(&others.path().join("heed"), true)?;
    let mut sqlite = SqliteQueue::new(&others.path().join("sqlite"))?;
    let mut redb = RedbQueue::new(&others.path().join("redb"))?;
    let [many, bare_many, heed_many, sqlite_many, redb_many] = take_turns(
        ROUNDS,
        [
            &mut || timed(MANY, || ours.batches(MANY)),
            &mut || {
                timed(MANY, || {
                    (0..MANY / BATCH as u64).try_for_each(|_| bare.cycle(&BODY, BATCH))
                })
            },
            &mut || {
                timed(MANY, || {
                    (0..MANY / BATCH as u64).try_for_each(|_| heed.cycle(&BODY, BATCH as u64))
                })
            },
            &mut || {
                timed(MANY, || {
                    (0..MANY / BATCH as u64).try_for_each(|_| sqlite.cycle(&BODY, BATCH))
                })
            },
            &mut || {
                timed(MANY, || {
                    (0..MANY / BATCH as u64).try_for_each(|_| redb.cycle(&BODY, BATCH as u64))
                })
            },
        ],
    )?;
    let [one, pending, bare_one] = take_turns(
        ROUNDS,
        [
            &mut || timed(FEW, || ours.singles(FEW)),
            &mut || {
                timed(FEW, || {
                    let queue = &ours.queue;
                    let bodies = ours.runtime.bodies();
                    let singles = crate::memory::one_thread::ours_one_at_a_time(queue, bodies, FEW);
                    ours.runtime.block_on(singles)?
                })
            },
            &mut || timed(FEW, || (0..FEW).try_for_each(|_| bare.cycle(&BODY, 1))),
        ],
    )?;
    Ok(vec![
        row(
            "commit, batches of 100: bare log, two flushes",
            &many,
            &bare_many,
            0.7,
        )
        .unless_met(ON_TOP),
        row(
            "commit, batches of 100: heed, two environments",
            &many,
            &heed_many,
            2.0,
        )
        .unless_met(ON_TOP),
        row(
            "commit, batches of 100: rusqlite, FULL",
            &many,
            &sqlite_many,
            2.0,
        ),
        row("commit, batches of 100: redb", &many, &redb_many, 2.0),
        row(
            "commit, one at a time, blocking: two flushes",
            &one,
            &bare_one,
            0.8,
        ),
        row(
            "commit, one at a time, asynchronous: two flushes",
            &pending,
            &bare_one,
            0.5,
        ),
    ])
}

fn uncommitted() -> Result<Vec<Row>> {
    let folder = Folder::new("os")?;
    let ours = Bench::open(&folder.url("os"))?;
    let others = Folder::new("os-yardsticks")?;
    let mut heed = HeedQueue::new(others.path(), false)?;
    let [many, heed_many] = take_turns(
        ROUNDS,
        [
            &mut || timed(MANY_OS, || ours.batches(MANY_OS)),
            &mut || {
                timed(MANY_OS, || {
                    (0..MANY_OS / BATCH as u64).try_for_each(|_| heed.cycle(&BODY, BATCH as u64))
                })
            },
        ],
    )?;
    let [one, heed_one] = take_turns(
        ROUNDS,
        [&mut || timed(FEW_OS, || ours.singles(FEW_OS)), &mut || {
            timed(FEW_OS, || {
                (0..FEW_OS).try_for_each(|_| heed.cycle(&BODY, 1))
            })
        }],
    )?;
    Ok(vec![
        row(
            "os, batches of 100: heed without flushes",
            &many,
            &heed_many,
            1.5,
        )
        .unless_met(BY_CALLS),
        row(
            "os, one at a time: heed without flushes",
            &one,
            &heed_one,
            1.5,
        )
        .unless_met(BY_CALLS),
    ])
}

fn timed(count: u64, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(rate(count, start))
}
