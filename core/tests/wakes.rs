//! Whatever makes a message, a session or room available wakes whoever waits for it. Each wait
//! has an hour on a clock that stands still: if nobody is woken, it never ends.

#![cfg(not(feature = "shuttle"))]

mod common;

use common::{HOUR, Kit, Waiting, bodies, body, look, ms, now, take};
use queue_runtime_core::{
    DeadLetterFilter, Delivery, ErrorKind, Message, OnFailure, OnFull, Queue, QueueOptions,
    ReceiveOptions, RedriveOptions, Result, SendResult, Session, SessionOptions,
};

const LOCK: std::time::Duration = ms(500);

fn queue(kit: &Kit) -> Queue {
    kit.queue(QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    })
}

fn receive(queue: &Queue) -> Waiting<Result<Vec<Delivery>>> {
    let queue = queue.clone();
    let options = ReceiveOptions::new().max_messages(10).wait(HOUR);
    Waiting::start(async move { queue.receive(&options).await })
}

fn accept(queue: &Queue, options: SessionOptions) -> Waiting<Result<Option<Session>>> {
    let queue = queue.clone();
    Waiting::start(async move { queue.accept_session(options.wait(HOUR)).await })
}

fn send_waiting(queue: &Queue, body: &'static str) -> Waiting<Result<SendResult>> {
    let queue = queue.clone();
    Waiting::start(async move { queue.send(body).await })
}

#[track_caller]
fn one(waiting: Waiting<Result<Vec<Delivery>>>, why: &str) -> Delivery {
    let mut got = waiting.finish(why).unwrap();
    assert_eq!(got.len(), 1, "{why}");
    got.remove(0)
}

#[test]
fn a_receive_is_woken_by_what_brings_a_message() {
    let kit = Kit::new();
    let queue = queue(&kit);

    let waiting = receive(&queue);
    now(queue.send("a")).unwrap();
    let a = one(waiting, "a send");

    let waiting = receive(&queue);
    now(a.nack(None)).unwrap();
    let a = one(waiting, "a nack");

    let waiting = receive(&queue);
    now(a.release(None)).unwrap();
    let a = one(waiting, "a release");

    let waiting = receive(&queue);
    now(a.release(Some(ms(50)))).unwrap();
    assert!(!waiting.is_woken(), "the message is not due yet");
    kit.advance(ms(50));
    let a = one(waiting, "the end of a release's delay");

    let waiting = receive(&queue);
    now(a.nack_after(None, ms(50))).unwrap();
    kit.advance(ms(50));
    drop(one(waiting, "the end of a nack's delay"));

    let waiting = receive(&queue);
    kit.advance(LOCK);
    let a = one(waiting, "the end of a lock");

    let waiting = receive(&queue);
    now(a.dead_letter("bad", None)).unwrap();
    now(queue.redrive(RedriveOptions::default())).unwrap();
    now(one(waiting, "a redrive").ack()).unwrap();

    let waiting = receive(&queue);
    now(queue.send(Message::new("b").delay(ms(50)))).unwrap();
    kit.advance(ms(50));
    now(one(waiting, "the end of a send's delay").ack()).unwrap();

    let waiting = receive(&queue);
    now(queue.send(Message::new("c").session("s"))).unwrap();
    assert_eq!(body(&one(waiting, "a send to a session")), "c");
}

#[test]
fn a_receive_is_woken_by_what_frees_a_session() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let id = || SessionOptions::id("s");
    now(queue.send(Message::new("a").session("s"))).unwrap();

    let session = now(queue.accept_session(id())).unwrap().unwrap();
    let waiting = receive(&queue);
    now(session.close()).unwrap();
    now(one(waiting, "the close of a session").release(None)).unwrap();

    let session = now(queue.accept_session(id())).unwrap().unwrap();
    let waiting = receive(&queue);
    drop(session);
    now(one(waiting, "the drop of a session").release(None)).unwrap();

    let session = now(queue.accept_session(id())).unwrap().unwrap();
    let waiting = receive(&queue);
    kit.advance(LOCK);
    let a = one(waiting, "the end of a session's lock");
    assert_eq!(
        now(session.renew()).unwrap_err().kind(),
        ErrorKind::SessionLockLost
    );

    now(queue.send(Message::new("b").session("s"))).unwrap();
    let waiting = receive(&queue);
    now(a.ack()).unwrap();
    let b = one(
        waiting,
        "the settlement of the delivery that held the session",
    );

    now(queue.send(Message::new("c").session("s"))).unwrap();
    let waiting = receive(&queue);
    now(b.dead_letter("bad", None)).unwrap();
    assert_eq!(
        body(&one(waiting, "the dead-lettering of the one before")),
        "c"
    );
}

