//! Consumers whose concurrency moves between limits. On the virtual clock.

#![cfg(not(feature = "shuttle"))]

mod common;

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use common::{HOUR, Kit, STUCK, Waiting, body, eventually, kits, ms, next, wait};
use queue_runtime_core::{
    BatchOptions, BreakerState, Consumer, ConsumerOptions, ConsumerStatus, Delivery, ErrorKind,
    Failure, Message, Queue, QueueOptions, Retry,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const COOLDOWN: Duration = Duration::from_secs(5);
/// What is to end in a cool-down for each hand, so that hands can be compared.
const TURNS: usize = 20;

/// Locks outlast the time that tests let pass.
fn options(least: u32, most: u32) -> ConsumerOptions {
    ConsumerOptions::new()
        .min_concurrency(least)
        .concurrency(most)
        .scale_cooldown(COOLDOWN)
        .lock(12 * HOUR)
        .max_lock_renewal(12 * HOUR)
}

/// A queue of a name that no other test has.
fn queue(kit: &Kit) -> Queue {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    listen();
    let name = format!("scale-{}", NEXT.fetch_add(1, SeqCst));
    let options = QueueOptions {
        retry: Some(Retry::None),
        ..QueueOptions::default()
    };
    kit.client.queue_with(&name, options).unwrap()
}

/// A cool-down passes, and the one consumer of this queue has been looked at.
#[track_caller]
fn pass(kit: &Kit, queue: &Queue) {
    let before = looks(queue);
    kit.advance(COOLDOWN);
    eventually("it is looked at", || looks(queue) > before);
}

/// Lets cool-downs pass until this holds.
#[track_caller]
fn in_time(kit: &Kit, queue: &Queue, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + STUCK;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {STUCK:?}");
        pass(kit, queue);
    }
}

fn send(queue: &Queue, count: usize) {
    let messages = (0..count).map(|number| Message::new(number.to_string()));
    let sent = wait(queue.send_many(messages)).unwrap();
    assert!(sent.iter().all(Result::is_ok));
}

type Asked = Pin<Box<dyn Future<Output = Option<Delivery>> + Send>>;

/// What is in hand of a consumer, and somebody who asks for more.
struct Crew {
    consumer: Arc<Consumer>,
    hands: Vec<Delivery>,
    asking: Option<Asked>,
}

impl Crew {
    fn new(queue: &Queue, options: ConsumerOptions) -> Self {
        let crew = Self {
            consumer: queue.consume(options).unwrap().into(),
            hands: Vec::new(),
            asking: None,
        };
        crew.filled()
    }

    fn filled(mut self) -> Self {
        self.fill();
        self
    }

    fn status(&self) -> ConsumerStatus {
        self.consumer.status()
    }

    fn limit(&self) -> usize {
        self.status().concurrency as usize
    }

    /// Asks for one more. Answers whether it came.
    fn ask(&mut self) -> bool {
        let consumer = self.consumer.clone();
        let asking = self
            .asking
            .get_or_insert_with(|| Box::pin(async move { consumer.next().await }));
        match asking
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(delivery) => {
                self.hands.push(delivery.expect("the consumer goes on"));
                self.asking = None;
                true
            }
            Poll::Pending => false,
        }
    }

    /// Takes as many as may be in hand, and asks for one more, while as many wait as may be fetched.
    fn fill(&mut self) {
        let deadline = Instant::now() + STUCK;
        while self.ask() || self.hands.len() < self.limit() || self.status().prefetched == 0 {
            assert!(Instant::now() < deadline, "hands stay empty");
            std::thread::yield_now();
        }
        eventually("as many are fetched ahead", || {
            let status = self.status();
            status.prefetched >= status.concurrency
        });
    }

    /// So many are done, as hands come free.
    fn work(&mut self, deliveries: usize) {
        for _ in 0..deliveries {
            wait(self.hands.remove(0).ack()).unwrap();
            self.fill();
        }
    }

    #[track_caller]
    fn becomes(&self, limit: usize) {
        eventually(&format!("{limit} may be in hand"), || self.limit() == limit);
    }

    /// Grows by doubling, each time when a cool-down is over in which all hands had work.
    fn grow(&mut self, kit: &Kit, limit: usize) {
        while self.limit() < limit {
            let before = self.limit();
            self.work(TURNS * before);
            kit.advance(COOLDOWN);
            eventually("it grows", || self.limit() > before);
            self.fill();
        }
        assert_eq!(self.limit(), limit);
    }

    /// Ends what is in hand and what is there, but for what is kept elsewhere.
    fn finish(&mut self, queue: &Queue, kept: u64) {
        let deadline = Instant::now() + STUCK;
        while wait(queue.statistics()).unwrap().depth() > kept {
            assert!(Instant::now() < deadline, "something is never handed out");
            self.ask();
            for delivery in self.hands.drain(..) {
                wait(delivery.ack()).unwrap();
            }
        }
    }
}

