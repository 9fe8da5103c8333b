//! Consumers that work through held sessions: how many, for how long, in what order, and an end
//! that adds up. On the virtual clock, in memory and in files.

#![cfg(not(feature = "shuttle"))]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{HOUR, Kit, STUCK, body, eventually, kits, ms, next, nothing, soak, wait};
use queue_runtime_core::{
    CancelCause, Consumer, ConsumerOptions, Delivery, DrainReport, ErrorKind, Failure, Message,
    Queue, QueueOptions, Retry, Session, SessionOptions,
};

const LOCK: Duration = Duration::from_secs(30);

fn queue(kit: &Kit) -> Queue {
    kit.queue(QueueOptions {
        lock: Some(LOCK),
        retry: Some(Retry::Fixed { delay: ms(1000) }),
        ..QueueOptions::default()
    })
}

fn pool(sessions: u32) -> ConsumerOptions {
    ConsumerOptions::new().max_sessions(sessions)
}

fn send_to(queue: &Queue, session: &str, bodies: &[&str]) {
    let message = |body: &&str| Message::new((*body).to_owned()).session(session);
    let sent = wait(queue.send_many(bodies.iter().map(message))).unwrap();
    assert!(sent.iter().all(Result::is_ok));
}

#[track_caller]
fn expect(consumer: &Consumer, text: &str) -> Delivery {
    let delivery = next(consumer);
    assert_eq!(body(&delivery), text);
    delivery
}

fn ack(delivery: &Delivery) {
    wait(delivery.ack()).unwrap();
}

fn accept(queue: &Queue) -> Option<Session> {
    wait(queue.accept_session(SessionOptions::next().wait(Duration::ZERO))).unwrap()
}

/// Rather one of these.
fn accept_of(queue: &Queue, ids: &[&str]) -> Option<Session> {
    let ids = ids.iter().map(|id| Arc::from(*id)).collect();
    let options = SessionOptions::next().wait(Duration::ZERO);
    wait(queue.accept_session(options.prefer(Some(Arc::new(ids))))).unwrap()
}

fn is_free(queue: &Queue, session: &str) -> bool {
    wait(queue.accept_session(SessionOptions::id(session))).is_ok()
}

#[track_caller]
fn held(consumer: &Consumer, sessions: u64) {
    eventually("so many are held", || {
        consumer.status().sessions == sessions
    });
}

/// The sum of a metric of the queue.
fn metric(kit: &Kit, name: &str) -> f64 {
    let metrics = kit.client.metrics();
    let line = metrics
        .lines()
        .find(|line| line.starts_with(&format!("{name}{{")));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .unwrap_or_else(|| panic!("{name} is not in\n{metrics}"))
        .parse()
        .unwrap()
}

/// Moves the clock by half a lock, again and again, and lets the lock be renewed each time.
fn pass(kit: &Kit, halves: u32) {
    let renewals = || metric(kit, "queue_runtime_lock_renewals_total");
    for _ in 0..halves {
        let before = renewals();
        kit.advance(LOCK / 2);
        eventually("the lock is renewed", || renewals() > before);
    }
}

/// Lets time pass until no session is held.
fn let_go(kit: &Kit, consumer: &Consumer) {
    let deadline = Instant::now() + STUCK;
    while consumer.status().sessions > 0 {
        assert!(Instant::now() < deadline, "a session is still held");
        kit.advance(ms(500));
        std::thread::sleep(ms(1));
    }
}

#[test]
fn sessions_of_one_message_follow_one_another_without_a_gap() {
    const POOL: usize = 10;
    for kit in kits() {
        let queue = queue(&kit);
        let begun = kit.clock.now();
        let sessions: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
        let message = |id: &String| Message::new("m").session(id.clone());
        wait(queue.send_many(sessions.iter().map(message))).unwrap();
        let consumer = queue.consume(pool(POOL as u32)).unwrap();
        // Each handler takes a second: what 10 at a time need, and no more.
        let mut done = HashSet::new();
        for _ in 0..sessions.len() / POOL {
            let hands: Vec<_> = (0..POOL).map(|_| next(&consumer)).collect();
            assert!(consumer.status().sessions as usize <= POOL + 1);
            kit.advance(ms(1000));
            for delivery in hands {
                ack(&delivery);
                done.insert(delivery.session().unwrap().to_owned());
            }
        }
        assert_eq!(done.len(), sessions.len());
        assert_eq!(kit.clock.now().since(begun), Duration::from_secs(100));
        let left = wait(queue.statistics()).unwrap();
        assert_eq!((left.ready, left.in_flight), (0, 0));
    }
}

