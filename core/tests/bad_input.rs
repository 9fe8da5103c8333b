//! What a caller can do wrong: each gives an error of the right kind, or gives its messages back.

#![cfg(not(feature = "shuttle"))]

mod common;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use common::{HOUR, Kit, STUCK, Waiting, bodies, body, look, ms, now, take};
use queue_runtime_core::{
    Capability, ClientConfig, DeadLetterFilter, Delivery, Error, ErrorKind, Message, OnFull, Queue,
    QueueOptions, Receipt, ReceiveOptions, RedriveOptions, Result, Runtime, RuntimeConfig, Session,
    SessionOptions, Settlement, Verb,
};

const LOCK: Duration = ms(500);
const TOO_LONG: Duration = Duration::from_secs(12 * 60 * 60 + 1);

fn queue(kit: &Kit) -> Queue {
    kit.queue(QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    })
}

/// The kind of the error, and the field it names.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    assert!(!error.message().is_empty());
    (error.kind(), error.field().unwrap_or_default().to_owned())
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    refused(result).0
}

fn argument(field: &str) -> (ErrorKind, String) {
    (ErrorKind::InvalidArgument, field.to_owned())
}

fn invalid(field: &str) -> (ErrorKind, String) {
    (ErrorKind::InvalidMessage, field.to_owned())
}

fn every_verb() -> [Verb; 4] {
    [
        Verb::Ack,
        Verb::Nack {
            reason: Some("no".into()),
            delay: None,
        },
        Verb::Release { delay: None },
        Verb::DeadLetter {
            reason: "bad".into(),
            description: None,
        },
    ]
}

fn accept(queue: &Queue, id: &str) -> Session {
    let accepted = now(queue.accept_session(SessionOptions::id(id)));
    accepted.unwrap().expect("the session asked for")
}

mod closed {
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
}

mod receipts {
    use super::*;

    #[test]
    fn a_receipt_works_once() {
        let kit = Kit::new();
        let queue = queue(&kit);
        for first in every_verb() {
            for second in every_verb() {
                now(queue.send("a")).unwrap();
                let a = take(&queue);
                now(a.settle(first.clone())).unwrap();
                assert!(a.is_settled());
                assert_eq!(kind(now(a.settle(second))), ErrorKind::InvalidReceipt);
                assert_eq!(kind(now(a.extend(LOCK))), ErrorKind::InvalidReceipt);
                for left in look(&queue, 10) {
                    now(left.ack()).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_receipt_works_once_within_a_batch() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send_many(["a".into(), "b".into()])).unwrap();
        let got = look(&queue, 2);
        let batch = [&got[0], &got[0], &got[1]].map(|d| d.settlement(Verb::Ack));
        let results = now(queue.settle(batch.into())).unwrap();
        assert!(results[0].is_ok());
        assert_eq!(
            results[1].as_ref().unwrap_err().kind(),
            ErrorKind::InvalidReceipt
        );
        assert!(results[2].is_ok());
    }

    #[test]
    fn every_verb_after_the_end_of_the_lock_is_lock_lost() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send("a")).unwrap();
        let lost = take(&queue);
        kit.advance(LOCK);
        let holder = take(&queue);
        for verb in every_verb() {
            let error = now(lost.settle(verb)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LockLost);
            assert_eq!(error.queue(), Some("q"));
            assert!(error.operation().is_some());
        }
        assert_eq!(kind(now(lost.extend(LOCK))), ErrorKind::LockLost);
        now(holder.ack()).expect("the one who holds it is not disturbed");
    }

