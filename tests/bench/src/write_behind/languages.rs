//! The same from Python and Node, beside their own clients of PostgreSQL, by loops in each language
//! (`write-behind/`).

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::AREA;
use super::postgres::server::Server;
use crate::Result;
use crate::measure::Samples;
use crate::report::{Goal, Row, Unit};

#[derive(Deserialize)]
struct Python {
    ours: Samples,
    asyncpg: Samples,
    psycopg: Samples,
}

#[derive(Deserialize)]
struct Node {
    ours: Samples,
    pg: Samples,
}

pub fn rows(server: &Server) -> Result<Vec<Row>> {
    let python: Python = run("../../target/python/venv/bin/python", "loops.py", server)?;
    let node: Node = run("node", "loops.mjs", server)?;
    let row = |name: &str, ours, yardstick, goal| {
        Row::beside(AREA, name, Unit::Rate, ours, yardstick, Goal::AtLeast(goal))
    };
    Ok(vec![
        row(
            "Python, enqueue one at a time: asyncpg executemany of 1,000",
            &python.ours,
            &python.asyncpg,
            1.0,
        ),
        row(
            "Python, enqueue one at a time: psycopg, a statement for each row",
            &python.ours,
            &python.psycopg,
            40.0,
        )
        .unless_met("40 times as many rows are more than the server takes from anybody by hand."),
        row(
            "Node, enqueue one at a time: pg, statements of 1,000 rows",
            &node.ours,
            &node.pg,
            1.0,
        )
        .unless_met("As fast by hand, within what the machine varies."),
    ])
}

/// What a program prints, round by round.
fn run<T: DeserializeOwned>(program: &str, loops: &str, server: &Server) -> Result<T> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = match program.contains('/') {
        true => here.join(program),
        false => program.into(),
    };
    let ran = Command::new(program)
        .arg(here.join("write-behind").join(loops))
        .arg(&server.url)
        .output()?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        let what = format!("{loops} failed; scripts/bench builds what it needs\n{said}");
        return Err(what.into());
    }
    Ok(serde_json::from_slice(&ran.stdout)?)
}
