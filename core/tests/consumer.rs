//! Consumers: what they have in hand, whose locks are kept, what order holds, and an end that adds
//! up. On the virtual clock, but for the last one.

#![cfg(not(feature = "shuttle"))]

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use common::{
    HOUR, Kit, STUCK, bodies, body, eventually, look, ms, next, nothing, now, soak, wait,
};
use queue_runtime_core::{
    CancelCause, ConsumerOptions, Create, DeadLetterFilter, Delivery, DrainReport, ErrorKind,
    Failure, Message, Queue, QueueOptions, ReceiveOptions, Retry, Runtime,
};
use tokio::sync::watch;

const LOCK: Duration = Duration::from_secs(30);

fn send(queue: &Queue, bodies: &[&'static str]) {
    for body in bodies {
        now(queue.send(*body)).unwrap();
    }
}

fn send_to(queue: &Queue, session: &str, bodies: &[&'static str]) {
    for body in bodies {
        now(queue.send(Message::new(*body).session(session))).unwrap();
    }
}

fn in_flight(queue: &Queue) -> u64 {
    now(queue.statistics()).unwrap().in_flight
}

fn ready(queue: &Queue) -> u64 {
    now(queue.statistics()).unwrap().ready
}

/// Moves the clock by half a lock, again and again, and lets the keeper work each time.
fn pass_time(kit: &Kit, kept: &[&Delivery], times: u32) {
    for _ in 0..times {
        kit.advance(LOCK / 2);
        let until = kit.clock.timestamp(kit.clock.now() + LOCK);
        eventually("the locks are renewed", || {
            kept.iter().all(|delivery| delivery.locked_until() == until)
        });
    }
}

#[test]
fn hands_are_bounded_and_so_is_what_is_fetched_ahead() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(&queue, &["a", "b", "c", "d", "e", "f", "g"]);
    let options = ConsumerOptions::new().concurrency(2).prefetch(3);
    let consumer = queue.consume(options).unwrap();
    eventually("three are fetched", || consumer.status().prefetched == 3);
    let a = next(&consumer);
    let b = next(&consumer);
    nothing(&consumer);
    let ahead = consumer.status().prefetched;
    assert!((1..=3).contains(&ahead), "{ahead} fetched ahead");
    assert_eq!(in_flight(&queue), 2 + ahead);
    now(a.ack()).unwrap();
    assert_eq!(body(&next(&consumer)), "c");
    drop(b);
    assert_eq!(body(&next(&consumer)), "d");
}

/// Whoever asks may receive at once, and so may the pump on its thread.
#[test]
fn who_asks_gets_what_was_sent_first() {
    const SENT: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for round in 0..500 * soak() {
        let kit = Kit::new();
        let queue = kit.queue(QueueOptions::default());
        send(&queue, &SENT);
        let options = ConsumerOptions::new().concurrency(4).prefetch(2);
        let consumer = queue.consume(options).unwrap();
        let mut came = Vec::new();
        while came.len() < SENT.len() {
            let batch = if round % 2 == 0 {
                vec![next(&consumer)]
            } else {
                wait(consumer.next_batch(2)).expect("the consumer goes on")
            };
            for delivery in batch {
                came.push(body(&delivery).to_owned());
                now(delivery.ack()).unwrap();
            }
        }
        assert_eq!(came, SENT, "in round {round}");
    }
}

#[test]
fn without_prefetch_nothing_is_taken_before_somebody_asks() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(&queue, &["a", "b", "c"]);
    let consumer = queue.consume(ConsumerOptions::new().prefetch(0)).unwrap();
    for _ in 0..100 {
        std::thread::yield_now();
    }
    assert_eq!(in_flight(&queue), 0);
    let a = next(&consumer);
    assert_eq!(in_flight(&queue), 1);
    now(a.ack()).unwrap();
    assert_eq!(in_flight(&queue), 0);
}

