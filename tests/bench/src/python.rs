//! The Python package, by loops in Python (`python/loops.py`): both sides run in one process.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::Result;
use crate::measure::{Samples, median};
use crate::report::{Goal, Row, Unit};

const AREA: &str = "python";

/// Why one message at a time is not faster.
const COST_OF_ONE: &str = "three calls through the C ABI and the engine behind it (area c), and three \
    objects of Python's for each message";

/// Why a batch is not faster.
const COST_OF_BATCHES: &str = "the engine behind the C ABI takes most of it (area c); the rest is an \
    object of Python's for each delivery and a copy of each body";

/// Why an awaited verb is not faster.
const COST_OF_AWAITS: &str = "as above, and an awaitable for each verb, where asyncio.Queue awaits \
    plain coroutines around a deque";

/// What the loops print, round by round.
#[derive(Deserialize)]
struct Rounds {
    one: Samples,
    batches: Samples,
    queue: Samples,
    a_one: Samples,
    a_queue: Samples,
    pending: Samples,
    executor: Samples,
    import_ms: Vec<f64>,
}

/// Every row of the area.
pub fn rows() -> Result<Vec<Row>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ran = Command::new(here.join("../../target/python/venv/bin/python"))
        .arg(here.join("python/loops.py"))
        .output()?;
    if !ran.status.success() {
        return Err(format!(
            "the loops in Python failed; scripts/bench builds what they need\n{}",
            String::from_utf8_lossy(&ran.stderr)
        )
        .into());
    }
    let rounds: Rounds = serde_json::from_slice(&ran.stdout)?;
    let row = |name: &str, ours, yardstick, goal| {
        Row::beside(AREA, name, Unit::Rate, ours, yardstick, Goal::AtLeast(goal))
    };
    Ok(vec![
        row(
            "threads, one at a time: queue.Queue",
            &rounds.one,
            &rounds.queue,
            2.0,
        )
        .unless_met(COST_OF_ONE),
        row(
            "threads, batches of 100: queue.Queue",
            &rounds.batches,
            &rounds.queue,
            5.0,
        )
        .unless_met(COST_OF_BATCHES),
        row(
            "asyncio, one at a time: asyncio.Queue",
            &rounds.a_one,
            &rounds.a_queue,
            0.6,
        )
        .unless_met(COST_OF_AWAITS),
        row(
            "asyncio, 64 receives in flight: the same by run_in_executor",
            &rounds.pending,
            &rounds.executor,
            4.0,
        ),
        Row::alone(
            AREA,
            "import queue_runtime",
            Unit::Micros,
            1e3 * median(rounds.import_ms),
            Goal::AtMost(50_000.0),
        ),
    ])
}