/// The changes of a queue's consumers, as they were told: from how many to how many, and why.
fn changes(queue: &Queue) -> Vec<(u64, u64, String)> {
    let log = LOG.lock().unwrap();
    let of = log.iter().filter(|event| event.queue == queue.name());
    of.filter_map(|event| Some((event.before, event.limit, event.reason.clone()?)))
        .collect()
}

/// How often a queue's consumers were looked at.
fn looks(queue: &Queue) -> usize {
    let log = LOG.lock().unwrap();
    let is_look = |event: &&Told| event.queue == queue.name() && event.reason.is_none();
    log.iter().filter(is_look).count()
}

/// Begins to listen; to be called before anything is told.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
}

static LOG: Mutex<Vec<Told>> = Mutex::new(Vec::new());

/// What a controller told: a change, or a look without a reason for one.
#[derive(Default)]
struct Told {
    queue: String,
    before: u64,
    limit: u64,
    reason: Option<String>,
}

impl Visit for Told {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "before" => self.before = value,
            "limit" => self.limit = value,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "queue" {
            self.queue = value.to_owned();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "reason" {
            self.reason = Some(format!("{value:?}"));
        }
    }
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().ends_with("consumer::scaling")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut told = Told::default();
        event.record(&mut told);
        LOG.lock().unwrap().push(told);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_backlog_brings_it_to_the_most_step_by_step() {
    for kit in kits() {
        let queue = queue(&kit);
        send(&queue, 2000);
        let mut crew = Crew::new(&queue, options(1, 12));
        for (limit, next) in [(1, 2), (2, 4), (4, 8), (8, 12)] {
            assert_eq!((crew.limit(), crew.hands.len()), (limit, limit));
            crew.work(TURNS * limit);
            // Not before the cool-down is over.
            kit.advance(COOLDOWN - ms(1));
            crew.fill();
            assert_eq!((crew.limit(), crew.hands.len()), (limit, limit));
            kit.advance(ms(1));
            crew.becomes(next);
            crew.fill();
        }
        for _ in 0..3 {
            crew.work(TURNS * 12);
            kit.advance(COOLDOWN);
        }
        assert_eq!((crew.limit(), crew.hands.len()), (12, 12));
    }
}

#[test]
fn who_asks_is_woken_when_there_may_be_more() {
    for kit in kits() {
        let queue = queue(&kit);
        send(&queue, 100);
        let mut crew = Crew::new(&queue, options(1, 2));
        crew.work(TURNS);
        crew.asking = None;
        let consumer = crew.consumer.clone();
        let waiting = Waiting::start(async move { consumer.next().await });
        kit.advance(COOLDOWN);
        assert!(waiting.finish("there is a hand more").is_some());
    }
}

#[test]
fn handlers_that_take_very_long_get_more_hands_in_the_end() {
    for kit in kits() {
        let queue = queue(&kit);
        send(&queue, 20);
        let mut crew = Crew::new(&queue, options(1, 4));
        for limit in [2, 4] {
            in_time(&kit, &queue, "it grows", || crew.limit() == limit);
            crew.fill();
        }
        assert_eq!(crew.hands.len(), 4);
    }
}

#[test]
fn it_grows_by_no_more_than_waits() {
    for prefetch in [100, 0] {
        for kit in kits() {
            let queue = queue(&kit);
            send(&queue, 4 + 1);
            let options = options(4, 100).prefetch(prefetch);
            let consumer = Arc::new(queue.consume(options).unwrap());
            let _hands: Vec<_> = (0..4).map(|_| next(&consumer)).collect();
            let asking = consumer.clone();
            let fifth = Waiting::start(async move { asking.next().await });
            let ahead = u64::from(prefetch > 0);
            eventually("it is fetched", || consumer.status().prefetched == ahead);
            let limit = || consumer.status().concurrency;
            in_time(&kit, &queue, "a hand more", || limit() > 4);
            assert_eq!(limit(), 5);
            fifth.finish("a hand is there for it");
        }
    }
}

#[test]
fn work_that_nobody_could_take_is_no_reason() {
    for kit in kits() {
        let queue = queue(&kit);
        let of_one = (0..20).map(|n| Message::new(n.to_string()).session("one"));
        wait(queue.send_many(of_one)).unwrap();
        let consumer = Arc::new(queue.consume(options(1, 8)).unwrap());
        let mut hand = next(&consumer);
        for _ in 0..10 {
            let asking = consumer.clone();
            let waiting = Waiting::start(async move { asking.next().await });
            pass(&kit, &queue);
            wait(hand.ack()).unwrap();
            hand = waiting.finish("the next one").unwrap();
        }
        assert_eq!(changes(&queue), []);
    }
}

#[test]
fn work_that_nobody_asks_for_is_no_reason() {
    for prefetch in [100, 0] {
        for kit in kits() {
            let queue = queue(&kit);
            send(&queue, 20);
            let options = options(1, 8).prefetch(prefetch);
            let consumer = queue.consume(options).unwrap();
            let _hand = next(&consumer);
            let ahead = if prefetch > 0 { 19 } else { 0 };
            eventually("the others are fetched", || {
                consumer.status().prefetched == ahead
            });
            (0..10).for_each(|_| pass(&kit, &queue));
            assert_eq!(changes(&queue), []);
        }
    }
}

#[test]
fn idle_hands_go_by_half_and_come_back() {
    for kit in kits() {
        let queue = queue(&kit);
        send(&queue, 1000);
        let mut crew = Crew::new(&queue, options(2, 16));
        crew.grow(&kit, 16);
        crew.finish(&queue, 0);
        in_time(&kit, &queue, "it comes to its least", || crew.limit() == 2);
        send(&queue, 100);
        crew.fill();
        crew.work(2 * TURNS);
        in_time(&kit, &queue, "it grows again", || crew.limit() == 4);
        let change = |before, limit, why: &str| (before, limit, why.to_owned());
        let waits = "work waits";
        let idle = "hands were idle";
        let expected = [
            change(2, 4, waits),
            change(4, 8, waits),
            change(8, 16, waits),
            change(16, 8, idle),
            change(8, 4, idle),
            change(4, 2, idle),
            change(2, 4, waits),
        ];
        assert_eq!(changes(&queue), expected);
    }
}

#[test]
fn hands_that_are_in_use_do_not_go() {
    for kit in kits() {
        let queue = queue(&kit);
        send(&queue, 500);
        let mut crew = Crew::new(&queue, options(1, 8));
        crew.grow(&kit, 8);
        let kept: Vec<_> = crew.hands.drain(..7).collect();
        crew.finish(&queue, 7);
        in_time(&kit, &queue, "one goes", || crew.limit() == 7);
        (0..5).for_each(|_| pass(&kit, &queue));
        assert_eq!((crew.limit(), crew.status().in_hand), (7, 7));
        for delivery in kept {
            assert_eq!(delivery.cancel_cause(), None);
            wait(delivery.ack()).unwrap();
        }
    }
}

#[test]
fn hands_that_get_no_more_done_are_taken_back() {
    const BEARS: usize = 4;
    for kit in kits() {
        let queue = queue(&kit);
        send(&queue, 3000);
        let mut crew = Crew::new(&queue, options(1, 64));
        crew.grow(&kit, BEARS);
        // However many are at it, it does no more than that: each takes longer.
        let grown_before = changes(&queue).len();
        let mut moments = Vec::new();
        let deadline = Instant::now() + STUCK;
        while moments.len() < 6 {
            assert!(Instant::now() < deadline, "{:?}", changes(&queue));
            for _ in 0..TURNS * BEARS {
                // Of what is in hand above the limit none is followed by another one.
                let above = crew.hands.len() > crew.limit();
                wait(crew.hands.remove(0).ack()).unwrap();
                if above {
                    assert!(!crew.ask(), "more are in hand than may be");
                } else {
                    crew.fill();
                }
            }
            pass(&kit, &queue);
            let told = changes(&queue).len() - grown_before;
            moments.resize(told.max(moments.len()), kit.clock.now());
            if crew.limit() >= crew.hands.len() {
                crew.fill();
            }
        }
        let told = changes(&queue).split_off(grown_before);
        for steps in told.chunks(2).take(3) {
            let [(before, grown, up), (from, back, down)] = steps else {
                panic!("one step up and one back: {told:?}");
            };
            let bears = BEARS as u64;
            assert_eq!((*before, *back, from), (bears, bears, grown));
            assert!(*grown > bears && *grown <= 2 * bears, "{told:?}");
            assert_eq!(up, "work waits");
            assert_eq!(down, "handlers became slower, and no more was done");
        }
        // It rests for two looks, then for four.
        assert!(moments[2].since(moments[1]) > 2 * COOLDOWN);
        assert!(moments[4].since(moments[3]) > 4 * COOLDOWN);
    }
}

#[test]
fn an_open_breaker_begins_again_and_a_pause_changes_nothing() {
    for kit in kits() {
        let queue = queue(&kit);
        send(&queue, 500);
        let pause = 100 * COOLDOWN;
        let breaker = format!("1,{}s,1", pause.as_secs());
        let options = options(2, 8).breaker(breaker.parse().unwrap());
        let mut crew = Crew::new(&queue, options);
        crew.grow(&kit, 8);

        crew.consumer.pause();
        (0..10).for_each(|_| kit.advance(COOLDOWN));
        assert_eq!(crew.limit(), 8);
        crew.consumer.resume();
        crew.fill();

        wait(crew.hands.remove(0).nack(None)).unwrap();
        eventually("it opens", || crew.status().breaker == BreakerState::Open);
        crew.becomes(2);
        // What was in hand stays there.
        assert_eq!(crew.status().in_hand, 7);
        (0..10).for_each(|_| kit.advance(COOLDOWN));
        assert!(!crew.ask());
        for delivery in crew.hands.drain(..) {
            wait(delivery.ack()).unwrap();
        }
        kit.advance(pause);
        eventually_asked(&mut crew);
        assert!(!crew.ask(), "one at a time to try");
        wait(crew.hands.remove(0).ack()).unwrap();
        assert_eq!(crew.status().breaker, BreakerState::Closed);
        crew.fill();
        assert_eq!(crew.hands.len(), 2);
        assert_eq!(changes(&queue).len(), 3);
        let last = (8, 2, "its breaker or the memory held it back".to_owned());
        assert_eq!(changes(&queue)[2], last);
    }
}

#[track_caller]
fn eventually_asked(crew: &mut Crew) {
    let deadline = Instant::now() + STUCK;
    while !crew.ask() {
        assert!(Instant::now() < deadline, "nothing is handed out");
        std::thread::yield_now();
    }
}

#[test]
fn a_worker_scales_loses_nothing_and_drains() {
    const MESSAGES: usize = 300;
    const MOST: u32 = 8;
    for kit in kits() {
        let queue = queue(&kit);
        send(&queue, MESSAGES);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let done: Arc<Mutex<Vec<String>>> = Arc::default();
        let handler = {
            let (client, now, most, done) =
                (kit.client.clone(), now.clone(), most.clone(), done.clone());
            move |delivery: Arc<Delivery>| {
                let (client, now, most, done) =
                    (client.clone(), now.clone(), most.clone(), done.clone());
                async move {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    client.runtime().sleep(ms(100)).await;
                    now.fetch_sub(1, SeqCst);
                    done.lock().unwrap().push(body(&delivery).to_owned());
                    Ok::<(), Failure>(())
                }
            }
        };
        let options = options(1, MOST).scale_cooldown(Duration::from_secs(1));
        let worker = queue.process(options, handler).unwrap();
        let deadline = Instant::now() + STUCK;
        while done.lock().unwrap().len() < MESSAGES - 50 {
            assert!(
                Instant::now() < deadline,
                "{} done",
                done.lock().unwrap().len()
            );
            kit.advance(ms(100));
            std::thread::sleep(ms(1));
            assert!((1..=u64::from(MOST)).contains(&worker.status().concurrency));
        }
        assert!(
            (2..=MOST as usize).contains(&most.load(SeqCst)),
            "{most:?} at one time"
        );
        let drained = {
            let clock = kit.clock.clone();
            let over = Arc::new(AtomicBool::new(false));
            let ticking = over.clone();
            let ticker = std::thread::spawn(move || {
                while !ticking.load(SeqCst) {
                    clock.advance(ms(100)).unwrap();
                    std::thread::sleep(ms(1));
                }
            });
            let report = wait(worker.drain(HOUR));
            over.store(true, SeqCst);
            ticker.join().unwrap();
            report
        };
        assert_eq!(drained.abandoned, 0);
        let done = done.lock().unwrap().clone();
        let once: HashSet<&String> = done.iter().collect();
        assert_eq!(once.len(), done.len(), "each once");
        let left = wait(queue.statistics()).unwrap();
        assert_eq!(
            (left.in_flight, left.ready as usize + done.len()),
            (0, MESSAGES)
        );
    }
}

#[test]
fn batches_grow_with_it() {
    for kit in kits() {
        let queue = queue(&kit);
        send(&queue, 200);
        let batches = BatchOptions::new()
            .batch_size(4)
            .batch_linger(Duration::ZERO);
        let options = options(4, 8).batches(batches);
        let consumer = Arc::new(queue.consume(options).unwrap());
        let batch = |consumer: &Consumer| wait(consumer.next_batch(4)).unwrap();
        for _ in 0..10 {
            let batch = batch(&consumer);
            assert_eq!(batch.len(), 4);
            batch.iter().for_each(|d| wait(d.ack()).unwrap());
        }
        let _hands = batch(&consumer);
        let asking = consumer.clone();
        let waiting = Waiting::start(async move { asking.next_batch(4).await });
        eventually("four are fetched", || consumer.status().prefetched >= 4);
        in_time(&kit, &queue, "there may be two", || {
            consumer.status().concurrency == 8
        });
        assert_eq!(waiting.finish("a batch more").unwrap().len(), 4);
    }
}

#[test]
fn a_pool_of_sessions_scales_its_hands() {
    for kit in kits() {
        let queue = queue(&kit);
        let of_four = (0..400).map(|n| Message::new(n.to_string()).session((n % 4).to_string()));
        wait(queue.send_many(of_four)).unwrap();
        let mut crew = Crew::new(&queue, options(1, 4).max_sessions(4));
        crew.grow(&kit, 4);
        assert_eq!((crew.hands.len(), crew.status().in_hand), (4, 4));
        let of = |delivery: &Delivery| delivery.properties().session.clone();
        let sessions: HashSet<_> = crew.hands.iter().map(of).collect();
        assert_eq!(sessions.len(), 4);
    }
}

#[test]
fn the_metrics_have_the_limits_of_all() {
    for kit in kits() {
        let queue = queue(&kit);
        let shown = || {
            let text = kit.client.metrics();
            let name = "queue_runtime_consumer_concurrency{";
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.rsplit(' ').next()?.parse::<u64>().unwrap())
        };
        assert_eq!(shown(), None);
        let fixed = queue.consume(ConsumerOptions::new()).unwrap();
        assert_eq!(fixed.status().concurrency, 16);
        assert_eq!(shown(), None);
        drop(fixed);
        let other = queue.consume(options(3, 9)).unwrap();
        send(&queue, 100);
        let mut crew = Crew::new(&queue, options(2, 4).prefetch(4));
        assert_eq!(shown(), Some(5));
        crew.grow(&kit, 4);
        eventually("they show it", || shown() == Some(3 + 4));
        drop(other);
        eventually("one has gone", || shown() == Some(4));
        crew.consumer.close();
        eventually("both have gone", || shown().is_none());
    }
}

#[test]
fn options_that_do_not_fit_are_named() {
    let kit = Kit::new();
    let queue = queue(&kit);
    let refused = |options: ConsumerOptions, field: &str| {
        let error = queue.consume(options).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.field(), Some(field), "{error}");
    };
    refused(options(0, 4), "min_concurrency");
    refused(options(5, 4), "min_concurrency");
    refused(
        ConsumerOptions::new().min_concurrency(17),
        "min_concurrency",
    );
    refused(
        options(1, 4).scale_cooldown(Duration::ZERO),
        "scale_cooldown",
    );
    refused(
        ConsumerOptions::new().scale_cooldown(COOLDOWN),
        "scale_cooldown",
    );
    drop(queue.consume(options(4, 4)).unwrap());
}