#[test]
fn an_ask_that_is_given_up_takes_nothing() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let consumer = queue.consume(ConsumerOptions::new().prefetch(0)).unwrap();
    nothing(&consumer);
    // The receive begun for it ends in the background.
    std::thread::sleep(ms(20));
    send(&queue, &["a"]);
    eventually("it is there for others", || {
        look(&queue, 1).pop().is_some_and(|a| now(a.ack()).is_ok())
    });
}

#[test]
fn what_came_for_an_ask_that_is_given_up_goes_back() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let consumer = queue.consume(ConsumerOptions::new().prefetch(0)).unwrap();
    let mut asked = Box::pin(consumer.next());
    let mut context = Context::from_waker(Waker::noop());
    assert!(asked.as_mut().poll(&mut context).is_pending());
    send(&queue, &["a"]);
    eventually("it is received", || consumer.status().prefetched == 1);
    drop(asked);
    eventually("it is there for others, its attempt not used", || {
        look(&queue, 1).pop().is_some_and(|a| a.attempt() == 1)
    });
    assert_eq!(consumer.status().prefetched, 0);
}

#[test]
fn sessions_go_one_at_a_time_and_take_turns() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send_to(&queue, "a", &["a1", "a2", "a3"]);
    send_to(&queue, "b", &["b1", "b2"]);
    send(&queue, &["-"]);
    let consumer = queue.consume(ConsumerOptions::new()).unwrap();
    let mut hands: Vec<Delivery> = (0..3).map(|_| next(&consumer)).collect();
    hands.sort_by(|x, y| body(x).cmp(body(y)));
    assert_eq!(bodies(&hands), ["-", "a1", "b1"]);
    nothing(&consumer);
    // The next of a session comes when the one before has ended.
    for (done, then) in [(1, "a2"), (2, "b2"), (1, "a3")] {
        now(hands[done].ack()).unwrap();
        hands[done] = next(&consumer);
        assert_eq!(body(&hands[done]), then);
    }
}

#[test]
fn a_failed_message_is_not_overtaken_by_those_fetched_behind_it() {
    for end in ["nack", "release", "drop"] {
        let kit = Kit::new();
        let queue = kit.queue(QueueOptions {
            retry: Some(Retry::Fixed { delay: ms(1000) }),
            lock: Some(LOCK),
            ..QueueOptions::default()
        });
        send_to(&queue, "a", &["a1", "a2", "a3"]);
        let consumer = queue.consume(ConsumerOptions::new()).unwrap();
        eventually("all are fetched", || consumer.status().prefetched == 3);
        let a1 = next(&consumer);
        match end {
            "nack" => now(a1.nack(None)).unwrap(),
            "release" => now(a1.release(Some(ms(1000)))).unwrap(),
            _ => {}
        }
        drop(a1);
        eventually("the rest goes back", || consumer.status().prefetched == 0);
        nothing(&consumer);
        kit.advance(if end == "drop" { LOCK } else { ms(1000) });
        for expected in ["a1", "a2", "a3"] {
            let delivery = next(&consumer);
            assert_eq!(body(&delivery), expected, "after {end}");
            let begun = u32::from(expected == "a1" && end != "release");
            assert_eq!(delivery.attempt(), 1 + begun, "{expected} after {end}");
            now(delivery.ack()).unwrap();
        }
    }
}

#[test]
fn locks_are_kept_in_hand_and_in_the_buffer() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    });
    send(&queue, &["a", "b"]);
    let options = ConsumerOptions::new()
        .concurrency(1)
        .prefetch(2)
        .max_lock_renewal(HOUR);
    let consumer = queue.consume(options).unwrap();
    eventually("both are fetched ahead", || {
        consumer.status().prefetched == 2
    });
    let a = next(&consumer);
    pass_time(&kit, &[&a], 12);
    assert!(look(&queue, 2).is_empty());
    now(a.ack()).unwrap();
    let b = next(&consumer);
    assert_eq!((body(&b), b.attempt()), ("b", 1));
    pass_time(&kit, &[&b], 2);
    now(b.ack()).unwrap();
    let metrics = kit.client.metrics();
    assert!(metrics.contains("queue_runtime_lock_renewals_total"));
    assert!(metrics.contains("queue_runtime_locks_lost_total{provider=\"memory\",queue=\"q\"} 0"));
}

