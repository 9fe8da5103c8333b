//! A pool finds the sessions again that it held before, and nobody starves for that.

use super::*;

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

/// Two pools of one place and what is in their hands: one held a and has c, the other held b and
/// has d.
#[track_caller]
fn two_that_went_on(queue: &Queue) -> [(Consumer, Delivery); 2] {
    let one = queue.consume(pool(1)).unwrap();
    let a = turn_to(queue, &one, "a");
    let other = queue.consume(pool(1)).unwrap();
    let b = turn_to(queue, &other, "b");
    send_to(queue, "c", &["c"]);
    let c = go_on(&one, &a, "c");
    send_to(queue, "d", &["d"]);
    let d = go_on(&other, &b, "d");
    [(one, c), (other, d)]
}

#[test]
fn each_consumer_finds_the_sessions_that_it_held_before() {
    for kit in kits() {
        let queue = queue(&kit);
        let [(one, mut hand), (other, mut others)] = two_that_went_on(&queue);
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
        let [(one, c), (other, d)] = two_that_went_on(&queue);
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
