//! After close.

use super::*;

#[test]
fn every_verb_after_close_is_closed() {
    let kit = Kit::new();
    let queue = queue(&kit);
    for body in ["a", "b"] {
        now(queue.send(Message::new(body).session("s"))).unwrap();
    }
    let session = accept(&queue, "s");
    let held = now(session.receive(&ReceiveOptions::new()))
        .unwrap()
        .remove(0);
    now(queue.send("c")).unwrap();
    let delivery = take(&queue);
    let receipts = || vec![delivery.receipt().clone()];

    now(kit.client.close()).unwrap();
    assert!(kit.client.is_closed());
    let closed = ErrorKind::Closed;
    assert_eq!(kind(kit.client.queue("other")), closed);
    assert_eq!(kind(now(queue.send("d"))), closed);
    assert_eq!(kind(now(queue.send_many(["d".into()]))), closed);
    assert_eq!(kind(now(queue.send_many([]))), closed);
    assert_eq!(kind(now(queue.receive(&ReceiveOptions::new()))), closed);
    assert_eq!(kind(now(queue.receive_one(HOUR))), closed);
    for verb in every_verb() {
        assert_eq!(kind(now(delivery.settle(verb.clone()))), closed);
        assert_eq!(kind(now(held.settle(verb))), closed);
    }
    assert!(!delivery.is_settled());
    let settlement = delivery.settlement(Verb::Ack);
    assert_eq!(kind(now(queue.settle(vec![settlement]))), closed);
    assert_eq!(kind(now(delivery.extend(LOCK))), closed);
    assert_eq!(kind(now(queue.extend(receipts(), LOCK))), closed);
    assert_eq!(kind(now(queue.begin(receipts()))), closed);
    assert_eq!(
        kind(now(queue.accept_session(SessionOptions::next()))),
        closed
    );
    assert_eq!(
        kind(now(queue.accept_session(SessionOptions::id("t")))),
        closed
    );
    assert_eq!(kind(now(session.receive(&ReceiveOptions::new()))), closed);
    assert_eq!(kind(now(session.renew())), closed);
    assert_eq!(kind(now(session.state())), closed);
    assert_eq!(kind(now(session.set_state(None))), closed);
    assert_eq!(kind(now(session.close())), closed);
    assert_eq!(kind(now(queue.peek(None, 1))), closed);
    let all = DeadLetterFilter::all;
    assert_eq!(kind(now(queue.dead_letters(all(), None, 1))), closed);
    assert_eq!(kind(now(queue.purge_dead_letters(all()))), closed);
    assert_eq!(kind(now(queue.redrive(RedriveOptions::default()))), closed);
    assert_eq!(kind(now(queue.statistics())), closed);
    assert_eq!(kind(now(queue.create())), closed);
    now(kit.client.close()).expect("closing again does nothing");
}

#[test]
fn close_ends_every_wait() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        max_messages: Some(1),
        on_full: Some(OnFull::Wait),
        ..QueueOptions::default()
    });
    now(queue.send(Message::new("a").session("s"))).unwrap();
    let session = Arc::new(accept(&queue, "s"));
    let options = ReceiveOptions::new().wait(HOUR);
    let received = now(session.receive(&options)).unwrap();

    let (q, o) = (queue.clone(), options.clone());
    let receive = Waiting::start(async move { q.receive(&o).await });
    let (s, o) = (session.clone(), options.clone());
    let from_session = Waiting::start(async move { s.receive(&o).await });
    let q = queue.clone();
    let next = SessionOptions::next().wait(HOUR);
    let accept = Waiting::start(async move { q.accept_session(next).await });
    let q = queue.clone();
    let send = Waiting::start(async move { q.send("b").await });

    now(kit.client.close()).unwrap();
    assert_eq!(kind(receive.finish("receive at close")), ErrorKind::Closed);
    assert_eq!(
        kind(from_session.finish("session receive at close")),
        ErrorKind::Closed
    );
    assert_eq!(kind(accept.finish("accept at close")), ErrorKind::Closed);
    assert_eq!(kind(send.finish("send at close")), ErrorKind::Closed);
    drop(received);
}

/// The clients of one runtime share a named engine: closing one gives up what it holds, in
/// its time, and leaves the others alone.
#[test]
fn a_closed_client_gives_its_messages_to_the_others() {
    let kit = Kit::open("memory:shared");
    let other = now(kit.client.runtime().connect("memory:shared")).unwrap();
    let options = QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    };
    let ours = kit.client.queue_with("q", options.clone()).unwrap();
    let theirs = other.queue_with("q", options).unwrap();
    now(ours.send("a")).unwrap();
    let a = take(&ours);
    now(kit.client.close()).unwrap();
    assert_eq!(kind(now(a.ack())), ErrorKind::Closed);
    now(theirs.send("b")).unwrap();
    assert_eq!(body(&take(&theirs)), "b");
    kit.advance(LOCK);
    assert_eq!(bodies(&look(&theirs, 10)), ["a", "b"]);
}

#[test]
fn a_closed_session_is_closed() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send(Message::new("a").session("s"))).unwrap();
    let session = accept(&queue, "s");
    let a = now(session.receive(&ReceiveOptions::new()))
        .unwrap()
        .remove(0);
    now(session.close()).unwrap();
    for verb in every_verb() {
        assert_eq!(kind(now(a.settle(verb))), ErrorKind::SessionLockLost);
    }
    assert_eq!(kind(now(a.extend(LOCK))), ErrorKind::SessionLockLost);
    assert_eq!(take(&queue).attempt(), 2);
}
