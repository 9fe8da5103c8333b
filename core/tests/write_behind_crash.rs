//! The process is killed at random with the journal on: every entry whose `enqueue` returned is in
//! the table, and the last of each key stands.

#![cfg(all(unix, not(feature = "shuttle")))]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{HOUR, soak};
use queue_runtime_core::{Runtime, RuntimeConfig, WriteBehind, WriteBehindOptions};
use rusqlite::Connection;

/// Set in the process that is killed: its folder, and its first number.
const CHILD: &str = "QRT_WRITE_BEHIND_CHILD";
const KEYS: u64 = 50;

fn options(folder: &Path) -> WriteBehindOptions {
    WriteBehindOptions {
        sink: Some(format!("sqlite://{}/sink.db", folder.display()).into()),
        table: Some("t".into()),
        key: Some(vec!["id".into()]),
        journal: Some(format!("file://{}/journal", folder.display()).into()),
        batch_size: Some(20),
        flush_interval: Some(Duration::from_millis(2)),
        ..WriteBehindOptions::default()
    }
}

fn open(runtime: &Runtime, folder: &Path) -> WriteBehind {
    let opening = WriteBehind::open(runtime, options(folder));
    runtime.block_on(opening).unwrap().unwrap()
}

/// Enqueues until it is killed, and says what was accepted.
#[test]
#[ignore = "started by the other test of this program"]
fn child() {
    let child = std::env::var(CHILD).expect("the other test says where");
    let (first, folder) = child.split_once(' ').unwrap();
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let sut = open(&runtime, Path::new(folder));
    let mut accepted = std::io::stderr();
    for number in first.parse::<u64>().unwrap().. {
        let entry = format!(r#"{{"id": {}, "number": {number}}}"#, number % KEYS);
        runtime.block_on(sut.enqueue(entry)).unwrap().unwrap();
        writeln!(accepted, "accepted {number}").unwrap();
    }
}

/// Runs a process that is killed after it has accepted this many. Answers the next number: the one
/// that was on its way may have been accepted too.
fn killed_after(folder: &Path, first: u64, count: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--ignored"])
        .env(CHILD, format!("{first} {}", folder.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut numbers = lines.by_ref().map_while(Result::ok).filter_map(|line| {
        let number = line.strip_prefix("accepted ")?;
        number.parse::<u64>().ok()
    });
    let mut last = numbers.by_ref().take(count as usize).last();
    child.kill().unwrap();
    last = numbers.last().or(last);
    child.wait().unwrap();
    last.expect("the child accepted something") + 2
}

#[test]
fn what_was_accepted_survives_every_kill() {
    let folder: PathBuf = std::env::temp_dir().join(format!("qrt-crash-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let sql = Connection::open(folder.join("sink.db")).unwrap();
    let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, number INTEGER)";
    sql.execute_batch(table).unwrap();
    let mut next = 0;
    let mut accepted: BTreeMap<u64, u64> = BTreeMap::new();
    for _ in 0..2 * soak() {
        let first = next;
        next = killed_after(&folder, first, fastrand::u64(1..400));
        for number in first..next - 1 {
            accepted.insert(number % KEYS, number);
        }
    }
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let sut = open(&runtime, &folder);
    let report = runtime.block_on(sut.close(HOUR)).unwrap();
    assert_eq!(report.left_in_journal, 0);
    assert!(report.rejected.is_empty());
    for (id, number) in accepted {
        let query = format!("SELECT number FROM t WHERE id = {id}");
        let found: i64 = sql.query_row(&query, [], |row| row.get(0)).unwrap();
        let found = u64::try_from(found).unwrap();
        // The one on its way at a kill may stand as well.
        assert!(
            found >= number,
            "{id} has {found}, and {number} was accepted"
        );
    }
    std::fs::remove_dir_all(folder).unwrap();
}
