//! Consumers that are held back: by their breaker, by hand, by the memory of the process. On the
//! virtual clock.

#![cfg(not(feature = "shuttle"))]

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{HOUR, Kit, body, eventually, kits, look, ms, next, nothing, wait};
use queue_runtime_core::{
    BreakerState, Clock, Consumer, ConsumerOptions, DeadLetterFilter, Delivery, DrainReport,
    Failure, Message, Queue, QueueOptions, Runtime, RuntimeConfig, Verb,
};

const PAUSE: Duration = Duration::from_secs(60);

fn options(breaker: &str) -> ConsumerOptions {
    ConsumerOptions::new().breaker(breaker.parse().unwrap())
}

fn send(queue: &Queue, count: usize) {
    let messages = (0..count).map(|number| Message::new(number.to_string()));
    let sent = wait(queue.send_many(messages)).unwrap();
    assert!(sent.iter().all(Result::is_ok));
}

#[track_caller]
fn is(consumer: &Consumer, state: BreakerState) {
    let what = format!("the breaker is {}", state.name());
    eventually(&what, || consumer.status().breaker == state);
}

fn ready(queue: &Queue) -> u64 {
    wait(queue.statistics()).unwrap().ready
}

fn dead(queue: &Queue) -> usize {
    let letters = queue.dead_letters(DeadLetterFilter::default(), None, 100);
    wait(letters).unwrap().len()
}

/// The attempts of all messages together.
fn attempts(queue: &Queue) -> u32 {
    let all = wait(queue.peek(None, 100)).unwrap();
    all.iter().map(|message| message.attempts).sum()
}

#[test]
fn while_the_downstream_is_away_only_probes_are_handed_out() {
    const MESSAGES: usize = 20;
    const HANDS: u32 = 4;
    for kit in kits() {
        let queue = kit.queue(QueueOptions::default());
        send(&queue, MESSAGES);
        let down = Arc::new(AtomicBool::new(true));
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let done: Arc<Mutex<Vec<String>>> = Arc::default();
        let handler = {
            let (down, calls, done) = (down.clone(), calls.clone(), done.clone());
            move |order: Arc<Delivery>| {
                let text = body(&order).to_owned();
                let list = if down.load(SeqCst) { &calls } else { &done };
                list.lock().unwrap().push(text);
                let down = down.load(SeqCst);
                async move {
                    if down {
                        return Err(Failure::retry("the oven is cold"));
                    }
                    Ok(())
                }
            }
        };
        let options = options("3,60s,2").concurrency(HANDS);
        let worker = queue.process(options, handler).unwrap();
        let quiet = || {
            let status = worker.status();
            status.breaker == BreakerState::Open && status.in_hand == 0 && status.prefetched == 0
        };
        eventually("it opens", quiet);
        let opened_after = calls.lock().unwrap().len();
        let most = 3 + HANDS as usize - 1;
        assert!((3..=most).contains(&opened_after), "{opened_after} calls");
        eventually("what was fetched is back", || {
            ready(&queue) >= (MESSAGES - most) as u64
        });
        let used = attempts(&queue);

        for minute in 1..=60 {
            kit.advance(PAUSE);
            eventually("a probe fails", || {
                calls.lock().unwrap().len() >= opened_after + minute && quiet()
            });
        }
        let calls = calls.lock().unwrap().clone();
        assert_eq!(calls.len(), opened_after + 60, "one probe each minute");
        let probes = &calls[opened_after..];
        assert!(
            probes.windows(2).all(|two| two[0] != two[1]),
            "another one each time: {probes:?}"
        );
        assert_eq!((dead(&queue), attempts(&queue)), (0, used));

        down.store(false, SeqCst);
        kit.advance(PAUSE + Duration::from_secs(1));
        eventually("all are done", || done.lock().unwrap().len() == MESSAGES);
        assert_eq!(worker.status().breaker, BreakerState::Closed);
        let done: HashSet<String> = done.lock().unwrap().iter().cloned().collect();
        assert_eq!(done.len(), MESSAGES, "each once");
        assert_eq!(dead(&queue), 0);
    }
}

