//! A receiver that waits in another process.

use std::time::{Duration, Instant};

use queue_runtime_core::{Delivery, Message};

use super::processes::Worker;
use super::{AREA, Bench, Folder};
use crate::Result;
use crate::measure::{median, take_turns};
use crate::report::{Goal, Row, Unit};
use crate::yardsticks::futex_pong::Word;

const ROUNDS: usize = 7;
const TRIPS: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// Why twice is out of reach.
const TWO_THREADS: &str = "the store's waiting thread is woken, then the caller's, and a send, a receive \
    and an ack come on top; between processors of an idle virtual machine each wake-up costs 20 us, \
    where the yardstick's two stay on one";
/// What ends the other process.
const END: &[u8] = b"end";

/// What the other process does: answers each message of one queue in another.
pub fn answer(url: &str) -> Result<()> {
    let (there, back) = (
        Bench::open_queue(url, "there")?,
        Bench::open_queue(url, "back")?,
    );
    println!("ready");
    there.runtime.block_on(async {
        loop {
            let ping = there
                .queue
                .receive_one(PATIENCE)
                .await?
                .ok_or("no ping came")?;
            if &**ping.body() == END {
                return Ok(());
            }
            back.queue.send("pong").await?;
            ping.ack().await?;
        }
    })?
}

/// The same by a word of a mapped file.
pub fn answer_by_futex(path: &str) -> Result<()> {
    let word = Word::open(path.as_ref())?;
    println!("ready");
    word.answer();
    Ok(())
}

pub fn row() -> Result<Row> {
    let folder = Folder::new("waking")?;
    let (url, path) = (folder.url("os"), folder.path().join("word"));
    let word = Word::open(&path)?;
    let path = path.to_str().ok_or("the path is no text")?;
    let _answerer = Worker::start("--answer", &url)?;
    let _futex = Worker::start("--answer-by-futex", path)?;
    let (there, back) = (
        Bench::open_queue(&url, "there")?,
        Bench::open_queue(&url, "back")?,
    );
    let [ours, yardstick] = take_turns(
        ROUNDS,
        [&mut || half_round_trip(&there, &back), &mut || {
            Ok(word.half_round_trip(TRIPS))
        }],
    )?;
    word.end();
    there
        .runtime
        .block_on(there.queue.send(Message::new(END)))??;
    Ok(Row::beside(
        AREA,
        "receiver waiting in another process, send to receive, p50: a futex",
        Unit::Micros,
        &ours,
        &yardstick,
        Goal::AtMost(2.0),
    )
    .unless_met(TWO_THREADS))
}

/// Half of the time from a send to the receipt of its answer, p50 in microseconds.
fn half_round_trip(there: &Bench, back: &Bench) -> Result<f64> {
    there.runtime.block_on(async {
        let mut times = Vec::with_capacity(TRIPS);
        for _ in 0..TRIPS {
            let start = Instant::now();
            there.queue.send("ping").await?;
            let pong: Option<Delivery> = back.queue.receive_one(PATIENCE).await?;
            times.push(start.elapsed().as_secs_f64() * 1e6 / 2.0);
            pong.ok_or("no pong came")?.ack().await?;
        }
        Ok(median(times))
    })?
}
