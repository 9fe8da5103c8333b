//! Handlers in Python and Node, by loops in these languages (`python/consumer.py`,
//! `node/consumer.mjs`), beside what a program there would use inside one process.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::AREA;
use crate::Result;
use crate::measure::Samples;
use crate::report::{Goal, Row, Unit};

/// Why a task takes longer for a message.
const COST_OF_AWAITS: &str = "two awaitables and an object of Python's for each message, and behind \
    them the hand, the kept lock and the ack of the C ABI, where asyncio.Queue awaits a plain \
    coroutine around a deque";

/// What the loops in Python print, round by round.
#[derive(Deserialize)]
struct Python {
    threads: Samples,
    bare_threads: Samples,
    tasks: Samples,
    bare_tasks: Samples,
}

/// What the loops in Node print, round by round.
#[derive(Deserialize)]
struct Node {
    handlers: Samples,
    fast: Samples,
}

pub fn rows() -> Result<[Row; 3]> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = here.join("../../target/python/venv/bin/python");
    let python: Python = run(Command::new(interpreter).arg(here.join("python/consumer.py")))?;
    let node: Node = run(Command::new("node").arg(here.join("node/consumer.mjs")))?;
    let row = |name: &str, ours, yardstick, goal| {
        Row::beside(AREA, name, Unit::Rate, ours, yardstick, Goal::AtLeast(goal))
    };
    Ok([
        row(
            "Python, 16 threads of handlers: 16 threads on a queue.Queue",
            &python.threads,
            &python.bare_threads,
            0.4,
        ),
        row(
            "Python, 16 tasks of handlers: 16 tasks on an asyncio.Queue",
            &python.tasks,
            &python.bare_tasks,
            0.25,
        )
        .unless_met(COST_OF_AWAITS),
        row(
            "Node, 16 handlers: fastq.promise of concurrency 16",
            &node.handlers,
            &node.fast,
            0.1,
        ),
    ])
}

fn run<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let ran = command.output()?;
    if !ran.status.success() {
        return Err(format!(
            "the loops failed; scripts/bench builds what they need\n{}",
            String::from_utf8_lossy(&ran.stderr)
        )
        .into());
    }
    Ok(serde_json::from_slice(&ran.stdout)?)
}
