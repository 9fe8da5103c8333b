//! Producers: when a batch leaves, what becomes of each of its messages, and an end that adds up. On
//! the virtual clock, over both engines.

#![cfg(not(feature = "shuttle"))]

mod common;

use std::time::Duration;

use common::{HOUR, Kit, STUCK, Waiting, bodies, eventually, kits, look, ms, now, soak, wait};
use queue_runtime_core::{
    ErrorKind, Message, Producer, ProducerOptions, Queue, QueueOptions, Runtime, Sending,
};

fn depth(queue: &Queue) -> u64 {
    wait(queue.statistics()).unwrap().depth()
}

/// Lets background work have its chance to do what it must not do.
fn settle_down() {
    (0..200).for_each(|_| std::thread::yield_now());
}

fn sends(kit: &Kit) -> u64 {
    let metrics = kit.client.metrics();
    let count = metrics.lines().find_map(|line| {
        let line = line.strip_prefix("queue_runtime_batch_sizes_count")?;
        line.contains("operation=\"send\"").then_some(())?;
        line.rsplit(' ').next()?.parse().ok()
    });
    count.expect("sends are counted")
}

fn accept(producer: &Producer, bodies: &[&'static str]) -> Vec<Sending> {
    let accept = |&body| producer.try_send(body).unwrap();
    bodies.iter().map(accept).collect()
}

fn lingering() -> ProducerOptions {
    ProducerOptions::new().linger(HOUR)
}

#[test]
fn a_whole_batch_leaves_at_once_and_a_part_of_one_when_it_has_waited() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions::default());
        let options = ProducerOptions::new().batch_size(3).linger(ms(100));
        let producer = queue.producer(options).unwrap();
        let all = accept(&producer, &["a", "b", "c", "d", "e"]);
        // The clock stands still.
        eventually("a whole one", || depth(&queue) == 3);
        settle_down();
        assert_eq!(depth(&queue), 3);
        eventually("the time is over", || {
            kit.advance(ms(100));
            depth(&queue) == 5
        });
        for result in all {
            wait(result).unwrap();
        }
        assert_eq!(sends(&kit), 2);
        assert_eq!(bodies(&look(&queue, 5)), ["a", "b", "c", "d", "e"]);
    }
}

#[test]
fn bytes_end_a_batch_and_one_message_may_have_more() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions::default());
        let producer = queue.producer(lingering().batch_bytes(10)).unwrap();
        let mut all = accept(&producer, &["four", "four", "four"]);
        for result in all.drain(..2) {
            wait(result).unwrap();
        }
        settle_down();
        assert_eq!(depth(&queue), 2);
        all.extend(accept(&producer, &["far too long a text"]));
        for result in all {
            wait(result).unwrap();
        }
        assert_eq!(sends(&kit), 3);
    }
}

#[test]
fn a_flush_waits_for_all_that_was_accepted_before() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions::default());
        let producer = queue.producer(lingering().batch_size(2)).unwrap();
        wait(producer.flush()).unwrap();
        let all = accept(&producer, &["a", "b", "c"]);
        wait(producer.flush()).unwrap();
        assert_eq!(depth(&queue), 3);
        for result in all {
            now(result).unwrap();
        }
        // What comes after it waits again.
        let d = accept(&producer, &["d"]).pop().unwrap();
        settle_down();
        assert_eq!(depth(&queue), 3);
        drop(producer);
        wait(d).unwrap();
    }
}

#[test]
fn what_is_pending_is_bounded() {
    let bounded = |options: ProducerOptions| {
        let kit = Kit::new();
        let queue = kit.queue(QueueOptions {
            max_messages: Some(1),
            ..QueueOptions::default()
        });
        let producer = queue.producer(options.batch_size(1)).unwrap();
        // One is stored, and one on its way to a queue that is full.
        wait(producer.send("a")).unwrap();
        (kit, queue, producer)
    };
    for options in [lingering().max_pending(2), lingering().max_pending_bytes(2)] {
        let (_kit, queue, producer) = bounded(options);
        let _pending = accept(&producer, &["b", "c"]);
        let full = producer.try_send("d").unwrap_err();
        assert_eq!(
            (full.kind(), full.operation()),
            (ErrorKind::Full, Some("send"))
        );
        let waits = Waiting::start({
            let producer = producer.clone();
            async move { producer.send("d").await }
        });
        // Nobody overtakes who waits, and one that is given up is not sent.
        let given_up = producer.clone();
        drop(Waiting::start(async move { given_up.send("x").await }));
        let waits = std::thread::spawn(|| waits.finish("there is room"));
        for expected in ["a", "b", "c", "d"] {
            eventually("the next one", || queue_has(&queue));
            let delivery = look(&queue, 1).pop().unwrap();
            assert_eq!(bodies(std::slice::from_ref(&delivery)), [expected]);
            wait(delivery.ack()).unwrap();
        }
        waits.join().unwrap().unwrap();
    }
    let full = queue_runtime_core::OnFull::Error;
    let (_kit, _queue, producer) = bounded(lingering().max_pending(1).on_full(full));
    let _pending = accept(&producer, &["b"]);
    assert_eq!(now(producer.send("c")).unwrap_err().kind(), ErrorKind::Full);
    let long = producer.try_send("x".repeat(65 << 20)).unwrap_err();
    assert_eq!(long.kind(), ErrorKind::MessageTooLarge);
}

fn queue_has(queue: &Queue) -> bool {
    wait(queue.statistics()).unwrap().ready > 0
}