#[test]
fn no_more_sessions_than_asked_for_are_worked_at() {
    for kit in kits() {
        let queue = queue(&kit);
        for session in ["a", "b", "c"] {
            send_to(&queue, session, &["1", "2", "3"]);
        }
        let consumer = queue.consume(pool(2)).unwrap();
        let mut hands = vec![next(&consumer), next(&consumer)];
        nothing(&consumer);
        assert_eq!(consumer.status().sessions, 2);
        // They are worked off before the third has its turn.
        let session = |delivery: &Delivery| delivery.session().unwrap().to_owned();
        let first: HashSet<_> = hands.iter().map(session).collect();
        let (mut done, mut third) = (0, false);
        while !third {
            let delivery = hands.remove(0);
            ack(&delivery);
            done += 1;
            hands.push(next(&consumer));
            third = !first.contains(&session(&hands[1]));
        }
        assert!(
            done >= 3,
            "a session made room after {done} messages of both"
        );
    }
}

#[test]
fn messages_of_no_session_are_left_to_others() {
    for kit in kits() {
        let queue = queue(&kit);
        wait(queue.send("plain")).unwrap();
        send_to(&queue, "a", &["1"]);
        let consumer = queue.consume(pool(2)).unwrap();
        ack(&expect(&consumer, "1"));
        nothing(&consumer);
    }
}

#[test]
fn a_failed_message_is_not_overtaken() {
    for kit in kits() {
        for end in ["nack", "release", "drop"] {
            let queue = queue(&kit);
            let consumer = queue.consume(pool(1)).unwrap();
            send_to(&queue, end, &["1", "2", "3", "4"]);
            ack(&expect(&consumer, "1"));
            let two = expect(&consumer, "2");
            eventually("the rest is fetched", || consumer.status().prefetched == 2);
            match end {
                "nack" => wait(two.nack(None)).unwrap(),
                "release" => wait(two.release(Some(ms(1000)))).unwrap(),
                _ => {}
            }
            drop(two);
            if end != "drop" {
                eventually("the rest goes back", || consumer.status().prefetched == 0);
                nothing(&consumer);
                kit.advance(ms(1000));
            }
            for text in ["2", "3", "4"] {
                let delivery = expect(&consumer, text);
                let again = u32::from(text == "2" && end != "release");
                assert_eq!(delivery.attempt(), 1 + again, "{text} after {end}");
                ack(&delivery);
            }
            assert_eq!(wait(consumer.drain(HOUR)), DrainReport::default());
        }
    }
}

#[test]
fn an_idle_session_is_held_for_a_while_and_handlers_are_not_idle() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1"]);
        let consumer = queue.consume(pool(4)).unwrap();
        let one = expect(&consumer, "1");
        pass(&kit, 12);
        assert!(!is_free(&queue, "a"));
        ack(&one);
        pass(&kit, 3);
        assert!(!is_free(&queue, "a"));
        // A message begins it anew.
        send_to(&queue, "a", &["2"]);
        ack(&expect(&consumer, "2"));
        pass(&kit, 3);
        assert!(!is_free(&queue, "a"));
        let_go(&kit, &consumer);
        assert!(is_free(&queue, "a"));
        assert_eq!(metric(&kit, "queue_runtime_sessions_held"), 0.0);
        assert_eq!(
            metric(&kit, "queue_runtime_session_wait_seconds_count"),
            1.0
        );
        let seconds = metric(&kit, "queue_runtime_session_duration_seconds_sum");
        assert!(seconds >= 270.0, "held for {seconds} s");
    }
}

