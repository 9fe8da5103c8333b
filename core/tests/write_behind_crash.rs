//! The process is killed at random with the journal on: every entry whose `enqueue` returned is in
//! the table or the dead letters, and the last of each key stands.

#![cfg(all(unix, not(feature = "shuttle")))]

mod common;
#[allow(dead_code)] // a server that only runs is enough here
#[path = "../../tests/services/postgres.rs"]
mod postgres;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{HOUR, soak};
use queue_runtime_core::write_behind::CloseReport;
use queue_runtime_core::{ReceiveOptions, Runtime, RuntimeConfig, WriteBehind, WriteBehindOptions};
use rusqlite::Connection;
use serde_json::{Value, json};

/// Set in the process that is killed: its first number, how many keys there are, and its options.
const CHILD: &str = "QRT_WRITE_BEHIND_CHILD";
/// One in so many entries breaks the table's constraint.
const BAD: u64 = 7;

/// A write-behind with a journal, in a folder of its own.
struct Scene {
    folder: PathBuf,
    options: Value,
    /// Entries take turns with so many keys.
    keys: u64,
}

impl Scene {
    fn new(name: &str, keys: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("qrt-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let options = json!({
            "table": "t",
            "key": ["id"],
            "journal": format!("file://{}/journal", folder.display()),
            "batch_size": 20,
            "flush_interval": "2ms",
        });
        Self {
            folder,
            options,
            keys,
        }
    }

    /// Runs processes that are killed after some entries. Answers what was accepted, by number, and
    /// the first number that was not given to any.
    fn kill_some(&self) -> (BTreeSet<u64>, u64) {
        let mut next = 0;
        let mut accepted = BTreeSet::new();
        for _ in 0..2 * soak() {
            let first = next;
            next = self.killed_after(first, fastrand::u64(1..400));
            // The one that was on its way may have been accepted too.
            accepted.extend(first..next - 1);
        }
        (accepted, next)
    }

    /// Runs a process that is killed after it has accepted this many. Answers the next number.
    fn killed_after(&self, first: u64, count: u64) -> u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--ignored"])
            .env(CHILD, format!("{first} {} {}", self.keys, self.options))
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

    /// Starts once more, and writes what is left.
    fn finish(&self) -> CloseReport {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let sut = open(&runtime, &self.options.to_string());
        let report = runtime.block_on(sut.close(HOUR)).unwrap();
        assert_eq!(report.left_in_journal, 0);
        assert!(report.rejected.is_empty());
        report
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn open(runtime: &Runtime, options: &str) -> WriteBehind {
    let options = WriteBehindOptions::from_json(options).unwrap();
    let opening = WriteBehind::open(runtime, options);
    runtime.block_on(opening).unwrap().unwrap()
}

/// An entry that says its number; a bad one less than nothing.
fn entry(number: u64, keys: u64, bad: bool) -> String {
    let value = if bad {
        -1 - i64::try_from(number).unwrap()
    } else {
        i64::try_from(number).unwrap()
    };
    json!({"id": number % keys, "number": value}).to_string()
}

/// Enqueues until it is killed, and says what was accepted.
#[test]
#[ignore = "started by the other tests of this program"]
fn child() {
    let child = std::env::var(CHILD).expect("the other tests say what");
    let mut parts = child.splitn(3, ' ');
    let first: u64 = parts.next().unwrap().parse().unwrap();
    let keys: u64 = parts.next().unwrap().parse().unwrap();
    let options = parts.next().unwrap();
    let takes_bad = options.contains("dead_letter");
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let sut = open(&runtime, options);
    let mut accepted = std::io::stderr();
    for number in first.. {
        let entry = entry(number, keys, takes_bad && number % BAD == 0);
        runtime.block_on(sut.enqueue(entry)).unwrap().unwrap();
        writeln!(accepted, "accepted {number}").unwrap();
    }
}

#[test]
fn the_last_of_each_key_survives_every_kill() {
    let mut scene = Scene::new("crash-sqlite", 50);
    let file = scene.folder.join("sink.db");
    scene.options["sink"] = format!("sqlite://{}", file.display()).into();
    let sql = Connection::open(file).unwrap();
    let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, number INTEGER)";
    sql.execute_batch(table).unwrap();
    let (accepted, _) = scene.kill_some();
    scene.finish();
    let last: BTreeMap<u64, u64> = accepted.iter().map(|n| (n % scene.keys, *n)).collect();
    for (id, number) in last {
        let query = format!("SELECT number FROM t WHERE id = {id}");
        let found: i64 = sql.query_row(&query, [], |row| row.get(0)).unwrap();
        let found = u64::try_from(found).unwrap();
        // The one on its way at a kill may stand as well.
        assert!(
            found >= number,
            "{id} has {found}, and {number} was accepted"
        );
    }
}

/// The numbers of the bad entries among the dead letters.
fn dead(runtime: &Runtime, folder: &Path) -> BTreeSet<u64> {
    let client = runtime.block_on(runtime.connect(format!("file://{}/dead", folder.display())));
    let queue = client.unwrap().unwrap().queue("t-dead-letters").unwrap();
    let mut dead = BTreeSet::new();
    loop {
        let options = ReceiveOptions::new().max_messages(100);
        let letters = runtime.block_on(queue.receive(&options.wait(std::time::Duration::ZERO)));
        let letters = letters.unwrap().unwrap();
        if letters.is_empty() {
            return dead;
        }
        for letter in letters {
            let entry: Value = serde_json::from_slice(letter.body()).unwrap();
            dead.insert(u64::try_from(-1 - entry["number"].as_i64().unwrap()).unwrap());
            runtime.block_on(letter.ack()).unwrap().unwrap();
        }
    }
}

#[test]
fn what_was_accepted_is_in_the_table_or_the_dead_letters_after_every_kill() {
    let server = postgres::Server::start(&[]).expect("scripts/setup installs PostgreSQL");
    let mut scene = Scene::new("crash-postgres", u64::MAX);
    scene.options["sink"] = server.url.as_str().into();
    scene.options["dead_letter"] = format!("file://{}/dead", scene.folder.display()).into();
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let sql = runtime.block_on(async {
        let (sql, connection) = tokio_postgres::connect(&server.url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        let table = "CREATE TABLE t (id bigint PRIMARY KEY, number bigint CHECK (number >= 0))";
        sql.batch_execute(table).await.unwrap();
        sql
    });
    let sql = sql.unwrap();
    let (accepted, next) = scene.kill_some();
    scene.finish();

    let rows = runtime.block_on(sql.query("SELECT number FROM t", &[]));
    let rows = rows.unwrap().unwrap();
    let written = rows.iter().map(|row| row.get::<_, i64>(0) as u64);
    let written: BTreeSet<u64> = written.collect();
    let dead = dead(&runtime, &scene.folder);
    for number in accepted {
        let bad = number % BAD == 0;
        let (right, wrong) = if bad {
            (&dead, &written)
        } else {
            (&written, &dead)
        };
        assert!(right.contains(&number), "{number} is lost, bad: {bad}");
        assert!(
            !wrong.contains(&number),
            "{number} is misplaced, bad: {bad}"
        );
    }
    let unheard_of = written.union(&dead).find(|number| **number >= next);
    assert_eq!(unheard_of, None, "nobody gave it");
}
