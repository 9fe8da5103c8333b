//! Batch handlers: when a batch is handed over, what becomes of each of its messages, and what order
//! holds. On the virtual clock, over both engines.

#![cfg(not(feature = "shuttle"))]

mod common;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{HOUR, Kit, bodies, body, eventually, kits, look, ms, soak, wait};
use queue_runtime_core::{
    Batch, BatchOptions, CancelCause, Consumer, ConsumerOptions, DeadLetterFilter, Failure,
    Failures, Message, Queue, QueueOptions, Worker,
};
use tokio::sync::Semaphore;

fn send(queue: &Queue, bodies: &[&'static str]) {
    for body in bodies {
        wait(queue.send(*body)).unwrap();
    }
}

fn send_to(queue: &Queue, session: &str, bodies: &[&'static str]) {
    for body in bodies {
        wait(queue.send(Message::new(*body).session(session))).unwrap();
    }
}

fn left(queue: &Queue) -> u64 {
    wait(queue.statistics()).unwrap().depth()
}

fn dead(queue: &Queue) -> Vec<String> {
    let letters = wait(queue.dead_letters(DeadLetterFilter::default(), None, 100)).unwrap();
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    letters.iter().map(|l| text(l.message.body())).collect()
}

/// Locks that outlast a clock that is moved on and on, faster than they could be renewed.
fn options() -> QueueOptions {
    QueueOptions {
        lock: Some(12 * HOUR),
        ..QueueOptions::default()
    }
}

/// The batches a handler was given, by their bodies.
type Seen = Arc<Mutex<Vec<Vec<String>>>>;

fn note(seen: &Seen, batch: &Batch) {
    let texts = bodies(batch).iter().map(|&text| text.to_owned()).collect();
    seen.lock().unwrap().push(texts);
}

fn count(seen: &Seen) -> usize {
    seen.lock().unwrap().len()
}

/// A handler that acknowledges all, and notes what it was given.
fn noting(queue: &Queue, batches: BatchOptions, seen: &Seen) -> Worker {
    let seen = seen.clone();
    let handler = move |batch: Arc<Batch>| {
        note(&seen, &batch);
        async { Ok(()) }
    };
    process(queue, batches, handler)
}

fn process<H, F, R>(queue: &Queue, batches: BatchOptions, handler: H) -> Worker
where
    H: Fn(Arc<Batch>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R, Failure>> + Send,
    R: Into<Failures> + Send,
{
    let options = ConsumerOptions::new();
    queue.process_batches(options, batches, handler).unwrap()
}

fn batching(queue: &Queue, batches: BatchOptions) -> Consumer {
    queue
        .consume(ConsumerOptions::new().batches(batches))
        .unwrap()
}

#[test]
fn a_whole_batch_is_handed_over_at_once_and_a_part_of_one_when_it_has_waited() {
    for kit in kits() {
        let queue = kit.queue(options());
        let seen = Seen::default();
        let batches = BatchOptions::new().batch_size(3).batch_linger(ms(100));
        send(&queue, &["a", "b", "c", "d", "e"]);
        let worker = noting(&queue, batches, &seen);
        // The clock stands still.
        eventually("a whole one", || count(&seen) == 1);
        eventually("the rest waits", || {
            worker.status().prefetched == 2 && worker.status().in_hand == 0
        });
        for _ in 0..100 {
            std::thread::yield_now();
        }
        assert_eq!(count(&seen), 1);
        assert_eq!(left(&queue), 2);
        eventually("the time is over", || {
            kit.advance(ms(100));
            count(&seen) == 2
        });
        assert_eq!(*seen.lock().unwrap(), [vec!["a", "b", "c"], vec!["d", "e"]]);
        eventually("all are done", || left(&queue) == 0);
    }
}

#[test]
fn bytes_end_a_batch_and_one_message_may_have_more() {
    for kit in kits() {
        let queue = kit.queue(options());
        send(&queue, &["four", "four", "far too long a text", "four"]);
        let batches = BatchOptions::new().batch_bytes(10).batch_linger(HOUR);
        let consumer = batching(&queue, batches);
        eventually("all are there", || consumer.status().prefetched == 4);
        let mut hands = Vec::new();
        for expected in [vec!["four", "four"], vec!["far too long a text"]] {
            let batch = wait(consumer.next_batch(100)).unwrap();
            assert_eq!(bodies(&batch), expected);
            hands.extend(batch);
        }
        drop(consumer);
        drop(hands);
    }
}

#[test]
fn without_linger_a_batch_is_what_is_there() {
    for kit in kits() {
        let queue = kit.queue(options());
        send(&queue, &["a", "b"]);
        let batches = BatchOptions::new().batch_linger(Duration::ZERO);
        let consumer = batching(&queue, batches);
        eventually("both are there", || consumer.status().prefetched == 2);
        assert_eq!(bodies(&wait(consumer.next_batch(100)).unwrap()), ["a", "b"]);
    }
}

#[test]
fn failed_messages_leave_the_batch_and_come_again() {
    for kit in kits() {
        let queue = kit.queue(options());
        send(&queue, &["a", "broken", "c", "tired", "by itself"]);
        let seen = Seen::default();
        let noted = seen.clone();
        let handler = move |batch: Arc<Batch>| {
            note(&noted, &batch);
            async move {
                let mut failed = Vec::new();
                for (position, delivery) in batch.iter().enumerate() {
                    match (body(delivery), delivery.attempt()) {
                        ("broken", _) => {
                            failed.push((position, Failure::permanent("broken", "for good")));
                        }
                        ("tired", 1) => failed.push((position, Failure::retry("not yet"))),
                        ("by itself", _) => delivery.ack().await?,
                        _ => {}
                    }
                }
                Ok(failed)
            }
        };
        let batches = BatchOptions::new().batch_size(5).batch_linger(ms(10));
        let worker = process(&queue, batches, handler);
        eventually("all are done", || {
            kit.advance(ms(10));
            left(&queue) == 0
        });
        assert_eq!(wait(worker.drain(HOUR)).abandoned, 0);
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0], ["a", "broken", "c", "tired", "by itself"]);
        assert_eq!(seen[1..], [vec!["tired"]]);
        assert_eq!(dead(&queue), ["broken"]);
        let metrics = kit.client.metrics();
        let samples = [
            "messages_settled_total{provider=\"P\",queue=\"q\",verb=\"ack\"} 4",
            "messages_settled_total{provider=\"P\",queue=\"q\",verb=\"nack\"} 1",
            "batch_sizes_count{provider=\"P\",queue=\"q\",operation=\"handle\"} 2",
            "batch_sizes_sum{provider=\"P\",queue=\"q\",operation=\"handle\"} 6.0",
            "processing_duration_seconds_count{provider=\"P\",queue=\"q\"} 6",
        ];
        for sample in samples {
            let sample = sample.replace("\"P\"", &format!("{:?}", provider(&kit)));
            assert!(metrics.contains(&sample), "{sample} is not in {metrics}");
        }
    }
}

fn provider(kit: &Kit) -> &'static str {
    kit.client.capabilities().provider()
}

