//! From Python and Node, by loops in `python/file.py` and `node/file.mjs`: both sides run in one
//! process, in turns.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{AREA, Folder};
use crate::Result;
use crate::measure::Samples;
use crate::report::{Goal, Row, Unit};

/// What the loops print.
#[derive(Deserialize)]
struct Both<T> {
    commit: T,
    os: T,
}

#[derive(Deserialize)]
struct Python {
    one: Samples,
    litequeue: Samples,
    batches: Samples,
    sqlite: Samples,
}

#[derive(Deserialize)]
struct Node {
    batches: Samples,
    sqlite: Samples,
}

/// From Rust the same is 2.2 times SQLite.
const FLUSHES: &str = "two flushes for a batch beside SQLite's three; on top of what a message costs \
    the engine come a language's objects for it, and in Node a flush is led by another thread, which \
    is woken and wakes back";
const CALLS: &str = "a message costs the engine a microsecond, of which two fifths are the file \
    system's, and the language's own objects and calls for it cost as much again";

/// The rows of both languages.
pub fn rows() -> Result<Vec<Row>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../target/python/venv/bin/python");
    let python: Both<Python> = run(Command::new(python).arg(here.join("python/file.py")))?;
    let node: Both<Node> = run(Command::new("node").arg(here.join("node/file.mjs")))?;
    let row = |name: &str, ours, yardstick, goal| {
        Row::beside(AREA, name, Unit::Rate, ours, yardstick, Goal::AtLeast(goal))
    };
    let mut rows = Vec::new();
    for (durability, python, node, goal, by_hundreds) in [
        ("commit", &python.commit, &node.commit, 3.0, FLUSHES),
        ("os", &python.os, &node.os, 5.0, CALLS),
    ] {
        rows.extend([
            row(
                &format!("Python, one at a time, {durability}: litequeue"),
                &python.one,
                &python.litequeue,
                goal,
            )
            .unless_met("Two flushes for a message beside litequeue's three."),
            row(
                &format!("Python, batches of 100, {durability}: sqlite3 by hand"),
                &python.batches,
                &python.sqlite,
                goal,
            )
            .unless_met(by_hundreds),
            row(
                &format!("Node, batches of 100, {durability}: better-sqlite3 by hand"),
                &node.batches,
                &node.sqlite,
                goal,
            )
            .unless_met(by_hundreds),
        ]);
    }
    Ok(rows)
}

fn run<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let folder = Folder::new("languages")?;
    let ran = command.arg(folder.path()).output()?;
    if !ran.status.success() {
        return Err(format!(
            "the loops failed; scripts/bench builds what they need\n{}",
            String::from_utf8_lossy(&ran.stderr)
        )
        .into());
    }
    Ok(serde_json::from_slice(&ran.stdout)?)
}