    #[test]
    fn every_verb_after_the_end_of_a_sessions_lock_is_session_lock_lost() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send(Message::new("a").session("s"))).unwrap();
        let stale = accept(&queue, "s");
        let lost = now(stale.receive(&ReceiveOptions::new()))
            .unwrap()
            .remove(0);
        now(stale.set_state(Some("before".into()))).unwrap();
        kit.advance(LOCK);
        let session = accept(&queue, "s");
        let holder = now(session.receive(&ReceiveOptions::new()))
            .unwrap()
            .remove(0);

        let gone = ErrorKind::SessionLockLost;
        for verb in every_verb() {
            assert_eq!(kind(now(lost.settle(verb))), gone);
        }
        assert_eq!(kind(now(lost.extend(LOCK))), gone);
        assert_eq!(kind(now(stale.receive(&ReceiveOptions::new()))), gone);
        assert_eq!(kind(now(stale.renew())), gone);
        assert_eq!(kind(now(stale.state())), gone);
        assert_eq!(kind(now(stale.set_state(None))), gone);
        assert_eq!(kind(now(stale.close())), gone);

        // The one who holds it is not disturbed.
        assert_eq!(
            now(session.state()).unwrap().as_deref(),
            Some(&b"before"[..])
        );
        now(session.renew()).unwrap();
        now(holder.ack()).unwrap();
    }

    #[test]
    fn a_stale_holder_that_is_dropped_changes_nothing() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send(Message::new("a").session("s"))).unwrap();
        let stale = accept(&queue, "s");
        kit.advance(LOCK);
        let session = accept(&queue, "s");
        drop(stale);
        assert!(look(&queue, 1).is_empty(), "the session is still held");
        now(session.renew()).unwrap();
    }

    #[test]
    fn foreign_receipts_are_invalid_and_touch_nothing() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send("a")).unwrap();
        let a = take(&queue);

        let elsewhere = kit.client.queue("elsewhere").unwrap();
        let private = now(kit.client.runtime().connect("memory:")).unwrap();
        let stranger = Kit::new();
        for other in [
            elsewhere,
            private.queue("q").unwrap(),
            stranger.client.queue("q").unwrap(),
        ] {
            // A delivery of its own, so that place and number of both are in use.
            now(other.send("theirs")).unwrap();
            let theirs = take(&other);
            for verb in every_verb() {
                let result = now(other.settle(vec![a.settlement(verb)]))
                    .unwrap()
                    .remove(0);
                assert_eq!(kind(result), ErrorKind::InvalidReceipt);
            }
            let receipts = vec![a.receipt().clone()];
            let result = now(other.extend(receipts, LOCK)).unwrap().remove(0);
            assert_eq!(kind(result), ErrorKind::InvalidReceipt);
            now(theirs.ack()).unwrap();
        }
        now(a.ack()).unwrap();
    }

    #[test]
    fn made_up_receipts_are_invalid_and_touch_nothing() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send("a")).unwrap();
        let a = take(&queue);
        let Receipt::Slot {
            queue: number,
            slot,
            token,
            until,
            guard,
        } = *a.receipt()
        else {
            panic!("the built-in engines give receipts of their own");
        };
        let receipt = |number, slot, token| Receipt::Slot {
            queue: number,
            slot,
            token,
            until,
            guard,
        };
        let made_up = [
            Receipt::Text("a handle of some broker".into()),
            Receipt::Text("".into()),
            receipt(number.wrapping_add(1), slot, token),
            receipt(number.wrapping_sub(1), slot, token),
            receipt(number, slot.wrapping_add(1), token),
            receipt(number, u32::MAX, token),
            receipt(number, slot, token.wrapping_add(1)),
            receipt(number, slot, token.wrapping_sub(1)),
            receipt(number, slot, 0),
            receipt(number, slot, u64::MAX),
            receipt(0, 0, 0),
        ];
        for receipt in made_up {
            for verb in every_verb() {
                let settlement = Settlement::new(receipt.clone(), verb, 1);
                let result = now(queue.settle(vec![settlement])).unwrap().remove(0);
                assert_eq!(kind(result), ErrorKind::InvalidReceipt, "{receipt:?}");
            }
            let result = now(queue.extend(vec![receipt], LOCK)).unwrap().remove(0);
            assert_eq!(kind(result), ErrorKind::InvalidReceipt);
        }
        now(a.ack()).unwrap();
    }

    #[test]
    fn good_and_bad_receipts_in_one_batch_do_not_disturb_each_other() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send_many(["a".into(), "b".into()])).unwrap();
        let got = look(&queue, 2);
        let bad = Receipt::Text("nothing".into());
        let batch = vec![
            got[0].receipt().clone(),
            bad.clone(),
            got[1].receipt().clone(),
        ];
        let results = now(queue.extend(batch.clone(), LOCK * 2)).unwrap();
        let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(ok, [true, false, true]);
        let settle = |receipt| Settlement::new(receipt, Verb::Ack, 1);
        let results = now(queue.settle(batch.into_iter().map(settle).collect())).unwrap();
        let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(ok, [true, false, true]);
    }
}

mod arguments {
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
}

mod dropped {
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
}

mod panics {
    use super::*;

