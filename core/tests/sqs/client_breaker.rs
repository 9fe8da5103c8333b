//! A provider that is away is left alone by all queues of a client together.

use queue_runtime_core::{
    Breaker, BreakerState, Clock, Consumer, ConsumerOptions, ErrorKind, Message, Queue,
    ReceiveOptions, Retry,
};
use queue_runtime_services::{Fault, Proxy};

use crate::kit::{Kit, all, away, body, eventually, look, seconds, still};

const HOUR: u64 = 3600;
/// How often the client itself tries a request before it has failed.
const TRIES: usize = 5;

fn kind(kit: &Kit, queue: &Queue) -> Option<ErrorKind> {
    kit.run(queue.send("a")).err().map(|error| error.kind())
}

/// All that came at the proxy, as it becomes more.
struct Seen<'a>(&'a Proxy, std::cell::RefCell<Vec<String>>);

impl<'a> Seen<'a> {
    fn from_now(proxy: &'a Proxy) -> Self {
        proxy.seen();
        Self(proxy, Default::default())
    }

    fn count(&self) -> usize {
        self.1.borrow_mut().extend(self.0.seen());
        self.1.borrow().len()
    }

    /// Whether no more come than these.
    #[track_caller]
    fn stays(&self, count: usize) {
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(self.count(), count, "{:?}", self.1);
    }
}

