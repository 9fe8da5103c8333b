//! Fair groups: a group with much work holds up no other one, in the engines and in consumers. On the
//! virtual clock, in memory and in a folder.

#![cfg(not(feature = "shuttle"))]

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{
    HOUR, Kit, Waiting, bodies, body, eventually, kits, look, ms, next, nothing, soak, wait,
};
use queue_runtime_core::{
    BatchOptions, Capability, Consumer, ConsumerOptions, Delivery, ErrorKind, Message, OnFailure,
    Queue, QueueOptions, ReceiveOptions, SessionOptions,
};

/// How long a handler takes.
const WORK: Duration = ms(10);

fn fair() -> QueueOptions {
    QueueOptions {
        fair_groups: Some(true),
        max_messages: Some(1_000_000),
        ..QueueOptions::default()
    }
}

/// Sends messages of a group, of none if it has no name, called by the group and a number.
fn send(queue: &Queue, group: &str, numbers: impl Iterator<Item = u32>) {
    let message = |n| {
        let message = Message::new(format!("{group}{n}"));
        match group {
            "" => message,
            group => message.session(group),
        }
    };
    let mut messages: Vec<_> = numbers.map(message).collect();
    while !messages.is_empty() {
        let rest = messages.split_off(messages.len().min(1000));
        for sent in wait(queue.send_many(messages)).unwrap() {
            sent.unwrap();
        }
        messages = rest;
    }
}

fn ack(delivery: &Delivery) {
    wait(delivery.ack()).unwrap();
}

/// The group of a delivery; empty for none.
fn group(delivery: &Delivery) -> &str {
    delivery.session().unwrap_or_default()
}

fn of<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>, name: &str) -> usize {
    let of = deliveries.into_iter().filter(|d| group(d) == name);
    of.count()
}

/// What can be handed out now.
fn take_all(consumer: &Consumer) -> Vec<Delivery> {
    let mut taken = Vec::new();
    wait(async {
        while let Ok(Some(delivery)) = tokio::time::timeout(ms(20), consumer.next()).await {
            taken.push(delivery);
        }
    });
    taken
}

// --- the engines ----------------------------------------------------------------------------------

#[test]
fn groups_take_turns_and_messages_of_none_are_one_of_them() {
    for kit in kits() {
        let queue = kit.queue(fair());
        send(&queue, "a", 1..=6);
        send(&queue, "b", 1..=2);
        send(&queue, "", 1..=3);
        send(&queue, "c", 1..=1);
        let first = look(&queue, 3);
        assert_eq!(bodies(&first), ["a1", "b1", "1"]);
        let rest = look(&queue, 100);
        let order = ["c1", "a2", "b2", "2", "a3", "3", "a4", "a5", "a6"];
        assert_eq!(bodies(&rest), order);
        let statistics = wait(queue.statistics()).unwrap();
        assert_eq!(statistics.in_flight, 12);
        assert_eq!(statistics.sessions, 3);
        for delivery in first.iter().chain(&rest) {
            ack(delivery);
        }
        let statistics = wait(queue.statistics()).unwrap();
        assert_eq!((statistics.ready, statistics.sessions), (0, 0));
    }
}

/// One at a time goes round as well as many at once.
#[test]
fn turns_go_on_from_one_receive_to_the_next() {
    for kit in kits() {
        let queue = kit.queue(fair());
        for name in ["a", "b", "c"] {
            send(&queue, name, 1..=3);
        }
        let came: Vec<_> = (0..9).flat_map(|_| look(&queue, 1)).collect();
        let order = ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"];
        assert_eq!(bodies(&came), order);
    }
}

#[test]
fn what_comes_back_takes_its_old_place_in_its_group() {
    for kit in kits() {
        let lock = Duration::from_secs(30);
        let queue = kit.queue(fair());
        send(&queue, "a", 1..=4);
        let all = look(&queue, 3);
        wait(all[1].nack_after(Some("again"), Duration::from_secs(5))).unwrap();
        assert_eq!(bodies(&look(&queue, 10)), ["a4"], "nothing waits for a2");
        wait(all[2].release(None)).unwrap();
        wait(all[0].nack(Some("again"))).unwrap();
        assert_eq!(bodies(&look(&queue, 1)), ["a1"]);
        kit.advance(Duration::from_secs(5));
        assert_eq!(bodies(&look(&queue, 10)), ["a2", "a3"]);
        kit.advance(lock);
        assert_eq!(bodies(&look(&queue, 10)), ["a1", "a2", "a3", "a4"]);
    }
}

