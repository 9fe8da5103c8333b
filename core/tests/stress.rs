//! Threads, the real clock and short locks: producers, consumers that ack, fail, give back, crash
//! and give up waiting at any moment. What is checked needs no timing: nothing is lost, nothing
//! acked twice or handed out after its ack, sessions in order, and whoever waits is woken.
//!
//! `QRT_SOAK=100` does a hundred times as much work.

#![cfg(not(feature = "shuttle"))]

mod common;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::{HOUR, STUCK, body, ms, soak};
use queue_runtime_core::{
    Delivery, ErrorKind, Message, Queue, QueueOptions, ReceiveOptions, Result, Retry, Runtime,
    SessionOptions,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

const PRODUCERS: usize = 3;
const CONSUMERS: usize = 6;

async fn open(options: QueueOptions) -> Queue {
    let client = Runtime::current()
        .unwrap()
        .connect("memory:")
        .await
        .unwrap();
    let options = options.or(&QueueOptions {
        lock: Some(ms(40)),
        // Nobody is given up here: what is sent must come out.
        budget: Some(u32::MAX),
        retry: Some(Retry::None),
        ..QueueOptions::default()
    });
    client.queue_with("q", options).unwrap()
}

/// Fails, with what is in the queue, when the work is stuck.
async fn watched<T>(what: &str, queue: &Queue, work: impl Future<Output = T>) -> T {
    match timeout(STUCK * soak(), work).await {
        Ok(done) => done,
        Err(_) => panic!(
            "{what}: stuck, with {:?}",
            queue.statistics().await.unwrap()
        ),
    }
}

async fn all(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task panics");
    }
}

/// What happened to every message, kept apart from the engine.
struct Ledger {
    messages: Vec<Account>,
    left: AtomicUsize,
    /// Counts events, to tell before from after.
    events: AtomicU64,
    done: tokio::sync::Notify,
}

#[derive(Default)]
struct Account {
    /// Acks that succeeded or are on their way.
    claims: AtomicU32,
    acks: AtomicU32,
    /// The event after which the ack had succeeded; 0 before that.
    acked_at: AtomicU64,
    deliveries: AtomicU32,
    /// The highest attempt number among them.
    attempts: AtomicU32,
}

impl Ledger {
    fn new(messages: usize) -> Arc<Self> {
        Arc::new(Self {
            messages: (0..messages).map(|_| Account::default()).collect(),
            left: AtomicUsize::new(messages),
            events: AtomicU64::new(1),
            done: tokio::sync::Notify::new(),
        })
    }

    fn is_done(&self) -> bool {
        self.left.load(SeqCst) == 0
    }

    fn now(&self) -> u64 {
        self.events.fetch_add(1, SeqCst)
    }

    /// Messages returned by a receive that began at `since`.
    fn received(&self, since: u64, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let number = number(delivery);
            let account = &self.messages[number];
            let acked_at = account.acked_at.load(SeqCst);
            assert!(
                acked_at == 0 || acked_at > since,
                "message {number} came back after its ack"
            );
            account.deliveries.fetch_add(1, SeqCst);
            account.attempts.fetch_max(delivery.attempt(), SeqCst);
        }
    }

    async fn ack(&self, delivery: &Delivery) -> Result<()> {
        let number = number(delivery);
        let account = &self.messages[number];
        account.claims.fetch_add(1, SeqCst);
        let result = delivery.ack().await;
        if result.is_err() {
            account.claims.fetch_sub(1, SeqCst);
            return result;
        }
        account.acked_at.store(self.now(), SeqCst);
        let before = account.acks.fetch_add(1, SeqCst);
        assert_eq!(before, 0, "message {number} was acked twice");
        if self.left.fetch_sub(1, SeqCst) == 1 {
            self.done.notify_waiters();
        }
        Ok(())
    }
}

fn number(delivery: &Delivery) -> usize {
    body(delivery).parse().unwrap()
}