#[test]
fn a_handler_that_fails_fails_all_and_so_does_one_that_names_others() {
    type Ends = fn(usize) -> Result<Vec<Result<(), Failure>>, Failure>;
    let ends: [Ends; 3] = [
        |_| Err(Failure::retry("all of it")),
        |_| panic!("a test's own panic"),
        |messages| Ok((0..=messages).map(|_| Ok(())).collect()),
    ];
    for end in ends {
        let kit = Kit::new();
        let queue = kit.queue(QueueOptions {
            budget: Some(2),
            ..options()
        });
        send(&queue, &["a", "b", "c"]);
        let batches = BatchOptions::new().batch_size(3).batch_linger(ms(10));
        let handler = move |batch: Arc<Batch>| async move { end(batch.len()) };
        let worker = process(&queue, batches, handler);
        eventually("all are given up", || {
            kit.advance(ms(10));
            dead(&queue) == ["a", "b", "c"]
        });
        drop(worker);
    }
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        budget: Some(1),
        ..options()
    });
    send(&queue, &["a"]);
    let batches = BatchOptions::new().batch_size(1);
    let other = async |_| Ok(vec![(1, Failure::retry("of another batch"))]);
    let worker = queue.process_batches(ConsumerOptions::new(), batches, other);
    eventually("it failed", || dead(&queue) == ["a"]);
    drop(worker);
}

