//! The safe client does what the ABI does: at once, later, and in failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use queue_runtime_bindings::{
    Client, Entry, Events, Filter, Flags, Message, Queue, ReceiveOptions, RedriveOptions, Runtime,
    Settlements, Started, Status, Value, WriteBehind,
};

const WAIT: Duration = Duration::from_secs(30);

fn open() -> (Runtime, Client, Queue) {
    let runtime = Runtime::new("", true).unwrap();
    let client = Client::open(&runtime, "memory:", "")
        .unwrap()
        .wait()
        .unwrap();
    let queue = client
        .queue("jobs", r#"{"budget": 1, "retry": "none"}"#)
        .unwrap();
    (runtime, client, queue)
}

fn receive(max_messages: u32, wait: Duration) -> ReceiveOptions {
    ReceiveOptions {
        keep_lock: false,
        max_messages,
        flags: Flags::None,
        wait,
        lock: None,
    }
}

fn send(queue: &Queue, body: &str) {
    let message = Message::new(body.as_bytes()).unwrap();
    queue
        .send_one(&message, Flags::None)
        .unwrap()
        .wait()
        .unwrap();
}

#[test]
fn a_message_passes_at_once() {
    let (_runtime, _client, queue) = open();
    let mut message = Message::taking(vec![1, 2, 3]).unwrap();
    message.set_header("kind", "test").unwrap();
    message.set_id("m-1").unwrap();
    let Started::Done(sent) = queue.send(&[message], Flags::None).unwrap() else {
        panic!("memory: ends at once");
    };
    assert_eq!(sent.get(0).unwrap().id, "m-1");
    assert_eq!(
        sent.get(1).unwrap_err().status,
        Status(0),
        "there is no such result"
    );

    let Started::Done(batch) = queue.receive(&receive(10, Duration::ZERO)).unwrap() else {
        panic!("memory: ends at once");
    };
    let delivery = batch.get(0).unwrap();
    assert!(batch.get(1).is_none());
    drop(batch);
    assert_eq!(delivery.message().body(), [1, 2, 3]);
    assert_eq!(
        delivery.message().headers().collect::<Vec<_>>(),
        [("kind", "test")]
    );
    assert_eq!((delivery.id(), delivery.attempt()), ("m-1", 1));
    delivery.ack(Flags::None).unwrap().wait().unwrap();
    assert!(delivery.is_settled());

    let error = delivery.ack(Flags::None).err().unwrap();
    assert_eq!(error.status.name(), "invalid_receipt");
    assert_eq!(error.queue.as_deref(), Some("jobs"));
}

#[test]
fn an_event_queue_tells_of_the_end() {
    let (runtime, _client, queue) = open();
    let events = Events::new(&runtime).unwrap();
    let (woken, wakes) = mpsc::channel();
    events.set_wake(move || woken.send(()).unwrap()).unwrap();

    let Started::Pending(op) = queue.receive(&receive(1, WAIT)).unwrap() else {
        panic!("the queue is empty");
    };
    events.watch(&op, 7).unwrap();
    assert!(events.watch(&op, 8).is_err(), "it is watched already");
    assert!(op.take().unwrap().is_none());
    assert!(events.drain(8).is_empty());
    send(&queue, "late");
    wakes.recv_timeout(WAIT).unwrap();

    let ended = events.drain(8).remove(0);
    assert_eq!(ended.tag, 7);
    let Ok(Value::Batch(batch)) = ended.result else {
        panic!("a receive gives a batch");
    };
    assert_eq!(batch.get(0).unwrap().message().body(), b"late");
    drop(events);
    assert!(
        wakes.recv().is_err(),
        "the wake function is dropped with its queue"
    );
}

#[test]
fn an_event_queue_leaves_results_where_they_are() {
    let (runtime, _client, queue) = open();
    let events = Events::new(&runtime).unwrap();
    let receives = [1, 2].map(|tag| {
        let Started::Pending(op) = queue.receive(&receive(1, WAIT)).unwrap() else {
            panic!("the queue is empty");
        };
        events.watch(&op, tag).unwrap();
        op
    });
    for body in ["first", "second"] {
        send(&queue, body);
    }
    let ended = |op: &queue_runtime_bindings::Op<_>| op.wait(Some(WAIT)).unwrap();
    assert!(receives.iter().all(ended));
    // The last event is told after its operation has ended.
    let mut tags = events.drain_tags(1);
    while tags.len() < 2 {
        tags.extend(events.drain_tags(8));
    }
    tags.sort_unstable();
    assert_eq!(tags, [1, 2]);
    let [first, second] = receives;
    let batch = first.take().unwrap().unwrap();
    assert_eq!(batch.get(0).unwrap().message().body(), b"first");
    drop(second);
    let again = queue.receive(&receive(1, WAIT)).unwrap().wait().unwrap();
    let given_back = again.get(0).unwrap();
    assert_eq!(given_back.message().body(), b"second");
    assert_eq!(given_back.attempt(), 1, "nobody took it");
}

#[test]
fn what_is_abandoned_is_back_at_once() {
    let (_runtime, _client, queue) = open();
    for _ in 0..100 {
        let Started::Pending(op) = queue.receive(&receive(1, WAIT)).unwrap() else {
            panic!("the queue is empty");
        };
        assert!(!op.abandon().unwrap() || op.wait(Some(Duration::ZERO)).unwrap());
        let Started::Pending(op) = queue.receive(&receive(1, WAIT)).unwrap() else {
            panic!("the queue is empty");
        };
        send(&queue, "late");
        assert!(op.wait(Some(WAIT)).unwrap());
        assert!(op.abandon().unwrap(), "it has ended");
        let batch = queue.receive(&receive(1, Duration::ZERO)).unwrap();
        let delivery = batch.wait().unwrap().get(0).unwrap();
        assert_eq!(delivery.attempt(), 1, "it was given back unblamed");
        delivery.ack(Flags::None).unwrap().wait().unwrap();
        assert!(op.abandon().unwrap(), "again does nothing");
    }
}

#[test]
fn messages_can_be_looked_at_and_sent_by_reference() {
    let (_runtime, _client, queue) = open();
    let mut message = Message::new(b"again").unwrap();
    message.set_delay(Duration::from_millis(1500)).unwrap();
    assert_eq!(message.view().body(), b"again");
    assert_eq!(message.view().delay_ms(), Some(1500));
    assert_eq!(message.view().ttl_ms(), None);
    let sent = queue.send(&[&message, &message], Flags::None).unwrap();
    assert_eq!(sent.wait().unwrap().len(), 2);
}

#[test]
fn a_cancelled_receive_takes_nothing() {
    let (_runtime, _client, queue) = open();
    let Started::Pending(op) = queue.receive(&receive(1, WAIT)).unwrap() else {
        panic!("the queue is empty");
    };
    op.cancel().unwrap();
    assert!(op.wait(Some(WAIT)).unwrap());
    assert_eq!(op.take().err().unwrap().status, Status::CANCELLED);
    send(&queue, "kept");
    let batch = queue.receive(&receive(1, WAIT)).unwrap().wait().unwrap();
    assert_eq!(batch.get(0).unwrap().attempt(), 1);
}

#[test]
fn many_settle_in_one_call_and_come_back_from_the_dead() {
    let (runtime, _client, queue) = open();
    for body in ["a", "b", "c"] {
        send(&queue, body);
    }
    let batch = queue.receive(&receive(3, WAIT)).unwrap().wait().unwrap();
    let deliveries: Vec<_> = batch.iter().collect();
    let kept = queue
        .extend(&deliveries.iter().collect::<Vec<_>>(), WAIT)
        .unwrap();
    assert_eq!(kept.wait().unwrap().len(), 3);
    let mut settlements = Settlements::new().unwrap();
    settlements.ack(&deliveries[0]).unwrap();
    settlements.nack(&deliveries[1], Some("bad"), None).unwrap();
    settlements
        .dead_letter(&deliveries[2], "poison", Some("at length"))
        .unwrap();
    let results = queue
        .settle(&settlements, Flags::None)
        .unwrap()
        .wait()
        .unwrap();
    assert!((0..3).all(|index| results.get(index).is_ok()));

    let letters = queue
        .dead_letters(&Filter::default(), 0, 10)
        .unwrap()
        .wait()
        .unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, ["max_attempts", "poison"]);
    assert_eq!(
        letters.iter().nth(1).unwrap().description,
        Some("at length")
    );
    let counted = queue.dead_letter_statistics(&Filter::default()).unwrap();
    let counted = counted.wait().unwrap();
    let names: Vec<_> = counted.by_reason().map(|group| group.name).collect();
    assert_eq!((counted.count(), names), (2, reasons));
    assert_eq!(counted.by_source().len(), 1);
    assert_eq!(counted.by_age().next(), Some((Some(60_000), 2)));
    assert_eq!(counted.by_age().last(), Some((None, 0)));
    let filter = Filter {
        ids: vec![letters.iter().nth(1).unwrap().id.to_owned()],
        ..Filter::default()
    };
    let redriven = queue
        .redrive(&filter, &RedriveOptions::default())
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(
        (
            redriven.matched(),
            redriven.redriven(),
            redriven.failed().len()
        ),
        (1, 1, 0)
    );
    assert_eq!(
        queue
            .purge_dead_letters(&Filter::default())
            .unwrap()
            .wait()
            .unwrap(),
        1
    );
    runtime.advance(Duration::from_secs(1)).unwrap();
    let statistics = queue.statistics().unwrap().wait().unwrap();
    assert_eq!((statistics.ready(), statistics.dead()), (1, 0));
    assert_eq!(statistics.oldest_age_ms(), Some(1000));
    let peeked = queue.peek(0, 10).unwrap().wait().unwrap();
    assert_eq!(peeked.iter().next().unwrap().state.name(), "ready");
}