#[test]
fn an_idle_session_makes_room_at_once_when_another_one_waits() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1"]);
        let consumer = queue.consume(pool(1)).unwrap();
        ack(&expect(&consumer, "1"));
        send_to(&queue, "b", &["2"]);
        let two = expect(&consumer, "2");
        eventually("the first is free", || is_free(&queue, "a"));
        assert_eq!(consumer.status().sessions, 1);
        ack(&two);
    }
}

#[test]
fn a_session_that_has_had_enough_messages_makes_room() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["a1", "a2", "a3", "a4", "a5"]);
        send_to(&queue, "b", &["b1", "b2", "b3"]);
        let options = pool(1).session_max_messages(2);
        let consumer = queue.consume(options).unwrap();
        for text in ["a1", "a2", "b1", "b2", "a3", "a4", "b3"] {
            let delivery = expect(&consumer, text);
            kit.advance(ms(10));
            ack(&delivery);
        }
        ack(&expect(&consumer, "a5"));
    }
}

#[test]
fn a_session_that_has_had_enough_time_makes_room() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["a1", "a2", "a3", "a4"]);
        send_to(&queue, "b", &["b1"]);
        let options = pool(1).prefetch(1).session_max_time(ms(1500));
        let consumer = queue.consume(options).unwrap();
        for text in ["a1", "a2"] {
            let delivery = expect(&consumer, text);
            kit.advance(ms(1000));
            ack(&delivery);
        }
        // The one that was fetched while the second was in hand, at most.
        let mut delivery = next(&consumer);
        if body(&delivery) == "a3" {
            ack(&delivery);
            delivery = next(&consumer);
        }
        assert_eq!(body(&delivery), "b1");
    }
}

#[test]
fn with_nobody_waiting_enough_is_a_moment_for_other_consumers() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1", "2", "3"]);
        let consumer = queue.consume(pool(1).session_max_messages(2)).unwrap();
        ack(&expect(&consumer, "1"));
        ack(&expect(&consumer, "2"));
        held(&consumer, 0);
        let other = accept(&queue).expect("the session is free");
        assert_eq!(other.id(), "a");
        wait(other.close()).unwrap();
        eventually("the moment is over", || {
            kit.advance(ms(10));
            consumer.status().prefetched == 1
        });
        ack(&expect(&consumer, "3"));
    }
}

/// Sends this session one message, and has this consumer take it.
#[track_caller]
fn turn_to(queue: &Queue, consumer: &Consumer, session: &str) -> Delivery {
    send_to(queue, session, &[session]);
    expect(consumer, session)
}

/// Acks it, whereupon its consumer comes to take this session.
#[track_caller]
fn go_on(consumer: &Consumer, delivery: &Delivery, session: &str) -> Delivery {
    ack(delivery);
    expect(consumer, session)
}

#[test]
fn each_consumer_finds_the_sessions_that_it_held_before() {
    for kit in kits() {
        let queue = queue(&kit);
        let one = queue.consume(pool(1)).unwrap();
        let a = turn_to(&queue, &one, "a");
        let other = queue.consume(pool(1)).unwrap();
        let b = turn_to(&queue, &other, "b");
        send_to(&queue, "c", &["c"]);
        let mut hand = go_on(&one, &a, "c");
        send_to(&queue, "d", &["d"]);
        let mut others = go_on(&other, &b, "d");
        let rounds = 3;
        for _ in 0..rounds {
            // The other's has waited longer each time.
            for (others_next, next) in [("b", "a"), ("d", "c")] {
                send_to(&queue, others_next, &[others_next]);
                send_to(&queue, next, &[next]);
                hand = go_on(&one, &hand, next);
                others = go_on(&other, &others, others_next);
            }
        }
        let resumed = metric(&kit, "queue_runtime_sessions_resumed_total");
        assert_eq!(resumed, f64::from(4 * rounds));
    }
}

#[test]
fn a_session_that_was_idle_is_found_again() {
    for kit in kits() {
        let queue = queue(&kit);
        let consumer = queue.consume(pool(1).session_idle(ms(1000))).unwrap();
        ack(&turn_to(&queue, &consumer, "a"));
        let_go(&kit, &consumer);
        let message = |session: &str| Message::new(session.to_owned()).session(session);
        wait(queue.send_many(["b", "a"].map(message))).unwrap();
        let a = expect(&consumer, "a");
        ack(&go_on(&consumer, &a, "b"));
    }
}