/// A settlement may come too late; nothing else may be wrong with it.
fn in_time(result: Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => {
            let late = [
                ErrorKind::LockLost,
                ErrorKind::SessionLockLost,
                ErrorKind::InvalidReceipt,
            ];
            assert!(late.contains(&error.kind()), "{error:?}");
            false
        }
    }
}

/// Waits for a future, or gives it up: before its first poll, after a few, or never.
async fn perhaps<T>(future: impl Future<Output = T>) -> Option<T> {
    match fastrand::u32(..4) {
        0 => timeout(Duration::ZERO, future).await.ok(),
        1 => timeout(ms(fastrand::u64(..3)), future).await.ok(),
        2 => {
            tokio::select! {
                got = future => Some(got),
                () = yield_some() => None,
            }
        }
        _ => Some(future.await),
    }
}

async fn yield_some() {
    for _ in 0..fastrand::u32(..4) {
        tokio::task::yield_now().await;
    }
}

fn options() -> ReceiveOptions {
    ReceiveOptions::new()
        .max_messages(fastrand::u32(1..8))
        .wait(ms(20))
}

/// A consumer that does everything a consumer can do with plain messages.
async fn consume(queue: Queue, ledger: Arc<Ledger>) {
    while !ledger.is_done() {
        let since = ledger.now();
        let options = options();
        let Some(received) = perhaps(queue.receive(&options)).await else {
            continue;
        };
        let received = received.unwrap();
        ledger.received(since, &received);
        for delivery in received {
            if fastrand::u32(..4) == 0 {
                tokio::task::yield_now().await;
            }
            match fastrand::u32(..20) {
                0 => drop(delivery),
                1 => drop(in_time(delivery.nack(Some("no")).await)),
                2 => drop(in_time(delivery.nack_after(None, ms(3)).await)),
                3 => drop(in_time(delivery.release(None).await)),
                4 => drop(in_time(delivery.release(Some(ms(3))).await)),
                5 => {
                    if in_time(delivery.extend(ms(50)).await) {
                        in_time(ledger.ack(&delivery).await);
                    }
                }
                _ => drop(in_time(ledger.ack(&delivery).await)),
            }
        }
    }
}

/// A worker of sessions: within one, whatever is not done is given back before anything behind it
/// is done.
async fn consume_sessions(queue: Queue, ledger: Arc<Ledger>, order: Arc<Order>) {
    while !ledger.is_done() {
        let next = SessionOptions::next().wait(ms(20));
        let Some(accepted) = perhaps(queue.accept_session(next)).await else {
            continue;
        };
        let Some(session) = accepted.unwrap() else {
            continue;
        };
        for _ in 0..fastrand::u32(1..5) {
            let since = ledger.now();
            let options = options().wait(Duration::ZERO);
            let received = match session.receive(&options).await {
                Ok(received) => received,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::SessionLockLost);
                    break;
                }
            };
            ledger.received(since, &received);
            order.check(session.id(), &ledger, &received);
            if !work_in_order(&ledger, received).await {
                break;
            }
        }
        if fastrand::bool() {
            in_time(session.close().await);
        }
    }
}

/// Acks from the front; answers whether all was done.
async fn work_in_order(ledger: &Ledger, received: Vec<Delivery>) -> bool {
    for (at, delivery) in received.iter().enumerate() {
        if fastrand::u32(..4) == 0 {
            tokio::task::yield_now().await;
        }
        if fastrand::u32(..10) > 0 && in_time(ledger.ack(delivery).await) {
            continue;
        }
        // From the back, so that nobody sees a successor of what is still in our hands.
        for rest in received[at + 1..].iter().rev() {
            in_time(rest.release(None).await);
        }
        match fastrand::u32(..3) {
            0 => drop(in_time(delivery.nack(None).await)),
            1 => drop(in_time(delivery.release(Some(ms(3))).await)),
            _ => {}
        }
        return false;
    }
    true
}

/// The messages of each session, as they were sent.
struct Order(HashMap<String, Vec<usize>>);

