//! The Node package, by loops in JavaScript (`node/loops.mjs`): both sides run in one process of
//! Node.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::Result;
use crate::measure::{Samples, median};
use crate::report::{Goal, Row, Unit};

const AREA: &str = "node";

/// What the loops print, round by round.
#[derive(Deserialize)]
struct Rounds {
    one: Samples,
    batches: Samples,
    naive: Samples,
    together: Samples,
    delays: Vec<f64>,
}

/// Why one message at a time costs more than a fifteenth.
const COST_OF_ONE: &str = "half of it is the engine behind the C ABI, a third is three awaits and \
    three calls from JavaScript, the rest the bytes of the body and the id, twice";

/// Why a sixtieth is out of reach.
const COST_OF_BATCHES: &str = "a sixtieth of the yardstick is less than the C ABI itself takes for \
    a message in a batch (area c); the rest is the copy of each body into and out of JavaScript";

/// Every row of the area.
pub fn rows() -> Result<Vec<Row>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = if cfg!(target_os = "macos") {
        "libbench_node_yardstick.dylib"
    } else {
        "libbench_node_yardstick.so"
    };
    let ran = Command::new("node")
        .arg(here.join("node/loops.mjs"))
        .arg(here.join("target/release").join(library))
        .output()?;
    if !ran.status.success() {
        return Err(format!(
            "the loops in Node failed; scripts/bench builds what they need\n{}",
            String::from_utf8_lossy(&ran.stderr)
        )
        .into());
    }
    let rounds: Rounds = serde_json::from_slice(&ran.stdout)?;
    let row = |name: &str, ours, yardstick, goal| {
        let name = format!("send + receive + ack, {name}");
        Row::beside(AREA, name, Unit::Rate, ours, yardstick, goal)
    };
    Ok(vec![
        row(
            "one at a time: a promise of a native future for each message",
            &rounds.one,
            &rounds.naive,
            Goal::AtLeast(15.0),
        )
        .unless_met(COST_OF_ONE),
        row(
            "batches of 100: the same",
            &rounds.batches,
            &rounds.naive,
            Goal::AtLeast(60.0),
        )
        .unless_met(COST_OF_BATCHES),
        row(
            "batches of 100: 100 such promises at one time",
            &rounds.batches,
            &rounds.together,
            Goal::None,
        ),
        Row::alone(
            AREA,
            "delay of the event loop while consuming 50,000 messages/s, p99",
            Unit::Micros,
            median(rounds.delays),
            Goal::AtMost(20_000.0),
        ),
    ])
}