#[test]
fn nobody_holds_a_group() {
    for kit in kits() {
        let queue = kit.queue(fair());
        send(&queue, "a", 1..=1);
        for options in [SessionOptions::next(), SessionOptions::id("a")] {
            let error = wait(queue.accept_session(options)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("fair_groups"), "{error}");
        }
        let sessions = ConsumerOptions::new().max_sessions(2);
        let error = queue.consume(sessions).unwrap_err();
        assert_eq!(error.capability(), Some(Capability::Sessions));
        assert!(!queue.capabilities().has(Capability::SessionState));
        for on_failure in [OnFailure::Skip, OnFailure::Park] {
            let options = QueueOptions {
                on_failure: Some(on_failure),
                ..fair()
            };
            let error = kit.client.queue_with("other", options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
        ack(&look(&queue, 1)[0]);
    }
}

#[test]
fn all_who_use_a_queue_agree_on_its_groups() {
    for kit in kits() {
        let plain = kit.queue(QueueOptions::default());
        let groups = kit.queue(fair());
        send(&plain, "a", 1..=1);
        let error = wait(groups.send("b")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.field(), Some("fair_groups"));
        let fair = kit.client.queue_with("fair", fair()).unwrap();
        send(&fair, "a", 1..=1);
        let unsaid = kit.client.queue("fair").unwrap();
        let error = wait(unsaid.statistics()).unwrap_err();
        assert_eq!(error.field(), Some("fair_groups"));
    }
}

#[cfg(all(feature = "file", target_os = "linux"))]
#[test]
fn a_store_that_is_built_anew_still_has_its_groups() {
    let folder = Arc::new(common::folder::Folder::new());
    {
        let kit = Kit::file(&folder, "fair_groups=true");
        let queue = kit.queue(QueueOptions::default());
        send(&queue, "a", 1..=3);
        send(&queue, "", 1..=2);
        send(&queue, "b", 1..=1);
        wait(kit.client.close()).unwrap();
    }
    folder.lose_index();
    let kit = Kit::file(&folder, "fair_groups=true");
    let queue = kit.queue(QueueOptions::default());
    let came = look(&queue, 10);
    assert_eq!(bodies(&came), ["a1", "1", "b1", "a2", "2", "a3"]);
}

// --- consumers ------------------------------------------------------------------------------------

/// Handles what a consumer hands out, 10 ms each, until so many of a group came: how long they were
/// in the queue, and the most of a group that was in hand.
struct Watch<'a> {
    kit: &'a Kit,
    consumer: &'a Consumer,
    hands: Vec<(Duration, Delivery)>,
    now: Duration,
}

impl<'a> Watch<'a> {
    fn new(kit: &'a Kit, consumer: &'a Consumer) -> Self {
        Self {
            kit,
            consumer,
            hands: Vec::new(),
            now: Duration::ZERO,
        }
    }

    /// Fills the hands. Answers what came.
    fn fill(&mut self, most: usize) -> Vec<String> {
        let done = self.now + WORK;
        let came = take_all(self.consumer);
        let names = came.iter().map(|d| body(d).to_owned()).collect();
        self.hands.extend(came.into_iter().map(|d| (done, d)));
        let mut of_group = HashMap::new();
        for (_, delivery) in &self.hands {
            *of_group.entry(group(delivery)).or_insert(0) += 1;
        }
        assert!(of_group.values().all(|n| *n <= most), "{of_group:?}");
        names
    }

    /// Lets the handlers work until the first ones end.
    fn work(&mut self) {
        let first = self.hands.iter().map(|(done, _)| *done).min();
        let first = first.unwrap_or(self.now + WORK);
        self.kit.advance(first - self.now);
        self.now = first;
        self.hands.retain(|(done, delivery)| {
            let ends = *done <= first;
            if ends {
                ack(delivery);
            }
            !ends
        });
    }

    /// How long each message of the group waits that is sent now.
    fn waits(&mut self, queue: &Queue, name: &str, count: u32, most: usize) -> Vec<Duration> {
        let sent = self.now;
        send(queue, name, 1..=count);
        let mut waits = Vec::new();
        while waits.len() < count as usize {
            let came = self.fill(most);
            let of_group = came.iter().filter(|body| body.starts_with(name));
            waits.extend(of_group.map(|_| self.now - sent));
            self.work();
        }
        waits
    }
}

#[test]
fn a_group_with_much_work_does_not_hold_up_another_one() {
    const MOST: u32 = 4;
    for kit in kits() {
        let all = if kit.folder.is_none() {
            100_000
        } else {
            5_000 * soak().min(20)
        };
        let waits = |backlog: u32| {
            let name = format!("q{backlog}");
            let queue = kit.client.queue_with(&name, fair()).unwrap();
            let options = ConsumerOptions::new()
                .concurrency(16)
                .max_in_flight_per_group(MOST);
            let consumer = queue.consume(options).unwrap();
            let mut watch = Watch::new(&kit, &consumer);
            send(&queue, "a", 1..=backlog);
            for _ in 0..3 {
                watch.fill(MOST as usize);
                watch.work();
            }
            watch.fill(MOST as usize);
            let waits = watch.waits(&queue, "b", 10, MOST as usize);
            let report = wait(async {
                let drain = consumer.drain(HOUR);
                let settle = async {
                    for (_, delivery) in &watch.hands {
                        delivery.ack().await.unwrap();
                    }
                };
                tokio::join!(drain, settle).0
            });
            assert_eq!(report.finished, watch.hands.len() as u64);
            assert_eq!(report.abandoned, 0);
            waits
        };
        let (idle, busy) = (waits(0), waits(all));
        let sum = |waits: &[Duration]| waits.iter().sum::<Duration>();
        assert!(sum(&busy) <= sum(&idle) * 2, "{busy:?} is not {idle:?}");
        assert!(busy.last() <= idle.last().map(|last| *last * 2).as_ref());
    }
}

/// Without a maximum, turns alone bring another group's messages forward.
#[test]
fn turns_alone_bring_a_group_forward() {
    for kit in kits() {
        let queue = kit.queue(fair());
        send(&queue, "a", 1..=1000);
        let options = ConsumerOptions::new().concurrency(16);
        let consumer = queue.consume(options).unwrap();
        let first: Vec<_> = (0..16).map(|_| next(&consumer)).collect();
        assert_eq!(of(&first, "a"), 16, "any number of a group is in hand");
        send(&queue, "b", 1..=10);
        first.iter().for_each(ack);
        // As many as are in turn, behind those that were fetched ahead.
        let mut came = 0;
        for _ in 0..2 * 10 + 16 {
            let delivery = next(&consumer);
            came += of([&delivery], "b");
            ack(&delivery);
        }
        assert_eq!(came, 10);
    }
}

#[test]
fn of_a_group_no_more_is_in_hand_than_its_maximum() {
    for kit in kits() {
        let queue = kit.queue(fair());
        send(&queue, "a", 1..=9);
        send(&queue, "", 1..=4);
        send(&queue, "b", 1..=1);
        let options = ConsumerOptions::new().max_in_flight_per_group(2);
        let consumer = queue.consume(options).unwrap();
        let taken = take_all(&consumer);
        assert_eq!((of(&taken, "a"), of(&taken, "b")), (2, 1));
        assert_eq!(of(&taken, ""), 4, "what has no group is not counted");
        let (mine, others): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .partition(|delivery| group(delivery) == "a");
        others.iter().for_each(ack);
        nothing(&consumer);
        ack(&mine[0]);
        let third = next(&consumer);
        assert_eq!(body(&third), "a3");
        nothing(&consumer);
        // However it ends, there is room for the next one.
        wait(third.dead_letter("over", None)).unwrap();
        assert_eq!(body(&next(&consumer)), "a4");
    }
}

#[test]
fn a_message_that_failed_keeps_its_place_and_holds_up_nothing() {
    for kit in kits() {
        let queue = kit.queue(fair());
        send(&queue, "a", 1..=4);
        let options = ConsumerOptions::new()
            .max_in_flight_per_group(2)
            .prefetch(0);
        let consumer = queue.consume(options).unwrap();
        let (first, second) = (next(&consumer), next(&consumer));
        assert_eq!((body(&first), body(&second)), ("a1", "a2"));
        wait(first.nack(Some("again"))).unwrap();
        let again = next(&consumer);
        assert_eq!((body(&again), again.attempt()), ("a1", 2));
        nothing(&consumer);
        ack(&second);
        assert_eq!(body(&next(&consumer)), "a3");
    }
}

/// What is fetched of a group at its maximum has a bound of its own, and leaves room for others.
#[test]
fn what_waits_for_its_group_is_bounded_and_leaves_room() {
    for kit in kits() {
        let queue = kit.queue(fair());
        send(&queue, "a", 1..=500);
        let options = ConsumerOptions::new()
            .concurrency(8)
            .prefetch(8)
            .max_in_flight_per_group(1);
        let consumer = queue.consume(options).unwrap();
        let mut hands = take_all(&consumer);
        assert_eq!(of(&hands, "a"), 1);
        for name in ["b", "c", "d"] {
            let ahead = consumer.status().prefetched;
            assert!(ahead <= 2 * 8, "{ahead} fetched ahead");
            send(&queue, name, 1..=20);
            let delivery = next(&consumer);
            assert_eq!(group(&delivery), name);
            hands.push(delivery);
            hands.extend(take_all(&consumer));
            assert_eq!(of(&hands, name), 1);
        }
        let report = wait(consumer.drain(Duration::ZERO));
        let given_back = report.released;
        assert_eq!(report.abandoned, 0);
        assert!(given_back <= 4 + 2 * 8, "{given_back} given back");
        assert_eq!(wait(queue.statistics()).unwrap().in_flight, 0);
    }
}

#[test]
fn whoever_waits_is_woken_by_a_group_that_has_room() {
    for kit in kits() {
        let queue = kit.queue(fair());
        let options = ConsumerOptions::new().max_in_flight_per_group(1);
        let consumer = Arc::new(queue.consume(options).unwrap());
        send(&queue, "a", 1..=3);
        let a = next(&consumer);
        let ask = |consumer: &Arc<Consumer>| {
            let consumer = consumer.clone();
            Waiting::start(async move { consumer.next().await.unwrap() })
        };
        let asked = ask(&consumer);
        send(&queue, "b", 1..=1);
        let b = asked.finish("b has room");
        assert_eq!(body(&b), "b1");
        let asked = ask(&consumer);
        ack(&a);
        assert_eq!(body(&asked.finish("a has room again")), "a2");
    }
}

/// One who wants nothing of a group does not keep its message from another one.
#[test]
fn a_wake_goes_to_who_can_use_it() {
    for kit in kits() {
        let queue = kit.queue(fair());
        let options = ConsumerOptions::new()
            .max_in_flight_per_group(1)
            .prefetch(4);
        let full = Arc::new(queue.consume(options).unwrap());
        send(&queue, "a", 1..=1);
        let a1 = next(&full);
        let asked = full.clone();
        let full_asks = Waiting::start(async move { asked.next().await.unwrap() });
        // The consumer's own receive, without the group, has begun by then, and is the first to wait.
        std::thread::sleep(ms(20));
        let receiving = queue.clone();
        let another = Waiting::start(async move {
            let options = ReceiveOptions::new().wait(HOUR);
            receiving.receive(&options).await.unwrap()
        });
        send(&queue, "a", 2..=2);
        let a2 = another.finish("it may have any group");
        assert_eq!(bodies(&a2), ["a2"]);
        ack(&a1);
        send(&queue, "b", 1..=1);
        assert_eq!(body(&full_asks.finish("b has room")), "b1");
    }
}

#[test]
fn a_batch_has_no_more_of_a_group_than_its_maximum() {
    for kit in kits() {
        let queue = kit.queue(fair());
        send(&queue, "a", 1..=9);
        send(&queue, "b", 1..=2);
        let batches = BatchOptions::new()
            .batch_size(8)
            .batch_linger(Duration::ZERO);
        let options = ConsumerOptions::new()
            .concurrency(16)
            .max_in_flight_per_group(3)
            .batches(batches);
        let consumer = queue.consume(options).unwrap();
        let mut came = 0;
        let mut hands = Vec::new();
        while came < 11 {
            let batch = wait(consumer.next_batch(8)).unwrap();
            came += batch.len();
            hands.extend(batch);
            assert!(of(&hands, "a") <= 3 && of(&hands, "b") <= 3);
            if of(&hands, "a") == 3 {
                hands.drain(..).for_each(|delivery| ack(&delivery));
            }
        }
    }
}

/// Real threads: every message is handled once, and a group's maximum holds at every moment.
#[test]
fn workers_hold_to_the_maximum_and_handle_each_message_once() {
    const GROUPS: [&str; 5] = ["a", "b", "c", "d", ""];
    const MOST: u32 = 2;
    for kit in kits() {
        let queue = kit.queue(fair());
        let each = 200 * soak();
        send(&queue, "a", 1..=each * 4);
        for name in &GROUPS[1..] {
            send(&queue, name, 1..=each);
        }
        let handled = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
        let in_hand: Arc<[AtomicU32; GROUPS.len()]> = Arc::default();
        let (seen, counts) = (handled.clone(), in_hand.clone());
        let options = ConsumerOptions::new()
            .concurrency(12)
            .max_in_flight_per_group(MOST);
        let handler = move |delivery: Arc<Delivery>| {
            let (seen, counts) = (seen.clone(), counts.clone());
            async move {
                let place = GROUPS.iter().position(|name| *name == group(&delivery));
                let (place, limited) = (place.unwrap(), !group(&delivery).is_empty());
                let now = counts[place].fetch_add(1, SeqCst) + 1;
                assert!(!limited || now <= MOST, "{now} of {}", GROUPS[place]);
                tokio::task::yield_now().await;
                let body = body(&delivery).to_owned();
                *seen.lock().unwrap().entry(body).or_default() += 1;
                counts[place].fetch_sub(1, SeqCst);
                Ok(())
            }
        };
        let workers = [queue.process(options.clone(), handler.clone()).unwrap()];
        let all = (each * 8) as usize;
        eventually("all is handled", || handled.lock().unwrap().len() == all);
        for worker in workers {
            let report = wait(worker.drain(HOUR));
            assert_eq!((report.released, report.abandoned), (0, 0));
        }
        assert!(handled.lock().unwrap().values().all(|times| *times == 1));
        let left = wait(queue.statistics()).unwrap();
        assert_eq!((left.ready, left.in_flight, left.dead), (0, 0, 0));
    }
}

#[test]
fn consumers_share_what_is_there() {
    for kit in kits() {
        let queue = kit.queue(fair());
        send(&queue, "a", 1..=60);
        send(&queue, "b", 1..=60);
        let options = ConsumerOptions::new()
            .concurrency(8)
            .prefetch(2)
            .max_in_flight_per_group(2);
        let consumers = [(); 2].map(|()| queue.consume(options.clone()).unwrap());
        let mut handled = [0; 2];
        while handled.iter().sum::<usize>() < 120 {
            for (consumer, handled) in consumers.iter().zip(&mut handled) {
                let came = take_all(consumer);
                assert!(of(&came, "a") <= 2 && of(&came, "b") <= 2);
                *handled += came.len();
                came.iter().for_each(ack);
            }
        }
        assert!(handled.iter().all(|n| *n >= 40), "{handled:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for kit in kits() {
        let plain = kit.queue(QueueOptions::default());
        let options = ConsumerOptions::new().max_in_flight_per_group(2);
        let error = plain.consume(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.capability(), Some(Capability::FairGroups));
        let queue = kit.client.queue_with("fair", fair()).unwrap();
        let none = ConsumerOptions::new().max_in_flight_per_group(0);
        let error = queue.consume(none).unwrap_err();
        assert_eq!(error.field(), Some("max_in_flight_per_group"));
    }
}
