//! Arguments out of their bounds.

use super::*;

#[test]
fn of_receive() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    let session = accept(&queue, "s");
    let options = ReceiveOptions::new;
    for (options, field) in [
        (options().max_messages(0), "max_messages"),
        (options().max_messages(u32::MAX), "max_messages"),
        (options().wait(TOO_LONG), "wait"),
        (options().wait(Duration::MAX), "wait"),
        (options().lock(Duration::ZERO), "lock"),
        (options().lock(Duration::from_nanos(1)), "lock"),
        (options().lock(TOO_LONG), "lock"),
        (options().lock(Duration::MAX), "lock"),
    ] {
        assert_eq!(refused(now(queue.receive(&options))), argument(field));
        assert_eq!(refused(now(session.receive(&options))), argument(field));
    }
    assert_eq!(refused(now(queue.receive_one(TOO_LONG))), argument("wait"));
    assert_eq!(body(&take(&queue)), "a", "a refused receive takes nothing");
}

#[test]
fn of_accept_and_renew() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let long = "s".repeat(129);
    for (options, field) in [
        (SessionOptions::next().wait(TOO_LONG), "wait"),
        (SessionOptions::next().lock(Duration::ZERO), "lock"),
        (SessionOptions::next().lock(TOO_LONG), "lock"),
        (SessionOptions::id(""), "session"),
        (SessionOptions::id(long.as_str()), "session"),
        (SessionOptions::id("a\0b"), "session"),
        (SessionOptions::id("a\nb"), "session"),
        (SessionOptions::id("größe"), "session"),
    ] {
        let error = now(queue.accept_session(options)).unwrap_err();
        assert_eq!(error.operation(), Some("accept_session"));
        assert_eq!(refused::<()>(Err(error)), argument(field));
    }
    let session = accept(&queue, "s");
    for lock in [Duration::ZERO, TOO_LONG, Duration::MAX] {
        assert_eq!(
            refused(now(session.renew_for(Some(lock)))),
            argument("lock")
        );
    }
    assert_eq!(now(queue.statistics()).unwrap().sessions, 1);
}

#[test]
fn of_extend() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    let a = take(&queue);
    for lock in [Duration::ZERO, TOO_LONG, Duration::MAX] {
        assert_eq!(refused(now(a.extend(lock))), argument("lock"));
    }
    kit.advance(LOCK - ms(1));
    now(a.ack()).expect("a refused extension leaves the lock as it was");
}

/// A delay beyond a hundred years is refused, and the delivery can still be settled.
#[test]
fn of_nack_and_release() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    let a = take(&queue);
    for delay in [Duration::MAX, Duration::from_secs(u64::MAX)] {
        assert_eq!(refused(now(a.nack_after(None, delay))), argument("delay"));
        assert_eq!(refused(now(a.release(Some(delay)))), argument("delay"));
    }
    now(a.release(Some(HOUR * 24 * 365 * 100))).expect("a hundred years are allowed");
    assert_eq!(now(queue.statistics()).unwrap().delayed, 1);
}

#[test]
fn of_messages() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let message = || Message::new("x");
    let years = Duration::from_secs(101 * 365 * 24 * 60 * 60);
    let long = || "x".repeat(129);
    let bad = [
        (message().id(""), "id"),
        (message().id(long().as_str()), "id"),
        (message().id("a\0b"), "id"),
        (message().session(""), "session"),
        (message().session(long()), "session"),
        (message().session("ü"), "session"),
        (message().session("a\tb"), "session"),
        (message().correlation_id(""), "correlation_id"),
        (message().correlation_id("\u{7f}"), "correlation_id"),
        (message().content_type("text\0"), "content_type"),
        (message().dedup_id(""), "dedup_id"),
        (message().dedup_id(long()), "dedup_id"),
        (message().header("", "v"), "headers"),
        (message().header("n".repeat(257), "v"), "headers"),
        (message().header("a\0", "v"), "headers"),
        (message().header("a\r\nb", "v"), "headers"),
        (message().header("n", "a\0b"), "headers"),
        (message().header("n", "v".repeat(65 * 1024)), "headers"),
        (message().delay(years), "delay"),
        (message().delay(Duration::MAX), "delay"),
        (message().ttl(years), "ttl"),
        (message().ttl(Duration::MAX), "ttl"),
        (message().ttl(Duration::ZERO), "ttl"),
    ];
    for (message, field) in &bad {
        let error = now(queue.send(message.clone())).unwrap_err();
        assert_eq!(
            (error.operation(), error.queue()),
            (Some("send"), Some("q"))
        );
        assert_eq!(refused::<()>(Err(error)), invalid(field), "{message:?}");
    }
    assert!(look(&queue, 10).is_empty());

    // What is unusual but right.
    let longest = "x".repeat(128);
    let message = Message::new(vec![0xff, 0x00, 0xfe])
        .id(longest.as_str())
        .session(longest.clone())
        .header("größe", "∞ \n \u{1f600}")
        .header("empty", "");
    now(queue.send(message.clone())).unwrap();
    now(queue.send("")).unwrap();
    let got = look(&queue, 2);
    assert!(got.iter().any(|d| d.message() == &message));
    assert!(got.iter().any(|d| d.body().is_empty()));
}

