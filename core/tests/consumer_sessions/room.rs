//! How long a session keeps its place, and who comes after it.

use super::*;

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