#[test]
fn while_it_is_open_what_is_in_hand_uses_no_attempt() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions {
            budget: Some(2),
            ..QueueOptions::default()
        });
        send(&queue, 5);
        let consumer = queue.consume(options("1,60s,1").concurrency(4)).unwrap();
        let mut hands: Vec<Delivery> = (0..4).map(|_| next(&consumer)).collect();
        wait(hands.remove(0).nack(None)).unwrap();
        is(&consumer, BreakerState::Open);
        eventually("the fifth goes back", || consumer.status().prefetched == 0);
        let until = kit.clock.timestamp(kit.clock.now() + PAUSE);
        assert_eq!(consumer.status().open_until, Some(until));
        // Each in another way.
        wait(hands.remove(0).nack(Some("cold"))).unwrap();
        wait(hands.remove(0).nack_after(None, 2 * PAUSE)).unwrap();
        let verb = Verb::Nack {
            reason: None,
            delay: None,
        };
        let settled = wait(queue.settle(vec![hands[0].settlement(verb)])).unwrap();
        assert!(settled[0].is_ok());
        // Only the one that opened it has used its attempt, and they stay away as long as it is open.
        assert_eq!(attempts(&queue), 1);
        drop(consumer);
        eventually("the others are back", || ready(&queue) == 2);
        for other in look(&queue, 5) {
            wait(other.ack()).unwrap();
        }
        kit.advance(PAUSE - ms(1));
        assert!(look(&queue, 5).is_empty());
        kit.advance(ms(1));
        let back = look(&queue, 5);
        assert!(back.len() == 2 && back.iter().all(|back| back.attempt() == 1));
        kit.advance(PAUSE);
        assert_eq!(look(&queue, 1).len(), 1);
        assert_eq!(dead(&queue), 0);
    }
}

#[test]
fn half_open_it_hands_out_one_and_closes_after_successes() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions::default());
        send(&queue, 5);
        let consumer = queue.consume(options("1,60s,2").concurrency(4)).unwrap();
        wait(next(&consumer).nack(None)).unwrap();
        is(&consumer, BreakerState::Open);
        nothing(&consumer);
        kit.advance(PAUSE);
        is(&consumer, BreakerState::HalfOpen);
        assert_eq!(consumer.status().open_until, None);
        let probe = next(&consumer);
        nothing(&consumer);
        // One that says nothing: another one is tried.
        drop(probe);
        for _ in 0..2 {
            assert_eq!(consumer.status().breaker, BreakerState::HalfOpen);
            let probe = next(&consumer);
            nothing(&consumer);
            wait(probe.ack()).unwrap();
        }
        assert_eq!(consumer.status().breaker, BreakerState::Closed);
        let _hands = [next(&consumer), next(&consumer)];
    }
}

#[test]
fn only_some_ends_say_that_handlers_fail() {
    type End = fn(Delivery);
    let nack: End = |d| wait(d.nack(None)).unwrap();
    let later: End = |d| wait(d.release(Some(ms(1)))).unwrap();
    let now_again: End = |d| wait(d.release(None)).unwrap();
    let never: End = |d| wait(d.dead_letter("broken", None)).unwrap();
    let left: End = drop;
    let ack: End = |d| wait(d.ack()).unwrap();
    let cases: [(&[End], BreakerState); 7] = [
        (&[nack, nack], BreakerState::Open),
        (&[later, nack], BreakerState::Open),
        (&[nack, ack, nack], BreakerState::Closed),
        (&[nack, now_again, nack], BreakerState::Open),
        (&[never, never, never], BreakerState::Closed),
        (&[left, left, now_again, now_again], BreakerState::Closed),
        (&[ack, ack, nack], BreakerState::Closed),
    ];
    for (case, (ends, expected)) in cases.into_iter().enumerate() {
        let kit = Kit::new();
        let queue = kit.queue(QueueOptions::default());
        send(&queue, 5);
        let consumer = queue.consume(options("2,60s,1")).unwrap();
        for end in ends {
            end(next(&consumer));
        }
        assert_eq!(consumer.status().breaker, expected, "case {case}");
    }
}

