//! A queue with sessions, a pool, and what is asked of them.

use super::*;

pub const LOCK: Duration = Duration::from_secs(30);

pub fn queue(kit: &Kit) -> Queue {
    kit.queue(QueueOptions {
        lock: Some(LOCK),
        retry: Some(Retry::Fixed { delay: ms(1000) }),
        ..QueueOptions::default()
    })
}

pub fn pool(sessions: u32) -> ConsumerOptions {
    ConsumerOptions::new().max_sessions(sessions)
}

pub fn send_to(queue: &Queue, session: &str, bodies: &[&str]) {
    let message = |body: &&str| Message::new((*body).to_owned()).session(session);
    let sent = wait(queue.send_many(bodies.iter().map(message))).unwrap();
    assert!(sent.iter().all(Result::is_ok));
}

#[track_caller]
pub fn expect(consumer: &Consumer, text: &str) -> Delivery {
    let delivery = next(consumer);
    assert_eq!(body(&delivery), text);
    delivery
}

pub fn ack(delivery: &Delivery) {
    wait(delivery.ack()).unwrap();
}

pub fn accept(queue: &Queue) -> Option<Session> {
    wait(queue.accept_session(SessionOptions::next().wait(Duration::ZERO))).unwrap()
}

/// Rather one of these.
pub fn accept_of(queue: &Queue, ids: &[&str]) -> Option<Session> {
    let ids = ids.iter().map(|id| Arc::from(*id)).collect();
    let options = SessionOptions::next().wait(Duration::ZERO);
    wait(queue.accept_session(options.prefer(Some(Arc::new(ids))))).unwrap()
}

pub fn is_free(queue: &Queue, session: &str) -> bool {
    wait(queue.accept_session(SessionOptions::id(session))).is_ok()
}

#[track_caller]
pub fn held(consumer: &Consumer, sessions: u64) {
    eventually("so many are held", || {
        consumer.status().sessions == sessions
    });
}

/// The sum of a metric of the queue.
pub fn metric(kit: &Kit, name: &str) -> f64 {
    let metrics = kit.client.metrics();
    let line = metrics
        .lines()
        .find(|line| line.starts_with(&format!("{name}{{")));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .unwrap_or_else(|| panic!("{name} is not in\n{metrics}"))
        .parse()
        .unwrap()
}

/// Moves the clock by half a lock, again and again, and lets the lock be renewed each time.
pub fn pass(kit: &Kit, halves: u32) {
    let renewals = || metric(kit, "queue_runtime_lock_renewals_total");
    for _ in 0..halves {
        let before = renewals();
        kit.advance(LOCK / 2);
        eventually("the lock is renewed", || renewals() > before);
    }
}

/// Lets time pass until no session is held.
pub fn let_go(kit: &Kit, consumer: &Consumer) {
    let deadline = Instant::now() + STUCK;
    while consumer.status().sessions > 0 {
        assert!(Instant::now() < deadline, "a session is still held");
        kit.advance(ms(500));
        std::thread::sleep(ms(1));
    }
}