#[test]
fn a_bare_receive_keeps_locks_when_asked_to() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    });
    send(&queue, &["a", "b"]);
    let options = ReceiveOptions::new().max_messages(2).keep_lock(true);
    let mut hands = now(queue.receive(&options)).unwrap();
    let b = hands.pop().unwrap();
    let a = hands.pop().unwrap();
    pass_time(&kit, &[&a, &b], 3);
    now(a.ack()).unwrap();
    drop(b);
    kit.advance(LOCK);
    let again = look(&queue, 2);
    assert_eq!(
        (again.len(), body(&again[0]), again[0].attempt()),
        (1, "b", 2)
    );
}

#[test]
fn a_lost_lock_cancels_the_work() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    });
    send(&queue, &["a"]);
    let consumer = queue.consume(ConsumerOptions::new()).unwrap();
    let a = next(&consumer);
    assert_eq!(a.cancel_cause(), None);
    // So far that nobody could renew it in time.
    kit.advance(2 * LOCK);
    assert_eq!(wait(a.cancelled()), CancelCause::LockLost);
    assert_eq!(body(&next(&consumer)), "a");
}

#[test]
fn what_can_never_be_settled_is_not_in_hand_any_more() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(&queue, &["a", "b"]);
    let options = ConsumerOptions::new().concurrency(1).prefetch(0);
    let consumer = queue.consume(options).unwrap();
    let a = next(&consumer);
    kit.advance(3 * LOCK);
    assert_eq!(now(a.ack()).unwrap_err().kind(), ErrorKind::LockLost);
    // While the delivery itself is still held, its hand is free.
    assert_eq!(consumer.status().in_hand, 0);
    let again = next(&consumer);
    assert_eq!((body(&again), again.attempt()), ("a", 2));
    drop(a);
    assert_eq!(consumer.status().in_hand, 1);
}

#[test]
fn an_idle_consumer_ends_asks_and_can_be_asked_again() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let options = ConsumerOptions::new().idle(Duration::ZERO);
    let consumer = queue.consume(options).unwrap();
    assert!(wait(consumer.next()).is_none());
    send(&queue, &["a"]);
    let a = next(&consumer);
    assert_eq!(body(&a), "a");
    now(a.ack()).unwrap();
    drop(consumer);

    let options = ConsumerOptions::new().idle(LOCK);
    let consumer = Arc::new(queue.consume(options).unwrap());
    let asking = consumer.clone();
    let ask = std::thread::spawn(move || wait(asking.next()).is_none());
    while !ask.is_finished() {
        kit.advance(LOCK / 10);
        std::thread::yield_now();
    }
    assert!(ask.join().unwrap());

    let idle = ConsumerOptions::new().idle(LOCK);
    let refused = queue.process(idle, async |_| Ok(())).unwrap_err();
    assert_eq!(refused.field(), Some("idle"));
}

#[test]
fn a_stalled_handler_is_told_and_its_lock_let_go() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    });
    send(&queue, &["a", "b"]);
    let options = ConsumerOptions::new()
        .concurrency(1)
        .prefetch(2)
        .max_lock_renewal(2 * LOCK);
    let consumer = queue.consume(options).unwrap();
    eventually("both are fetched ahead", || {
        consumer.status().prefetched == 2
    });
    let a = next(&consumer);
    pass_time(&kit, &[&a], 3);
    kit.advance(LOCK / 2);
    assert_eq!(wait(a.cancelled()), CancelCause::Stalled);
    let stalls = "queue_runtime_stalls_total{provider=\"memory\",queue=\"q\"} 1";
    eventually("the alarm is raised", || {
        kit.client.metrics().contains(stalls)
    });
    // What nobody works on goes back, and comes again with a lock of its own, unblamed.
    drop(a);
    let b = next(&consumer);
    assert_eq!((body(&b), b.attempt()), ("b", 1));
}