#[test]
fn calls_for_all_queues_pause_while_the_provider_is_away() {
    let (kit, proxy, clock) = still("&breaker=none&client_breaker=5,60s,2");
    let (a, b) = (kit.queue("all-pause-a"), kit.queue("all-pause-b"));
    kit.run(a.send("in hand")).unwrap();
    let in_hand = kit.receive(&a, 1).remove(0);
    proxy.always(Some("SendMessageBatch"), away());
    for queue in [&a, &b, &a, &b] {
        assert_eq!(kind(&kit, queue), Some(ErrorKind::Unavailable));
    }
    // One that succeeds forgets them all, and finding nothing is a success.
    assert!(kit.run(b.receive(&look())).unwrap().is_empty());
    for queue in [&a, &b, &a, &b, &a] {
        assert_eq!(kit.client.breaker_state(), BreakerState::Closed);
        assert_eq!(kind(&kit, queue), Some(ErrorKind::Unavailable));
    }
    assert_eq!(kit.client.breaker_state(), BreakerState::Open);

    let seen = Seen::from_now(&proxy);
    clock.advance(seconds(20)).unwrap();
    for queue in [&a, &b] {
        let errors = [
            kit.run(queue.send("a")).unwrap_err(),
            kit.run(queue.send_many([Message::from("a")])).unwrap_err(),
            kit.run(queue.receive(&look())).unwrap_err(),
            kit.run(queue.receive_one(seconds(20))).unwrap_err(),
            kit.run(queue.statistics()).unwrap_err(),
            kit.run(queue.create()).unwrap_err(),
            kit.run(queue.explain()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::CircuitOpen, "{error}");
            assert_eq!(error.retry_after(), Some(seconds(40)));
            assert_eq!(error.queue(), Some(queue.name()));
        }
    }
    assert_eq!(seen.count(), 0, "nobody asked");
    // What is in hand goes on, and says nothing.
    kit.run(in_hand.extend(seconds(100))).unwrap();
    kit.run(in_hand.ack()).unwrap();
    assert_eq!(seen.count(), 2);
    assert_eq!(kit.client.breaker_state(), BreakerState::Open);

    // One is tried, of whatever queue, and opens it again.
    clock.advance(seconds(40)).unwrap();
    assert_eq!(kit.client.breaker_state(), BreakerState::HalfOpen);
    assert_eq!(kind(&kit, &b), Some(ErrorKind::Unavailable));
    assert_eq!(kind(&kit, &a), Some(ErrorKind::CircuitOpen));

    proxy.heal();
    clock.advance(seconds(60)).unwrap();
    let options = ReceiveOptions::new().wait(seconds(20));
    assert!(kit.run(a.receive(&options)).unwrap().is_empty());
    assert_eq!(kit.client.breaker_state(), BreakerState::HalfOpen);
    assert_eq!(kind(&kit, &b), None);
    assert_eq!(kit.client.breaker_state(), BreakerState::Closed);
    let metrics = kit.client.metrics();
    for line in [
        "breaker_state{provider=\"sqs\",operation=\"client\"} 0\n",
        "breaker_transitions_total{provider=\"sqs\",operation=\"client\",state=\"open\"} 2\n",
        "breaker_transitions_total{provider=\"sqs\",operation=\"client\",state=\"closed\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn only_what_says_that_the_provider_is_away_counts() {
    let (kit, proxy, _) = still("&breaker=1,60s,1&client_breaker=1,60s,1");
    let (a, b) = (kit.queue("counts-a"), kit.queue("counts-b"));
    let answers = [
        (403, "AccessDenied", ErrorKind::PermissionDenied),
        (400, "ThrottlingException", ErrorKind::Throttled),
    ];
    for (status, code, expected) in answers {
        let answer = format!(r#"{{"__type":"{code}"}}"#);
        proxy.always(Some("SendMessageBatch"), Fault::Answer(status, answer));
        assert_eq!(kind(&kit, &a), Some(expected));
        assert_eq!(kit.client.breaker_state(), BreakerState::Closed);
        proxy.heal();
    }
    // Throttling is a matter of one queue.
    assert_eq!(a.breaker_state(), BreakerState::Open);
    assert_eq!(kind(&kit, &b), None);
    proxy.always(Some("ReceiveMessage"), away());
    let error = kit.run(b.receive(&look())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(kit.client.breaker_state(), BreakerState::Open);
    assert_eq!(kind(&kit, &b), Some(ErrorKind::CircuitOpen));
    // Each is closed by itself.
    kit.client.reset_breaker();
    assert_eq!(kind(&kit, &b), None);
    assert_eq!(kind(&kit, &a), Some(ErrorKind::CircuitOpen));
}

/// Two queues with a message each, and what receives of each: with a patience far beyond the pause.
struct Two {
    kit: Kit,
    proxy: Proxy,
    clock: Clock,
    queues: [Queue; 2],
    sessions: bool,
}

impl Two {
    fn new(name: &str, sessions: bool) -> Self {
        let fifo = if sessions { "&fifo=true" } else { "" };
        let options = format!("&breaker=none&client_breaker=5,60s,2{fifo}");
        let (kit, proxy, clock) = still(&options);
        let queues = ["a", "b"].map(|n| kit.queue(&format!("{name}-{n}-{sessions}")));
        for queue in &queues {
            let message = Message::from("before");
            let message = if sessions {
                message.session("s")
            } else {
                message
            };
            all(kit.run(queue.send_many([message])));
        }
        Self {
            kit,
            proxy,
            clock,
            queues,
            sessions,
        }
    }

    /// The server goes down, and both consumers see it.
    fn go_down(&self) -> [Consumer; 2] {
        self.proxy.always(None, away());
        let options = ConsumerOptions::new().reconnect(Retry::Fixed {
            delay: seconds(HOUR),
        });
        let options = match self.sessions {
            true => options.max_sessions(2),
            false => options,
        };
        let consumers = [0, 1].map(|n| self.queues[n].consume(options.clone()).unwrap());
        for consumer in &consumers {
            eventually("it is seen", || consumer.status().failure.is_some());
        }
        consumers
    }

    /// The fifth failure.
    fn open(&self) {
        for queue in [&self.queues[0], &self.queues[1], &self.queues[0]] {
            assert_eq!(self.kit.client.breaker_state(), BreakerState::Closed);
            let failed = self.kit.run(queue.statistics()).unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Unavailable);
        }
        assert_eq!(self.kit.client.breaker_state(), BreakerState::Open);
    }

    fn both_go_on(&self, consumers: &[Consumer; 2]) {
        for consumer in consumers {
            let delivery = self.kit.run(consumer.next()).unwrap();
            assert_eq!(
                (body(&delivery).as_str(), delivery.attempt()),
                ("before", 1)
            );
            self.kit.run(delivery.ack()).unwrap();
            eventually("it is ready", || consumer.status().ready);
        }
        assert_eq!(self.kit.client.breaker_state(), BreakerState::Closed);
    }
}

#[test]
fn one_probe_at_a_time_is_received_and_all_consumers_go_on_together() {
    for sessions in [false, true] {
        let two = Two::new("together", sessions);
        let consumers = two.go_down();
        two.open();
        let seen = Seen::from_now(&two.proxy);
        two.clock.advance(seconds(59)).unwrap();
        seen.stays(0);
        for probes in 1..=5 {
            two.clock.advance(seconds(60)).unwrap();
            eventually("one looks", || {
                seen.count() == probes * TRIES
                    && two.kit.client.breaker_state() == BreakerState::Open
            });
            seen.stays(probes * TRIES);
        }
        two.proxy.heal();
        two.clock.advance(seconds(60)).unwrap();
        two.both_go_on(&consumers);
    }
}

#[test]
fn consumers_go_on_when_it_is_closed_by_hand() {
    for sessions in [false, true] {
        let two = Two::new("by-hand", sessions);
        let consumers = two.go_down();
        two.open();
        // One that comes while it is open does not ask.
        let late = two.queues[0].consume(ConsumerOptions::new());
        let late = late.unwrap();
        let seen = Seen::from_now(&two.proxy);
        eventually("it is shown", || {
            let failure = late.status().failure;
            failure.is_some_and(|failure| failure.kind() == ErrorKind::CircuitOpen)
        });
        drop(late);
        seen.stays(0);
        two.proxy.heal();
        two.kit.client.reset_breaker();
        two.both_go_on(&consumers);
    }
}

#[test]
fn nobody_is_kept_from_ending_while_it_is_open() {
    for sessions in [false, true] {
        let two = Two::new("ending", sessions);
        let [drained, closed] = two.go_down();
        two.open();
        let asking = std::thread::scope(|scope| {
            let asking = scope.spawn(|| two.kit.run(drained.next()).is_none());
            two.kit.run(drained.drain(seconds(HOUR)));
            asking.join().unwrap()
        });
        assert!(asking);
        two.kit.run(two.kit.client.close()).unwrap();
        assert!(two.kit.run(closed.next()).is_none());
        let error = two.kit.run(two.queues[0].send("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

#[test]
fn a_probe_that_is_dropped_leaves_room_for_the_next() {
    let (kit, proxy, clock) = still("&breaker=none&client_breaker=1,60s,1");
    let queue = kit.queue("dropped-probe");
    proxy.always(Some("SendMessageBatch"), away());
    assert_eq!(kind(&kit, &queue), Some(ErrorKind::Unavailable));
    proxy.heal();
    proxy.always(Some("ReceiveMessage"), Fault::BlackHole);
    clock.advance(seconds(60)).unwrap();
    let probe = queue.start_receive(&look());
    let error = kit.run(queue.send("a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CircuitOpen);
    assert_eq!(error.retry_after(), None, "as soon as the probe has ended");
    drop(probe);
    assert_eq!(kind(&kit, &queue), None);
    assert_eq!(kit.client.breaker_state(), BreakerState::Closed);
}

#[test]
fn a_client_has_none_unless_asked() {
    let (kit, proxy, _) = still("&breaker=none");
    let queue = kit.queue("no-client-breaker");
    proxy.always(None, away());
    for _ in 0..20 {
        assert_eq!(kind(&kit, &queue), Some(ErrorKind::Unavailable));
    }
    assert_eq!(kit.client.breaker_state(), BreakerState::Closed);
    kit.client.reset_breaker();
    assert!(!kit.client.metrics().contains("operation=\"client\""));
    assert_eq!(queue.definition().breaker, Breaker::None);
}