#[test]
fn a_batch_has_one_of_each_session_and_does_not_wait_while_more_of_them_are_there() {
    for kit in kits() {
        let queue = kit.queue(options());
        send_to(&queue, "a", &["a1", "a2", "a3"]);
        send_to(&queue, "b", &["b1"]);
        let consumer = batching(&queue, BatchOptions::new().batch_linger(HOUR));
        eventually("all are there", || consumer.status().prefetched == 4);
        // The clock stands still.
        for expected in [vec!["a1", "b1"], vec!["a2"]] {
            let batch = wait(consumer.next_batch(100)).unwrap();
            assert_eq!(bodies(&batch), expected);
            for delivery in batch {
                wait(delivery.ack()).unwrap();
            }
        }
    }
}

/// A failed message of a session is not overtaken, whatever else is in its batch.
#[test]
fn order_holds_when_a_message_of_a_batch_fails() {
    const SESSIONS: usize = 5;
    const EACH: u32 = 20;
    for round in 0..3 * soak() {
        for kit in kits() {
            let queue = kit.queue(options());
            for number in 0..EACH {
                for session in 0..SESSIONS {
                    let message = Message::new(number.to_string()).session(session.to_string());
                    wait(queue.send(message)).unwrap();
                }
            }
            let next: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
            let expected = next.clone();
            let handler = move |batch: Arc<Batch>| {
                let expected = expected.clone();
                async move {
                    let mut next = expected.lock().unwrap();
                    let handle = |delivery: &queue_runtime_core::Delivery| {
                        let session = delivery.session().unwrap().to_owned();
                        let number: u32 = body(delivery).parse()?;
                        let next = next.entry(session).or_default();
                        assert_eq!(number, *next, "in order");
                        if delivery.attempt() == 1 && (number + round).is_multiple_of(3) {
                            return Err(Failure::retry("the first time"));
                        }
                        *next += 1;
                        Ok(())
                    };
                    Ok(batch.iter().map(handle).collect::<Vec<_>>())
                }
            };
            let batches = BatchOptions::new()
                .batch_size(8)
                .batch_linger(ms(1))
                .batch_concurrency(3);
            let worker = process(&queue, batches, handler);
            eventually("all are done", || {
                kit.advance(ms(1));
                left(&queue) == 0
            });
            drop(worker);
            let next = next.lock().unwrap();
            assert!(next.len() == SESSIONS && next.values().all(|next| *next == EACH));
            assert!(dead(&queue).is_empty());
        }
    }
}

#[test]
fn so_many_batches_at_a_time_and_no_more() {
    let kit = Kit::new();
    let queue = kit.queue(options());
    send(&queue, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    let (go, running) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, count) = (go.clone(), running.clone());
    let handler = move |_: Arc<Batch>| {
        let (gate, count) = (gate.clone(), count.clone());
        async move {
            count.fetch_add(1, SeqCst);
            gate.acquire().await?.forget();
            count.fetch_sub(1, SeqCst);
            Ok(())
        }
    };
    let batches = BatchOptions::new().batch_size(2).batch_concurrency(2);
    let worker = process(&queue, batches, handler);
    eventually("two are at work", || running.load(SeqCst) == 2);
    eventually("as many wait", || worker.status().prefetched == 4);
    assert_eq!((running.load(SeqCst), worker.status().in_hand), (2, 4));
    go.add_permits(100);
    eventually("all are done", || left(&queue) == 0);
}

