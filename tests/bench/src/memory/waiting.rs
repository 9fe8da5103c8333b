//! A receiver that waits already: from the call of send to the message in the receiver's hands.

use std::thread;
use std::time::{Duration, Instant};

use queue_runtime_core::{Queue, QueueOptions, Runtime};

use super::{AREA, queue};
use crate::Result;
use crate::measure::{median, take_turns};
use crate::report::{Goal, Row, Unit};
use crate::yardsticks::ping_pong::half_round_trip;

const ROUNDS: usize = 15;
const TRIPS: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the wake-up has two modes.
const SLOW_MODE: &str = "on an idle machine the wake-up takes six times as long as on a busy one; \
    not yet explained for certain: each wait registers its timeout with tokio's timer, which wakes \
    a parked thread of the runtime";

pub fn row(runtime: &Runtime) -> Result<Row> {
    let there = queue(runtime, QueueOptions::default())?;
    let back = queue(runtime, QueueOptions::default())?;
    let [ours, yardstick] = take_turns(
        ROUNDS,
        [&mut || one_way(runtime, &there, &back), &mut || {
            Ok(half_round_trip(TRIPS))
        }],
    )?;
    Ok(Row::beside(
        AREA,
        "receiver waiting, send to receive, p50: half a condvar round trip",
        Unit::Micros,
        &ours,
        &yardstick,
        Goal::AtMost(3.0),
    )
    .unless_met(SLOW_MODE))
}

/// Two threads answer each other through two queues, as at the yardstick, so that each is parked
/// by the time it is sent to. The p50 of the way there, in microseconds.
fn one_way(runtime: &Runtime, there: &Queue, back: &Queue) -> Result<f64> {
    let epoch = Instant::now();
    thread::scope(|scope| {
        let answerer = scope.spawn(|| {
            runtime.block_on(async {
                let mut times = Vec::with_capacity(TRIPS);
                for _ in 0..TRIPS {
                    let ping = there.receive_one(PATIENCE).await?.ok_or("no ping came")?;
                    let received = epoch.elapsed();
                    let sent = u64::from_le_bytes(ping.body().as_ref().try_into()?);
                    times.push((received - Duration::from_nanos(sent)).as_secs_f64() * 1e6);
                    ping.ack().await?;
                    back.send("pong").await?;
                }
                Ok(median(times))
            })?
        });
        runtime.block_on(async {
            for _ in 0..TRIPS {
                let now = epoch.elapsed().as_nanos() as u64;
                there.send(now.to_le_bytes().to_vec()).await?;
                let pong = back.receive_one(PATIENCE).await?.ok_or("no pong came")?;
                pong.ack().await?;
            }
            Result::Ok(())
        })??;
        answerer.join().map_err(|_| "the answerer panicked")?
    })
}
