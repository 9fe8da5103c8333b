//! What becomes of the values of entries.

use super::*;

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