#[test]
fn a_receive_is_woken_by_the_end_of_a_block() {
    let kit = Kit::new();
    let queue = queue(&kit);
    for body in ["a", "b"] {
        now(queue.send(Message::new(body).session("s").ttl(ms(100)))).unwrap();
    }
    now(queue.send(Message::new("c").session("s"))).unwrap();
    now(take(&queue).nack_after(None, ms(200))).unwrap();
    let waiting = receive(&queue);
    kit.advance(ms(99));
    assert!(!waiting.is_woken(), "the session is blocked");
    kit.advance(ms(1));
    assert_eq!(body(&one(waiting, "the expiry of the one in the way")), "c");
}

#[test]
fn a_receive_is_woken_by_the_end_of_parking() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        on_failure: Some(OnFailure::Park),
        ..QueueOptions::default()
    });
    for body in ["a", "b"] {
        now(queue.send(Message::new(body).session("s"))).unwrap();
    }
    now(take(&queue).dead_letter("bad", None)).unwrap();

    let waiting = receive(&queue);
    now(queue.redrive(RedriveOptions::default())).unwrap();
    let got = waiting.finish("a redrive to a parked session").unwrap();
    assert_eq!(bodies(&got), ["a", "b"]);

    now(got[0].dead_letter("bad", None)).unwrap();
    now(got[1].release(None)).unwrap();
    let waiting = receive(&queue);
    now(queue.purge_dead_letters(DeadLetterFilter::all())).unwrap();
    assert_eq!(
        body(&one(waiting, "the purge of what parked the session")),
        "b"
    );
}

#[test]
fn a_receive_from_a_session_is_woken() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let session = now(queue.accept_session(SessionOptions::id("s").lock(HOUR / 6)));
    let session = std::sync::Arc::new(session.unwrap().unwrap());
    let receive = || {
        let session = session.clone();
        let options = ReceiveOptions::new().max_messages(10).wait(HOUR / 2);
        Waiting::start(async move { session.receive(&options).await })
    };

    let waiting = receive();
    now(queue.send(Message::new("other").session("t"))).unwrap();
    now(queue.send(Message::new("plain"))).unwrap();
    assert!(!waiting.is_woken(), "these are not for this session");
    now(queue.send(Message::new("a").session("s"))).unwrap();
    let a = one(waiting, "a send");

    let waiting = receive();
    now(a.nack_after(None, ms(50))).unwrap();
    kit.advance(ms(50));
    let a = one(waiting, "the end of a nack's delay");

    let waiting = receive();
    now(a.release(None)).unwrap();
    drop(one(waiting, "a release"));

    let waiting = receive();
    kit.advance(HOUR / 6);
    let error = waiting.finish("the end of the session's lock").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionLockLost);
}

#[test]
fn an_accept_is_woken_by_what_brings_a_session() {
    let kit = Kit::new();
    let queue = queue(&kit);

    let waiting = accept(&queue, SessionOptions::next());
    now(queue.send(Message::new("plain"))).unwrap();
    now(take(&queue).ack()).unwrap();
    now(queue.send(Message::new("a").session("s"))).unwrap();
    let session = waiting.finish("a send").unwrap().unwrap();
    assert_eq!(session.id(), "s");

    let waiting = accept(&queue, SessionOptions::next());
    now(session.close()).unwrap();
    let session = waiting.finish("a close").unwrap().unwrap();

    let waiting = accept(&queue, SessionOptions::next());
    kit.advance(LOCK);
    drop(
        waiting
            .finish("the end of the session's lock")
            .unwrap()
            .unwrap(),
    );
    drop(session);

    let delivery = take(&queue);
    let waiting = accept(&queue, SessionOptions::next());
    now(delivery.release(None)).unwrap();
    drop(
        waiting
            .finish("the release of a plain delivery")
            .unwrap()
            .unwrap(),
    );

    let delivery = take(&queue);
    let waiting = accept(&queue, SessionOptions::next());
    kit.advance(LOCK);
    drop(
        waiting
            .finish("the end of a plain delivery's lock")
            .unwrap()
            .unwrap(),
    );
    assert_eq!(now(delivery.ack()).unwrap_err().kind(), ErrorKind::LockLost);
}

