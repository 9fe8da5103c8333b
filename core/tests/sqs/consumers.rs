//! Consumers, which keep locks and come back after an outage.

use std::collections::BTreeSet;
use std::time::Duration;

use queue_runtime_core::{ConsumerOptions, Message, QueueOptions, Retry};
use queue_runtime_services::Fault;

use crate::kit::{Kit, all, body, ministack, seconds};

#[test]
fn an_outage_is_waited_out() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "&timeout=500ms");
    let queue = kit.queue("outage");
    let options = ConsumerOptions::new()
        .wait(seconds(1))
        .reconnect(Retry::Fixed {
            delay: Duration::from_millis(100),
        });
    let consumer = kit.run(async { queue.consume(options) }).unwrap();
    let mut done = BTreeSet::new();
    for fault in [
        Fault::BlackHole,
        Fault::Drop,
        Fault::Answer(503, String::new()),
    ] {
        let before = done.len() as u32;
        let mut failures = consumer.failures();
        proxy.always(Some("ReceiveMessage"), fault.clone());
        kit.run(failures.wait_for(Option::is_some)).unwrap();
        assert!(!consumer.status().ready, "{fault:?}");
        let names = (before..before + 20).map(|n| Message::new(n.to_string()));
        all(kit.run(queue.send_many(names)));
        proxy.heal();
        while done.len() < before as usize + 20 {
            let delivery = kit.run(consumer.next()).unwrap();
            kit.run(delivery.ack()).unwrap();
            done.insert(body(&delivery));
        }
        assert!(consumer.status().ready, "{fault:?}");
    }
    let report = kit.run(consumer.drain(seconds(5)));
    assert_eq!(report.abandoned, 0);
}

#[test]
fn a_lock_is_kept_as_long_as_the_work_takes() {
    let kit = Kit::new(&ministack().endpoint(), "");
    let options = QueueOptions {
        lock: Some(seconds(1)),
        ..QueueOptions::default()
    };
    let queue = kit.client.queue_with("kept", options).unwrap();
    kit.run(queue.create()).unwrap();
    kit.run(queue.send("a")).unwrap();
    let consumer = kit
        .run(async { queue.consume(ConsumerOptions::new().wait(seconds(1))) })
        .unwrap();
    let delivery = kit.run(consumer.next()).unwrap();
    // Three locks later it is still ours, and nobody else has it.
    kit.run(kit.runtime.sleep(seconds(3)));
    assert!(
        kit.run(queue.receive(&crate::kit::look()))
            .unwrap()
            .is_empty()
    );
    kit.run(delivery.ack()).unwrap();
    kit.run(consumer.drain(seconds(5)));
    assert!(
        kit.run(queue.receive(&crate::kit::look()))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_drain_gives_back_what_was_not_begun() {
    for options in ["", "&fifo=true"] {
        let kit = Kit::new(&ministack().endpoint(), options);
        let queue = kit.queue(&format!("drained{}", options.len()));
        all(kit.run(queue.send_many((0..10).map(|n| Message::new(n.to_string())))));
        let options = ConsumerOptions::new()
            .concurrency(1)
            .prefetch(9)
            .wait(seconds(1));
        let consumer = kit.run(async { queue.consume(options) }).unwrap();
        let delivery = kit.run(consumer.next()).unwrap();
        kit.run(delivery.ack()).unwrap();
        kit.run(consumer.drain(seconds(5)));
        let left = kit.receive(&queue, 9);
        assert_eq!(left.len(), 9);
        assert!(left.iter().all(|delivery| delivery.attempt() == 1));
    }
}