#[test]
fn sessions_keep_their_state() {
    let (_runtime, _client, queue) = open();
    let mut message = Message::new(b"x").unwrap();
    message.set_session("s").unwrap();
    queue
        .send_one(&message, Flags::None)
        .unwrap()
        .wait()
        .unwrap();
    let session = queue.accept_next_session(Duration::ZERO, None).unwrap();
    let session = session.wait().unwrap().unwrap();
    assert_eq!(session.id(), "s");
    assert!(session.state().unwrap().wait().unwrap().is_none());
    session.set_state(Some(b"half")).unwrap().wait().unwrap();
    assert_eq!(
        session.state().unwrap().wait().unwrap().unwrap().bytes(),
        b"half"
    );
    let batch = session.receive(&receive(1, WAIT)).unwrap().wait().unwrap();
    assert_eq!(batch.get(0).unwrap().message().session(), Some("s"));
    session.close().unwrap().wait().unwrap();
}

#[test]
fn a_body_that_is_taken_is_dropped_after_its_last_use() {
    struct Body(Arc<AtomicUsize>);
    impl AsRef<[u8]> for Body {
        fn as_ref(&self) -> &[u8] {
            b"mine"
        }
    }
    impl Drop for Body {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (_runtime, _client, queue) = open();
    let drops = Arc::new(AtomicUsize::new(0));
    let message = Message::taking(Body(drops.clone())).unwrap();
    queue
        .send_one(&message, Flags::None)
        .unwrap()
        .wait()
        .unwrap();
    drop(message);
    assert_eq!(drops.load(Ordering::Relaxed), 0, "the queue has it");
    let batch = queue.receive(&receive(1, WAIT)).unwrap().wait().unwrap();
    let delivery = batch.get(0).unwrap();
    delivery.ack(Flags::None).unwrap().wait().unwrap();
    assert_eq!(delivery.message().body(), b"mine");
    drop((batch, delivery));
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn a_shutdown_ends_what_waits() {
    let (runtime, _client, queue) = open();
    let Started::Pending(op) = queue.receive(&receive(1, WAIT)).unwrap() else {
        panic!("the queue is empty");
    };
    runtime.shutdown(WAIT).unwrap();
    assert!(op.wait(Some(WAIT)).unwrap());
    assert_eq!(op.take().err().unwrap().status, Status::CLOSED);
    assert_eq!(queue.statistics().err().unwrap().status, Status::CLOSED);
}

#[test]
fn a_write_behind_is_asked_for_its_batches() {
    let (runtime, _client, queue) = open();
    let config = r#"{"batch_size": 2, "max_entries": 3}"#;
    let opened = WriteBehind::open_asked(&runtime, config).unwrap();
    let sut = opened.wait().unwrap();
    let entry = |body: &'static str| Entry {
        body: body.as_bytes(),
        key: b"",
    };
    let Started::Done(()) = sut.enqueue(entry("a"), true, Flags::None).unwrap() else {
        panic!("there is room");
    };
    let many = [entry("bad"), entry("c")];
    let results = sut.enqueue_many(&many, Flags::MayBlock).unwrap();
    assert_eq!(results.wait().unwrap().len(), 2);
    let full = sut.enqueue(entry("d"), false, Flags::None).err().unwrap();
    assert_eq!(full.status, Status::FULL);
    assert_eq!(Status::of(full.status.name()), Some(Status::FULL));
    assert_eq!(Status::of("unknown"), None);

    // As a binding does it: the batch comes through the event queue.
    let events = Events::new(&runtime).unwrap();
    let (wake, woken) = mpsc::channel();
    events.set_wake(move || wake.send(()).unwrap()).unwrap();
    let batch = match sut.next().unwrap() {
        Started::Done(batch) => batch,
        Started::Pending(op) => {
            events.watch(&op, 1).unwrap();
            woken.recv_timeout(WAIT).unwrap();
            match events.drain(1).pop().unwrap().result {
                Ok(Value::WriteBatch(batch)) => batch,
                _ => panic!("a batch"),
            }
        }
    };
    let batch = batch.unwrap();
    let bodies: Vec<_> = batch.iter().map(|entry| entry.body).collect();
    assert_eq!(bodies, [b"a".as_slice(), b"bad"]);
    batch.refuse(1, Status::INVALID_MESSAGE, "no good").unwrap();
    batch.finish().unwrap();

    send(&queue, "fed");
    let Started::Pending(feed) = sut.feed(&queue).unwrap() else {
        panic!("it goes on");
    };
    let batch = sut.next().unwrap().wait().unwrap().unwrap();
    batch.fail(Status::UNAVAILABLE, "away").unwrap();
    let report = sut.close(Duration::ZERO).unwrap().wait().unwrap();
    let unwritten: Vec<_> = report.unwritten().map(|entry| entry.body).collect();
    assert_eq!(unwritten, [b"c"]);
    let rejected: Vec<_> = report.rejected().collect();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].entry.body, b"bad");
    assert_eq!(rejected[0].description, "no good");
    assert_eq!(report.left_in_journal(), 0);
    assert!(feed.wait(Some(WAIT)).unwrap());
    feed.take().unwrap().unwrap();
    let metrics = sut.metrics().unwrap();
    let sum = metrics.persisted + metrics.failed + metrics.depth;
    assert_eq!(metrics.enqueued, sum);
    assert_eq!((metrics.persisted, metrics.failed), (1, 1));
    assert!(sut.next().unwrap().wait().unwrap().is_none());
    assert!(sut.take_rejected().unwrap().iter().next().is_none());
    assert_eq!(sut.breaker().name(), "closed");

    let error = WriteBehind::open(&runtime, "{}").err().unwrap();
    assert_eq!(error.field.as_deref(), Some("sink"));
}