#[test]
fn a_send_that_waits_for_room_is_woken() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        max_messages: Some(1),
        on_full: Some(OnFull::Wait),
        lock: Some(LOCK),
        ..QueueOptions::default()
    });
    now(queue.send("a")).unwrap();

    let waiting = send_waiting(&queue, "b");
    let a = take(&queue);
    assert!(!waiting.is_woken(), "what is in flight takes room");
    now(a.ack()).unwrap();
    waiting.finish("an ack").unwrap();

    let waiting = send_waiting(&queue, "c");
    now(take(&queue).dead_letter("bad", None)).unwrap();
    waiting.finish("a dead letter").unwrap();
    now(take(&queue).ack()).unwrap();

    now(queue.send(Message::new("d").ttl(ms(50)))).unwrap();
    let waiting = send_waiting(&queue, "e");
    kit.advance(ms(50));
    waiting.finish("an expiry").unwrap();
    assert_eq!(bodies(&look(&queue, 10)), ["e"]);
}

#[test]
fn waiting_ends_by_itself_when_its_time_is_over() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let receive = receive(&queue);
    let accept = accept(&queue, SessionOptions::next());
    kit.advance(HOUR - ms(1));
    assert!(!receive.is_woken() && !accept.is_woken());
    kit.advance(ms(1));
    assert!(receive.finish("the end of the wait").unwrap().is_empty());
    assert!(accept.finish("the end of the wait").unwrap().is_none());
}

#[test]
fn every_message_wakes_one_of_those_who_wait() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let one_each = || {
        let queue = queue.clone();
        Waiting::start(async move { queue.receive_one(HOUR).await })
    };
    let waiting: Vec<_> = (0..10).map(|_| one_each()).collect();
    let messages = (0..10).map(|n| Message::new(n.to_string()));
    now(queue.send_many(messages)).unwrap();
    for one in waiting {
        let delivery = one.finish("a batch").unwrap().expect("a message each");
        now(delivery.ack()).unwrap();
    }
}

#[test]
fn a_wake_that_nobody_takes_passes_on() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let first = receive(&queue);
    let second = receive(&queue);
    now(queue.send("a")).unwrap();
    // Whichever was woken goes away before it looks.
    let (gone, left) = if first.is_woken() {
        (first, second)
    } else {
        (second, first)
    };
    drop(gone);
    assert_eq!(
        body(&one(left, "the cancel of the one that was woken")),
        "a"
    );

    let full = kit.client.queue_with(
        "full",
        QueueOptions {
            max_messages: Some(1),
            ..QueueOptions::default()
        },
    );
    let full = full.unwrap();
    now(full.send("a")).unwrap();
    let first = send_waiting(&full, "b");
    let second = send_waiting(&full, "c");
    now(take(&full).ack()).unwrap();
    let left = if first.is_woken() {
        drop(first);
        second
    } else {
        drop(second);
        first
    };
    left.finish("the cancel of the send that was woken")
        .unwrap();

    now(queue.send(Message::new("x").session("s"))).unwrap();
    let held = now(queue.accept_session(SessionOptions::next()))
        .unwrap()
        .unwrap();
    let first = accept(&queue, SessionOptions::next());
    let second = accept(&queue, SessionOptions::next());
    now(held.close()).unwrap();
    let left = if first.is_woken() {
        drop(first);
        second
    } else {
        drop(second);
        first
    };
    let session = left.finish("the cancel of the accept that was woken");
    assert_eq!(session.unwrap().unwrap().id(), "s");
}