#[test]
fn a_session_that_made_room_stands_behind_the_others() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["a1", "a2"]);
        let consumer = queue.consume(pool(1).session_max_messages(1)).unwrap();
        let a = expect(&consumer, "a1");
        send_to(&queue, "b", &["b"]);
        send_to(&queue, "c", &["c"]);
        let b = go_on(&consumer, &a, "b");
        kit.advance(ms(10));
        let c = go_on(&consumer, &b, "c");
        ack(&go_on(&consumer, &c, "a2"));
        assert_eq!(metric(&kit, "queue_runtime_sessions_resumed_total"), 0.0);
    }
}

#[test]
fn a_session_that_was_lost_is_not_preferred() {
    for kit in kits() {
        let queue = queue(&kit);
        let consumer = queue.consume(pool(1)).unwrap();
        let a = turn_to(&queue, &consumer, "a");
        send_to(&queue, "b", &["b"]);
        kit.advance(2 * LOCK);
        assert_eq!(wait(a.cancelled()), CancelCause::LockLost);
        drop(a);
        let b = expect(&consumer, "b");
        ack(&go_on(&consumer, &b, "a"));
        assert_eq!(metric(&kit, "queue_runtime_sessions_resumed_total"), 0.0);
    }
}

/// Whoever asks: of those that are preferred and always have work, one at most comes between two that
/// wait.
#[test]
fn every_session_that_waits_has_its_turn() {
    for kit in kits() {
        let queue = queue(&kit);
        let waiting: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        for session in &waiting {
            send_to(&queue, session, &["m"]);
        }
        let busy = ["a", "b"];
        for session in busy {
            send_to(&queue, session, &["m"]);
        }
        let ask = || accept_of(&queue, &["none", "a", "b"]).unwrap();
        for (expected, busy) in waiting.iter().zip(busy.iter().cycle()) {
            // It is let go with its message, and so it has work again.
            let preferred = ask();
            assert_eq!(preferred.id(), *busy);
            wait(preferred.close()).unwrap();
            let session = ask();
            assert_eq!(session.id(), expected);
            let options = queue_runtime_core::ReceiveOptions::new();
            ack(&wait(session.receive(&options)).unwrap()[0]);
            wait(session.close()).unwrap();
        }
    }
}

#[test]
fn a_session_far_behind_others_is_not_preferred() {
    for kit in kits() {
        let queue = queue(&kit);
        let waiting: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        for session in &waiting {
            send_to(&queue, session, &["m"]);
        }
        let first = accept_of(&queue, &["99"]).unwrap();
        assert_eq!(first.id(), "0");
        assert_eq!(accept_of(&queue, &["10"]).unwrap().id(), "10");
    }
}

#[test]
fn a_session_that_waits_is_overtaken_once() {
    for kit in kits() {
        let queue = queue(&kit);
        let one = queue.consume(pool(1)).unwrap();
        let a = turn_to(&queue, &one, "a");
        send_to(&queue, "c", &["c"]);
        let c = go_on(&one, &a, "c");
        for session in ["z", "a"] {
            send_to(&queue, session, &[session]);
        }
        let a = go_on(&one, &c, "a");
        send_to(&queue, "c", &["c"]);
        let z = go_on(&one, &a, "z");
        ack(&go_on(&one, &z, "c"));
    }
}

#[test]
fn a_session_that_waits_is_overtaken_once_by_all_consumers_together() {
    for kit in kits() {
        let queue = queue(&kit);
        let one = queue.consume(pool(1)).unwrap();
        let a = turn_to(&queue, &one, "a");
        let other = queue.consume(pool(1)).unwrap();
        let b = turn_to(&queue, &other, "b");
        send_to(&queue, "c", &["c"]);
        let c = go_on(&one, &a, "c");
        send_to(&queue, "d", &["d"]);
        let d = go_on(&other, &b, "d");
        for session in ["y", "z", "a", "b"] {
            send_to(&queue, session, &[session]);
        }
        let a = go_on(&one, &c, "a");
        let y = go_on(&other, &d, "y");
        // Now it is the next one that lets another pass.
        let b = go_on(&other, &y, "b");
        send_to(&queue, "c", &["c"]);
        let z = go_on(&one, &a, "z");
        let c = go_on(&other, &b, "c");
        ack(&z);
        ack(&c);
    }
}