#[test]
fn a_consumer_that_is_dropped_gives_back_what_nobody_began() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(&queue, &["a", "b", "c"]);
    let consumer = queue.consume(ConsumerOptions::new()).unwrap();
    eventually("all are fetched", || consumer.status().prefetched == 3);
    let a = next(&consumer);
    drop(consumer);
    eventually("the rest is back", || ready(&queue) == 2);
    now(a.ack()).unwrap();
    assert!(
        look(&queue, 3)
            .iter()
            .all(|delivery| delivery.attempt() == 1)
    );
}

#[test]
fn a_drain_adds_up() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(&queue, &["finished", "late", "left", "waiting", "waiting"]);
    let consumer = Arc::new(
        queue
            .consume(ConsumerOptions::new().concurrency(3))
            .unwrap(),
    );
    eventually("three are fetched", || consumer.status().prefetched == 3);
    let hands: Vec<Delivery> = (0..3).map(|_| next(&consumer)).collect();
    let [finished, late, left] = hands.try_into().unwrap();
    let ahead = std::thread::spawn({
        let consumer = consumer.clone();
        move || wait(consumer.next()).is_none()
    });
    eventually("the rest is fetched", || consumer.status().prefetched == 2);

    let draining = consumer.clone();
    let deadline = Duration::from_secs(5);
    let drain = std::thread::spawn(move || wait(draining.drain(deadline)));
    eventually("prefetched ones are back at once", || ready(&queue) == 2);
    now(finished.ack()).unwrap();
    drop(left);
    kit.advance(deadline);
    assert_eq!(wait(late.cancelled()), CancelCause::Drained);
    let report = drain.join().unwrap();
    let DrainReport {
        finished,
        released,
        abandoned,
        ..
    } = report;
    assert_eq!((finished, released, abandoned), (1, 3, 1));

    assert!(ahead.join().unwrap());
    assert!(now(late.ack()).is_err(), "it is not ours any more");
    assert!(wait(consumer.next()).is_none());
    let back = look(&queue, 5);
    assert_eq!(back.len(), 3);
    assert!(
        back.iter().all(|delivery| delivery.attempt() == 1),
        "unblamed"
    );
    assert!(!consumer.status().ready);
}

#[test]
fn a_drain_with_nothing_in_hand_ends_at_once() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let consumer = queue.consume(ConsumerOptions::new()).unwrap();
    assert_eq!(wait(consumer.drain(HOUR)), DrainReport::default());
    assert_eq!(wait(consumer.drain(HOUR)), DrainReport::default());
}

#[test]
fn a_closed_client_ends_its_consumers() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let consumer = queue.consume(ConsumerOptions::new()).unwrap();
    let client = kit.client.clone();
    let closing = std::thread::spawn(move || {
        std::thread::yield_now();
        wait(client.close()).unwrap();
    });
    assert!(wait(consumer.next()).is_none());
    closing.join().unwrap();
    assert!(queue.consume(ConsumerOptions::new()).is_err());
}

#[test]
fn a_failed_receive_is_seen_and_tried_again() {
    let kit = Kit::new();
    let never = QueueOptions {
        create: Some(Create::Never),
        ..QueueOptions::default()
    };
    let queue = kit.queue(never);
    let options = ConsumerOptions::new().reconnect(Retry::Fixed { delay: ms(100) });
    let consumer = queue.consume(options).unwrap();
    eventually("the failure is seen", || {
        consumer.status().failure.is_some()
    });
    assert!(!consumer.status().ready);
    now(queue.create()).unwrap();
    send(&queue, &["a"]);
    eventually("it is tried again", || {
        kit.advance(ms(100));
        consumer.status().ready && consumer.status().last_receive.is_some()
    });
    assert_eq!(body(&next(&consumer)), "a");
}

