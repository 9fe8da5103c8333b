//! Write-behind with a journal, and fed by a queue, on a virtual clock.

#![cfg(not(feature = "shuttle"))]

mod common;
mod write_behind_kit;

use std::time::Duration;

use common::{HOUR, Waiting, ms, now};
use queue_runtime_core::write_behind::{Breaker, OnBufferFull};
use queue_runtime_core::{
    DeadLetterFilter, Entry, ErrorKind, Message, Queue, QueueOptions, Retry, SessionOptions,
    WriteBehindOptions,
};
use write_behind_kit::{Answer, Kit, options, until};

fn journaled() -> WriteBehindOptions {
    WriteBehindOptions {
        name: Some("prices".into()),
        journal: Some("memory:journal".into()),
        retry: Some(Retry::Fixed { delay: ms(5) }),
        breaker: Some(Breaker::None),
        ..options()
    }
}

fn queue(kit: &Kit, url: &str, name: &str) -> Queue {
    now(kit.runtime.connect(url)).unwrap().queue(name).unwrap()
}

fn depth(queue: &Queue) -> u64 {
    now(queue.statistics()).unwrap().depth()
}

#[test]
fn entries_stay_in_the_journal_until_they_are_written() {
    let kit = Kit::start(journaled());
    let journal = queue(&kit, "memory:journal", "prices-journal");
    kit.sink.hold();
    for body in ["a", "b", "c"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    let results = now(kit.sut.enqueue_many(["d", "e"].map(Entry::new)));
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(depth(&journal), 5);
    assert_eq!(kit.sut.metrics().current_queue_depth, 5);
    let flush = kit.start_flush();
    assert_eq!(depth(&journal), 5, "nothing is written yet");
    kit.sink.release();
    flush.finish("the flush").unwrap();
    assert_eq!(depth(&journal), 0);
    assert_eq!(kit.sink.written(), ["a", "b", "c", "d", "e"]);
    assert_eq!(kit.sut.metrics().total_persisted, 5);
}

#[test]
fn what_a_close_leaves_is_written_at_the_next_start() {
    let kit = Kit::start(WriteBehindOptions {
        batch_size: Some(2),
        ..journaled()
    });
    kit.sink.hold();
    for body in ["a", "b", "c", "d", "e"] {
        now(kit.sut.enqueue(Entry::new(body).key(body))).unwrap();
    }
    kit.sink.let_pass(1);
    kit.until(|| kit.sut.metrics().total_persisted == 2);
    let report = kit.close(Duration::ZERO);
    assert_eq!(report.left_in_journal, 3);
    assert!(report.unwritten.is_empty());
    assert_eq!(report.metrics.current_queue_depth, 3);

    // Other bounds than before do no harm.
    let bounded = WriteBehindOptions {
        max_entries: Some(4),
        ..journaled()
    };
    let next = Kit::start_on(kit.runtime.clone(), bounded).unwrap();
    let metrics = next.sut.metrics();
    assert_eq!(
        metrics.total_enqueued, 3,
        "what was left counts as accepted"
    );
    next.flush();
    assert_eq!(next.sink.written(), ["c", "d", "e"]);
    let keys: Vec<_> = next.sink.keys();
    assert_eq!(keys, ["c", "d", "e"]);
    assert_eq!(next.sut.metrics().current_queue_depth, 0);
    assert!(next.close(HOUR).unwritten.is_empty());
}

#[test]
fn the_room_of_the_journal_is_the_bound() {
    let kit = Kit::start(WriteBehindOptions {
        max_entries: Some(3),
        batch_size: Some(1),
        ..journaled()
    });
    kit.sink.hold();
    for body in ["a", "b", "c"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    let error = now(kit.sut.try_enqueue("x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    let sut = kit.sut.clone();
    let waiting = Waiting::start(async move { sut.enqueue("d").await });
    kit.sink.let_pass(1);
    waiting.finish("there is room").unwrap();
    let error = now(kit.sut.enqueue_many([Entry::new("x".repeat(1 << 29))]));
    assert_eq!(
        error[0].as_ref().unwrap_err().kind(),
        ErrorKind::MessageTooLarge
    );
    kit.sink.release();
    kit.flush();
    assert_eq!(kit.sink.written(), ["a", "b", "c", "d"]);
}

fn spilling() -> WriteBehindOptions {
    WriteBehindOptions {
        max_entries: Some(3),
        batch_size: Some(2),
        on_full: Some(OnBufferFull::Spill),
        ..journaled()
    }
}

#[test]
fn what_finds_no_room_is_spilled_and_written_in_order() {
    let kit = Kit::start(spilling());
    let journal = queue(&kit, "memory:journal", "prices-journal");
    kit.sink.hold();
    for body in ["a", "b", "c"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    assert_eq!(depth(&journal), 0, "there was room");
    now(kit.sut.enqueue("d")).unwrap();
    now(kit.sut.try_enqueue("e")).unwrap();
    let results = now(kit.sut.enqueue_many(["f", "g"].map(Entry::new)));
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(depth(&journal), 4);
    assert_eq!(kit.sut.metrics().current_queue_depth, 7);

    // There is room in memory again, but what is in the journal goes first.
    kit.sink.let_pass(1);
    kit.until(|| kit.sut.metrics().total_persisted == 2);
    now(kit.sut.enqueue("h")).unwrap();
    assert_eq!(depth(&journal), 5);
    kit.sink.release();
    kit.flush();
    let all = ["a", "b", "c", "d", "e", "f", "g", "h"];
    assert_eq!(kit.sink.written(), all);
    assert_eq!(depth(&journal), 0);

    kit.sink.hold();
    now(kit.sut.enqueue("i")).unwrap();
    assert_eq!(depth(&journal), 0, "the journal is empty: memory again");
    kit.sink.release();
    assert!(kit.close(HOUR).unwritten.is_empty());
}

#[test]
fn a_batch_is_split_between_memory_and_journal() {
    let kit = Kit::start(spilling());
    kit.sink.hold();
    let entries = ["a", "b", "c", "d", "e"].map(Entry::new);
    let results = now(kit.sut.enqueue_many(entries));
    assert!(results.iter().all(Result::is_ok));
    let report = kit.close(Duration::ZERO);
    let unwritten: Vec<_> = report.unwritten.iter().map(|e| e.body().to_vec()).collect();
    assert_eq!(unwritten, [b"a", b"b", b"c"], "memory comes back");
    assert_eq!(report.left_in_journal, 2);

    // What an earlier process left goes before what comes now.
    let next = Kit::start_on(kit.runtime.clone(), spilling()).unwrap();
    now(next.sut.enqueue("f")).unwrap();
    next.flush();
    assert_eq!(next.sink.written(), ["d", "e", "f"]);
}

#[test]
fn a_journal_has_one_holder() {
    let first = Kit::start(journaled());
    let (runtime, clock) = (first.runtime.clone(), first.clock.clone());
    let journal = queue(&first, "memory:journal", "prices-journal");
    first.close(HOUR);
    let options = SessionOptions::id("write-behind").lock(HOUR);
    let held = now(journal.accept_session(options)).unwrap().unwrap();
    let open = || {
        let runtime = runtime.clone();
        let opening = std::thread::spawn(move || Kit::start_on(runtime, journaled()));
        until(|| {
            clock.advance(ms(100)).unwrap();
            opening.is_finished()
        });
        opening.join().unwrap()
    };
    let error = open().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionLocked);
    assert!(error.message().contains("another"), "{error}");
    now(held.close()).unwrap();
    let kit = open().unwrap();
    now(kit.sut.enqueue("a")).unwrap();
    kit.flush();
}

#[test]
fn a_journal_that_was_lost_is_read_again() {
    for writers in [1, 3] {
        let kit = Kit::start(WriteBehindOptions {
            batch_size: Some(4),
            writers: Some(writers),
            ..journaled()
        });
        kit.sink.hold();
        let bodies: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
        for body in &bodies {
            now(kit.sut.enqueue(Entry::new(body.clone()).key("k"))).unwrap();
        }
        let flush = kit.start_flush();
        until(|| kit.sink.waiting() == 1);
        // As if the process had been asleep: the lock ends before it is renewed.
        kit.advance(HOUR);
        kit.sink.release();
        flush.finish("the flush").unwrap();
        now(kit.sut.enqueue("last")).unwrap();
        kit.flush();
        let metrics = kit.sut.metrics();
        assert_eq!(metrics.current_queue_depth, 0);
        assert_eq!(metrics.total_enqueued, metrics.total_persisted);
        // What was written and could not be acked is written again; entries of other keys may come
        // before that, where there are several writers.
        let written = kit.sink.written();
        let (last, of_key): (Vec<_>, Vec<_>) = written.iter().partition(|body| *body == "last");
        assert_eq!(last.len(), 1, "{written:?}");
        assert_eq!(of_key.last().unwrap(), &"39", "{written:?}");
        let journal = queue(&kit, "memory:journal", "prices-journal");
        assert_eq!(depth(&journal), 0);
    }
}

#[test]
fn bad_entries_are_dead_letters_of_the_journal() {
    let kit = Kit::start(journaled());
    for body in ["a", "bad", "b"] {
        now(kit.sut.enqueue(body)).unwrap();
    }
    kit.flush();
    assert_eq!(kit.sink.written(), ["a", "b"]);
    assert!(kit.sut.take_rejected().is_empty());
    assert_eq!(kit.sut.metrics().total_failed, 1);
    let journal = queue(&kit, "memory:journal", "prices-journal");
    let letters = now(journal.dead_letters(DeadLetterFilter::all(), None, 10)).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message.body(), "bad");
    assert_eq!(&*letters[0].reason, "invalid_message");
    assert_eq!(depth(&journal), 0);
}

#[test]
fn a_sink_that_is_away_for_long_keeps_the_journal() {
    let kit = Kit::start(WriteBehindOptions {
        retry: Some(Retry::Fixed {
            delay: Duration::from_secs(1),
        }),
        ..journaled()
    });
    kit.sink.answer_next(100, Answer::Away);
    now(kit.sut.enqueue("a")).unwrap();
    let flush = kit.start_flush();
    kit.advance_until(ms(100), || kit.sut.metrics().total_persisted == 1);
    flush.finish("the flush").unwrap();
    assert!(kit.sink.attempts().len() > 100);
}

#[test]
fn what_cannot_go_into_the_journal_is_not_accepted() {
    let kit = Kit::start(journaled());
    let error = now(kit.sut.enqueue(Entry::new("a").key(vec![0; 64 * 1024]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidMessage);
    let metrics = kit.sut.metrics();
    assert_eq!(
        (metrics.total_enqueued, metrics.current_queue_depth),
        (0, 0)
    );
    kit.flush();
}

#[test]
fn the_bytes_of_the_journal_are_counted_back() {
    let kit = Kit::start(WriteBehindOptions {
        max_bytes: Some(200),
        ..journaled()
    });
    for round in 0..50 {
        now(kit.sut.enqueue(Entry::new(vec![b'x'; 100]).key("k"))).unwrap();
        kit.flush();
        assert_eq!(kit.sut.metrics().total_persisted, round + 1);
    }
}

#[test]
fn a_journal_url_that_does_not_fit_is_named() {
    for (json, field) in [
        (r#"{"journal": "nowhere:"}"#, "journal"),
        (r#"{"journal": "memory:?lokc=1s"}"#, "lokc"),
        (
            r#"{"journal": "memory:", "max_entries": 16777217}"#,
            "max_entries",
        ),
    ] {
        let opened = WriteBehindOptions::from_json(json).and_then(Kit::try_start);
        let error = opened.map(drop).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
    }
}

/// How many locks of the fed queue were renewed.
fn renewals(kit: &Kit) -> u64 {
    let text = kit.runtime.metrics();
    let line = text.lines().find(|line| {
        line.starts_with("queue_runtime_lock_renewals_total") && line.contains("\"orders\"")
    });
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[test]
fn a_queue_feeds_and_is_acknowledged_after_the_write() {
    let kit = Kit::start(WriteBehindOptions {
        batch_size: Some(3),
        ..options()
    });
    let orders = queue(&kit, "memory:store", "orders");
    for body in ["a", "b", "bad", "c"] {
        now(orders.send(body)).unwrap();
    }
    kit.sink.hold();
    let (sut, source) = (kit.sut.clone(), orders.clone());
    let feeding = kit
        .runtime
        .handle()
        .spawn(async move { sut.feed(&source).await });
    kit.until(|| kit.sut.metrics().total_enqueued == 4);
    let statistics = now(orders.statistics()).unwrap();
    assert_eq!(statistics.in_flight, 4, "nothing is acknowledged yet");
    // The locks are kept while the sink takes its time.
    for round in 1..=40 {
        kit.advance(Duration::from_secs(15));
        kit.until(|| renewals(&kit) == 4 * round);
    }
    assert_eq!(now(orders.statistics()).unwrap().in_flight, 4);
    kit.sink.release();
    kit.flush();
    kit.until(|| depth(&orders) == 0);
    assert_eq!(kit.sink.written(), ["a", "b", "c"]);
    let letters = now(orders.dead_letters(DeadLetterFilter::all(), None, 10)).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message.body(), "bad");
    assert_eq!(kit.sut.metrics().total_failed, 1);

    now(orders.send("later")).unwrap();
    kit.until(|| kit.sut.metrics().total_enqueued == 5);
    kit.flush();
    assert!(kit.close(HOUR).unwritten.is_empty());
    kit.wait(feeding).unwrap().unwrap();
}

#[test]
fn what_a_queue_delivered_and_was_not_written_goes_back_unblamed() {
    let kit = Kit::start(options());
    let orders = now(kit.runtime.connect("memory:store"))
        .unwrap()
        .queue_with(
            "orders",
            QueueOptions {
                budget: Some(1),
                ..QueueOptions::default()
            },
        )
        .unwrap();
    for n in 0..20 {
        now(orders.send(Message::new(n.to_string()).session(format!("s{}", n % 3)))).unwrap();
    }
    kit.sink.hold();
    let (sut, source) = (kit.sut.clone(), orders.clone());
    let feeding = kit
        .runtime
        .handle()
        .spawn(async move { sut.feed(&source).await });
    kit.until(|| kit.sut.metrics().total_enqueued > 0);
    let report = kit.close(Duration::ZERO);
    assert!(report.unwritten.is_empty(), "they are the queue's");
    kit.wait(feeding).unwrap().unwrap();
    kit.until(|| now(orders.statistics()).unwrap().ready == 20);
    assert_eq!(now(orders.statistics()).unwrap().dead, 0);

    let next = Kit::start_on(kit.runtime.clone(), options()).unwrap();
    let (sut, source) = (next.sut.clone(), orders.clone());
    let feeding = next
        .runtime
        .handle()
        .spawn(async move { sut.feed(&source).await });
    // One message of each session at a time.
    until(|| {
        next.wait(next.sut.flush()).unwrap();
        depth(&orders) == 0
    });
    assert_eq!(next.sut.metrics().total_persisted, 20);
    next.close(HOUR);
    next.wait(feeding).unwrap().unwrap();
    for session in 0..3 {
        let mut of_session = next.sink.written();
        of_session.retain(|body| body.parse::<u32>().unwrap() % 3 == session);
        let numbers: Vec<u32> = of_session.iter().map(|b| b.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}
