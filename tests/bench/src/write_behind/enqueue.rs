//! An enqueue that need not wait, beside a bounded channel's send of the same value.

use std::time::{Duration, Instant};

use bytes::Bytes;
use queue_runtime_core::{Entry, Runtime, WriteBehindOptions};

use super::{AREA, open};
use crate::Result;
use crate::measure::take_turns;
use crate::memory::BODY;
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 11;
const COUNT: usize = 50_000;
const HOUR: Duration = Duration::from_secs(3600);

pub fn rows(runtime: &Runtime) -> Result<Vec<Row>> {
    let body = Bytes::from_static(&BODY);
    let waiting = WriteBehindOptions {
        batch_size: Some(2 * COUNT),
        batch_bytes: Some(usize::MAX),
        flush_interval: Some(HOUR),
        ..WriteBehindOptions::default()
    };
    let one = open(runtime, waiting.clone())?;
    let many = open(runtime, waiting)?;
    let mut ours = || {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..COUNT {
                one.enqueue(body.clone()).await?;
            }
            let each = start.elapsed().as_nanos() as f64 / COUNT as f64;
            one.flush().await?;
            Ok(each)
        })?
    };
    let mut hundreds = || {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..COUNT / 100 {
                let entries = (0..100).map(|_| Entry::new(body.clone()));
                many.enqueue_many(entries).await;
            }
            let each = start.elapsed().as_nanos() as f64 / COUNT as f64;
            many.flush().await?;
            Ok(each)
        })?
    };
    let mut channel = || {
        runtime.block_on(async {
            let (sender, mut receiver) = tokio::sync::mpsc::channel(COUNT);
            let start = Instant::now();
            for _ in 0..COUNT {
                sender.send(body.clone()).await?;
            }
            let each = start.elapsed().as_nanos() as f64 / COUNT as f64;
            while receiver.try_recv().is_ok() {}
            Ok(each)
        })?
    };
    let [ours, hundreds, channel] = take_turns(ROUNDS, [&mut ours, &mut hundreds, &mut channel])?;
    let row = |name: &str, side, goal| Row::beside(AREA, name, Unit::Nanos, side, &channel, goal);
    Ok(vec![
        row(
            "enqueue with room: a bounded tokio channel's send of the same value",
            &ours,
            Goal::AtMost(3.0),
        ),
        row(
            "enqueue_many of 100, each entry: the same",
            &hundreds,
            Goal::None,
        ),
    ])
}
