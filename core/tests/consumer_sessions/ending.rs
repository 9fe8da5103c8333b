//! What becomes of sessions and of their messages when a lock, a handler or the consumer ends.

use super::*;

#[test]
fn a_lost_session_lock_cancels_what_is_in_hand_and_gives_up_the_rest() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1", "2", "3"]);
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        let options = pool(1).on_cancel(move |_, cause| tell.lock().unwrap().push(cause));
        let consumer = queue.consume(options).unwrap();
        let one = expect(&consumer, "1");
        eventually("the rest is fetched", || consumer.status().prefetched == 2);
        kit.advance(2 * LOCK);
        assert_eq!(wait(one.cancelled()), CancelCause::LockLost);
        eventually("who is told is told", || {
            *told.lock().unwrap() == [CancelCause::LockLost]
        });
        let late = wait(one.ack()).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::SessionLockLost);
        drop(one);
        kit.advance(ms(1000));
        for (text, attempt) in [("1", 2), ("2", 1), ("3", 1)] {
            let delivery = expect(&consumer, text);
            assert_eq!(delivery.attempt(), attempt, "{text}");
            ack(&delivery);
        }
    }
}

#[test]
fn a_message_that_is_in_hand_for_too_long_lets_its_session_go() {
    for kit in kits() {
        let queue = queue(&kit);
        send_to(&queue, "a", &["1", "2"]);
        let options = pool(1).max_lock_renewal(3 * LOCK);
        let consumer = queue.consume(options).unwrap();
        let one = expect(&consumer, "1");
        pass(&kit, 5);
        assert_eq!(one.cancel_cause(), None);
        kit.advance(LOCK / 2);
        assert_eq!(wait(one.cancelled()), CancelCause::Stalled);
        // It goes on elsewhere, or here when the hand is free.
        eventually("the session is free", || is_free(&queue, "a"));
        for _ in 0..10 {
            kit.advance(ms(1000));
            nothing(&consumer);
        }
        drop(one);
        kit.advance(ms(1000));
        ack(&expect(&consumer, "1"));
        ack(&expect(&consumer, "2"));
    }
}

#[test]
fn a_drain_adds_up_and_leaves_the_sessions_free() {
    for kit in kits() {
        let queue = queue(&kit);
        for session in ["a", "b", "c"] {
            send_to(&queue, session, &["1", "2", "3"]);
        }
        let consumer = queue.consume(pool(3)).unwrap();
        let (one, two, three) = (next(&consumer), next(&consumer), next(&consumer));
        eventually("the rest is fetched", || consumer.status().prefetched == 6);
        let report = wait(async {
            let drained = consumer.drain(ms(1000));
            tokio::pin!(drained);
            tokio::select! {
                _ = &mut drained => panic!("three are in hand"),
                () = async {
                    while wait_free(&queue).await.ready < 6 {
                        tokio::task::yield_now().await;
                    }
                } => {}
            }
            // What is in hand is still its handlers'.
            one.ack().await.unwrap();
            drop(two);
            kit.advance(ms(1000));
            drained.await
        });
        assert_eq!(
            (report.finished, report.released, report.abandoned),
            (1, 7, 1)
        );
        assert_eq!(three.cancel_cause(), Some(CancelCause::Drained));
        let mut left = Vec::new();
        while let Some(session) = accept(&queue) {
            let options = queue_runtime_core::ReceiveOptions::new().max_messages(9);
            left.extend(wait(session.receive(&options)).unwrap());
            std::mem::forget(session);
        }
        assert_eq!(left.len(), 8);
    }
}

async fn wait_free(queue: &Queue) -> queue_runtime_core::Statistics {
    queue.statistics().await.unwrap()
}
