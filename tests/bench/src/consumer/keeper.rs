//! What part of a processor keeps 30 s locks for 100,000 messages in hand. Time is moved by hand,
//! so that a quarter of an hour of it takes no longer than its work.

use std::time::{Duration, Instant};

use queue_runtime_core::{
    Clock, Message, QueueOptions, ReceiveOptions, Runtime, RuntimeConfig, Timestamp,
};

use super::AREA;
use crate::Result;
use crate::memory::BODY;
use crate::report::{Goal, Row, Unit};

const IN_HAND: u32 = 100_000;
const LOCK: Duration = Duration::from_secs(30);
/// Fewer than the 10 minutes that a bare receive keeps a lock.
const RENEWALS: u32 = 30;

pub fn row() -> Result<Row> {
    let clock = Clock::new_virtual();
    let runtime = Runtime::with_clock(RuntimeConfig::default(), clock.clone())?;
    let client = runtime.block_on(runtime.connect("memory:"))??;
    let queue = client.queue_with(
        "bench",
        QueueOptions {
            lock: Some(LOCK),
            ..QueueOptions::default()
        },
    )?;
    let messages = (0..IN_HAND).map(|_| Message::new(&BODY[..]));
    runtime.block_on(queue.send_many(messages))??;
    let options = ReceiveOptions::new().max_messages(100).keep_lock(true);
    let mut hands = Vec::new();
    while hands.len() < IN_HAND as usize {
        hands.extend(runtime.block_on(queue.receive(&options))??);
    }
    let mut busy = Duration::ZERO;
    for _ in 0..RENEWALS {
        let start = Instant::now();
        clock.advance(LOCK / 2)?;
        let until = Timestamp(clock.timestamp(clock.now()).0 + LOCK.as_millis() as i64);
        let renewed = |wanted| {
            hands
                .iter()
                .all(|delivery| delivery.locked_until() == wanted)
        };
        while !renewed(until) {
            if start.elapsed() > Duration::from_secs(10) {
                return Err("the locks were not renewed".into());
            }
            std::thread::yield_now();
        }
        busy += start.elapsed();
    }
    let passed = LOCK / 2 * RENEWALS;
    Ok(Row::alone(
        AREA,
        "part of a processor that keeps 100,000 locks of 30 s, looking on included",
        Unit::Percent,
        100.0 * busy.as_secs_f64() / passed.as_secs_f64(),
        Goal::AtMost(2.0),
    ))
}