#[test]
fn it_is_closed_by_hand_and_seen_in_metrics() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(&queue, 3);
    let gauge = |state: u32| {
        let labels = "{provider=\"memory\",queue=\"q\",operation=\"consume\"}";
        format!("queue_runtime_breaker_state{labels} {state}\n")
    };
    let total = |state: &str, times: u32| {
        let labels = "provider=\"memory\",queue=\"q\",operation=\"consume\"";
        format!("queue_runtime_breaker_transitions_total{{{labels},state=\"{state}\"}} {times}\n")
    };
    let shows = |line: String| {
        let text = kit.client.metrics();
        assert!(text.contains(&line), "{line} is not in\n{text}");
    };
    assert!(!kit.client.metrics().contains("operation=\"consume\""));
    let consumer = queue.consume(options("1,60s,1")).unwrap();
    shows(gauge(0));
    wait(next(&consumer).nack(None)).unwrap();
    shows(gauge(2));
    nothing(&consumer);
    let mut standing = consumer.standing();
    standing.mark_unchanged();
    consumer.reset_breaker();
    assert!(standing.has_changed().unwrap());
    shows(gauge(0));
    drop(next(&consumer));
    wait(next(&consumer).nack(None)).unwrap();
    kit.advance(PAUSE);
    is(&consumer, BreakerState::HalfOpen);
    shows(gauge(1));
    shows(total("open", 2));
    shows(total("half_open", 1));
    shows(total("closed", 1));
    drop(consumer);
    eventually("it is gone", || kit.client.metrics().contains(&gauge(0)));
}

#[test]
fn an_open_breaker_keeps_nobody_from_ending() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    send(&queue, 3);
    let consumer = Arc::new(queue.consume(options("1,60s,1")).unwrap());
    wait(next(&consumer).nack(None)).unwrap();
    let asking = consumer.clone();
    let ask = std::thread::spawn(move || wait(asking.next()).is_none());
    assert_eq!(wait(consumer.drain(HOUR)), DrainReport::default());
    assert!(ask.join().unwrap());
    assert!(wait(consumer.next()).is_none());
}

#[test]
fn a_paused_consumer_gives_back_what_it_fetched() {
    for kit in kits() {
        let queue = kit.queue(QueueOptions {
            lock: Some(PAUSE),
            ..QueueOptions::default()
        });
        send(&queue, 5);
        let consumer = queue.consume(ConsumerOptions::new()).unwrap();
        let first = next(&consumer);
        eventually("the rest is fetched ahead", || {
            consumer.status().prefetched == 4
        });
        consumer.pause();
        consumer.pause();
        eventually("the rest is back", || ready(&queue) == 4);
        let status = consumer.status();
        assert!(status.paused && status.ready);
        assert_eq!((status.in_hand, status.prefetched), (1, 0));
        nothing(&consumer);
        assert_eq!(ready(&queue), 4);
        // What is in hand goes on, with its lock kept.
        let before = first.locked_until();
        kit.advance(PAUSE / 2);
        eventually("its lock is renewed", || first.locked_until() > before);
        wait(first.ack()).unwrap();

        let asking = std::thread::scope(|scope| {
            let ask = scope.spawn(|| next(&consumer));
            std::thread::yield_now();
            consumer.resume();
            ask.join().unwrap()
        });
        assert_eq!((body(&asking), asking.attempt()), ("1", 1));
        assert!(!consumer.status().paused);
        for expected in ["2", "3", "4"] {
            let delivery = next(&consumer);
            assert_eq!((body(&delivery), delivery.attempt()), (expected, 1));
        }
    }
}

#[test]
fn a_paused_worker_starts_nothing() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let handled = Arc::new(AtomicU32::new(0));
    let count = handled.clone();
    let worker = queue
        .process(ConsumerOptions::new(), move |_| {
            count.fetch_add(1, SeqCst);
            async { Ok(()) }
        })
        .unwrap();
    worker.pause();
    send(&queue, 10);
    for _ in 0..100 {
        std::thread::yield_now();
    }
    assert_eq!(handled.load(SeqCst), 0);
    assert_eq!(ready(&queue), 10);
    worker.resume();
    worker.resume();
    eventually("all are handled", || handled.load(SeqCst) == 10);
    worker.pause();
    assert_eq!(wait(worker.drain(HOUR)), DrainReport::default());
}

#[test]
fn a_paused_consumer_is_not_idle() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    let consumer = queue
        .consume(ConsumerOptions::new().idle(Duration::ZERO))
        .unwrap();
    assert!(wait(consumer.next()).is_none());
    consumer.pause();
    nothing(&consumer);
    consumer.resume();
    assert!(wait(consumer.next()).is_none());
}

#[test]
fn a_breaker_that_makes_no_sense_is_refused() {
    use queue_runtime_core::Breaker;
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions::default());
    for (failures, pause, successes) in [(0, PAUSE, 1), (1, PAUSE, 0), (1, Duration::MAX, 1)] {
        let breaker = Breaker::After {
            failures,
            pause,
            successes,
        };
        let options = ConsumerOptions::new().breaker(breaker);
        let error = queue.consume(options).map(drop).unwrap_err();
        assert_eq!(error.field(), Some("breaker"));
    }
}