impl Order {
    /// Nobody is handed a message of a session before all that were sent before it were acked, or
    /// handed over with it.
    fn check(&self, session: &str, ledger: &Ledger, received: &[Delivery]) {
        let Some(first) = received.first() else {
            return;
        };
        let sent = &self.0[session];
        let got: Vec<usize> = received.iter().map(number).collect();
        let start = sent.iter().position(|n| *n == number(first)).unwrap();
        assert_eq!(got, sent[start..start + got.len()], "session {session}");
        for before in &sent[..start] {
            let claims = ledger.messages[*before].claims.load(SeqCst);
            assert!(claims > 0, "{got:?} overtook {before} in session {session}");
        }
    }
}

async fn nothing_is_left(queue: &Queue, ledger: &Ledger) {
    for (number, account) in ledger.messages.iter().enumerate() {
        assert_eq!(account.acks.load(SeqCst), 1, "acks of message {number}");
        // Told at the end: a consumer may note its delivery after the next one noted his.
        let (made, attempts) = (
            account.deliveries.load(SeqCst),
            account.attempts.load(SeqCst),
        );
        assert!(
            (1..=made).contains(&attempts),
            "message {number} was delivered {made} times, in {attempts} attempts"
        );
    }
    let left = queue.statistics().await.unwrap();
    assert_eq!(
        (left.depth(), left.dead, left.bytes, left.sessions),
        (0, 0, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn plain_messages_all_come_out_once() {
    let queue = open(QueueOptions {
        // Small, so that senders have to wait for room.
        max_messages: Some(200),
        ..QueueOptions::default()
    })
    .await;
    let each = 4000 * soak() as usize;
    let ledger = Ledger::new(PRODUCERS * each);
    let mut tasks = JoinSet::new();
    for producer in 0..PRODUCERS {
        let queue = queue.clone();
        tasks.spawn(async move {
            let mut numbers = producer * each..(producer + 1) * each;
            while !numbers.is_empty() {
                let batch = numbers.by_ref().take(fastrand::usize(1..20));
                let batch: Vec<_> = batch.map(|n| Message::new(n.to_string())).collect();
                for result in queue.send_many(batch).await.unwrap() {
                    result.unwrap();
                }
            }
        });
    }
    for _ in 0..CONSUMERS {
        tasks.spawn(consume(queue.clone(), ledger.clone()));
    }
    watched("plain messages", &queue, all(tasks)).await;
    nothing_is_left(&queue, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_come_out_in_order() {
    let queue = open(QueueOptions::default()).await;
    let each = 3000 * soak() as usize;
    let sessions_each = 5;
    let ledger = Ledger::new(PRODUCERS * each);
    // Each session has one producer, so that there is an order to be kept.
    let session = move |number: usize| {
        let producer = number / each;
        format!("{producer}-{}", number % sessions_each)
    };
    let mut order: HashMap<String, Vec<usize>> = HashMap::new();
    for number in 0..PRODUCERS * each {
        order.entry(session(number)).or_default().push(number);
    }
    let order = Arc::new(Order(order));
    let mut tasks = JoinSet::new();
    for producer in 0..PRODUCERS {
        let queue = queue.clone();
        tasks.spawn(async move {
            for number in producer * each..(producer + 1) * each {
                let message = Message::new(number.to_string()).session(session(number));
                queue.send(message).await.unwrap();
                if fastrand::u32(..50) == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    for _ in 0..CONSUMERS {
        tasks.spawn(consume_sessions(
            queue.clone(),
            ledger.clone(),
            order.clone(),
        ));
    }
    watched("sessions", &queue, all(tasks)).await;
    nothing_is_left(&queue, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn plain_receives_and_accepts_share_sessions() {
    let queue = open(QueueOptions::default()).await;
    let count = 6000 * soak() as usize;
    let ledger = Ledger::new(count);
    let session = |number: usize| format!("{}", number % 7);
    let mut order: HashMap<String, Vec<usize>> = HashMap::new();
    for number in 0..count {
        order.entry(session(number)).or_default().push(number);
    }
    let order = Arc::new(Order(order));
    let mut tasks = JoinSet::new();
    let sender = queue.clone();
    tasks.spawn(async move {
        for number in 0..count {
            let message = Message::new(number.to_string()).session(session(number));
            sender.send(message).await.unwrap();
        }
    });
    for _ in 0..CONSUMERS / 2 {
        tasks.spawn(consume_sessions(
            queue.clone(),
            ledger.clone(),
            order.clone(),
        ));
        let (queue, ledger, order) = (queue.clone(), ledger.clone(), order.clone());
        tasks.spawn(async move {
            while !ledger.is_done() {
                let since = ledger.now();
                let options = options();
                let Some(received) = perhaps(queue.receive(&options)).await else {
                    continue;
                };
                let received = received.unwrap();
                ledger.received(since, &received);
                let mut by_session: HashMap<String, Vec<Delivery>> = HashMap::new();
                for delivery in received {
                    let session = delivery.session().unwrap().to_owned();
                    by_session.entry(session).or_default().push(delivery);
                }
                for (session, received) in by_session {
                    order.check(&session, &ledger, &received);
                    work_in_order(&ledger, received).await;
                }
            }
        });
    }
    watched("shared sessions", &queue, all(tasks)).await;
    nothing_is_left(&queue, &ledger).await;
}

/// Receivers that wait for an hour, some of which are aborted while messages come in. A message
/// that an aborted one was woken for must reach another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_to_a_receiver_that_goes_away() {
    let queue = open(QueueOptions {
        lock: Some(HOUR),
        ..QueueOptions::default()
    })
    .await;
    for round in 0..300 * soak() {
        let mut stay = JoinSet::new();
        let mut leave = JoinSet::new();
        for n in 0..8 {
            let queue = queue.clone();
            let receive = async move {
                let got = queue.receive_one(HOUR).await.unwrap();
                got.expect("an hour is not over").ack().await.unwrap();
            };
            if n % 2 == 0 {
                stay.spawn(receive);
            } else {
                leave.spawn(receive);
            }
        }
        let sender = queue.clone();
        let sent = tokio::spawn(async move {
            for n in 0..8u32 {
                sender.send(n.to_string()).await.unwrap();
                if fastrand::bool() {
                    tokio::task::yield_now().await;
                }
            }
        });
        yield_some().await;
        leave.abort_all();
        watched("the send", &queue, sent).await.unwrap();
        let who = format!("the receivers of round {round}");
        watched(&who, &queue, all(stay)).await;
        while let Some(ended) = leave.join_next().await {
            assert!(ended.is_ok() || ended.unwrap_err().is_cancelled());
        }
        for left in queue
            .receive(&ReceiveOptions::new().max_messages(8).wait(Duration::ZERO))
            .await
            .unwrap()
        {
            left.ack().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn locks_that_end_wake_those_who_wait() {
    let queue = open(QueueOptions {
        lock: Some(ms(5)),
        ..QueueOptions::default()
    })
    .await;
    for n in 0..20u32 {
        queue.send(n.to_string()).await.unwrap();
    }
    // Everybody waits for what the others let go of by doing nothing.
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let queue = queue.clone();
        tasks.spawn(async move {
            for _ in 0..10 * soak() {
                let got = queue.receive_one(HOUR).await.unwrap();
                drop(got.expect("an hour is not over"));
            }
        });
    }
    watched("the end of locks", &queue, all(tasks)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_ends_every_wait_at_once() {
    for _ in 0..50 * soak() {
        let runtime = Runtime::current().unwrap();
        let client = runtime.connect("memory:").await.unwrap();
        let queue = client.queue("q").unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let queue = queue.clone();
            tasks.spawn(async move {
                let error = queue.receive_one(HOUR).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Closed);
            });
        }
        yield_some().await;
        client.close().await.unwrap();
        timeout(STUCK, all(tasks))
            .await
            .expect("close woke everybody");
    }
}
