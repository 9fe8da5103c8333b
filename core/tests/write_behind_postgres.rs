//! Write-behind into a real PostgreSQL server.

#![cfg(not(feature = "shuttle"))]

mod common;
#[path = "../../tests/services/postgres.rs"]
mod postgres;
#[path = "common/small_disk.rs"]
mod small_disk;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use common::{HOUR, STUCK, soak};
use postgres::Server;
use proptest::prelude::*;
use queue_runtime_core::{
    Entry, ErrorKind, Result, Retry, Runtime, RuntimeConfig, WriteBehind, WriteBehindOptions,
};
use serde_json::{Value, json};
use small_disk::SmallDisk;

/// The server all tests share; those that stop one start their own.
fn server() -> Arc<Server> {
    static SERVER: OnceLock<Arc<Server>> = OnceLock::new();
    SERVER.get_or_init(|| start(&[])).clone()
}

fn start(settings: &[&str]) -> Arc<Server> {
    let missing = "PostgreSQL is needed: scripts/setup installs it";
    Arc::new(Server::start(settings).expect(missing))
}

/// One test's table, and a connection beside the one under test.
struct Kit {
    server: Arc<Server>,
    runtime: Runtime,
    sql: tokio_postgres::Client,
    table: String,
}

impl Kit {
    /// A table of these columns, by a name of its own: `{t}` stands for it.
    fn new(columns: &str) -> Self {
        Self::on(server(), columns)
    }

    fn on(server: Arc<Server>, columns: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let sql = connect(&runtime, &server);
        let table = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let kit = Self {
            server,
            runtime,
            sql,
            table,
        };
        kit.run(&format!("CREATE TABLE {{t}} ({columns})"));
        kit
    }

    /// Runs statements.
    fn run(&self, sql: &str) {
        let sql = sql.replace("{t}", &self.table);
        self.wait(self.sql.batch_execute(&sql)).unwrap();
    }

    /// The one value of a query, as text.
    fn ask(&self, sql: &str) -> String {
        let sql = sql.replace("{t}", &self.table);
        let row = self.wait(self.sql.query_one(&format!("SELECT ({sql})::text"), &[]));
        row.unwrap()
            .get::<_, Option<String>>(0)
            .unwrap_or("NULL".into())
    }