/// A kit whose process may have so many bytes.
fn limited(limit: u64) -> Kit {
    let clock = Clock::new_virtual();
    let config = RuntimeConfig {
        memory_limit: Some(limit),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::with_clock(config, clock.clone()).unwrap();
    let client = wait(runtime.connect("memory:")).unwrap();
    Kit {
        clock,
        client,
        folder: None,
    }
}

/// Lets seconds pass until this holds.
#[track_caller]
fn in_time(kit: &Kit, what: &str, holds: impl Fn() -> bool) {
    eventually(what, || {
        kit.advance(Duration::from_secs(1));
        holds()
    });
}

#[cfg(target_os = "linux")]
#[test]
fn consumers_wait_for_memory() {
    let kit = limited(1000);
    let used = Arc::new(AtomicU64::new(1000));
    let looks = Arc::new(AtomicU64::new(0));
    let (measured, looked) = (used.clone(), looks.clone());
    kit.client.runtime().measure_memory_by(move || {
        looked.fetch_add(1, SeqCst);
        Ok(measured.load(SeqCst))
    });
    // Time passes faster than locks could be renewed.
    let queue = kit.queue(QueueOptions {
        lock: Some(12 * HOUR),
        ..QueueOptions::default()
    });
    send(&queue, 3);
    kit.advance(HOUR);
    assert_eq!(looks.load(SeqCst), 0, "nobody receives");
    let consumer = queue.consume(ConsumerOptions::new()).unwrap();
    let other = queue.consume(ConsumerOptions::new()).unwrap();
    let over = || consumer.status().over_memory && other.status().over_memory;
    let first = next(&consumer);
    used.store(1001, SeqCst);
    in_time(&kit, "both pause", over);
    eventually("what was fetched is back", || ready(&queue) == 2);
    nothing(&consumer);
    let metrics = kit.client.metrics();
    assert!(metrics.contains("queue_runtime_memory_over_limit 1\n"));
    assert!(metrics.contains("queue_runtime_memory_resident_bytes 1001\n"));
    // One that comes meanwhile waits too.
    let late = queue.consume(ConsumerOptions::new()).unwrap();
    assert!(late.status().over_memory);
    drop(late);

    // Not before there is some room.
    used.store(900, SeqCst);
    let before = looks.load(SeqCst);
    in_time(&kit, "it is looked again", || {
        looks.load(SeqCst) > before + 2
    });
    assert!(over());
    used.store(899, SeqCst);
    in_time(&kit, "both go on", || !over());
    wait(first.ack()).unwrap();
    drop(other);
    let _hands = [next(&consumer), next(&consumer)];

    drop(consumer);
    // The last look may be under way.
    let last = AtomicU64::new(0);
    in_time(&kit, "nobody looks any more", || {
        let looks = looks.load(SeqCst);
        last.swap(looks, SeqCst) == looks
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_the_process_is_measured() {
    const MIB: u64 = 1 << 20;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = resident.unwrap().replace("kB", "").trim().parse().unwrap();
    // Other tests of this process have some memory too.
    let kit = limited(kib * 1024 + 100 * MIB);
    let queue = kit.queue(QueueOptions::default());
    let consumer = queue.consume(ConsumerOptions::new()).unwrap();
    let much = vec![1u8; 200 << 20];
    in_time(&kit, "it is too much", || consumer.status().over_memory);
    assert_eq!(std::hint::black_box(&much)[much.len() - 1], 1);
    drop(much);
    in_time(&kit, "it is free again", || !consumer.status().over_memory);
}

#[test]
fn sends_to_what_is_never_away_have_no_breaker() {
    let asked = QueueOptions::from_json(r#"{"breaker": "5,30s,3"}"#).unwrap();
    for kit in kits() {
        let error = kit.client.queue_with("q", asked.clone()).unwrap_err();
        assert_eq!(error.field(), Some("breaker"), "{error}");
        let none = QueueOptions::from_json(r#"{"breaker": "none"}"#).unwrap();
        let queue = kit.client.queue_with("q", none).unwrap();
        assert_eq!(queue.breaker_state(), BreakerState::Closed);
        queue.reset_breaker();
    }
    let clock = Clock::new_virtual();
    let runtime = Runtime::with_clock(RuntimeConfig::default(), clock).unwrap();
    let refused = wait(runtime.connect("memory:?breaker=5,30s,3")).unwrap_err();
    assert_eq!(refused.field(), Some("breaker"));
    wait(runtime.connect("memory:?breaker=none")).unwrap();
}