#[test]
fn a_lost_session_lock_cancels_what_is_in_hand_and_gives_up_the_rest() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1", "2", "3"]);
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        let options = pool(1).on_cancel(move |_, cause| tell.lock().unwrap().push(cause));
        let consumer = queue.consume(options).unwrap();
        let one = expect(&consumer, "1");
        eventually("the rest is fetched", || consumer.status().prefetched == 2);
        kit.advance(2 * LOCK);
        assert_eq!(wait(one.cancelled()), CancelCause::LockLost);
        eventually("who is told is told", || {
            *told.lock().unwrap() == [CancelCause::LockLost]
        });
        let late = wait(one.ack()).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::SessionLockLost);
        drop(one);
        kit.advance(ms(1000));
        for (text, attempt) in [("1", 2), ("2", 1), ("3", 1)] {
            let delivery = expect(&consumer, text);
            assert_eq!(delivery.attempt(), attempt, "{text}");
            ack(&delivery);
        }
    }
}

#[test]
fn a_message_that_is_in_hand_for_too_long_lets_its_session_go() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1", "2"]);
        let options = pool(1).max_lock_renewal(3 * LOCK);
        let consumer = queue.consume(options).unwrap();
        let one = expect(&consumer, "1");
        pass(&kit, 5);
        assert_eq!(one.cancel_cause(), None);
        kit.advance(LOCK / 2);
        assert_eq!(wait(one.cancelled()), CancelCause::Stalled);
        // It goes on elsewhere, or here when the hand is free.
        eventually("the session is free", || is_free(&queue, "a"));
        for _ in 0..10 {
            kit.advance(ms(1000));
            nothing(&consumer);
        }
        drop(one);
        kit.advance(ms(1000));
        ack(&expect(&consumer, "1"));
        ack(&expect(&consumer, "2"));
    }
}

#[test]
fn two_consumers_share_the_sessions_again_when_one_comes_and_when_one_goes() {
    for kit in kits() {
        let queue = queue(&kit);
        let sessions = ["a", "b", "c", "d"];
        for session in sessions {
            let many: Vec<_> = (0..400).map(|n| n.to_string()).collect();
            let bodies: Vec<_> = many.iter().map(String::as_str).collect();
            send_to(&queue, session, &bodies);
        }
        let worker = |done: &Arc<Mutex<BTreeMap<String, u32>>>| {
            let done = done.clone();
            let options = pool(4).session_max_messages(10).prefetch(4);
            let handler = move |delivery: Arc<Delivery>| {
                let done = done.clone();
                async move {
                    tokio::task::yield_now().await;
                    let session = delivery.session().unwrap_or_default().to_owned();
                    *done.lock().unwrap().entry(session).or_default() += 1;
                    Ok(())
                }
            };
            queue.process(options, handler).unwrap()
        };
        let (by_first, by_second) = (Arc::default(), Arc::default());
        let sum = |by: &Arc<Mutex<BTreeMap<String, u32>>>| by.lock().unwrap().values().sum::<u32>();
        let first = worker(&by_first);
        eventually("one alone works at all", || {
            by_first.lock().unwrap().len() == 4
        });
        let second = worker(&by_second);
        let deadline = Instant::now() + STUCK;
        while sum(&by_second) < 20 {
            assert!(
                Instant::now() < deadline,
                "the second had a share: {:?}, {:?}, {:?}, {:?}, {:?}",
                by_first.lock().unwrap(),
                by_second.lock().unwrap(),
                first.status(),
                second.status(),
                wait(queue.statistics()),
            );
            kit.advance(ms(5));
            std::thread::sleep(ms(1));
        }
        let report = wait(first.drain(HOUR));
        assert_eq!(report.abandoned, 0);
        while sum(&by_first) + sum(&by_second) < 1600 {
            assert!(
                Instant::now() < deadline,
                "the second does the rest: {:?}, {:?}, {:?}, {:?}",
                by_first.lock().unwrap(),
                by_second.lock().unwrap(),
                second.status(),
                wait(queue.statistics()),
            );
            kit.advance(ms(5));
            std::thread::sleep(ms(1));
        }
        wait(second.drain(HOUR));
    }
}

