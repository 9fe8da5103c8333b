//! The consumer of a session that the program holds.

use super::*;

#[test]
fn a_given_session_is_consumed_with_its_lock_kept() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1", "2"]);
        send_to(&queue, "b", &["3"]);
        let session = wait(queue.accept_session(SessionOptions::id("a")))
            .unwrap()
            .unwrap();
        let consumer = session.consume(ConsumerOptions::new()).unwrap();
        let one = expect(&consumer, "1");
        nothing(&consumer);
        pass(&kit, 8);
        ack(&one);
        ack(&expect(&consumer, "2"));
        nothing(&consumer);
        pass(&kit, 8);
        send_to(&queue, "a", &["4"]);
        ack(&expect(&consumer, "4"));
        assert_eq!(wait(consumer.drain(HOUR)), DrainReport::default());
        // It is still its holder's.
        assert!(!is_free(&queue, "a"));
        wait(session.renew()).unwrap();
        wait(session.close()).unwrap();
        assert!(is_free(&queue, "a"));
    }
}

#[test]
fn a_given_session_that_is_lost_or_closed_ends_its_consumer() {
    for kit in kits() {
        for lost in [true, false] {
            let queue = queue(&kit);
            send_to(&queue, "a", &["1"]);
            let session = wait(queue.accept_session(SessionOptions::id("a")))
                .unwrap()
                .unwrap();
            let consumer = session.consume(ConsumerOptions::new()).unwrap();
            let one = expect(&consumer, "1");
            if lost {
                kit.advance(2 * LOCK);
                assert_eq!(wait(one.cancelled()), CancelCause::LockLost);
            } else {
                ack(&one);
                wait(session.close()).unwrap();
            }
            assert!(wait(consumer.next()).is_none());
            let failure = consumer.status().failure.map(|error| error.kind());
            assert_eq!(failure, Some(ErrorKind::SessionLockLost));
            drop(one);
            drop(session);
            while let Some(session) = accept(&queue) {
                let options = queue_runtime_core::ReceiveOptions::new();
                for delivery in wait(session.receive(&options)).unwrap() {
                    ack(&delivery);
                }
            }
        }
    }
}

#[test]
fn the_consumer_of_a_session_may_end_when_that_has_nothing() {
    for kit in kits() {
        let queue = queue(&kit);
        for _ in 0..20 * soak() {
            send_to(&queue, "a", &["1", "2", "3"]);
            let session = accept(&queue).unwrap();
            let options = ConsumerOptions::new().prefetch(1).idle(Duration::ZERO);
            let consumer = session.consume(options).unwrap();
            for text in ["1", "2", "3"] {
                let delivery = expect(&consumer, text);
                // Nothing can be had while it is in hand.
                assert!(wait(consumer.next()).is_none());
                ack(&delivery);
            }
            assert!(wait(consumer.next()).is_none());
            drop(consumer);
            wait(session.close()).unwrap();
        }
    }
}