#[test]
fn a_message_too_large_says_both_sizes() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        max_message_bytes: Some(100),
        ..QueueOptions::default()
    });
    let error = now(queue.send(Message::new(vec![0; 101]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    assert_eq!(error.size(), Some((101, 100)));
    assert!(!error.retryable());
    // Headers and ids count.
    let message = Message::new(vec![0; 90])
        .header("name", "value!!")
        .session("s");
    assert_eq!(message.bytes(), 102);
    let error = now(queue.send(message)).unwrap_err();
    assert_eq!(error.size(), Some((102, 100)));
    now(queue.send(Message::new(vec![0; 100]))).unwrap();
    assert_eq!(now(queue.statistics()).unwrap().bytes, 100);
}

#[test]
fn bad_messages_do_not_hide_the_good_ones_beside_them() {
    let kit = Kit::new();
    let queue = kit.queue(QueueOptions {
        max_message_bytes: Some(100),
        ..QueueOptions::default()
    });
    let batch = [
        Message::new("bad").session(""),
        Message::new("0"),
        Message::new(vec![0; 101]),
        Message::new("bad").ttl(Duration::ZERO),
        Message::new("1"),
        Message::new("2"),
        Message::new("bad").header("", ""),
    ];
    let results = now(queue.send_many(batch)).unwrap();
    let kinds: Vec<_> = results
        .iter()
        .map(|r| r.as_ref().map(|_| ()).map_err(Error::kind))
        .collect();
    let invalid = Err(ErrorKind::InvalidMessage);
    let large = Err(ErrorKind::MessageTooLarge);
    assert_eq!(
        kinds,
        [invalid, Ok(()), large, invalid, Ok(()), Ok(()), invalid]
    );
    assert_eq!(bodies(&look(&queue, 10)), ["0", "1", "2"]);

    let batch = [Message::new("bad").session("")];
    assert!(now(queue.send_many(batch)).unwrap()[0].is_err());
    assert!(now(queue.send_many([])).unwrap().is_empty());
    assert!(now(queue.settle(vec![])).unwrap().is_empty());
    assert!(now(queue.extend(vec![], LOCK)).unwrap().is_empty());
}

#[test]
fn of_queue_names() {
    let kit = Kit::new();
    for name in ["", "a\0b", "a\nb", "a/b", "größe", &"q".repeat(10_000)] {
        let error = kit.client.queue(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name:?}");
    }
}

#[test]
fn of_queue_options() {
    let kit = Kit::new();
    let options = QueueOptions::default;
    let config = |field: &str| (ErrorKind::InvalidConfig, field.to_owned());
    for (options, field) in [
        (
            QueueOptions {
                lock: Some(Duration::ZERO),
                ..options()
            },
            "lock",
        ),
        (
            QueueOptions {
                lock: Some(TOO_LONG),
                ..options()
            },
            "lock",
        ),
        (
            QueueOptions {
                budget: Some(0),
                ..options()
            },
            "budget",
        ),
        (
            QueueOptions {
                ttl: Some(Duration::ZERO),
                ..options()
            },
            "ttl",
        ),
        (
            QueueOptions {
                ttl: Some(Duration::MAX),
                ..options()
            },
            "ttl",
        ),
        (
            QueueOptions {
                dedup_window: Some(Duration::MAX),
                ..options()
            },
            "dedup_window",
        ),
        (
            QueueOptions {
                max_messages: Some(0),
                ..options()
            },
            "max_messages",
        ),
        (
            QueueOptions {
                max_messages: Some(u64::MAX),
                ..options()
            },
            "max_messages",
        ),
        (
            QueueOptions {
                max_bytes: Some(0),
                ..options()
            },
            "max_bytes",
        ),
        (
            QueueOptions {
                max_message_bytes: Some(0),
                ..options()
            },
            "max_message_bytes",
        ),
        (
            QueueOptions {
                max_message_bytes: Some(u64::MAX),
                ..options()
            },
            "max_message_bytes",
        ),
    ] {
        assert_eq!(refused(kit.client.queue_with("q", options)), config(field));
    }
}

#[test]
fn of_urls() {
    let kit = Kit::new();
    for url in ["", "memory", "nonsense:", "nonsense://host/x", "://", "\0"] {
        let error = now(kit.client.runtime().connect(url)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url:?}");
        assert_eq!(error.field(), Some("url"), "{url:?}");
    }
    let error = now(kit.client.runtime().connect("memory:?lokc=30s")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("lokc"), "{error}");
}

/// Counts that overflow are taken as "all".
#[test]
fn of_listings() {
    let kit = Kit::new();
    let queue = queue(&kit);
    now(queue.send("a")).unwrap();
    assert_eq!(now(queue.peek(None, u32::MAX)).unwrap().len(), 1);
    assert_eq!(now(queue.peek(Some(u64::MAX), 1)).unwrap(), []);
    assert_eq!(now(queue.peek(None, 0)).unwrap(), []);
    now(take(&queue).dead_letter("", None)).unwrap();
    let all = DeadLetterFilter::all;
    assert_eq!(
        now(queue.dead_letters(all(), None, u32::MAX))
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        now(queue.dead_letters(all(), Some(u64::MAX), 1)).unwrap(),
        []
    );
    assert_eq!(now(queue.dead_letters(all(), None, 0)).unwrap(), []);
    let nothing = RedriveOptions {
        max: Some(0),
        ..RedriveOptions::default()
    };
    assert_eq!(now(queue.redrive(nothing)).unwrap().redriven, 0);
    let past_the_end = RedriveOptions {
        after: Some(u64::MAX),
        ..RedriveOptions::default()
    };
    assert_eq!(now(queue.redrive(past_the_end)).unwrap().redriven, 0);
}

#[test]
fn what_a_provider_cannot_do_is_named() {
    let kit = Kit::new();
    for capability in Capability::ALL {
        let config = ClientConfig::new("memory:").require([capability]);
        let opened = now(kit.client.runtime().connect(config));
        if kit.client.capabilities().has(capability) {
            opened.unwrap();
            continue;
        }
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.capability(), Some(capability));
        assert!(error.message().contains(capability.name()), "{error}");
        assert!(!error.retryable());
    }
}
