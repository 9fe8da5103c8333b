//! Servers, disks and connections in trouble.

use super::*;

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
        let flush = kit.start_flush(&sut);
        let before = sut.metrics().total_retries;
        eventually("it is tried again", || {
            sut.metrics().total_retries > before + 1
        });
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
    let flush = kit.start_flush(&sut);
    eventually("it is tried again", || sut.metrics().total_retries > 0);
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
    let flush = kit.start_flush(&sut);
    eventually("it is tried again", || sut.metrics().total_retries > 2);
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
        eventually("a part is written", || {
            sut.metrics().total_persisted > part * count as u64 / 5
        });
        server.kill();
        eventually("it is tried again", || sut.metrics().total_retries > 0);
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