#[test]
fn a_drain_adds_up_and_leaves_the_sessions_free() {
    for kit in kits() {
        let queue = queue(&kit);
        for session in ["a", "b", "c"] {
            send_to(&queue, session, &["1", "2", "3"]);
        }
        let consumer = queue.consume(pool(3)).unwrap();
        let (one, two, three) = (next(&consumer), next(&consumer), next(&consumer));
        eventually("the rest is fetched", || consumer.status().prefetched == 6);
        let report = wait(async {
            let drained = consumer.drain(ms(1000));
            tokio::pin!(drained);
            tokio::select! {
                _ = &mut drained => panic!("three are in hand"),
                () = async {
                    while wait_free(&queue).await.ready < 6 {
                        tokio::task::yield_now().await;
                    }
                } => {}
            }
            // What is in hand is still its handlers'.
            one.ack().await.unwrap();
            drop(two);
            kit.advance(ms(1000));
            drained.await
        });
        assert_eq!(
            (report.finished, report.released, report.abandoned),
            (1, 7, 1)
        );
        assert_eq!(three.cancel_cause(), Some(CancelCause::Drained));
        let mut left = Vec::new();
        while let Some(session) = accept(&queue) {
            let options = queue_runtime_core::ReceiveOptions::new().max_messages(9);
            left.extend(wait(session.receive(&options)).unwrap());
            std::mem::forget(session);
        }
        assert_eq!(left.len(), 8);
    }
}

async fn wait_free(queue: &Queue) -> queue_runtime_core::Statistics {
    queue.statistics().await.unwrap()
}

#[test]
fn without_prefetch_nothing_is_fetched_before_somebody_asks() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1", "2"]);
        let consumer = queue.consume(pool(2).prefetch(0)).unwrap();
        held(&consumer, 1);
        std::thread::sleep(ms(10));
        assert_eq!(wait(queue.statistics()).unwrap().in_flight, 0);
        ack(&expect(&consumer, "1"));
        ack(&expect(&consumer, "2"));
    }
}

#[test]
fn a_given_session_is_consumed_with_its_lock_kept() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1", "2"]);
        send_to(&queue, "b", &["3"]);
        let session = wait(queue.accept_session(SessionOptions::id("a")))
            .unwrap()
            .unwrap();
        let consumer = session.consume(ConsumerOptions::new()).unwrap();
        let one = expect(&consumer, "1");
        nothing(&consumer);
        pass(&kit, 8);
        ack(&one);
        ack(&expect(&consumer, "2"));
        nothing(&consumer);
        pass(&kit, 8);
        send_to(&queue, "a", &["4"]);
        ack(&expect(&consumer, "4"));
        assert_eq!(wait(consumer.drain(HOUR)), DrainReport::default());
        // It is still its holder's.
        assert!(!is_free(&queue, "a"));
        wait(session.renew()).unwrap();
        wait(session.close()).unwrap();
        assert!(is_free(&queue, "a"));
    }
}

#[test]
fn a_given_session_that_is_lost_or_closed_ends_its_consumer() {
    for kit in kits() {
        for lost in [true, false] {
            let queue = queue(&kit);
            send_to(&queue, "a", &["1"]);
            let session = wait(queue.accept_session(SessionOptions::id("a")))
                .unwrap()
                .unwrap();
            let consumer = session.consume(ConsumerOptions::new()).unwrap();
            let one = expect(&consumer, "1");
            if lost {
                kit.advance(2 * LOCK);
                assert_eq!(wait(one.cancelled()), CancelCause::LockLost);
            } else {
                ack(&one);
                wait(session.close()).unwrap();
            }
            assert!(wait(consumer.next()).is_none());
            let failure = consumer.status().failure.map(|error| error.kind());
            assert_eq!(failure, Some(ErrorKind::SessionLockLost));
            drop(one);
            drop(session);
            while let Some(session) = accept(&queue) {
                let options = queue_runtime_core::ReceiveOptions::new();
                for delivery in wait(session.receive(&options)).unwrap() {
                    ack(&delivery);
                }
            }
        }
    }
}

