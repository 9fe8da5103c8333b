//! Wake-ups and locks under a model checker: each test runs under many schedules of its threads,
//! chosen at random and by priorities. A wake-up that is lost ends as a reported deadlock.
//!
//! `cargo test --release -p queue-runtime-core --features shuttle --test shuttle`;
//! `QRT_SOAK=100` tries a hundred times as many schedules.

#![cfg(feature = "shuttle")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(all(feature = "file", target_os = "linux"))]
mod file;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{HOUR, Kit, body, ms, now, soak, take};
use queue_runtime_core::{
    Delivery, ErrorKind, Message, OnFailure, OnFull, Queue, QueueOptions, ReceiveOptions,
    RedriveOptions, SessionOptions,
};
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;
use shuttle::{Config, Runner};

const LOCK: Duration = ms(1000);

/// Runs a test under many schedules, with a queue and the same queue as somebody else has it: on
/// `memory:` another handle, on `file:` one of another store on the same folder, as another process
/// has. Both are in use before the threads of the test begin, as the first use of one takes a lock
/// that the checker does not know.
fn check(options: QueueOptions, test: impl Fn(Kit, Queue, Queue) + Clone + Send + Sync + 'static) {
    let options = options.or(&QueueOptions {
        lock: Some(LOCK),
        ..QueueOptions::default()
    });
    schedules(500, {
        let (options, test) = (options.clone(), test.clone());
        move || {
            let kit = Kit::new();
            let queue = kit.queue(options.clone());
            now(queue.statistics()).unwrap();
            test(kit, queue.clone(), queue);
        }
    });
    #[cfg(all(feature = "file", target_os = "linux"))]
    schedules(50, move || file::in_two_stores(&options, &test));
}

/// Runs this under so many schedules of each kind, and `QRT_SOAK` times as many.
fn schedules(count: usize, run: impl Fn() + Clone + Send + Sync + 'static) {
    fn runner(scheduler: impl Scheduler + 'static) -> Runner<impl Scheduler> {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        Runner::new(scheduler, config)
    }
    let count = count * soak() as usize;
    runner(RandomScheduler::new(count)).run(run.clone());
    runner(PctScheduler::new(3, count)).run(run);
}

/// Receives one message, waiting as long as it takes.
fn receive(queue: &Queue) -> Delivery {
    block_on(queue.receive_one(HOUR))
        .unwrap()
        .expect("an hour is not over")
}

fn receiver(queue: &Queue) -> thread::JoinHandle<Delivery> {
    let queue = queue.clone();
    thread::spawn(move || receive(&queue))
}

