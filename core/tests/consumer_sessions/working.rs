//! A pool at work: how many sessions, whose messages, in what order.

use super::*;

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
