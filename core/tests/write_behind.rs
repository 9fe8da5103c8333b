//! Write-behind on a virtual clock, into a sink that does as it is told.

#![cfg(not(feature = "shuttle"))]

mod common;
mod write_behind_kit;

use std::time::Duration;

use common::{HOUR, Waiting, ms, now};
use queue_runtime_core::write_behind::{Breaker, BreakerState, OnRepeat, header};
use queue_runtime_core::{Entry, ErrorKind, ReceiveOptions, Retry, WriteBehindOptions};
use write_behind_kit::{Answer, Kit, options};

fn retry(delay: Duration) -> Option<Retry> {
    Some(Retry::Fixed { delay })
}

#[test]
fn a_batch_is_written_when_it_is_full() {
    let kit = Kit::start(WriteBehindOptions {
        batch_size: Some(3),
        ..options()
    });
    for body in ["a", "b", "c", "d"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    kit.until(|| kit.sink.batches() == [["a", "b", "c"]]);
    assert_eq!(kit.sut.metrics().current_queue_depth, 1, "d waits for more");
}

#[test]
fn a_batch_is_written_when_its_bytes_are_enough() {
    let kit = Kit::start(WriteBehindOptions {
        batch_bytes: Some(10),
        ..options()
    });
    for body in ["1234", "5678", "90ab"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    kit.until(|| kit.sink.batches() == [["1234", "5678"]]);
    now(kit.sut.enqueue("larger than a batch")).unwrap();
    kit.flush();
    let alone = &kit.sink.batches()[1..];
    assert_eq!(alone, [vec!["90ab"], vec!["larger than a batch"]]);
}

#[test]
fn a_batch_is_written_when_its_first_entry_waited_long_enough() {
    let kit = Kit::start(WriteBehindOptions {
        flush_interval: Some(ms(100)),
        ..options()
    });
    now(kit.sut.enqueue("first")).unwrap();
    kit.advance(ms(60));
    now(kit.sut.enqueue("second")).unwrap();
    kit.advance(ms(39));
    assert!(kit.sink.batches().is_empty(), "not due yet");
    kit.advance(ms(1));
    kit.until(|| kit.sink.batches() == [["first", "second"]]);
}

#[test]
fn a_flush_writes_everything_accepted_before_it() {
    let kit = Kit::start(options());
    kit.flush();
    for n in 0..2500 {
        now(kit.sut.enqueue(n.to_string())).unwrap();
    }
    kit.flush();
    let metrics = kit.sut.metrics();
    assert_eq!(metrics.total_persisted, 2500);
    assert_eq!(metrics.total_batches, 3);
    assert_eq!(kit.sink.written().len(), 2500);
}

#[test]
fn enqueue_waits_for_room_in_turn_and_try_enqueue_says_full() {
    let kit = Kit::start(WriteBehindOptions {
        max_entries: Some(2),
        batch_size: Some(1),
        ..options()
    });
    kit.sink.hold();
    for body in ["a", "b"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    let error = now(kit.sut.try_enqueue("x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.retryable());
    let enqueue = |body: &'static str| {
        let sut = kit.sut.clone();
        Waiting::start(async move { sut.enqueue(body).await })
    };
    let (c, cancelled, d) = (enqueue("c"), enqueue("cancelled"), enqueue("d"));
    assert_eq!(kit.sut.metrics().total_enqueued, 2);
    drop(cancelled);
    kit.sink.let_pass(1);
    c.finish("the first who waited").unwrap();
    let error = now(kit.sut.try_enqueue("x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "d was before");
    kit.sink.let_pass(1);
    d.finish("the second who waited").unwrap();
    kit.sink.release();
    kit.flush();
    assert_eq!(kit.sink.written(), ["a", "b", "c", "d"]);
}

#[test]
fn bytes_are_a_bound_too() {
    let kit = Kit::start(WriteBehindOptions {
        max_bytes: Some(10),
        batch_size: Some(1),
        ..options()
    });
    kit.sink.hold();
    let error = now(kit.sut.enqueue("eleven byte")).unwrap_err();
    assert_eq!(error.size(), Some((11, 10)));
    now(kit.sut.enqueue(Entry::new("12345").key("678"))).unwrap();
    now(kit.sut.enqueue("90")).unwrap();
    assert_eq!(
        now(kit.sut.try_enqueue("x")).unwrap_err().kind(),
        ErrorKind::Full
    );
    kit.sink.release();
    kit.flush();
    now(kit.sut.try_enqueue("x")).unwrap();
}

#[test]
fn a_sink_that_is_away_gets_the_same_batch_until_it_takes_it() {
    let kit = Kit::start(WriteBehindOptions {
        retry: retry(ms(10)),
        breaker: Some(Breaker::None),
        ..options()
    });
    kit.sink.answer_next(20, Answer::Away);
    for body in ["a", "b"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    let flush = kit.start_flush();
    kit.advance_until(ms(10), || kit.sut.metrics().total_persisted == 2);
    flush.finish("the flush").unwrap();
    assert_eq!(kit.sink.attempts().len(), 21);
    assert!(kit.sink.attempts().iter().all(|batch| *batch == ["a", "b"]));
    assert_eq!(kit.sut.metrics().total_retries, 40);
    assert_eq!(kit.sut.metrics().total_failed, 0);
}

#[test]
fn a_delay_the_sink_asks_for_is_kept() {
    let kit = Kit::start(WriteBehindOptions {
        retry: Some(Retry::None),
        ..options()
    });
    kit.sink
        .answer_next(1, Answer::Throttled(Duration::from_secs(5)));
    now(kit.sut.enqueue("a")).unwrap();
    let flush = kit.start_flush();
    kit.until(|| kit.sink.attempts().len() == 1);
    kit.advance(ms(4999));
    assert_eq!(kit.sink.attempts().len(), 1);
    kit.advance_until(ms(1), || kit.sink.attempts().len() == 2);
    flush.finish("the flush").unwrap();
}

#[test]
fn the_breaker_opens_and_tries_one_batch_at_a_time() {
    let kit = Kit::start(WriteBehindOptions {
        retry: Some(Retry::None),
        breaker: Some("3,10s,2".parse().unwrap()),
        batch_size: Some(1),
        ..options()
    });
    kit.sink.answer_next(4, Answer::Away);
    for body in ["a", "b", "c"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    kit.until(|| kit.sut.breaker_state() == BreakerState::Open);
    assert_eq!(kit.sink.attempts().len(), 3);
    kit.advance(Duration::from_secs(9));
    assert_eq!(kit.sink.attempts().len(), 3);
    kit.advance(Duration::from_secs(1));
    kit.until(|| kit.sink.attempts().len() == 4);
    kit.until(|| kit.sut.breaker_state() == BreakerState::Open);
    kit.advance(Duration::from_secs(10));
    kit.until(|| kit.sut.breaker_state() == BreakerState::Closed);
    kit.flush();
    assert_eq!(kit.sink.written(), ["a", "b", "c"]);
}

#[test]
fn a_bad_entry_is_found_at_every_place_and_the_others_are_written() {
    for size in [1, 2, 7, 16] {
        for place in 0..size {
            let kit = Kit::start(options());
            let body = |n: usize| {
                if n == place {
                    format!("bad{n}")
                } else {
                    n.to_string()
                }
            };
            let all: Vec<String> = (0..size).map(body).collect();
            for body in &all {
                now(kit.sut.enqueue(body.clone())).unwrap();
            }
            kit.flush();
            let good = all.iter().filter(|b| !b.starts_with("bad"));
            let good: Vec<String> = good.cloned().collect();
            assert_eq!(kit.sink.written(), good, "{place} of {size}");
            let rejected = kit.sut.take_rejected();
            assert_eq!(rejected.len(), 1);
            assert_eq!(rejected[0].entry, Entry::new(all[place].clone()));
            assert_eq!(&*rejected[0].reason, "invalid_message");
            assert!(rejected[0].attempts >= 1);
            let metrics = kit.sut.metrics();
            assert_eq!(metrics.total_failed, 1);
            assert_eq!(metrics.total_persisted, size as u64 - 1);
        }
    }
}

#[test]
fn a_sink_can_answer_for_each_entry() {
    let kit = Kit::start(WriteBehindOptions {
        retry: retry(ms(10)),
        ..options()
    });
    kit.sink.answer_next(1, Answer::Each);
    for body in ["a", "bad", "away", "b"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    let flush = kit.start_flush();
    kit.advance_until(ms(10), || kit.sut.metrics().current_queue_depth == 0);
    flush.finish("the flush").unwrap();
    assert_eq!(kit.sink.attempts()[1..], [["away"]]);
    assert_eq!(kit.sink.written(), ["a", "b", "away"]);
    assert_eq!(kit.sut.take_rejected().len(), 1);
    assert_eq!(kit.sut.metrics().total_retries, 1);
}

#[test]
fn the_last_entry_of_a_key_stands_for_all_in_a_batch() {
    let kit = Kit::start(options());
    for (key, body) in [("k", "1"), ("l", "2"), ("k", "3"), ("k", "4")] {
        now(kit.sut.enqueue(Entry::new(body).key(key))).unwrap();
    }
    kit.flush();
    assert_eq!(kit.sink.batches(), [["4", "2"]]);
    assert_eq!(kit.sut.metrics().total_persisted, 4);
    assert_eq!(kit.sut.metrics().total_batches, 1);
}

#[test]
fn a_batch_can_be_cut_before_a_repeat() {
    let kit = Kit::start(WriteBehindOptions {
        on_repeat: Some(OnRepeat::Cut),
        ..options()
    });
    for (key, body) in [("k", "1"), ("l", "2"), ("k", "3"), ("k", "4"), ("m", "5")] {
        now(kit.sut.enqueue(Entry::new(body).key(key))).unwrap();
    }
    kit.flush();
    let expected = [vec!["1", "2"], vec!["3"], vec!["4", "5"]];
    assert_eq!(kit.sink.batches(), expected);
}

#[test]
fn when_the_last_of_a_key_is_bad_the_one_before_it_is_written() {
    let kit = Kit::start(options());
    for (key, body) in [("k", "good"), ("l", "other"), ("k", "bad1"), ("k", "bad2")] {
        now(kit.sut.enqueue(Entry::new(body).key(key))).unwrap();
    }
    kit.flush();
    let mut written = kit.sink.written();
    written.sort();
    assert_eq!(written, ["good", "other"]);
    let rejected = kit.sut.take_rejected();
    let bodies: Vec<_> = rejected.iter().map(|r| r.entry.body().clone()).collect();
    assert_eq!(bodies, ["bad2", "bad1"]);
    assert_eq!(kit.sut.metrics().total_persisted, 2);
}

#[test]
fn several_writers_keep_the_order_of_each_key() {
    let kit = Kit::start(WriteBehindOptions {
        writers: Some(4),
        batch_size: Some(3),
        on_repeat: Some(OnRepeat::Cut),
        ..options()
    });
    for n in 0..500 {
        let key = format!("key{}", n % 7);
        let body = format!("{key}:{n:03}");
        now(kit.sut.enqueue(Entry::new(body).key(key))).unwrap();
    }
    for n in 0..10 {
        now(kit.sut.enqueue(format!("no key {n}"))).unwrap();
    }
    kit.flush();
    let written = kit.sink.written();
    assert_eq!(written.len(), 510);
    for key in 0..7 {
        let key = format!("key{key}:");
        let of_key: Vec<_> = written.iter().filter(|b| b.starts_with(&key)).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
}

#[test]
fn a_panic_of_the_sink_loses_nothing() {
    let kit = Kit::start(WriteBehindOptions {
        retry: retry(ms(10)),
        ..options()
    });
    kit.sink.answer_next(1, Answer::Panic);
    kit.sink.answer_next(1, Answer::OneResultLess);
    for body in ["a", "b"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    let flush = kit.start_flush();
    kit.advance_until(ms(10), || kit.sut.metrics().total_persisted == 2);
    flush.finish("the flush").unwrap();
    assert_eq!(kit.sink.attempts().len(), 3);
}

#[test]
fn close_writes_what_was_accepted() {
    let kit = Kit::start(options());
    for body in ["a", "b", "bad"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    let report = kit.close(HOUR);
    assert_eq!(kit.sink.written(), ["a", "b"]);
    assert!(report.unwritten.is_empty());
    assert_eq!(report.rejected.len(), 1);
    assert_eq!(report.metrics.total_persisted, 2);
    let error = now(kit.sut.enqueue("late")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.operation(), Some("enqueue"));
    let again = kit.close(HOUR);
    assert!(again.unwritten.is_empty() && again.rejected.is_empty());
    kit.flush();
}

#[test]
fn close_gives_back_what_it_cannot_write_in_time() {
    let kit = Kit::start(WriteBehindOptions {
        batch_size: Some(2),
        max_entries: Some(5),
        ..options()
    });
    kit.sink.hold();
    for body in ["a", "b", "c", "d", "e"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    let sut = kit.sut.clone();
    let waiting = Waiting::start(async move { sut.enqueue("f").await });
    kit.sink.let_pass(1);
    kit.until(|| kit.sut.metrics().total_persisted == 2);
    waiting.finish("there is room").unwrap();
    now(kit.sut.enqueue("g")).unwrap();
    let sut = kit.sut.clone();
    let waiting = Waiting::start(async move { sut.enqueue("h").await });

    let sut = kit.sut.clone();
    let close = Waiting::start(async move { sut.close(Duration::from_secs(5)).await });
    let error = waiting.finish("intake has ended").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    kit.advance(ms(4999));
    assert!(!close.is_woken());
    kit.advance(ms(1));
    let report = close.finish("the deadline");
    let bodies: Vec<_> = report.unwritten.iter().map(|e| e.body().clone()).collect();
    assert_eq!(bodies, ["c", "d", "e", "f", "g"]);
    assert_eq!(report.metrics.current_queue_depth, 5);
    assert_eq!(report.metrics.total_enqueued, 7);
    let error = now(kit.sut.flush()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn close_does_not_wait_for_a_backoff_longer_than_its_deadline() {
    let kit = Kit::start(WriteBehindOptions {
        retry: retry(HOUR),
        ..options()
    });
    kit.sink.answer_next(1, Answer::Away);
    now(kit.sut.enqueue("a")).unwrap();
    let sut = kit.sut.clone();
    let close = Waiting::start(async move { sut.close(Duration::from_secs(5)).await });
    kit.until(|| kit.sink.attempts().len() == 1);
    kit.advance(Duration::from_secs(5));
    let report = close.finish("the deadline");
    assert_eq!(report.unwritten, [Entry::new("a")]);
}

#[test]
fn what_was_accepted_is_written_after_the_last_handle_is_gone() {
    let Kit { sut, sink, .. } = Kit::start(options());
    now(sut.enqueue("a")).unwrap();
    drop(sut);
    write_behind_kit::until(|| sink.written() == ["a"]);
}

#[test]
fn the_end_of_the_runtime_ends_what_waits() {
    let kit = Kit::start(options());
    kit.sink.hold();
    now(kit.sut.enqueue("a")).unwrap();
    let flush = kit.start_flush();
    kit.runtime.close();
    let error = flush.finish("the runtime's end").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn bad_entries_go_to_a_dead_letter_queue() {
    let kit = Kit::start(WriteBehindOptions {
        name: Some("prices".into()),
        dead_letter: Some("memory:store".into()),
        ..options()
    });
    now(kit.sut.enqueue("good")).unwrap();
    now(kit.sut.enqueue(Entry::new("bad").key("a b"))).unwrap();
    kit.flush();
    assert!(kit.sut.take_rejected().is_empty());
    let client = now(kit.runtime.connect("memory:store")).unwrap();
    let queue = client.queue("prices-dead-letters").unwrap();
    let receive = ReceiveOptions::new().max_messages(10).wait(Duration::ZERO);
    let letters = now(queue.receive(&receive)).unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.body(), "bad");
    assert_eq!(letter.header(header::REASON), Some("invalid_message"));
    assert_eq!(letter.header(header::SOURCE), Some("prices"));
    assert_eq!(letter.header(header::KEY), Some("a%20b"));
    assert!(letter.header(header::DESCRIPTION).unwrap().contains("bad"));
    let attempts: u32 = letter.header(header::ATTEMPTS).unwrap().parse().unwrap();
    assert_eq!(attempts, 2, "together and alone");
    assert_eq!(kit.sut.metrics().total_failed, 1);
}

#[test]
fn an_entry_stays_until_its_dead_letter_is_stored() {
    let kit = Kit::start(WriteBehindOptions {
        retry: retry(ms(10)),
        dead_letter: Some("memory:store?max_messages=1&on_full=error".into()),
        dead_letter_queue: Some("d".into()),
        ..options()
    });
    for body in ["bad1", "bad2"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    let flush = kit.start_flush();
    kit.until(|| kit.sut.metrics().total_failed == 1);
    assert_eq!(kit.sut.metrics().current_queue_depth, 1);
    let client = now(kit.runtime.connect("memory:store")).unwrap();
    let queue = client.queue("d").unwrap();
    let letter = now(queue.receive_one(Duration::ZERO)).unwrap().unwrap();
    now(letter.ack()).unwrap();
    kit.advance_until(ms(10), || kit.sut.metrics().total_failed == 2);
    flush.finish("the flush").unwrap();
}

#[test]
fn rejected_entries_that_nobody_takes_fill_the_buffer() {
    let kit = Kit::start(WriteBehindOptions {
        max_entries: Some(2),
        ..options()
    });
    for body in ["bad1", "bad2"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    kit.flush();
    let error = now(kit.sut.try_enqueue("x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    let sut = kit.sut.clone();
    let waiting = Waiting::start(async move { sut.enqueue("c").await });
    assert_eq!(kit.sut.take_rejected().len(), 2);
    waiting.finish("the rejected were taken").unwrap();
}

#[test]
fn metrics_are_in_the_runtimes_text() {
    let kit = Kit::start(WriteBehindOptions {
        name: Some("prices".into()),
        ..options()
    });
    for body in ["a", "b", "bad"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    kit.advance(ms(100));
    kit.flush();
    kit.sink.hold();
    now(kit.sut.enqueue("c")).unwrap();
    kit.advance(ms(7));
    let text = kit.runtime.metrics();
    for line in [
        "write_behind_enqueued_total{name=\"prices\"} 4",
        "write_behind_persisted_total{name=\"prices\"} 2",
        "write_behind_failed_total{name=\"prices\"} 1",
        "write_behind_depth{name=\"prices\"} 1",
        "write_behind_oldest_entry_seconds{name=\"prices\"} 0.007",
        "write_behind_breaker_state{name=\"prices\",state=\"closed\"} 1",
        "write_behind_breaker_state{name=\"prices\",state=\"open\"} 0",
        "write_behind_lag_seconds_bucket{le=\"0.1\",name=\"prices\"} 2",
        "write_behind_lag_seconds_count{name=\"prices\"} 2",
        "write_behind_flush_seconds_count{name=\"prices\"}",
        "write_behind_batch_sizes_bucket{le=\"1.0\",name=\"prices\"} 2",
    ] {
        assert!(
            text.contains(&format!("queue_runtime_{line}")),
            "{line}\n{text}"
        );
    }
}

#[test]
fn options_that_make_no_sense_are_named() {
    let cases = [
        (r#"{"batch_size": 0}"#, "batch_size"),
        (r#"{"batch_size": 100001}"#, "batch_size"),
        (r#"{"batch_bytes": 0}"#, "batch_bytes"),
        (r#"{"max_entries": 0}"#, "max_entries"),
        (r#"{"capacity": 0}"#, "max_entries"),
        (r#"{"max_bytes": 0}"#, "max_bytes"),
        (r#"{"writers": 0}"#, "writers"),
        (r#"{"writers": 65}"#, "writers"),
        (r#"{"name": ""}"#, "name"),
        (r#"{"flush_interval": 5}"#, "flush_interval"),
        (r#"{"on_repeat": "never"}"#, "on_repeat"),
        (r#"{"retry": "often"}"#, "retry"),
        (r#"{"breaker": "often"}"#, "breaker"),
        (r#"{"on_full": "drop"}"#, "on_full"),
        (r#"{"on_full": "spill"}"#, "on_full"),
        (r#"{"dead_letter": "nowhere:"}"#, "dead_letter"),
        (r#"{"dead_letter": "memory:?lokc=1s"}"#, "lokc"),
        (r#"{"sink": "memory:"}"#, "sink"),
        (r#"{"table": "t"}"#, "table"),
        (r#"{"key": "k"}"#, "key"),
        (r#"{"columns": ["c"]}"#, "columns"),
        (r#"{"bacth_size": 1}"#, "bacth_size"),
    ];
    for (json, field) in cases {
        let opened = WriteBehindOptions::from_json(json).and_then(Kit::try_start);
        let error = opened.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{json}: {error}");
        assert_eq!(error.field(), Some(field), "{json}: {error}");
    }
}

#[test]
fn options_survive_both_ways_without_secrets() {
    let json = r#"{"sink":"postgres://h/db","table":"t","key":["a","b"],"columns":["c"],
        "name":"n","max_entries":1,"max_bytes":2,"on_full":"spill","batch_size":3,"batch_bytes":4,
        "flush_interval":"5ms","writers":6,"on_repeat":"cut","retry":"fixed:1s",
        "breaker":"1,2s,3","dead_letter":"memory:d","dead_letter_queue":"q",
        "journal":"memory:j","journal_queue":"r"}"#;
    let options = WriteBehindOptions::from_json(json).unwrap();
    let shown = serde_json::to_value(&options).unwrap();
    let given: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(shown["key"], given["key"]);
    let again = WriteBehindOptions::from_json(&shown.to_string()).unwrap();
    assert_eq!(again, options);

    let secret = r#"{"sink": "postgres://user:hunter2@host/db?password=hunter2"}"#;
    let options = WriteBehindOptions::from_json(secret).unwrap();
    let shown = format!("{options:?} {}", serde_json::to_string(&options).unwrap());
    assert!(
        !shown.contains("hunter2") && shown.contains("host"),
        "{shown}"
    );
}