/// Begins to wait for something and gives it up. Answers what came before that.
fn give_up<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let polled = future.as_mut().poll(&mut context);
    thread::yield_now();
    match polled {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn a_send_reaches_those_who_wait() {
    check(QueueOptions::default(), |_kit, queue, other| {
        let receivers = [receiver(&queue), receiver(&other)];
        now(queue.send("a")).unwrap();
        now(queue.send("b")).unwrap();
        let mut got = receivers.map(|r| body(&r.join().unwrap()).to_owned());
        got.sort();
        assert_eq!(got, ["a", "b"]);
    });
}

#[test]
fn a_batch_reaches_those_who_wait() {
    check(QueueOptions::default(), |_kit, queue, other| {
        let receivers = [receiver(&queue), receiver(&other)];
        now(queue.send_many(["a".into(), "b".into()])).unwrap();
        let mut got = receivers.map(|r| body(&r.join().unwrap()).to_owned());
        got.sort();
        assert_eq!(got, ["a", "b"]);
    });
}

#[test]
fn one_message_goes_to_one_of_two() {
    let options = QueueOptions {
        lock: Some(HOUR * 12),
        ..QueueOptions::default()
    };
    check(options, |kit, queue, other| {
        let done = Arc::new(AtomicUsize::new(0));
        let receivers = [queue.clone(), other].map(|queue| {
            let done = done.clone();
            thread::spawn(move || {
                let got = block_on(queue.receive_one(ms(10))).unwrap();
                done.fetch_add(1, Ordering::SeqCst);
                got
            })
        });
        now(queue.send("a")).unwrap();
        while done.load(Ordering::SeqCst) < 2 {
            kit.advance(ms(10));
            thread::yield_now();
        }
        let got = receivers.map(|r| r.join().unwrap());
        let count = got.iter().flatten().count();
        let left = now(queue.statistics()).unwrap();
        assert_eq!(count as u64, left.in_flight);
        assert_eq!(left.in_flight + left.ready, 1);
    });
}

#[test]
fn a_wake_up_outlives_the_receiver_it_was_for() {
    check(QueueOptions::default(), |_kit, queue, other| {
        let leaving = other.clone();
        let leaves = thread::spawn(move || {
            if let Some(got) = give_up(leaving.receive_one(HOUR)) {
                now(got.unwrap().unwrap().release(None)).unwrap();
            }
        });
        let stays = receiver(&other);
        now(queue.send("a")).unwrap();
        let got = stays.join().unwrap();
        assert_eq!(got.attempt(), 1);
        leaves.join().unwrap();
    });
}

#[test]
fn an_ack_and_the_end_of_the_lock_do_not_both_win() {
    check(QueueOptions::default(), |kit, queue, other| {
        now(queue.send("a")).unwrap();
        let delivery = take(&queue);
        let acks = thread::spawn(move || now(delivery.ack()));
        let again = receiver(&other);
        kit.advance(LOCK);
        match acks.join().unwrap() {
            Ok(()) => {
                assert_eq!(now(queue.statistics()).unwrap().depth(), 0);
                now(queue.send("b")).unwrap();
                assert_eq!(body(&again.join().unwrap()), "b");
            }
            Err(error) => {
                // Which of the two it is told depends on when it looked at the clock.
                let kinds = [ErrorKind::LockLost, ErrorKind::InvalidReceipt];
                assert!(kinds.contains(&error.kind()), "{error:?}");
                assert_eq!(again.join().unwrap().attempt(), 2);
            }
        }
    });
}

#[test]
fn a_last_attempt_ends_once() {
    let options = QueueOptions {
        budget: Some(1),
        ..QueueOptions::default()
    };
    check(options, |kit, queue, other| {
        now(queue.send("a")).unwrap();
        let delivery = take(&other);
        let nacks = thread::spawn(move || now(delivery.nack(Some("no"))));
        kit.advance(LOCK);
        let nacked = nacks.join().unwrap();
        let all = queue_runtime_core::DeadLetterFilter::all();
        let letters = now(queue.dead_letters(all, None, 10)).unwrap();
        let reasons: Vec<_> = letters.iter().map(|letter| &*letter.reason).collect();
        let expected = match nacked {
            Ok(()) => "max_attempts",
            Err(_) => "crashed",
        };
        assert_eq!(reasons, [expected]);
    });
}

#[test]
fn time_wakes_those_who_wait() {
    check(QueueOptions::default(), |kit, queue, other| {
        let first = receiver(&other);
        now(queue.send(Message::new("a").delay(ms(10)))).unwrap();
        kit.advance(ms(10));
        let a = first.join().unwrap();

        let second = receiver(&other);
        kit.advance(LOCK);
        assert_eq!(second.join().unwrap().attempt(), 2);
        drop(a);
    });
}

#[test]
fn an_earlier_deadline_is_not_overslept() {
    check(QueueOptions::default(), |kit, queue, other| {
        now(queue.send(Message::new("late").delay(HOUR / 2))).unwrap();
        let waits = receiver(&other);
        now(queue.send(Message::new("early").delay(ms(10)))).unwrap();
        kit.advance(ms(10));
        assert_eq!(body(&waits.join().unwrap()), "early");
    });
}

#[test]
fn a_session_has_one_holder_and_goes_on_to_the_next() {
    check(QueueOptions::default(), |_kit, queue, other| {
        let held = Arc::new(AtomicUsize::new(0));
        let workers = [queue.clone(), other].map(|queue| {
            let held = held.clone();
            thread::spawn(move || {
                let next = SessionOptions::next().wait(HOUR);
                let session = block_on(queue.accept_session(next)).unwrap().unwrap();
                assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0, "two holders");
                let got = now(session.receive(&ReceiveOptions::new()))
                    .unwrap()
                    .remove(0);
                now(got.ack()).unwrap();
                held.fetch_sub(1, Ordering::SeqCst);
                now(session.close()).unwrap();
                body(&got).to_owned()
            })
        });
        now(queue.send(Message::new("a").session("s"))).unwrap();
        now(queue.send(Message::new("b").session("s"))).unwrap();
        let mut got = workers.map(|w| w.join().unwrap());
        got.sort();
        assert_eq!(got, ["a", "b"]);
    });
}

