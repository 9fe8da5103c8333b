//! A provider that is away is left alone.

use std::time::Duration;

use queue_runtime_core::{
    Breaker, BreakerState, ConsumerOptions, ErrorKind, Message, QueueOptions,
};
use queue_runtime_services::Fault;

use crate::kit::{Kit, all, away, eventually, seconds, still};

fn kind(kit: &Kit, queue: &queue_runtime_core::Queue) -> Option<ErrorKind> {
    kit.run(queue.send("a")).err().map(|error| error.kind())
}

#[test]
fn sends_pause_while_the_provider_is_away() {
    let (kit, proxy, clock) = still("&breaker=2,60s,1");
    let (queue, other) = (kit.queue("sends-pause"), kit.queue("sends-go-on"));
    let again = kit.open("sends-pause");
    proxy.always(Some("SendMessageBatch"), away());
    assert_eq!(kind(&kit, &queue), Some(ErrorKind::Unavailable));
    assert_eq!(queue.breaker_state(), BreakerState::Closed);
    assert_eq!(kind(&kit, &again), Some(ErrorKind::Unavailable));
    assert_eq!(queue.breaker_state(), BreakerState::Open);

    proxy.seen();
    clock.advance(seconds(20)).unwrap();
    for queue in [&queue, &again] {
        let error = kit.run(queue.send("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CircuitOpen);
        assert_eq!(error.retry_after(), Some(seconds(40)));
        assert!(error.retryable());
    }
    let many = kit.run(queue.send_many([Message::from("a")])).unwrap_err();
    assert_eq!(many.kind(), ErrorKind::CircuitOpen);
    assert!(proxy.seen().is_empty(), "nobody asked");
    assert_eq!(kind(&kit, &other), Some(ErrorKind::Unavailable));

    // One is tried, and opens it again.
    clock.advance(seconds(40)).unwrap();
    assert_eq!(queue.breaker_state(), BreakerState::HalfOpen);
    assert_eq!(kind(&kit, &queue), Some(ErrorKind::Unavailable));
    assert_eq!(kind(&kit, &queue), Some(ErrorKind::CircuitOpen));

    proxy.heal();
    clock.advance(seconds(60)).unwrap();
    all(kit.run(queue.send_many([Message::from("back")])));
    assert_eq!(again.breaker_state(), BreakerState::Closed);
    let metrics = kit.client.metrics();
    let opened = "operation=\"send\",state=\"open\"} 2";
    assert!(metrics.contains(opened), "{metrics}");
}

#[test]
fn the_breaker_of_sends_is_closed_by_hand() {
    let (kit, proxy, _) = still("&breaker=1,60s,1");
    let queue = kit.queue("by-hand");
    proxy.once(
        Some("SendMessageBatch"),
        Fault::Answer(403, r#"{"__type":"AccessDenied"}"#.into()),
    );
    assert_eq!(kind(&kit, &queue), Some(ErrorKind::PermissionDenied));
    proxy.always(Some("SendMessageBatch"), away());
    assert_eq!(kind(&kit, &queue), Some(ErrorKind::Unavailable));
    assert_eq!(kind(&kit, &queue), Some(ErrorKind::CircuitOpen));
    proxy.heal();
    queue.reset_breaker();
    assert_eq!(kind(&kit, &queue), None);
}

#[test]
fn every_provider_across_a_network_has_one_unless_told_otherwise() {
    let (kit, _, _) = still("");
    assert_eq!(kit.open("q").definition().breaker, Breaker::default());
    let none = QueueOptions {
        breaker: Some(Breaker::None),
        ..QueueOptions::default()
    };
    let queue = kit.client.queue_with("q", none).unwrap();
    assert_eq!(queue.definition().breaker, Breaker::None);
}

#[test]
fn who_receives_waits_while_sends_pause() {
    let (kit, proxy, clock) = still("&breaker=1,1h,1");
    let queue = kit.queue("receives-pause");
    proxy.always(None, away());
    assert_eq!(kind(&kit, &queue), Some(ErrorKind::Unavailable));
    let consumer = queue.consume(ConsumerOptions::new()).unwrap();
    eventually("the failure is seen", || {
        consumer.status().failure.is_some()
    });
    proxy.heal();
    proxy.seen();
    // Far beyond what `reconnect` says.
    clock.advance(seconds(600)).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(proxy.seen().is_empty());
    assert!(!consumer.status().ready);
    queue.reset_breaker();
    kit.run(queue.send("a")).unwrap();
    eventually("it goes on", || consumer.status().ready);
}
