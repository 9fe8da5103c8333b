//! Futures and objects that are dropped early.

use super::*;

#[test]
fn a_receive_that_is_dropped_takes_nothing() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let receive = || {
        let queue = queue.clone();
        let options = ReceiveOptions::new().max_messages(10).wait(HOUR);
        Waiting::start(async move { queue.receive(&options).await })
    };

    // Never polled.
    now(queue.send("a")).unwrap();
    drop(queue.receive_one(HOUR));
    assert_eq!(now(queue.statistics()).unwrap().ready, 1);
    now(take(&queue).ack()).unwrap();

    // Polled while there was nothing.
    drop(receive());
    now(queue.send("b")).unwrap();
    assert_eq!(bodies(&look(&queue, 10)), ["b"]);

    // Woken, and not polled again.
    let waiting = receive();
    now(queue.send("c")).unwrap();
    drop(waiting);
    let c = take(&queue);
    assert_eq!((body(&c), c.attempt()), ("c", 1), "given back unblamed");
    now(c.ack()).unwrap();

    // Woken when somebody else was faster, then dropped.
    let mut waiting = receive();
    now(queue.send("d")).unwrap();
    if let Some(d) = look(&queue, 1).pop() {
        assert!(waiting.poll().is_pending());
        now(d.release(None)).unwrap();
    }
    drop(waiting);
    let d = take(&queue);
    assert_eq!((body(&d), d.attempt()), ("d", 1));
}

#[test]
fn a_session_receive_that_is_dropped_takes_nothing() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let session = Arc::new(accept(&queue, "s"));
    let options = ReceiveOptions::new().wait(HOUR);
    let (s, o) = (session.clone(), options.clone());
    let waiting = Waiting::start(async move { s.receive(&o).await });
    now(queue.send(Message::new("a").session("s"))).unwrap();
    drop(waiting);
    let got = now(session.receive(&options)).unwrap();
    assert_eq!((body(&got[0]), got[0].attempt()), ("a", 1));
}

#[test]
fn an_accept_that_is_dropped_leaves_the_session_free() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let q = queue.clone();
    let next = SessionOptions::next().wait(HOUR);
    let waiting = Waiting::start(async move { q.accept_session(next).await });
    now(queue.send(Message::new("a").session("s"))).unwrap();
    drop(waiting);
    assert_eq!(take(&queue).attempt(), 1);
}

#[test]
fn a_send_that_is_dropped_while_it_waits_stores_nothing() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        max_messages: Some(1),
        ..QueueOptions::default()
    });
    let send = |body: &'static str| {
        let queue = queue.clone();
        Waiting::start(async move { queue.send(body).await })
    };
    drop(queue.send("never polled"));
    now(queue.send("a")).unwrap();
    drop(send("b"));
    now(take(&queue).ack()).unwrap();
    assert_eq!(now(queue.statistics()).unwrap().depth(), 0);

    now(queue.send("c")).unwrap();
    let woken = send("d");
    now(take(&queue).ack()).unwrap();
    // Room was made: stored before the drop, or not at all.
    drop(woken);
    let left = look(&queue, 10);
    assert!(left.is_empty() || bodies(&left) == ["d"]);
    left.iter().for_each(|d| now(d.ack()).unwrap());
    now(queue.send("e")).expect("the room is not lost");
}

#[test]
fn dropped_waits_leave_nothing_behind() {
    let kit = Kit::new();
    let queue = queue(&kit);
    for _ in 0..1000 {
        let (q, o) = (queue.clone(), ReceiveOptions::new().wait(HOUR));
        drop(Waiting::start(async move { q.receive(&o).await }));
        let (q, o) = (queue.clone(), SessionOptions::next().wait(HOUR));
        drop(Waiting::start(async move { q.accept_session(o).await }));
    }
    let q = queue.clone();
    let left = Waiting::start(async move { q.receive_one(HOUR).await });
    now(queue.send("a")).unwrap();
    let got = left.finish("a send, after a thousand waits were dropped");
    assert_eq!(body(&got.unwrap().unwrap()), "a");
}

/// Verbs that act at once have acted when their first poll is over, or never began.
#[test]
fn settlements_that_are_dropped_unpolled_do_nothing() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    let a = take(&queue);
    drop(a.ack());
    drop(a.nack(None));
    drop(a.extend(LOCK * 2));
    assert!(!a.is_settled());
    now(a.ack()).unwrap();
}

#[test]
fn a_delivery_that_outlives_its_client_is_harmless() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    let a = take(&queue);
    let Kit { client, .. } = kit;
    drop((client, queue));
    now(a.ack()).expect("a delivery keeps its engine alive");
}