#[test]
fn an_accept_that_is_given_up_passes_its_wake_on() {
    check(QueueOptions::default(), |_kit, queue, other| {
        let leaving = other.clone();
        let leaves = thread::spawn(move || {
            let next = SessionOptions::next().wait(HOUR);
            drop(give_up(leaving.accept_session(next)));
        });
        let staying = queue.clone();
        let stays = thread::spawn(move || {
            let next = SessionOptions::next().wait(HOUR);
            block_on(staying.accept_session(next))
                .unwrap()
                .unwrap()
                .id()
                .to_owned()
        });
        now(queue.send(Message::new("a").session("s"))).unwrap();
        assert_eq!(stays.join().unwrap(), "s");
        leaves.join().unwrap();
    });
}

#[test]
fn of_two_who_ask_for_a_session_one_gets_it() {
    check(QueueOptions::default(), |_kit, queue, other| {
        let accepts = [queue, other]
            .map(|queue| thread::spawn(move || now(queue.accept_session(SessionOptions::id("s")))));
        let accepted = accepts.map(|a| a.join().unwrap());
        let kinds: Vec<_> = accepted
            .iter()
            .map(|a| a.as_ref().err().map(|e| e.kind()))
            .collect();
        assert_eq!(kinds.iter().filter(|k| k.is_none()).count(), 1);
        assert!(kinds.contains(&Some(ErrorKind::SessionLocked)));
    });
}

#[test]
fn a_settlement_frees_its_session_for_those_who_wait() {
    check(QueueOptions::default(), |_kit, queue, other| {
        for body in ["a", "b"] {
            now(queue.send(Message::new(body).session("s"))).unwrap();
        }
        let a = take(&queue);
        let waits = receiver(&other);
        now(a.ack()).unwrap();
        assert_eq!(body(&waits.join().unwrap()), "b");
    });
}

#[test]
fn the_end_of_parking_reaches_those_who_wait() {
    let options = QueueOptions {
        on_failure: Some(OnFailure::Park),
        ..QueueOptions::default()
    };
    check(options, |_kit, queue, other| {
        for body in ["a", "b"] {
            now(queue.send(Message::new(body).session("s"))).unwrap();
        }
        now(take(&queue).dead_letter("bad", None)).unwrap();
        let waits = receiver(&other);
        now(queue.redrive(RedriveOptions::default())).unwrap();
        assert_eq!(body(&waits.join().unwrap()), "a");
    });
}

#[test]
fn a_holder_is_woken_by_a_send_or_by_the_loss_of_its_session() {
    check(QueueOptions::default(), |kit, queue, other| {
        let id = SessionOptions::id("s");
        let session = now(other.accept_session(id)).unwrap().unwrap();
        let holder = thread::spawn(move || {
            let options = ReceiveOptions::new().wait(HOUR);
            let first = block_on(session.receive(&options)).unwrap();
            assert_eq!(body(&first[0]), "a");
            block_on(session.receive(&options)).unwrap_err().kind()
        });
        now(queue.send(Message::new("a").session("s"))).unwrap();
        // The lock must not end before the message is taken.
        while now(queue.statistics()).unwrap().in_flight == 0 {
            thread::yield_now();
        }
        kit.advance(LOCK);
        assert_eq!(holder.join().unwrap(), ErrorKind::SessionLockLost);
        assert_eq!(take(&queue).attempt(), 2);
    });
}

#[test]
fn room_reaches_the_send_that_waits_for_it() {
    let options = QueueOptions {
        max_messages: Some(1),
        on_full: Some(OnFull::Wait),
        ..QueueOptions::default()
    };
    check(options, |_kit, queue, other| {
        now(queue.send("a")).unwrap();
        let leaving = other.clone();
        let leaves = thread::spawn(move || give_up(leaving.send("c")).is_some());
        let sending = other.clone();
        let sends = thread::spawn(move || block_on(sending.send("b")).unwrap());
        loop {
            let got = receive(&queue);
            now(got.ack()).unwrap();
            if body(&got) == "b" {
                break;
            }
        }
        sends.join().unwrap();
        leaves.join().unwrap();
    });
}

#[test]
fn close_reaches_those_who_wait() {
    check(QueueOptions::default(), |kit, queue, _other| {
        let waiting = queue.clone();
        let waits = thread::spawn(move || block_on(waiting.receive_one(HOUR)));
        let full = queue.clone();
        let accepts = thread::spawn(move || {
            let next = SessionOptions::next().wait(HOUR);
            block_on(full.accept_session(next)).map(|_| ())
        });
        block_on(kit.client.close()).unwrap();
        let closed = waits.join().unwrap().unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
        let closed = accepts.join().unwrap().unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
    });
}