#[test]
fn a_lost_lock_is_told_and_does_not_disturb_the_others() {
    const LOCK: Duration = Duration::from_secs(30);
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    });
    send(&queue, &["a", "b", "c"]);
    let told: Arc<Mutex<Vec<(usize, CancelCause)>>> = Arc::default();
    let short = Arc::new(AtomicUsize::new(0));
    let (tell, shortened) = (told.clone(), short.clone());
    let handler = move |batch: Arc<Batch>| {
        let (tell, shortened) = (tell.clone(), shortened.clone());
        async move {
            if batch.len() == 3 {
                // Too short for anybody to renew it in time.
                batch[1].extend(ms(1)).await?;
                shortened.fetch_add(1, SeqCst);
                let cancelled = batch.cancelled().await;
                tell.lock().unwrap().push(cancelled);
            }
            Ok(())
        }
    };
    let batches = BatchOptions::new().batch_linger(Duration::ZERO);
    let worker = process(&queue, batches, handler);
    eventually("the handler works", || short.load(SeqCst) == 1);
    // When locks are renewed.
    kit.advance(LOCK / 2);
    eventually("all are done", || left(&queue) == 0);
    wait(worker.drain(HOUR));
    assert_eq!(*told.lock().unwrap(), [(1, CancelCause::LockLost)]);
    let metrics = kit.client.metrics();
    // The other two once, and that one when it came again.
    assert!(metrics.contains("messages_processed_total{provider=\"memory\",queue=\"q\"} 3"));
    assert!(metrics.contains("messages_received_total{provider=\"memory\",queue=\"q\"} 4"));
}

#[test]
fn what_waits_for_its_batch_goes_back_unblamed_and_late_handlers_are_dropped() {
    for kit in kits() {
        let queue = kit.queue(options());
        send(&queue, &["a", "b", "c"]);
        let batches = BatchOptions::new().batch_size(2).batch_linger(HOUR);
        let handler = async |_| std::future::pending::<Result<(), Failure>>().await;
        let worker = process(&queue, batches, handler);
        eventually("one batch is in hand, one waits", || {
            let status = worker.status();
            (status.in_hand, status.prefetched) == (2, 1)
        });
        let report = wait(worker.drain(Duration::ZERO));
        let numbers = (report.finished, report.released, report.abandoned);
        assert_eq!(numbers, (0, 3, 0));
        let again = look(&queue, 3);
        assert_eq!(again.len(), 3);
        assert!(again.iter().all(|delivery| delivery.attempt() == 1));
    }
}

#[test]
fn sizes_adapt_to_the_time_that_batches_take() {
    let kit = Kit::new();
    let queue = kit.queue(options());
    let batches = BatchOptions::new()
        .adaptive(1, 10, ms(100))
        .batch_linger(Duration::ZERO);
    let consumer = batching(&queue, batches);
    let mut sizes = Vec::new();
    for round in 0..4 {
        for _ in 0..20 {
            wait(queue.send("a")).unwrap();
        }
        eventually("enough is there", || consumer.status().prefetched >= 10);
        let batch = wait(consumer.next_batch(100)).unwrap();
        sizes.push(batch.len());
        // 25 ms each, from the fourth on far more.
        let each = if round < 3 { 25 } else { 1000 };
        kit.advance(ms(each * batch.len() as u64));
        batch.iter().for_each(|d| wait(d.ack()).unwrap());
    }
    assert_eq!(sizes, [1, 4, 4, 4]);
    let target = "queue_runtime_batch_size_target{provider=\"memory\",queue=\"q\"} 1\n";
    assert!(kit.client.metrics().contains(target));
}

#[test]
fn options_that_make_no_sense_are_named() {
    let kit = Kit::new();
    let queue = kit.queue(options());
    let new = BatchOptions::new;
    let wrong = [
        ("batch_size", new().batch_size(0)),
        ("batch_bytes", new().batch_bytes(0)),
        ("batch_concurrency", new().batch_concurrency(0)),
        ("concurrency", new().batch_size(50_000).batch_concurrency(3)),
        ("min_batch_size", new().adaptive(0, 10, ms(1))),
        ("min_batch_size", new().adaptive(11, 10, ms(1))),
        (
            "target_batch_duration",
            new().adaptive(1, 10, Duration::ZERO),
        ),
    ];
    for (option, batches) in wrong {
        let options = ConsumerOptions::new();
        let handler = async |_| Ok(());
        let error = queue.process_batches(options, batches, handler);
        assert_eq!(error.unwrap_err().field(), Some(option));
    }
}
