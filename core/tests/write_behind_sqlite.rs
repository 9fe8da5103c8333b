//! Write-behind into SQLite.

#![cfg(not(feature = "shuttle"))]

mod common;
#[path = "common/small_disk.rs"]
mod small_disk;

use std::path::PathBuf;
use std::time::Duration;

use common::{HOUR, STUCK};
use queue_runtime_core::{
    ErrorKind, Result, Retry, Runtime, RuntimeConfig, WriteBehind, WriteBehindOptions,
};
use rusqlite::Connection;
use serde_json::{Value, json};
use small_disk::SmallDisk;

/// A table in a file of its own.
struct Kit {
    folder: PathBuf,
    runtime: Runtime,
    sql: Connection,
}

impl Kit {
    fn new(columns: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "qrt-sqlite-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        Self::in_folder(std::env::temp_dir().join(name), columns)
    }

    fn in_folder(folder: PathBuf, columns: &str) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let sql = Connection::open(folder.join("a b.db")).unwrap();
        sql.execute_batch(&format!("CREATE TABLE t ({columns})"))
            .unwrap();
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        Self {
            folder,
            runtime,
            sql,
        }
    }

    fn options(&self, key: &str) -> WriteBehindOptions {
        WriteBehindOptions {
            sink: Some(format!("sqlite://{}/a%20b.db", self.folder.display()).into()),
            table: Some("t".into()),
            key: Some(key.split(',').map(str::to_owned).collect()),
            retry: Some(Retry::Fixed {
                delay: Duration::from_millis(5),
            }),
            breaker: Some("none".parse().unwrap()),
            flush_interval: Some(HOUR),
            ..WriteBehindOptions::default()
        }
    }

    fn open(&self, options: WriteBehindOptions) -> Result<WriteBehind> {
        self.wait(WriteBehind::open(&self.runtime, options))
    }

    fn writer(&self, key: &str) -> WriteBehind {
        self.open(self.options(key)).unwrap()
    }

    /// Writes entries, and gives the reasons of those that were rejected.
    fn write(&self, sut: &WriteBehind, entries: &[Value]) -> Vec<(String, String)> {
        for entry in entries {
            self.wait(sut.enqueue(entry.to_string())).unwrap();
        }
        self.wait(sut.flush()).unwrap();
        let rejected = sut.take_rejected().into_iter();
        rejected
            .map(|r| (r.reason.to_string(), r.description.to_string()))
            .collect()
    }

    /// The one value of a query, as text.
    fn ask(&self, sql: &str) -> String {
        let sql = format!("SELECT coalesce(cast(({sql}) AS TEXT), 'NULL')");
        self.sql.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        let bounded = async { tokio::time::timeout(STUCK, future).await };
        self.runtime.block_on(bounded).unwrap().expect("it hangs")
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn entries_become_rows_and_the_last_of_a_key_stands() {
    let kit = Kit::new("id INTEGER PRIMARY KEY, name TEXT, seen INT DEFAULT 7");
    let sut = kit.writer("id");
    let entries = [
        json!({"id": 1, "name": "a"}),
        json!({"id": 2, "name": "b"}),
        json!({"id": 1, "name": "c"}),
    ];
    assert!(kit.write(&sut, &entries).is_empty());
    let rows = "SELECT group_concat(id || name || seen, ' ') FROM t";
    assert_eq!(kit.ask(rows), "1c7 2b7");
    assert_eq!(sut.metrics().total_batches, 1);
    let entries = [
        json!({"id": 1, "seen": 8}),
        json!({"id": 1, "name": "d"}),
        json!({"id": 3, "name": "e", "seen": 9}),
    ];
    assert!(kit.write(&sut, &entries).is_empty());
    assert_eq!(kit.ask(rows), "1d8 2b7 3e9");
    assert_eq!(sut.metrics().total_persisted, 6);
}

#[test]
fn values_are_kept_as_their_columns_prefer() {
    let kit = Kit::new("id INT PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n NUMERIC, x");
    let sut = kit.writer("id");
    let cases = [
        (
            "i",
            json!(9_007_199_254_740_993i64),
            "integer",
            "9007199254740993",
        ),
        ("i", json!(true), "integer", "1"),
        ("r", json!(1.5), "real", "1.5"),
        ("t", json!("grüße"), "text", "grüße"),
        ("t", json!(1.50), "text", "1.5"),
        ("t", json!({"a": [1]}), "text", r#"{"a":[1]}"#),
        ("b", json!("YWJj"), "blob", "abc"),
        ("n", json!("12"), "integer", "12"),
        ("x", json!("12"), "text", "12"),
        ("x", json!([1, 2]), "text", "[1,2]"),
        ("x", json!(null), "null", "NULL"),
    ];
    for (id, (column, value, kind, expected)) in cases.into_iter().enumerate() {
        assert!(
            kit.write(&sut, &[json!({"id": id, column: value})])
                .is_empty()
        );
        let of = format!("FROM t WHERE id = {id}");
        assert_eq!(
            kit.ask(&format!("SELECT typeof({column}) {of}")),
            kind,
            "{column}"
        );
        assert_eq!(
            kit.ask(&format!("SELECT {column} {of}")),
            expected,
            "{column}"
        );
    }
}

#[test]
fn bad_rows_are_rejected_alone() {
    let kit = Kit::new(
        "id INT PRIMARY KEY, c INT CHECK (c <> 13), u INT UNIQUE, nn INT NOT NULL DEFAULT 0, \
         b BLOB, r INT UNIQUE ON CONFLICT ROLLBACK",
    );
    let sut = kit.writer("id");
    assert!(
        kit.write(&sut, &[json!({"id": 0, "u": 1, "r": 1})])
            .is_empty()
    );
    let cases = [
        (json!({"c": 13}), "275"),
        (json!({"u": 1}), "2067"),
        (json!({"nn": null}), "1299"),
        (json!({"b": "?"}), "invalid_message"),
        (json!({"no such": 1}), "invalid_message"),
        (json!({"id": null}), "invalid_message"),
        // Ends the whole transaction: the batch is halved.
        (json!({"r": 1}), "2067"),
    ];
    for (place, (bad, reason)) in cases.into_iter().enumerate() {
        let first = 100 * (place + 1);
        let mut bad = bad;
        bad.as_object_mut()
            .unwrap()
            .entry("id")
            .or_insert(json!(first + 5));
        let mut entries: Vec<Value> = (0..5).map(|n| json!({"id": first + n})).collect();
        entries.push(bad.clone());
        entries.extend((6..11).map(|n| json!({"id": first + n})));
        let rejected = kit.write(&sut, &entries);
        assert_eq!(rejected.len(), 1, "{bad}");
        assert_eq!(rejected[0].0, reason, "{bad}: {}", rejected[0].1);
        let count = format!("SELECT count(*) FROM t WHERE id / 100 = {}", place + 1);
        assert_eq!(kit.ask(&count), "10", "{bad}");
    }
}

#[test]
fn a_database_that_is_locked_is_waited_for() {
    let kit = Kit::new("id INT PRIMARY KEY");
    let sut = kit.writer("id");
    kit.sql.execute_batch("BEGIN IMMEDIATE").unwrap();
    kit.wait(sut.enqueue(r#"{"id": 1}"#)).unwrap();
    let flushing = sut.clone();
    let flush = kit
        .runtime
        .handle()
        .spawn(async move { flushing.flush().await });
    kit.sql
        .execute_batch("INSERT INTO t VALUES (2); COMMIT")
        .unwrap();
    kit.wait(flush).unwrap().unwrap();
    assert_eq!(kit.ask("SELECT count(*) FROM t"), "2");
    assert!(sut.take_rejected().is_empty());
}

#[test]
fn a_full_disk_is_waited_for() {
    let Some(disk) = SmallDisk::mount("sqlite", 1 << 20) else {
        return;
    };
    let kit = Kit::in_folder(disk.path().join("data"), "id INT PRIMARY KEY, t TEXT");
    let sut = kit.writer("id");
    disk.fill();
    for id in 0..100 {
        let entry = json!({"id": id, "t": "x".repeat(1000)});
        kit.wait(sut.enqueue(entry.to_string())).unwrap();
    }
    let flushing = sut.clone();
    let flush = kit
        .runtime
        .handle()
        .spawn(async move { flushing.flush().await });
    kit.wait(async {
        while sut.metrics().total_retries == 0 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(sut.metrics().total_persisted, 0);
    disk.free();
    kit.wait(flush).unwrap().unwrap();
    assert_eq!(kit.ask("SELECT count(*) FROM t"), "100");
    assert!(sut.take_rejected().is_empty());
}

#[test]
fn a_table_that_is_altered_meanwhile_is_looked_at_again() {
    let kit = Kit::new("id INT PRIMARY KEY");
    let sut = kit.writer("id");
    assert!(kit.write(&sut, &[json!({"id": 1})]).is_empty());
    kit.sql.execute_batch("ALTER TABLE t ADD a TEXT").unwrap();
    assert!(kit.write(&sut, &[json!({"id": 2, "a": "new"})]).is_empty());
    assert_eq!(kit.ask("SELECT a FROM t WHERE id = 2"), "new");
    kit.sql.execute_batch("ALTER TABLE t DROP a").unwrap();
    let rejected = kit.write(&sut, &[json!({"id": 3}), json!({"id": 4, "a": "gone"})]);
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    assert_eq!(kit.ask("SELECT count(*) FROM t"), "3");
}

#[test]
fn opening_says_what_does_not_fit() {
    let kit = Kit::new("id INT PRIMARY KEY, a INT, need INT NOT NULL, g INT AS (a + 1)");
    let with = |change: fn(&mut WriteBehindOptions)| {
        let mut options = kit.options("id");
        change(&mut options);
        kit.open(options).map(drop)
    };
    type Change = fn(&mut WriteBehindOptions);
    let cases: [(&str, &str, Change); 10] = [
        ("table", "needed", |o| o.table = None),
        ("key", "needed", |o| o.key = None),
        ("table", "no table", |o| o.table = Some("nowhere".into())),
        ("key", "no column", |o| o.key = Some(vec!["nope".into()])),
        ("key", "key", |o| o.key = Some(vec!["a".into()])),
        ("columns", "itself", |o| o.columns = Some(vec!["g".into()])),
        ("columns", "need", |o| o.columns = Some(vec!["a".into()])),
        ("sink", "nowhere", |o| {
            o.sink = Some("sqlite:/nowhere/at/all.db".into())
        }),
        ("sink", "like", |o| o.sink = Some("sqlite:".into())),
        ("sink", "no sink", |o| o.sink = Some("oracle:".into())),
    ];
    for (field, word, change) in cases {
        let error = with(change).expect_err(field);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.message().contains(word), "{error}");
    }
}