/// A bound below the batch's size does not leave everybody waiting for the linger.
#[test]
fn a_producer_without_room_does_not_wait_for_more() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let producer = queue.producer(lingering().max_pending(2)).unwrap();
    let first = accept(&producer, &["a", "b"]);
    let third = Waiting::start({
        let producer = producer.clone();
        async move { producer.send("c").await }
    });
    let third = std::thread::spawn(|| third.finish("there is room"));
    for result in first {
        wait(result).unwrap();
    }
    while !third.is_finished() {
        wait(producer.flush()).unwrap();
    }
    third.join().unwrap().unwrap();
    assert_eq!(bodies(&look(&queue, 3)), ["a", "b", "c"]);
}

#[test]
fn a_message_that_fails_does_not_hide_the_rest() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions {
            max_messages: Some(2),
            on_full: Some(queue_runtime_core::OnFull::Error),
            max_message_bytes: Some(100),
            ..QueueOptions::default()
        });
        let producer = queue.producer(lingering()).unwrap();
        let long = producer.try_send("x".repeat(101)).unwrap_err();
        assert_eq!(long.kind(), ErrorKind::MessageTooLarge);
        let all = accept(&producer, &["a", "b", "c"]);
        wait(producer.flush()).unwrap();
        let kinds: Vec<_> = all
            .into_iter()
            .map(|result| now(result).map_err(|error| error.kind()).err())
            .collect();
        assert_eq!(kinds, [None, None, Some(ErrorKind::Full)]);
        let report = wait(producer.close(HOUR));
        assert_eq!((report.sent, report.failed, report.unsent.len()), (2, 1, 0));
    }
}

#[test]
fn a_close_adds_up_and_gives_back_what_was_not_sent() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        max_messages: Some(2),
        ..QueueOptions::default()
    });
    let producer = queue.producer(lingering().batch_size(2)).unwrap();
    let mut all = accept(&producer, &["a", "b", "c", "d", "e"]);
    for result in all.drain(..2) {
        wait(result).unwrap();
    }
    settle_down();
    let report = wait(producer.close(Duration::ZERO));
    let unsent: Vec<&[u8]> = report.unsent.iter().map(|m| &m.body()[..]).collect();
    assert_eq!((report.sent, report.failed), (2, 0));
    assert_eq!(unsent, [b"c", b"d", b"e"]);
    for result in all {
        assert_eq!(wait(result).unwrap_err().kind(), ErrorKind::Closed);
    }
    // What was on its way does not come later.
    assert_eq!(bodies(&look(&queue, 5)), ["a", "b"]);
    let late = now(producer.send("late")).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
    let again = wait(producer.close(HOUR));
    assert_eq!((again.sent, again.unsent.len()), (2, 0));
}

#[test]
fn a_producer_that_is_dropped_sends_what_it_accepted() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions::default());
        let producer = queue.producer(lingering()).unwrap();
        let all = accept(&producer, &["a", "b"]);
        drop(producer);
        for result in all {
            wait(result).unwrap();
        }
        assert_eq!(depth(&queue), 2);
    }
}

#[test]
fn a_closed_client_fails_what_is_pending() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let producer = queue.producer(lingering()).unwrap();
    let all = accept(&producer, &["a", "b"]);
    wait(kit.client.close()).unwrap();
    for result in all {
        assert_eq!(wait(result).unwrap_err().kind(), ErrorKind::Closed);
    }
    let report = wait(producer.close(HOUR));
    assert_eq!((report.sent, report.failed, report.unsent.len()), (0, 2, 0));
}

#[test]
fn a_runtime_shuts_down_though_messages_wait_for_others() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let producer = queue.producer(lingering()).unwrap();
    let _pending = accept(&producer, &["a", "b"]);
    kit.client.runtime().shutdown(STUCK).unwrap();
}

#[test]
fn options_that_make_no_sense_are_named() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let new = ProducerOptions::new;
    for (option, options) in [
        ("batch_size", new().batch_size(0)),
        ("batch_bytes", new().batch_bytes(0)),
        ("max_pending", new().max_pending(0)),
        ("max_pending_bytes", new().max_pending_bytes(0)),
    ] {
        let error = queue.producer(options).unwrap_err();
        assert_eq!(
            (error.field(), error.operation()),
            (Some(option), Some("producer"))
        );
    }
}

/// Real threads and the real clock: each sender's messages arrive once and in its order.
#[test]
fn many_senders_lose_nothing_and_keep_their_order() {
    const SENDERS: usize = 8;
    let each = 500 * soak() as usize;
    let client = wait(Runtime::shared().unwrap().connect("memory:")).unwrap();
    let queue = client.queue("q").unwrap();
    let options = ProducerOptions::new()
        .batch_size(20)
        .max_pending(30)
        .linger(ms(1));
    let producer = queue.producer(options).unwrap();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let producer = producer.clone();
            scope.spawn(move || {
                for number in 0..each {
                    let message = Message::new(format!("{sender} {number}"));
                    wait(producer.send(message)).unwrap();
                }
            });
        }
    });
    let report = wait(producer.close(STUCK));
    assert_eq!(report.sent as usize, SENDERS * each);
    let mut next = [0; SENDERS];
    for delivery in look(&queue, u32::try_from(SENDERS * each).unwrap()) {
        let text = std::str::from_utf8(delivery.body()).unwrap();
        let (sender, number) = text.split_once(' ').unwrap();
        let next = &mut next[sender.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<usize>().unwrap(), *next);
        *next += 1;
    }
    assert_eq!(next, [each; SENDERS]);
}