#[test]
fn options_are_checked() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let new = ConsumerOptions::new;
    for (field, options) in [
        ("concurrency", new().concurrency(0)),
        ("max_messages", new().max_messages(0)),
        ("prefetch", new().prefetch(u32::MAX)),
        ("prefetch_bytes", new().prefetch_bytes(0)),
        ("wait", new().wait(Duration::MAX)),
        ("wait", new().wait(Duration::ZERO)),
        ("lock", new().lock(Duration::ZERO)),
    ] {
        let error = queue.consume(options).map(drop).unwrap_err();
        assert!(error.to_string().contains(field), "{field}: {error}");
    }
}

fn letters(queue: &Queue) -> Vec<(String, u32)> {
    let letters = now(queue.dead_letters(DeadLetterFilter::default(), None, 10)).unwrap();
    letters
        .iter()
        .map(|letter| (letter.reason.to_string(), letter.attempts))
        .collect()
}

#[test]
fn a_handler_is_called_once_for_each_attempt_of_the_budget() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(&queue, &["a"]);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let _worker = queue
        .process(ConsumerOptions::new(), move |order| {
            let calls = counted.clone();
            async move {
                assert_eq!(order.attempt(), 1 + calls.fetch_add(1, SeqCst));
                Err(Failure::retry("the oven is cold"))
            }
        })
        .unwrap();
    eventually("it is given up", || {
        letters(&queue) == [("max_attempts".to_owned(), 5)]
    });
    assert_eq!(calls.load(SeqCst), 5);
}

#[test]
fn what_a_handler_says_becomes_of_the_message() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(
        &queue,
        &["done", "broken", "panics once", "not now", "by itself"],
    );
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let worker = queue
        .process(ConsumerOptions::new(), move |order| {
            let log = log.clone();
            async move {
                let text = body(&order).to_owned();
                log.lock().unwrap().push((text.clone(), order.attempt()));
                match (text.as_str(), order.attempt()) {
                    ("broken", _) => return Err(Failure::permanent("broken", "for good")),
                    ("panics once", 1) => panic!("as announced"),
                    ("not now", _) if log.lock().unwrap().len() < 7 => {
                        return Err(Failure::release(ms(500)));
                    }
                    ("by itself", _) => order.dead_letter("by hand", None).await?,
                    _ => {}
                }
                Ok(())
            }
        })
        .unwrap();
    eventually("all but one are done", || seen.lock().unwrap().len() == 6);
    kit.advance(ms(500));
    eventually("all are done", || {
        ready(&queue) + in_flight(&queue) == 0 && seen.lock().unwrap().len() == 7
    });
    let mut log = seen.lock().unwrap().clone();
    log.sort();
    let expected = [
        ("broken", 1),
        ("by itself", 1),
        ("done", 1),
        ("not now", 1),
        ("not now", 1),
        ("panics once", 1),
        ("panics once", 2),
    ];
    assert_eq!(
        log,
        expected.map(|(text, attempt)| (text.to_owned(), attempt))
    );
    let mut dead = letters(&queue);
    dead.sort();
    assert_eq!(dead, [("broken".to_owned(), 1), ("by hand".to_owned(), 1)]);
    assert_eq!(wait(worker.drain(HOUR)).abandoned, 0);
}

#[test]
fn a_drained_worker_drops_handlers_that_are_late() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(&queue, &["a"]);
    let worker = queue
        .process(ConsumerOptions::new(), async |_| {
            std::future::pending().await
        })
        .unwrap();
    eventually("it is in hand", || worker.status().in_hand == 1);
    let report = wait(worker.drain(Duration::ZERO));
    assert_eq!(
        (report.finished, report.released, report.abandoned),
        (0, 1, 0)
    );
    assert_eq!(look(&queue, 1)[0].attempt(), 1);
}