#[test]
fn the_consumer_of_a_session_may_end_when_that_has_nothing() {
    for kit in kits() {
        let queue = queue(&kit);
        for _ in 0..20 * soak() {
            send_to(&queue, "a", &["1", "2", "3"]);
            let session = accept(&queue).unwrap();
            let options = ConsumerOptions::new().prefetch(1).idle(Duration::ZERO);
            let consumer = session.consume(options).unwrap();
            for text in ["1", "2", "3"] {
                let delivery = expect(&consumer, text);
                // Nothing can be had while it is in hand.
                assert!(wait(consumer.next()).is_none());
                ack(&delivery);
            }
            assert!(wait(consumer.next()).is_none());
            drop(consumer);
            wait(session.close()).unwrap();
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let refused = |options: ConsumerOptions| {
        let error = queue.consume(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    };
    let needs = [
        (ConsumerOptions::new().session_idle(ms(1)), "session_idle"),
        (
            ConsumerOptions::new().session_max_messages(1),
            "session_max_messages",
        ),
        (
            ConsumerOptions::new().session_max_time(ms(1)),
            "session_max_time",
        ),
    ];
    for (options, name) in needs {
        let said = refused(options);
        assert!(
            said.contains(name) && said.contains("max_sessions"),
            "{said}"
        );
    }
    assert!(refused(pool(0)).contains("max_sessions"));
    assert!(refused(pool(1).idle(ms(1))).contains("idle"));
    assert!(refused(pool(1).session_max_messages(0)).contains("session_max_messages"));
    assert!(refused(pool(1).session_max_time(Duration::ZERO)).contains("session_max_time"));
    send_to(&queue, "a", &["1"]);
    let session = accept(&queue).unwrap();
    let error = session.consume(pool(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// Real threads: every message is handled once, in the order of its session.
#[test]
fn many_handlers_lose_nothing() {
    const SESSIONS: u64 = 50;
    for kit in kits() {
        let queue = kit.queue(QueueOptions {
            retry: Some(Retry::None),
            ..QueueOptions::default()
        });
        let each = 40 * u64::from(soak());
        let seen: Arc<Vec<AtomicU64>> =
            Arc::new((0..SESSIONS).map(|_| AtomicU64::new(0)).collect());
        let done = Arc::new(AtomicU32::new(0));
        let work = |sessions| {
            let (seen, done) = (seen.clone(), done.clone());
            let handler = move |order: Arc<Delivery>| {
                let (seen, done) = (seen.clone(), done.clone());
                async move {
                    let number: u64 = body(&order).parse()?;
                    if number.is_multiple_of(7) && order.attempt() == 1 {
                        return Err(Failure::retry("the first time"));
                    }
                    tokio::task::yield_now().await;
                    let session: usize = order.session().unwrap_or_default().parse()?;
                    assert_eq!(seen[session].load(SeqCst), number, "of session {session}");
                    seen[session].fetch_add(1, SeqCst);
                    order.ack().await?;
                    done.fetch_add(1, SeqCst);
                    Ok(())
                }
            };
            let options = pool(sessions).session_max_messages(15).prefetch(30);
            queue.process(options, handler).unwrap()
        };
        let workers = [work(3), work(7)];
        wait(async {
            for number in 0..each {
                let message =
                    |session: u64| Message::new(number.to_string()).session(session.to_string());
                queue.send_many((0..SESSIONS).map(message)).await.unwrap();
            }
        });
        let deadline = Instant::now() + STUCK;
        while u64::from(done.load(SeqCst)) < SESSIONS * each {
            assert!(Instant::now() < deadline, "{} are done", done.load(SeqCst));
            // For those that let others choose first.
            kit.advance(ms(10));
            std::thread::sleep(ms(1));
        }
        for worker in workers {
            assert_eq!(wait(worker.drain(STUCK)), DrainReport::default());
        }
        let left = wait(queue.statistics()).unwrap();
        assert_eq!((left.ready, left.in_flight, left.dead), (0, 0, 0));
    }
}