    fn options(&self, key: &str) -> WriteBehindOptions {
        WriteBehindOptions {
            sink: Some(self.server.url.as_str().into()),
            table: Some(self.table.clone()),
            key: Some(key.split(',').map(str::to_owned).collect()),
            retry: Some(Retry::Fixed {
                delay: Duration::from_millis(20),
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

    fn enqueue(&self, sut: &WriteBehind, entry: Value) {
        self.wait(sut.enqueue(entry.to_string())).unwrap();
    }

    fn flush(&self, sut: &WriteBehind) {
        self.wait(sut.flush()).unwrap();
    }

    /// Writes one entry, and gives why it was rejected, if it was.
    fn write(&self, sut: &WriteBehind, entry: Value) -> Option<(String, String)> {
        self.enqueue(sut, entry);
        self.flush(sut);
        let rejected = sut.take_rejected().pop()?;
        Some((
            rejected.reason.to_string(),
            rejected.description.to_string(),
        ))
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        let bounded = async { tokio::time::timeout(STUCK, future).await };
        self.runtime.block_on(bounded).unwrap().expect("it hangs")
    }
}

fn connect(runtime: &Runtime, server: &Server) -> tokio_postgres::Client {
    let url = server.url.split('?').next().unwrap();
    let connecting = async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    };
    runtime.block_on(connecting).unwrap()
}

fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + STUCK;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to be");
        std::thread::yield_now();
    }
}

#[test]
fn entries_become_rows_and_the_last_of_a_key_stands() {
    let kit = Kit::new("id int PRIMARY KEY, name text, seen int DEFAULT 7");
    let sut = kit.writer("id");
    for entry in [
        json!({"id": 1, "name": "a"}),
        json!({"id": 2, "name": "b"}),
        json!({"id": 1, "name": "c"}),
    ] {
        kit.enqueue(&sut, entry);
    }
    kit.flush(&sut);
    let rows = "SELECT string_agg(id || name || seen, ' ' ORDER BY id) FROM {t}";
    assert_eq!(kit.ask(rows), "1c7 2b7");
    assert_eq!(sut.metrics().total_persisted, 3);
    assert_eq!(sut.metrics().total_batches, 1);
    // Members that are not there are left as they are.
    kit.enqueue(&sut, json!({"id": 1, "seen": 8}));
    kit.enqueue(&sut, json!({"id": 3}));
    kit.flush(&sut);
    assert_eq!(
        kit.ask("SELECT json_agg(t ORDER BY id) FROM {t} t"),
        r#"[{"id":1,"name":"c","seen":8}, {"id":2,"name":"b","seen":7}, {"id":3,"name":null,"seen":7}]"#
            .replace("}, {", "}, \n {")
    );
    let report = kit.wait(sut.close(HOUR));
    assert_eq!(report.metrics.current_queue_depth, 0);
}

#[test]
fn entries_of_one_key_with_other_members_are_all_written() {
    let kit = Kit::new("id int PRIMARY KEY, a int, b int");
    let sut = kit.writer("id");
    kit.enqueue(&sut, json!({"id": 1, "a": 1}));
    kit.enqueue(&sut, json!({"id": 1, "b": 2}));
    kit.enqueue(&sut, json!({"id": 2, "a": 3, "b": 3}));
    kit.enqueue(&sut, json!({"id": 2, "a": 4, "b": 4}));
    kit.flush(&sut);
    assert_eq!(
        kit.ask("SELECT string_agg(id || ':' || a || b, ' ') FROM {t}"),
        "1:12 2:44"
    );
}

#[test]
fn every_type_takes_what_json_has_for_it() {
    let kit = Kit::new(
        "id bigint PRIMARY KEY, b bool, i2 smallint, i4 int, f4 real, f8 double precision, \
         n numeric(30, 3), t text, v varchar(5), c char(3), by bytea, j json, jb jsonb, \
         ts timestamp, tz timestamptz, d date, tm time, iv interval, u uuid, ip inet, \
         ia int[], ta text[], ba bytea[], na numeric[], ja jsonb[], ma int[][], bits bit(3)",
    );
    let sut = kit.writer("id");
    let cases = [
        ("b", json!(true), "true"),
        ("b", json!("false"), "false"),
        ("i2", json!(-32768), "-32768"),
        ("i4", json!("2147483647"), "2147483647"),
        ("f4", json!(1.5), "1.5"),
        ("f8", json!(1e300), "1e+300"),
        ("f8", json!("NaN"), "NaN"),
        (
            "n",
            json!("123456789012345678901234567.891"),
            "123456789012345678901234567.891",
        ),
        ("n", json!(0.25), "0.250"),
        ("t", json!("grüße\n\"\\"), "grüße\n\"\\"),
        ("t", json!(12), "12"),
        ("v", json!("abcde"), "abcde"),
        ("c", json!("a"), "a"),
        ("by", json!("AP8="), "\\x00ff"),
        ("j", json!({"a": [1, "x", null]}), r#"{"a":[1,"x",null]}"#),
        ("jb", json!("a text"), "\"a text\""),
        ("jb", json!([1.50, {}]), "[1.5, {}]"),
        ("ts", json!(1_767_225_600_123u64), "2026-01-01 00:00:00.123"),
        (
            "tz",
            json!("2026-01-01T00:00:00+02:00"),
            "2025-12-31 22:00:00+00",
        ),
        ("tz", json!(0), "1970-01-01 00:00:00+00"),
        ("d", json!("2026-02-28"), "2026-02-28"),
        ("tm", json!("12:34:56"), "12:34:56"),
        ("iv", json!("1 day 2 hours"), "1 day 02:00:00"),
        (
            "u",
            json!("fedcba98-7654-8321-8000-000000000001"),
            "fedcba98-7654-8321-8000-000000000001",
        ),
        ("ip", json!("10.0.0.1"), "10.0.0.1/32"),
        ("ia", json!([1, null, 3]), "{1,NULL,3}"),
        (
            "ta",
            json!(["a\"b", "c\\d", "e,f", "{}", "NULL", ""]),
            r#"{"a\"b","c\\d","e,f","{}","NULL",""}"#,
        ),
        ("ba", json!(["AP8="]), r#"{"\\x00ff"}"#),
        ("na", json!([1.5, "2.50"]), "{1.5,2.50}"),
        ("ja", json!([{"a": 1}, [2]]), r#"{"{\"a\": 1}",[2]}"#),
        ("ma", json!([[1, 2], [3, 4]]), "{{1,2},{3,4}}"),
        ("ia", json!([]), "{}"),
        ("bits", json!("101"), "101"),
        ("t", json!(null), "NULL"),
        ("jb", json!(null), "NULL"),
    ];
    kit.run("SET timezone = 'UTC'");
    for (id, (column, value, expected)) in cases.into_iter().enumerate() {
        let rejected = kit.write(&sut, json!({"id": id, column: value}));
        assert_eq!(rejected, None, "{column} {value}");
        let found = kit.ask(&format!("SELECT {column} FROM {{t}} WHERE id = {id}"));
        assert_eq!(found.trim_end(), expected, "{column} {value}");
    }
}

#[test]
fn what_does_not_fit_its_type_is_rejected_alone() {
    let kit = Kit::new(
        "id int PRIMARY KEY, i2 smallint, n numeric, v varchar(3), by bytea, ts timestamptz, \
         t text, a int[], u int UNIQUE, c int CHECK (c > 0), nn int NOT NULL DEFAULT 0",
    );
    let sut = kit.writer("id");
    kit.enqueue(&sut, json!({"id": 0, "u": 1}));
    kit.flush(&sut);
    let cases = [
        (json!({"i2": 40000}), "invalid_message", "i2"),
        (json!({"i2": 1.5}), "invalid_message", "i2"),
        (json!({"i2": [1]}), "invalid_message", "i2"),
        (json!({"n": "much"}), "22P02", "numeric"),
        (json!({"v": "abcd"}), "22001", "too long"),
        (json!({"by": "?"}), "invalid_message", "base64"),
        (json!({"ts": "yesterweek"}), "22007", "timestamp"),
        (json!({"ts": -1}), "invalid_message", "ts"),
        (json!({"t": "a\u{0}b"}), "invalid_message", "NUL"),
        (json!({"t": {"a": 1}}), "invalid_message", "text"),
        (json!({"a": [1, "x"]}), "invalid_message", "a"),
        (json!({"a": 5}), "invalid_message", "array"),
        (json!({"u": 1}), "23505", "unique"),
        (json!({"c": 0}), "23514", "check"),
        (json!({"nn": null}), "23502", "nn"),
        (json!({"id": null}), "invalid_message", "key"),
        (json!({"no such": 1}), "invalid_message", "no such"),
    ];
    for (place, (bad, reason, word)) in cases.into_iter().enumerate() {
        let first = 100 * place as i64;
        let mut bad = bad;
        let members = bad.as_object_mut().unwrap();
        members.entry("id").or_insert(json!(first + 50));
        for n in 1..50 {
            kit.enqueue(&sut, json!({"id": first + n}));
        }
        kit.enqueue(&sut, bad.clone());
        for n in 51..100 {
            kit.enqueue(&sut, json!({"id": first + n}));
        }
        kit.flush(&sut);
        let rejected = sut.take_rejected();
        assert_eq!(rejected.len(), 1, "{bad}");
        assert_eq!(
            &*rejected[0].reason, reason,
            "{bad}: {}",
            rejected[0].description
        );
        assert!(
            rejected[0].description.contains(word),
            "{}",
            rejected[0].description
        );
        let count = format!("SELECT count(*) FROM {{t}} WHERE id / 100 = {place} AND id > 0");
        assert_eq!(kit.ask(&count), "98", "{bad}");
    }
    let report = kit.wait(sut.close(HOUR));
    assert_eq!(report.metrics.current_queue_depth, 0);
    assert!(report.unwritten.is_empty());
}

#[test]
fn what_is_no_object_is_rejected() {
    let kit = Kit::new("id int PRIMARY KEY");
    let sut = kit.writer("id");
    for body in [
        "",
        "{",
        "[1]",
        "5",
        "{\"id\":1} {\"id\":2}",
        "{\"id\":1,\"id\":2}",
        "\u{ff}",
    ] {
        kit.wait(sut.enqueue(body)).unwrap();
        kit.flush(&sut);
        let rejected = sut.take_rejected();
        assert_eq!(rejected.len(), 1, "{body}");
        assert_eq!(&*rejected[0].reason, "invalid_message");
        assert_eq!(rejected[0].entry, Entry::new(body));
    }
}

#[test]
fn the_bad_row_is_found_at_every_place() {
    let kit = Kit::new("id int PRIMARY KEY, c int CHECK (c <> 13)");
    let sut = kit.writer("id");
    for size in [1, 2, 3, 8, 17] {
        for place in 0..size {
            kit.run("DELETE FROM {t}");
            for n in 0..size {
                let c = if n == place { 13 } else { n + 100 };
                kit.enqueue(&sut, json!({"id": n, "c": c}));
            }
            kit.flush(&sut);
            assert_eq!(kit.ask("SELECT count(*) FROM {t}"), (size - 1).to_string());
            let rejected = sut.take_rejected();
            assert_eq!(rejected.len(), 1, "{place} of {size}");
            assert_eq!(&*rejected[0].reason, "23514");
        }
    }
}

type Change = fn(&mut WriteBehindOptions);

#[test]
fn opening_says_what_does_not_fit() {
    let kit = Kit::new(
        "id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a + 1) STORED, need int NOT NULL",
    );
    kit.run("CREATE VIEW {t}_view AS SELECT * FROM {t}");
    let with = |change: Change| {
        let mut options = kit.options("id");
        change(&mut options);
        kit.open(options).map(drop)
    };
    let cases: [(ErrorKind, &str, &str, Change); 10] = [
        (ErrorKind::InvalidConfig, "table", "is needed", |o| {
            o.table = None
        }),
        (ErrorKind::InvalidConfig, "key", "is needed", |o| {
            o.key = None
        }),
        (ErrorKind::InvalidConfig, "table", "no table", |o| {
            o.table = Some("nowhere".into())
        }),
        (ErrorKind::InvalidConfig, "table", "not a table", |o| {
            o.table = o.table.take().map(|t| t + "_view");
        }),
        (ErrorKind::InvalidConfig, "key", "no column", |o| {
            o.key = Some(vec!["nope".into()])
        }),
        (ErrorKind::InvalidConfig, "key", "unique", |o| {
            o.key = Some(vec!["a".into()])
        }),
        (ErrorKind::InvalidConfig, "columns", "itself", |o| {
            o.columns = Some(vec!["g".into(), "need".into()]);
        }),
        (ErrorKind::InvalidConfig, "columns", "need", |o| {
            o.columns = Some(vec!["a".into()])
        }),
        (ErrorKind::InvalidConfig, "sink", "like", |o| {
            o.sink = Some("postgres://h:port/".into())
        }),
        (ErrorKind::InvalidConfig, "sslmode", "must be", |o| {
            o.sink = o.sink.take().map(|_| "postgres://h/?sslmode=maybe".into());
        }),
    ];
    for (kind, field, word, change) in cases {
        let opened = with(change);
        let error = opened.expect_err(&format!("{field}: {word}"));
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.message().contains(word), "{error}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut options = kit.options("id");
    options.sink = Some(format!("postgres://app:hunter2@127.0.0.1:{port}/postgres").into());
    let error = kit.open(options).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
    let mut options = kit.options("id");
    options.sink = Some(kit.server.url.replace("/postgres", "/nowhere").into());
    let error = kit.open(options).map(drop).unwrap_err();
    assert_eq!(error.code(), Some("3D000"), "{error}");
    kit.run("CREATE ROLE {t}_guest LOGIN");
    let mut options = kit.options("id");
    options.sink = Some(
        kit.server
            .url
            .replace("app@", &format!("{}_guest@", kit.table))
            .into(),
    );
    let error = kit.open(options).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.message().contains("INSERT"), "{error}");
}

#[test]
fn names_need_no_care() {
    let kit = Kit::new(
        "\"the \"\"key\"\" part\" int, \"Select\" text, PRIMARY KEY (\"the \"\"key\"\" part\")",
    );
    kit.run("CREATE SCHEMA \"S {t}\"; ALTER TABLE {t} SET SCHEMA \"S {t}\"");
    let mut options = kit.options("the \"key\" part");
    options.table = Some(format!("\"S {0}\".{0}", kit.table));
    let sut = kit.open(options).unwrap();
    assert_eq!(
        kit.write(&sut, json!({"the \"key\" part": 1, "Select": "x"})),
        None
    );
    assert_eq!(kit.ask("SELECT \"Select\" FROM \"S {t}\".{t}"), "x");
}

#[test]
fn chosen_columns_are_written_and_other_members_left_out() {
    let kit = Kit::new("id int PRIMARY KEY, a int, b int DEFAULT 5");
    let sut = kit.open(WriteBehindOptions {
        columns: Some(vec!["a".into()]),
        ..kit.options("id")
    });
    let sut = sut.unwrap();
    assert_eq!(
        kit.write(&sut, json!({"id": 1, "a": 2, "b": 3, "z": {"deep": []}})),
        None
    );
    assert_eq!(kit.ask("SELECT a || ',' || b FROM {t}"), "2,5");
}

#[test]
fn keys_of_several_columns_and_types() {
    let kit = Kit::new("a int, b text, v int, PRIMARY KEY (a, b)");
    let sut = kit.writer("b,a");
    kit.enqueue(&sut, json!({"a": 1, "b": "x", "v": 1}));
    kit.enqueue(&sut, json!({"a": "1", "b": "x", "v": 2}));
    kit.enqueue(&sut, json!({"a": 1, "b": "y", "v": 3}));
    kit.flush(&sut);
    assert_eq!(
        kit.ask("SELECT string_agg(b || v, ' ' ORDER BY b) FROM {t}"),
        "x2 y3"
    );
    assert_eq!(
        sut.metrics().total_batches,
        1,
        "1 and \"1\" are the same key"
    );
}

#[test]
fn keys_that_only_the_server_knows_to_be_equal_are_all_written() {
    let kit = Kit::new("n numeric PRIMARY KEY, v int");
    let sut = kit.writer("n");
    for (key, v) in [("1", 1), ("2", 2), ("1.0", 3), ("1.00", 4)] {
        kit.enqueue(&sut, json!({"n": key, "v": v}));
    }
    kit.flush(&sut);
    assert!(sut.take_rejected().is_empty());
    assert_eq!(kit.ask("SELECT count(*) FROM {t}"), "2");
    assert_eq!(sut.metrics().total_persisted, 4);
}

#[test]
fn a_table_of_keys_alone_is_fine() {
    let kit = Kit::new("id int PRIMARY KEY");
    let sut = kit.writer("id");
    for id in [1, 2, 1] {
        kit.enqueue(&sut, json!({"id": id}));
    }
    kit.flush(&sut);
    assert_eq!(kit.write(&sut, json!({"id": 1})), None);
    assert_eq!(kit.ask("SELECT count(*) FROM {t}"), "2");
}

#[test]
fn a_table_that_is_altered_meanwhile_is_looked_at_again() {
    let kit = Kit::new("id int PRIMARY KEY, a int");
    let sut = kit.writer("id");
    assert_eq!(kit.write(&sut, json!({"id": 1, "a": 1})), None);
    kit.run("ALTER TABLE {t} ADD b text");
    assert_eq!(kit.write(&sut, json!({"id": 2, "a": 2, "b": "new"})), None);
    kit.run("ALTER TABLE {t} ALTER a TYPE text");
    assert_eq!(kit.write(&sut, json!({"id": 3, "a": "a text now"})), None);
    kit.run("ALTER TABLE {t} DROP b");
    let (reason, why) = kit.write(&sut, json!({"id": 4, "b": "gone"})).unwrap();
    assert_eq!(reason, "invalid_message");
    assert!(why.contains("no column"), "{why}");
    assert_eq!(
        kit.ask("SELECT string_agg(a, ' ' ORDER BY id) FROM {t}"),
        "1 2 a text now"
    );

    // A table that is gone is waited for.
    kit.run("ALTER TABLE {t} RENAME TO {t}_away");
    kit.enqueue(&sut, json!({"id": 5, "a": "five"}));
    let flushing = sut.clone();
    let flush = kit
        .runtime
        .handle()
        .spawn(async move { flushing.flush().await });
    until(|| sut.metrics().total_retries > 2);
    kit.run("ALTER TABLE {t}_away RENAME TO {t}");
    kit.wait(flush).unwrap().unwrap();
    assert_eq!(kit.ask("SELECT a FROM {t} WHERE id = 5"), "five");
    assert!(sut.take_rejected().is_empty());
}

#[test]
fn tls_is_as_the_url_says() {
    let server = start(&["ssl=on"]);
    let kit = Kit::on(server.clone(), "id int PRIMARY KEY");
    kit.run(
        "CREATE FUNCTION by_tls() RETURNS bool LANGUAGE sql AS \
         'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'; \
         ALTER TABLE {t} ADD tls bool DEFAULT by_tls()",
    );
    let (url, root) = server.url.split_once('?').unwrap();
    let by_address = url.replace("localhost", "127.0.0.1");
    let cases = [
        (format!("{url}?sslmode=disable"), Some("false")),
        (url.to_owned(), Some("true")),
        (format!("{url}?sslmode=require"), Some("true")),
        (format!("{url}?sslmode=verify-full&{root}"), Some("true")),
        (
            format!("{by_address}?sslmode=verify-ca&{root}"),
            Some("true"),
        ),
        (format!("{by_address}?sslmode=verify-full&{root}"), None),
        (format!("{url}?sslmode=verify-full"), None),
        (format!("{url}?sslmode=verify-ca"), None),
    ];
    for (id, (url, tls)) in cases.into_iter().enumerate() {
        let opened = kit.open(WriteBehindOptions {
            sink: Some(url.as_str().into()),
            ..kit.options("id")
        });
        match (opened, tls) {
            (Ok(sut), Some(tls)) => {
                assert_eq!(kit.write(&sut, json!({"id": id})), None, "{url}");
                let found = kit.ask(&format!("SELECT tls FROM {{t}} WHERE id = {id}"));
                assert_eq!(found, tls, "{url}");
            }
            (Err(error), None) => assert!(error.to_string().contains("certificate"), "{error}"),
            (opened, _) => panic!("{url}: {:?}", opened.map(drop)),
        }
    }
}

#[test]
fn a_server_in_trouble_is_not_the_entries_fault() {
    let kit = Kit::new("id int PRIMARY KEY");
    kit.run(
        "CREATE TABLE {t}_trouble (code text); \
         CREATE FUNCTION {t}_raise() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE trouble text; \
         BEGIN SELECT code INTO trouble FROM {t}_trouble; \
         IF trouble IS NOT NULL THEN RAISE EXCEPTION 'as told' USING ERRCODE = trouble; END IF; \
         RETURN NEW; END $$; \
         CREATE TRIGGER t BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION {t}_raise()",
    );
    let sut = kit.writer("id");
    // Full disk, out of memory, too many locks, a standby, a failover, a bug, a missing right.
    let codes = [
        "53100", "53200", "53400", "25006", "57P01", "XX000", "42501",
    ];
    for (id, code) in codes.into_iter().enumerate() {
        kit.run(&format!("INSERT INTO {{t}}_trouble VALUES ('{code}')"));
        kit.enqueue(&sut, json!({"id": id}));
        let flushing = sut.clone();
        let flush = kit
            .runtime
            .handle()
            .spawn(async move { flushing.flush().await });
        let before = sut.metrics().total_retries;
        until(|| sut.metrics().total_retries > before + 1);
        kit.run("DELETE FROM {t}_trouble");
        kit.wait(flush).unwrap().unwrap();
        assert!(sut.take_rejected().is_empty(), "{code}");
    }
    assert_eq!(kit.ask("SELECT count(*) FROM {t}"), codes.len().to_string());
}

#[test]
fn a_full_disk_is_waited_for() {
    let Some(disk) = SmallDisk::mount("postgres", 4 << 20) else {
        return;
    };
    let kit = Kit::new("id int PRIMARY KEY, t text");
    // The server may run as another user, to whom the folder has to belong.
    let folder = disk.path().join("small");
    std::fs::create_dir(&folder).unwrap();
    let chown = std::process::Command::new("chown")
        .arg("postgres")
        .arg(&folder)
        .status();
    assert!(chown.unwrap().success());
    let location = folder.display();
    kit.run(&format!(
        "CREATE TABLESPACE {{t}}_small LOCATION '{location}'"
    ));
    kit.run("ALTER TABLE {t} SET TABLESPACE {t}_small");
    let sut = kit.writer("id");
    disk.fill();
    for id in 0..500 {
        let text: String = (0..1000).map(|_| fastrand::alphanumeric()).collect();
        kit.enqueue(&sut, json!({"id": id, "t": text}));
    }
    let flushing = sut.clone();
    let flush = kit
        .runtime
        .handle()
        .spawn(async move { flushing.flush().await });
    until(|| sut.metrics().total_retries > 0);
    assert_eq!(sut.metrics().total_persisted, 0);
    disk.free();
    kit.wait(flush).unwrap().unwrap();
    assert_eq!(kit.ask("SELECT count(*) FROM {t}"), "500");
    assert!(sut.take_rejected().is_empty());
    kit.run("DROP TABLE {t}");
    kit.run("DROP TABLESPACE {t}_small");
}

#[test]
fn a_lock_that_is_held_is_waited_for() {
    let kit = Kit::new("id int PRIMARY KEY, a int");
    let mut options = kit.options("id");
    let timeouts = "options=-c%20statement_timeout%3D50%20-c%20lock_timeout%3D30";
    options.sink = Some(format!("{}?{timeouts}", kit.server.url).into());
    let sut = kit.open(options).unwrap();
    kit.run("INSERT INTO {t} VALUES (1, 0); BEGIN; UPDATE {t} SET a = 9 WHERE id = 1");
    kit.enqueue(&sut, json!({"id": 1, "a": 1}));
    let flushing = sut.clone();
    let flush = kit
        .runtime
        .handle()
        .spawn(async move { flushing.flush().await });
    until(|| sut.metrics().total_retries > 2);
    kit.run("COMMIT");
    kit.wait(flush).unwrap().unwrap();
    assert_eq!(kit.ask("SELECT a FROM {t}"), "1");
    assert!(sut.take_rejected().is_empty());
}

#[test]
fn deadlocks_with_another_writer_are_tried_again() {
    let kit = Kit::new("id int PRIMARY KEY, a int");
    kit.run("INSERT INTO {t} SELECT n, 0 FROM generate_series(1, 20) n");
    let mut options = kit.options("id");
    options.sink = Some(format!("{}?options=-c%20deadlock_timeout%3D10", kit.server.url).into());
    let sut = kit.open(options).unwrap();
    // Somebody who takes the rows in the other order.
    let other = connect(&kit.runtime, &kit.server);
    let table = kit.table.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let against = kit.runtime.handle().spawn(async move {
        let sql = format!(
            "DO $$ BEGIN FOR n IN REVERSE 20..1 LOOP UPDATE {table} SET a = a WHERE id = n; \
             END LOOP; END $$"
        );
        while !stopped.load(Ordering::Relaxed) {
            let _ = other.batch_execute(&sql).await;
        }
    });
    for round in 0..50 {
        for id in 1..=20 {
            kit.enqueue(&sut, json!({"id": id, "a": round}));
        }
        kit.flush(&sut);
    }
    stop.store(true, Ordering::Relaxed);
    kit.wait(against).unwrap();
    assert_eq!(kit.ask("SELECT min(a) || ' ' || max(a) FROM {t}"), "49 49");
    assert_eq!(sut.metrics().total_failed, 0);
}

#[test]
fn connections_that_are_cut_are_made_again() {
    let kit = Kit::new("id int PRIMARY KEY, a int");
    let sut = kit.writer("id");
    for round in 0..20 {
        for id in 0..50 {
            kit.enqueue(&sut, json!({"id": id, "a": round}));
        }
        kit.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'queue_runtime%' AND query LIKE '%{t}%'");
        kit.flush(&sut);
    }
    assert_eq!(
        kit.ask("SELECT count(*) || ' ' || min(a) FROM {t}"),
        "50 19"
    );
    assert_eq!(sut.metrics().total_failed, 0);
}

#[test]
fn a_server_that_is_killed_in_the_middle_loses_nothing_that_was_persisted() {
    let server = start(&["fsync=on"]);
    let kit = Kit::on(server.clone(), "id int PRIMARY KEY, a int");
    let sut = kit
        .open(WriteBehindOptions {
            batch_size: Some(100),
            writers: Some(2),
            flush_interval: Some(Duration::from_millis(1)),
            max_entries: Some(2_000),
            ..kit.options("id")
        })
        .unwrap();
    let feeding = sut.clone();
    let count = 20_000 * i64::from(soak().min(20));
    let feeder = kit.runtime.handle().spawn(async move {
        for n in 0..count {
            let entry = json!({"id": n % 5_000, "a": n}).to_string();
            feeding.enqueue(entry).await.unwrap();
        }
    });
    for part in 1..=3 {
        until(|| sut.metrics().total_persisted > part * count as u64 / 5);
        server.kill();
        until(|| sut.metrics().total_retries > 0);
        let before = sut.metrics();
        assert_eq!(
            before.total_enqueued,
            before.total_persisted + before.total_failed + before.current_queue_depth
        );
        server.restart();
    }
    kit.wait(feeder).unwrap();
    kit.flush(&sut);
    let metrics = sut.metrics();
    assert_eq!(metrics.total_persisted, count as u64);
    assert_eq!(metrics.total_failed, 0);
    // Each id has its last value.
    let sql = connect(&kit.runtime, &server);
    let wrong = format!(
        "SELECT count(*) FROM {} WHERE a <> {count} - 5000 + id",
        kit.table
    );
    let wrong: i64 = kit.wait(sql.query_one(&wrong, &[])).unwrap().get(0);
    let rows = format!("SELECT count(*) FROM {}", kit.table);
    let rows: i64 = kit.wait(sql.query_one(&rows, &[])).unwrap().get(0);
    assert_eq!((rows, wrong), (5_000, 0));
}

#[test]
fn close_under_load_gives_back_what_is_not_written() {
    let server = start(&[]);
    let kit = Kit::on(server.clone(), "id int PRIMARY KEY");
    let sut = kit.writer("id");
    for id in 0..100 {
        kit.enqueue(&sut, json!({"id": id}));
    }
    kit.flush(&sut);
    server.kill();
    for id in 100..200 {
        kit.enqueue(&sut, json!({"id": id}));
    }
    let report = kit.wait(sut.close(Duration::from_millis(200)));
    let ids: Vec<i64> = report
        .unwritten
        .iter()
        .map(|entry| {
            serde_json::from_slice::<Value>(entry.body()).unwrap()["id"]
                .as_i64()
                .unwrap()
        })
        .collect();
    assert_eq!(ids, (100..200).collect::<Vec<_>>());
    assert_eq!(report.metrics.total_persisted, 100);
}

/// What the table should hold, by upserts in order.
type Model = BTreeMap<i32, BTreeMap<&'static str, i32>>;

#[test]
fn random_upserts_leave_what_one_at_a_time_would() {
    let kit = Kit::new("id int PRIMARY KEY, a int, b int, c int");
    let entry = (
        0..30i32,
        prop::collection::btree_map(
            prop::sample::select(vec!["a", "b", "c"]),
            any::<i32>(),
            0..4,
        ),
    );
    let steps = prop::collection::vec(
        prop_oneof![20 => entry.prop_map(Some), 1 => Just(None)],
        1..400,
    );
    let mut config = ProptestConfig::with_cases(24 * soak());
    config.failure_persistence = None;
    let shape = (1..100usize, 1..4usize, any::<bool>());
    proptest!(config, |(steps in steps, (batch, writers, cut) in shape)| {
        kit.run("DELETE FROM {t}");
        let sut = kit.open(WriteBehindOptions {
            batch_size: Some(batch),
            writers: Some(writers),
            on_repeat: Some(if cut {
                queue_runtime_core::write_behind::OnRepeat::Cut
            } else {
                queue_runtime_core::write_behind::OnRepeat::Last
            }),
            ..kit.options("id")
        }).unwrap();
        let mut model = Model::new();
        for step in steps {
            let Some((id, members)) = step else {
                kit.flush(&sut);
                continue;
            };
            let mut entry: HashMap<&str, i32> = members.iter().map(|(k, v)| (*k, *v)).collect();
            entry.insert("id", id);
            kit.enqueue(&sut, json!(entry));
            model.entry(id).or_default().extend(members);
        }
        let report = kit.wait(sut.close(HOUR));
        prop_assert!(report.unwritten.is_empty() && report.rejected.is_empty());
        let rows = format!("SELECT id, a, b, c FROM {}", kit.table);
        let rows = kit.wait(kit.sql.query(&rows, &[])).unwrap();
        let found: Model = rows.iter().map(|row| {
            let members = ["a", "b", "c"].into_iter().enumerate();
            let members = members.filter_map(|(n, name)| Some((name, row.get::<_, Option<i32>>(n + 1)?)));
            (row.get(0), members.collect())
        }).collect();
        prop_assert_eq!(found, model);
    });
}