/// A message that takes a minute keeps one hand, and slows nobody else down. Time moves when all
/// hands are busy, so that how much is done in it is exact.
#[test]
fn a_slow_message_slows_no_other() {
    const HANDS: u64 = 4;
    const STEPS: u64 = 200;
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        lock: Some(HOUR),
        ..QueueOptions::default()
    });
    now(queue.send("slow")).unwrap();
    for _ in 0..(HANDS - 1) * STEPS {
        now(queue.send("quick")).unwrap();
    }
    let time = Arc::new(watch::Sender::new(0));
    let busy = Arc::new(AtomicU32::new(0));
    let done = Arc::new(AtomicU32::new(0));
    let handler = {
        let (time, busy, done) = (time.clone(), busy.clone(), done.clone());
        move |order: Arc<Delivery>| {
            let (mut time, busy, done) = (time.subscribe(), busy.clone(), done.clone());
            async move {
                let takes = if body(&order) == "slow" { 60_000 } else { 10 };
                let end = *time.borrow() + takes;
                busy.fetch_add(1, SeqCst);
                time.wait_for(|now| *now >= end).await.unwrap();
                busy.fetch_sub(1, SeqCst);
                done.fetch_add(1, SeqCst);
                Ok(())
            }
        }
    };
    let options = ConsumerOptions::new().concurrency(HANDS as u32);
    let worker = queue.process(options, handler).unwrap();
    let pass = |by: u64| {
        kit.advance(ms(by));
        time.send_modify(|now| *now += by);
    };
    for step in 1..=STEPS {
        let quick_done = (HANDS - 1) * (step - 1);
        eventually("all hands are busy", || {
            // In this order: who is done is not busy any more before.
            done.load(SeqCst) == quick_done as u32 && busy.load(SeqCst) == HANDS as u32
        });
        pass(10);
    }
    let quick = ((HANDS - 1) * STEPS) as u32;
    eventually("only the slow one is left", || {
        done.load(SeqCst) == quick && busy.load(SeqCst) == 1
    });
    pass(58_000);
    eventually("the slow one is done", || done.load(SeqCst) == quick + 1);
    assert_eq!(wait(worker.drain(HOUR)).abandoned, 0);
    assert_eq!(ready(&queue) + in_flight(&queue), 0);
}

/// Real threads and the real clock: every message is handled once, in the order of its session.
#[test]
fn many_handlers_lose_nothing() {
    const SESSIONS: u32 = 20;
    let runtime = Runtime::shared().unwrap();
    let client = wait(runtime.connect("memory:")).unwrap();
    let options = QueueOptions {
        retry: Some(Retry::None),
        ..QueueOptions::default()
    };
    let queue = client.queue_with("q", options).unwrap();
    let each = 200 * soak();
    let seen: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let done = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (seen, done) = (seen.clone(), done.clone());
            let handler = move |order: Arc<Delivery>| {
                let (seen, done) = (seen.clone(), done.clone());
                async move {
                    let number: u32 = body(&order).parse()?;
                    if number.is_multiple_of(7) && order.attempt() == 1 {
                        return Err(Failure::retry("the first time"));
                    }
                    tokio::task::yield_now().await;
                    if let Some(session) = order.session() {
                        let mut seen = seen.lock().unwrap();
                        let next = seen.entry(session.to_owned()).or_default();
                        assert_eq!(*next, number, "of session {session}");
                        *next += 1;
                    }
                    order.ack().await?;
                    done.fetch_add(1, SeqCst);
                    Ok(())
                }
            };
            queue.process(ConsumerOptions::new(), handler).unwrap()
        })
        .collect();
    wait(async {
        for number in 0..each {
            for session in 0..SESSIONS {
                let message = Message::new(number.to_string());
                let of = message.clone().session(session.to_string());
                queue.send(of).await.unwrap();
                queue.send(message).await.unwrap();
            }
        }
    });
    eventually("all are done", || done.load(SeqCst) == 2 * SESSIONS * each);
    for worker in workers {
        assert_eq!(wait(worker.drain(STUCK)), DrainReport::default());
    }
    assert_eq!(ready(&queue) + in_flight(&queue), 0);
    assert_eq!(letters(&queue), []);
}