    #[test]
    fn a_panic_between_receive_and_settle_uses_the_attempt() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send("a")).unwrap();
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _delivery = take(&queue);
            panic!("a handler that fails on purpose");
        }));
        assert!(unwound.is_err());
        assert!(
            look(&queue, 1).is_empty(),
            "it is locked until its lock ends"
        );
        kit.advance(LOCK);
        let again = take(&queue);
        assert_eq!((body(&again), again.attempt()), ("a", 2));
        now(again.ack()).unwrap();
    }

    #[test]
    fn a_panic_while_a_session_is_held_lets_go_of_it() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send(Message::new("a").session("s"))).unwrap();
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let session = accept(&queue, "s");
            let _delivery = now(session.receive(&ReceiveOptions::new())).unwrap();
            panic!("a handler that fails on purpose");
        }));
        assert!(unwound.is_err());
        let again = take(&queue);
        assert_eq!((body(&again), again.attempt()), ("a", 2));
    }

    #[test]
    fn a_panic_in_a_waker_does_not_harm_the_queue() {
        struct Bomb;
        impl Wake for Bomb {
            fn wake(self: Arc<Self>) {
                panic!("a waker that fails on purpose");
            }
        }
        let kit = Kit::new();
        let queue = queue(&kit);
        let bomb = Waker::from(Arc::new(Bomb));
        let mut waiting = Box::pin(queue.receive_one(HOUR));
        let polled = waiting.as_mut().poll(&mut Context::from_waker(&bomb));
        assert!(polled.is_pending());
        let _ = catch_unwind(AssertUnwindSafe(|| now(queue.send("a"))));
        drop(waiting);
        now(queue.send("b")).unwrap();
        let left = look(&queue, 10);
        assert_eq!(body(left.last().unwrap()), "b");
    }

    #[test]
    fn a_panic_while_decoding_leaves_the_delivery_whole() {
        #[derive(Debug)]
        struct Picky;
        impl<'de> serde::Deserialize<'de> for Picky {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                panic!("a decoder that fails on purpose");
            }
        }
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send("[1]")).unwrap();
        let delivery = take(&queue);
        let decode = AssertUnwindSafe(|| delivery.json::<Picky>().map(drop));
        assert!(catch_unwind(decode).is_err());
        assert_eq!(delivery.json::<Vec<u32>>().unwrap(), &[1]);
        assert_eq!(refused(delivery.json::<u32>()), argument("type"));
        now(delivery.ack()).unwrap();
    }
}

mod threads {
    use super::*;

    /// The least an executor can be: polls, parks, and knows nothing of tokio.
    fn foreign_block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < STUCK, "nobody was woken");
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park_timeout(STUCK),
            }
        }
    }

    #[test]
    fn a_foreign_executor_can_wait_on_the_system_clock() {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        foreign_block_on(async {
            let client = runtime.connect("memory:").await.unwrap();
            let queue = client.queue("q").unwrap();
            assert!(queue.receive_one(ms(20)).await.unwrap().is_none());
            let next = SessionOptions::next().wait(ms(20));
            assert!(queue.accept_session(next).await.unwrap().is_none());

            let sender = queue.clone();
            let sent = thread::spawn(move || foreign_block_on(sender.send("a")));
            let a = queue.receive_one(HOUR).await.unwrap().expect("a message");
            sent.join().unwrap().unwrap();
            assert_eq!(body(&a), "a");
            a.extend(ms(20)).await.unwrap();
            drop(a);
            let again = queue
                .receive_one(HOUR)
                .await
                .unwrap()
                .expect("it comes back");
            assert_eq!(again.attempt(), 2);
            again.ack().await.unwrap();
        });
    }

    #[test]
    fn a_foreign_executor_can_pace_a_redrive() {
        let kit = Kit::new();
        let queue = queue(&kit);
        now(queue.send_many(["a".into(), "b".into()])).unwrap();
        for delivery in look(&queue, 2) {
            now(delivery.dead_letter("bad", None)).unwrap();
        }
        let q = queue.clone();
        let slow = RedriveOptions {
            per_second: Some(1),
            ..RedriveOptions::default()
        };
        let mut redrive = Waiting::start(async move { q.redrive(slow).await });
        now(take(&queue).ack()).unwrap();
        assert!(look(&queue, 1).is_empty());
        kit.advance(Duration::from_secs(1));
        while redrive.is_woken() {
            if let Poll::Ready(report) = redrive.poll() {
                assert_eq!(report.unwrap().redriven, 2);
                assert_eq!(body(&take(&queue)), "b");
                return;
            }
            kit.advance(Duration::from_secs(1));
        }
        panic!("the redrive was not woken by the clock");
    }

    #[test]
    fn block_on_inside_a_tokio_runtime_would_deadlock() {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        tokio.block_on(async {
            assert_eq!(kind(runtime.block_on(async {})), ErrorKind::WouldDeadlock);
        });
        let inside = runtime.clone();
        let nested = runtime.block_on(async move { inside.block_on(async {}) });
        assert_eq!(kind(nested.unwrap()), ErrorKind::WouldDeadlock);
        assert_eq!(runtime.block_on(async { 7 }).unwrap(), 7);
    }

    #[test]
    fn a_runtime_may_go_anywhere() {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio.block_on(async {
            let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
            let client = runtime.connect("memory:").await.unwrap();
            let queue = client.queue("q").unwrap();
            queue.send("a").await.unwrap();
            let a = queue.receive_one(HOUR).await.unwrap().unwrap();
            drop((runtime, client, queue));
            a.ack().await.unwrap();
            drop(a);
        });
        // On a thread of its own.
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let own = runtime.clone();
        runtime.block_on(async move { drop(own) }).unwrap();
        drop(runtime);
    }

    #[test]
    fn there_is_no_current_runtime_outside_of_one() {
        assert_eq!(kind(Runtime::current().map(drop)), ErrorKind::InvalidConfig);
    }

    /// The types a program shares between its threads can be shared.
    #[test]
    fn everything_crosses_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Queue>();
        crosses::<Delivery>();
        crosses::<Session>();
        crosses::<Runtime>();
        crosses::<Error>();
        crosses::<Message>();
    }
}
