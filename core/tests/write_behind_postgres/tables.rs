//! Tables: their names, columns and keys.

use super::*;

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
    let flush = kit.start_flush(&sut);
    eventually("it is tried again", || sut.metrics().total_retries > 2);
    kit.run("ALTER TABLE {t}_away RENAME TO {t}");
    kit.wait(flush).unwrap().unwrap();
    assert_eq!(kit.ask("SELECT a FROM {t} WHERE id = 5"), "five");
    assert!(sut.take_rejected().is_empty());
}
