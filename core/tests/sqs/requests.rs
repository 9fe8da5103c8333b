//! Which requests are made, and how many.

use std::time::Duration;

use queue_runtime_core::{ErrorKind, Message, ReceiveOptions, Verb};
use queue_runtime_services::Fault;

use crate::kit::{Kit, all, body, look, ministack, seconds};

#[test]
fn a_thousand_messages_take_three_hundred_requests() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    let queue = kit.queue("thousand");
    proxy.seen();
    let messages = (0..1000).map(|n| Message::new(n.to_string()));
    all(kit.run(queue.send_many(messages)));
    let mut deliveries = Vec::new();
    while deliveries.len() < 1000 {
        let options = ReceiveOptions::new().max_messages(100).wait(seconds(2));
        deliveries.extend(kit.run(queue.receive(&options)).unwrap());
    }
    let settlements = deliveries
        .iter()
        .map(|delivery| delivery.settlement(Verb::Ack));
    all(kit.run(queue.settle(settlements.collect())));
    let seen = proxy.seen();
    assert!(seen.len() <= 310, "{} requests", seen.len());
    let mut bodies: Vec<u32> = deliveries
        .iter()
        .map(|d| body(d).parse().unwrap())
        .collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (0..1000).collect::<Vec<_>>());
    assert!(kit.run(queue.receive(&look())).unwrap().is_empty());
}

#[test]
fn four_actions_on_one_queue_are_enough() {
    let owner = Kit::new(&ministack().endpoint(), "");
    kit_queue_url_works(&owner);
}

fn kit_queue_url_works(owner: &Kit) {
    owner.queue("least");
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    let denied = r#"{"__type":"com.amazonaws.sqs#AccessDenied","message":"no"}"#;
    proxy.always(
        Some("GetQueueAttributes"),
        Fault::Answer(403, denied.to_owned()),
    );
    let queue = kit.open(&format!("{}/000000000000/least", proxy.endpoint()));
    kit.run(queue.send("a")).unwrap();
    let [delivery] = &kit.receive(&queue, 1)[..] else {
        panic!()
    };
    kit.run(delivery.extend(seconds(60))).unwrap();
    kit.run(delivery.nack(None)).unwrap();
    let [delivery] = &kit.receive(&queue, 1)[..] else {
        panic!()
    };
    assert_eq!(delivery.attempt(), 2);
    kit.run(delivery.ack()).unwrap();
    let mut seen = proxy.seen();
    seen.sort();
    seen.dedup();
    let needed = [
        "ChangeMessageVisibilityBatch",
        "DeleteMessageBatch",
        "GetQueueAttributes",
        "ReceiveMessage",
        "SendMessageBatch",
    ];
    assert_eq!(seen, needed);
}

#[test]
fn opening_asks_nothing() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    kit.open("nothing");
    kit.open("nothing.fifo");
    assert!(proxy.seen().is_empty());
}

#[test]
fn an_empty_queue_is_polled_without_haste() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    let queue = kit.queue("idle");
    proxy.seen();
    // A server that answers at once although it was asked to wait.
    proxy.always(Some("ReceiveMessage"), Fault::Answer(200, "{}".to_owned()));
    let options = ReceiveOptions::new().wait(seconds(3));
    assert!(kit.run(queue.receive(&options)).unwrap().is_empty());
    let polls = proxy
        .seen()
        .iter()
        .filter(|action| *action == "ReceiveMessage")
        .count();
    assert!(polls <= 8, "{polls} polls in three seconds");
}

#[test]
fn a_receive_that_went_away_gives_its_messages_to_others() {
    let first = Kit::new(&ministack().endpoint(), "");
    let queue = first.queue("cancelled");
    // Nothing but the cancelled receive knows of the queue in this runtime.
    let options = ReceiveOptions::new().wait(seconds(10));
    let waiting = first.run(async {
        tokio::time::timeout(Duration::from_millis(500), queue.receive(&options)).await
    });
    assert!(waiting.is_err(), "it was cancelled");
    let second = Kit::new(&ministack().endpoint(), "");
    let other = second.open("cancelled");
    second.run(other.send("a")).unwrap();
    assert_eq!(second.bodies(&other, 1), ["a"]);
}

#[test]
fn the_next_receive_takes_over_the_poll_of_one_that_went_away() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    let queue = kit.queue("adopted");
    let options = ReceiveOptions::new().wait(seconds(10));
    let abandon = || {
        let waiting = async {
            tokio::time::timeout(Duration::from_millis(300), queue.receive(&options)).await
        };
        assert!(kit.run(waiting).is_err());
    };
    proxy.seen();
    abandon();
    abandon();
    abandon();
    kit.run(queue.send("a")).unwrap();
    let [delivery] = &kit.receive(&queue, 1)[..] else {
        panic!()
    };
    assert_eq!(delivery.attempt(), 1);
    let polls = proxy
        .seen()
        .iter()
        .filter(|action| *action == "ReceiveMessage")
        .count();
    assert_eq!(polls, 1);
}

#[test]
fn a_queue_that_is_too_large_for_a_batch_is_cut_by_bytes() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    let queue = kit.queue("large");
    proxy.seen();
    let large = || Message::new("x".repeat(400 * 1024));
    all(kit.run(queue.send_many((0..5).map(|_| large()))));
    let sends = proxy
        .seen()
        .iter()
        .filter(|action| *action == "SendMessageBatch")
        .count();
    assert_eq!(sends, 3);
    let too_large = kit
        .run(queue.send("x".repeat(1024 * 1024 + 1)))
        .unwrap_err();
    assert_eq!(too_large.kind(), ErrorKind::MessageTooLarge);
    // Only in base64 it is too large.
    let binary = kit
        .run(queue.send(vec![0xff; 1024 * 1024 - 100]))
        .unwrap_err();
    assert_eq!(binary.kind(), ErrorKind::MessageTooLarge);
}

#[test]
fn clients_of_a_runtime_share_what_they_know() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    let queue = kit.queue("shared");
    kit.run(queue.send("a")).unwrap();
    proxy.seen();
    let other = kit
        .run(kit.runtime.connect(crate::kit::url(&proxy.endpoint(), "")))
        .unwrap();
    kit.run(other.queue("shared").unwrap().send("b")).unwrap();
    assert_eq!(proxy.seen(), ["SendMessageBatch"]);
}
