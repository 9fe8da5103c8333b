//! A way to SQS that breaks.

use std::time::Duration;

use queue_runtime_core::{ErrorKind, Message, ReceiveOptions, Verb};
use queue_runtime_services::Fault;

use crate::kit::{Kit, all, body, localstack, look, ministack, seconds};

fn refusal(code: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"as asked"}}"#)
}

#[test]
fn what_breaks_once_is_done_again() {
    // The other server refuses to delete what is deleted, which AWS does not.
    let (kit, proxy) = Kit::behind_proxy(localstack(), "&timeout=2s");
    let queue = kit.queue("again");
    kit.run(queue.send("first")).unwrap();
    let faults = [
        Fault::Drop,
        Fault::Halve,
        Fault::Answer(500, refusal("InternalError")),
        Fault::Answer(503, String::new()),
        Fault::Answer(400, refusal("RequestThrottled")),
        Fault::Delay(Duration::from_millis(300)),
    ];
    for fault in faults {
        for action in [
            "SendMessageBatch",
            "DeleteMessageBatch",
            "ChangeMessageVisibilityBatch",
        ] {
            proxy.once(Some(action), fault.clone());
        }
        kit.run(queue.send("next"))
            .unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        let options = ReceiveOptions::new().max_messages(1).wait(seconds(4));
        let delivery = kit.run(queue.receive(&options)).unwrap().remove(0);
        kit.run(delivery.extend(seconds(60)))
            .unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        kit.run(delivery.ack())
            .unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        proxy.heal();
    }
}

#[test]
fn a_poll_that_breaks_is_made_again() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "&timeout=2s");
    let queue = kit.queue("poll-again");
    for fault in [Fault::Drop, Fault::Answer(500, refusal("InternalError"))] {
        kit.run(queue.send("a")).unwrap();
        proxy.once(Some("ReceiveMessage"), fault);
        assert_eq!(kit.bodies(&queue, 1), ["a"]);
    }
}

#[test]
fn a_lost_answer_to_a_fifo_send_stores_nothing_twice() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "&fifo=true");
    let queue = kit.queue("lost-answer");
    proxy.once(Some("SendMessageBatch"), Fault::LoseAnswer);
    let messages = (0..3).map(|n| Message::new(n.to_string()).session("s"));
    all(kit.run(queue.send_many(messages)));
    assert_eq!(kit.bodies(&queue, 10), ["0", "1", "2"]);
}

#[test]
fn only_the_entries_that_failed_are_sent_again() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    let queue = kit.queue("partial");
    let partial = r#"{"Successful":[{"Id":"0","MessageId":"11111111-2222-4333-8444-555555555555","MD5OfMessageBody":"x"}],
        "Failed":[{"Id":"1","SenderFault":false,"Code":"InternalError","Message":"later"},
                  {"Id":"2","SenderFault":true,"Code":"InvalidMessageContents","Message":"never"}]}"#;
    proxy.once(
        Some("SendMessageBatch"),
        Fault::Answer(200, partial.to_owned()),
    );
    let results = kit
        .run(queue.send_many(["a", "b", "c"].map(Message::from)))
        .unwrap();
    let kinds: Vec<_> = results
        .iter()
        .map(|r| r.as_ref().err().map(|e| e.kind()))
        .collect();
    assert_eq!(kinds, [None, None, Some(ErrorKind::InvalidMessage)]);
    // The server saw the second request alone, and of that one entry.
    assert_eq!(kit.bodies(&queue, 10), ["b"]);
}

#[test]
fn a_settlement_that_failed_can_be_made_again() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    let queue = kit.queue("settle-again");
    all(kit.run(queue.send_many(["a", "b"].map(Message::from))));
    let deliveries = kit.receive(&queue, 2);
    let partial = r#"{"Successful":[{"Id":"0"}],"Failed":[{"Id":"1","SenderFault":true,"Code":"AccessDenied"}]}"#;
    proxy.once(
        Some("DeleteMessageBatch"),
        Fault::Answer(200, partial.to_owned()),
    );
    let settlements = || deliveries.iter().map(|d| d.settlement(Verb::Ack)).collect();
    let kinds = |results: Vec<Result<(), queue_runtime_core::Error>>| -> Vec<_> {
        results
            .into_iter()
            .map(|r| r.err().map(|e| e.kind()))
            .collect()
    };
    let first = kinds(kit.run(queue.settle(settlements())).unwrap());
    assert_eq!(first, [None, Some(ErrorKind::PermissionDenied)]);
    let second = kinds(kit.run(queue.settle(settlements())).unwrap());
    assert_eq!(second, [Some(ErrorKind::InvalidReceipt), None]);
}

#[test]
fn what_cannot_be_helped_is_told_at_once_and_without_secrets() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "&session_token=hunter2");
    let queue = kit.queue("hopeless");
    kit.run(queue.send("found")).unwrap();
    let cases = [
        ("ExpiredToken", 403, ErrorKind::Unauthenticated),
        ("InvalidClientTokenId", 403, ErrorKind::Unauthenticated),
        ("AccessDenied", 403, ErrorKind::PermissionDenied),
        ("QueueDoesNotExist", 400, ErrorKind::QueueNotFound),
    ];
    for (code, status, kind) in cases {
        proxy.heal();
        let body = format!(r#"{{"__type":"{code}","message":"token hunter2"}}"#);
        let body = if kind == ErrorKind::Unauthenticated {
            body
        } else {
            refusal(code)
        };
        proxy.always(Some("SendMessageBatch"), Fault::Answer(status, body));
        proxy.seen();
        let error = kit.run(queue.send("a")).unwrap_err();
        assert_eq!(error.kind(), kind, "{code}");
        assert!(!error.retryable());
        assert_eq!(proxy.seen().len(), 1, "{code} is not tried again");
        let shown = format!("{error} {error:?} {:?}", kit.client);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_black_hole_is_a_timeout_and_then_forgotten() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "&timeout=200ms");
    let queue = kit.queue("hole");
    proxy.always(None, Fault::BlackHole);
    assert_eq!(
        kit.run(queue.send("a")).unwrap_err().kind(),
        ErrorKind::Timeout
    );
    assert_eq!(
        kit.run(queue.receive(&look())).unwrap_err().kind(),
        ErrorKind::Timeout
    );
    proxy.heal();
    kit.run(queue.send("b")).unwrap();
    assert!(
        kit.receive(&queue, 1)
            .iter()
            .any(|delivery| body(delivery) == "b")
    );
}

#[test]
fn nobody_there_is_unavailable() {
    // A port of the loopback that nobody listens on, with and without TLS.
    for endpoint in ["http://127.0.0.1:1", "https://127.0.0.1:1"] {
        let kit = Kit::new(endpoint, "&timeout=1s");
        let error = kit.run(kit.open("q").send("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.retryable());
    }
}

#[test]
fn a_message_that_comes_twice_is_two_deliveries_of_one_message() {
    let (kit, proxy) = Kit::behind_proxy(ministack(), "");
    let queue = kit.queue("twice");
    proxy.once(Some("SendMessageBatch"), Fault::Twice);
    let sent = kit
        .run(queue.send(Message::new("a").id("order-1")))
        .unwrap();
    let deliveries = kit.receive(&queue, 2);
    assert_eq!(deliveries.len(), 2);
    assert!(deliveries.iter().all(|delivery| *delivery.id() == sent.id));
}
