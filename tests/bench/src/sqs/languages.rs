//! From Python and Node, by loops in `python/sqs.py` and `node/sqs.mjs`: both sides run in one
//! process, in turns.

use std::path::Path;
use std::process::Command;

use queue_runtime_services::Service;
use serde::Deserialize;

use super::AREA;
use crate::Result;
use crate::measure::Samples;
use crate::report::{Goal, Row, Unit};

/// What the loops print: the processor's time for a message in microseconds, round by round.
#[derive(Deserialize)]
struct Rounds {
    ours: Samples,
    theirs: Samples,
}

/// The processor's time of the clients.
pub fn rows(server: &Service) -> Result<Vec<Row>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../target/python/venv/bin/python");
    let in_python = run(Command::new(python).arg(here.join("python/sqs.py")), server)?;
    let in_node = run(Command::new("node").arg(here.join("node/sqs.mjs")), server)?;
    // As many times less.
    let row = |name: &str, rounds: &Rounds, times: f64| {
        let name = format!("the processor's time for a message, {name}");
        let goal = Goal::AtMost(1.0 / times);
        Row::beside(AREA, name, Unit::Micros, &rounds.ours, &rounds.theirs, goal)
    };
    Ok(vec![
        row("Python, by 10, 8 threads; boto3", &in_python, 3.0),
        row("Node, by 10, 8 loops; @aws-sdk/client-sqs", &in_node, 1.5),
    ])
}

fn run(command: &mut Command, server: &Service) -> Result<Rounds> {
    let ran = command.arg(server.endpoint()).output()?;
    if !ran.status.success() {
        return Err(format!(
            "the loops failed; scripts/bench builds what they need\n{}",
            String::from_utf8_lossy(&ran.stderr)
        )
        .into());
    }
    Ok(serde_json::from_slice(&ran.stdout)?)
}
