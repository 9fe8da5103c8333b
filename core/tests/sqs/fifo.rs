//! Order, sessions and shards.

use std::collections::BTreeMap;

use queue_runtime_core::{Capability, ErrorKind, Message, ReceiveOptions, SessionOptions};

use crate::kit::{Kit, all, body, look, ministack, seconds};

#[test]
fn many_receivers_keep_the_order_of_each_session() {
    let kit = Kit::new(&ministack().endpoint(), "&fifo=true");
    let queue = kit.queue("order");
    let messages = (0..120).map(|n| Message::new(n.to_string()).session(format!("s{}", n % 6)));
    all(kit.run(queue.send_many(messages)));
    let done = std::sync::Mutex::new(BTreeMap::<String, Vec<u32>>::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let options = ReceiveOptions::new().max_messages(3).wait(seconds(2));
                loop {
                    let deliveries = kit.run(queue.receive(&options)).unwrap();
                    if deliveries.is_empty()
                        && done.lock().unwrap().values().map(Vec::len).sum::<usize>() == 120
                    {
                        return;
                    }
                    for delivery in deliveries {
                        let session = delivery.session().unwrap().to_owned();
                        done.lock()
                            .unwrap()
                            .entry(session)
                            .or_default()
                            .push(body(&delivery).parse().unwrap());
                        kit.run(delivery.ack()).unwrap();
                    }
                }
            });
        }
    });
    for (session, numbers) in done.into_inner().unwrap() {
        assert!(numbers.is_sorted(), "{session}: {numbers:?}");
        assert_eq!(numbers.len(), 20, "{session}");
    }
}

#[test]
fn a_session_is_worked_off_message_by_message() {
    let kit = Kit::new(&ministack().endpoint(), "&fifo=true");
    let queue = kit.queue("session");
    let messages = (0..3).map(|n| Message::new(n.to_string()).session("s"));
    all(kit.run(queue.send_many(messages)));
    let next = SessionOptions::next().wait(seconds(2));
    let session = kit
        .run(queue.accept_session(next.clone()))
        .unwrap()
        .unwrap();
    assert_eq!(session.id(), "s");
    for n in 0..3 {
        let options = ReceiveOptions::new().wait(seconds(2));
        let delivery = kit.run(session.receive(&options)).unwrap().remove(0);
        assert_eq!(body(&delivery), n.to_string());
        kit.run(session.renew()).unwrap();
        kit.run(delivery.ack()).unwrap();
    }
    assert!(kit.run(session.receive(&look())).unwrap().is_empty());
    kit.run(session.close()).unwrap();
    assert!(
        kit.run(queue.accept_session(next.wait(seconds(0))))
            .unwrap()
            .is_none()
    );
}

#[test]
fn the_holder_of_a_session_gets_its_messages_and_others_get_the_others() {
    let kit = Kit::new(&ministack().endpoint(), "&fifo=true");
    let queue = kit.queue("holder");
    kit.run(queue.send(Message::new("s1").session("s")))
        .unwrap();
    let session = kit
        .run(queue.accept_session(SessionOptions::next().wait(seconds(2))))
        .unwrap()
        .unwrap();
    let delivery = kit.run(session.receive(&look())).unwrap().remove(0);
    kit.run(delivery.ack()).unwrap();
    kit.run(queue.send(Message::new("s2").session("s")))
        .unwrap();
    kit.run(queue.send(Message::new("t1").session("t")))
        .unwrap();
    // A plain receive never sees the held session.
    assert_eq!(kit.bodies(&queue, 2), ["t1"]);
    let options = ReceiveOptions::new().wait(seconds(2));
    let delivery = kit.run(session.receive(&options)).unwrap().remove(0);
    assert_eq!(body(&delivery), "s2");
    // Let go with a message in hand, it comes back, and the old receipt is dead.
    kit.run(session.close()).unwrap();
    assert_eq!(
        kit.run(delivery.ack()).unwrap_err().kind(),
        ErrorKind::InvalidReceipt
    );
    let again = kit.receive(&queue, 1);
    assert_eq!((body(&again[0]).as_str(), again[0].attempt()), ("s2", 2));
}

#[test]
fn what_a_fifo_queue_cannot_is_said_by_its_capabilities() {
    let kit = Kit::new(&ministack().endpoint(), "");
    let (standard, fifo) = (kit.open("kinds"), kit.open("kinds.fifo"));
    for (capability, on_standard, on_fifo) in [
        (Capability::Sessions, false, true),
        (Capability::SessionNext, false, true),
        (Capability::SessionById, false, false),
        (Capability::Delay, true, false),
        (Capability::Dedup, false, true),
        (Capability::Order, false, false),
    ] {
        assert_eq!(
            standard.capabilities().has(capability),
            on_standard,
            "{capability}"
        );
        assert_eq!(fifo.capabilities().has(capability), on_fifo, "{capability}");
        assert_eq!(
            kit.client.capabilities().has(capability),
            on_standard || on_fifo
        );
    }
    let late = Message::new("a").delay(seconds(5));
    let error = kit.run(fifo.send(late)).unwrap_err();
    assert_eq!(error.capability(), Some(Capability::Delay));
    let by_id = kit
        .run(fifo.accept_session(SessionOptions::id("s")))
        .unwrap_err();
    assert_eq!(by_id.capability(), Some(Capability::SessionById));
    let next = kit
        .run(standard.accept_session(SessionOptions::next()))
        .unwrap_err();
    assert_eq!(next.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_required_capability_is_asked_of_each_queue() {
    let kit = Kit::new(&ministack().endpoint(), "&require=sessions");
    kit.client.queue("required.fifo").unwrap();
    let error = kit.client.queue("required").unwrap_err();
    assert_eq!(error.capability(), Some(Capability::Sessions));
}

#[test]
fn sessions_are_spread_over_shards_and_keep_their_order() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "&fifo=true&shards=3");
    let queue = kit.queue("spread");
    let messages = (0..60).map(|n| Message::new(n.to_string()).session(format!("s{}", n % 12)));
    all(kit.run(queue.send_many(messages)));
    assert_eq!(kit.run(queue.statistics()).unwrap().ready, 60);
    let mut done = BTreeMap::<String, Vec<u32>>::new();
    while done.values().map(Vec::len).sum::<usize>() < 60 {
        let options = ReceiveOptions::new().max_messages(10).wait(seconds(5));
        let deliveries = kit.run(queue.receive(&options)).unwrap();
        assert!(!deliveries.is_empty(), "{done:?}");
        for delivery in deliveries {
            let session = delivery.session().unwrap().to_owned();
            done.entry(session)
                .or_default()
                .push(body(&delivery).parse().unwrap());
            kit.run(delivery.ack()).unwrap();
        }
    }
    assert!(
        done.values()
            .all(|numbers| numbers.is_sorted() && numbers.len() == 5),
        "{done:?}"
    );
    drop(proxy);
    // Each shard is a queue of its own with the same name and a number.
    let alone = Kit::new(&ministack().endpoint(), "");
    for shard in 0..3 {
        alone
            .run(alone.open(&format!("spread-{shard}.fifo")).statistics())
            .unwrap();
    }
}
