//! What the tests share: a queue on a virtual clock, futures polled by hand, a watchdog.

#![allow(dead_code)] // each test binary uses a part of it

#[path = "folder.rs"]
pub mod folder;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use queue_runtime_core::{
    Client, Clock, Consumer, Delivery, Queue, QueueOptions, ReceiveOptions, Retry, Runtime,
    RuntimeConfig,
};

/// How long a watchdog waits before it calls something stuck. Only a failing test takes so long.
pub const STUCK: Duration = Duration::from_secs(60);

/// An hour: a wait that never ends by itself on a clock that stands still.
pub const HOUR: Duration = Duration::from_secs(60 * 60);

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How many times the usual work to do: 1, or what `QRT_SOAK` says.
pub fn soak() -> u32 {
    std::env::var("QRT_SOAK").map_or(1, |factor| {
        factor.parse().expect("QRT_SOAK must be a whole number")
    })
}

/// A client of a fresh engine on a virtual clock.
pub struct Kit {
    pub clock: Clock,
    pub client: Client,
    /// Where the store is, if it is in a folder of its own.
    pub folder: Option<Arc<folder::Folder>>,
}

impl Kit {
    pub fn new() -> Self {
        Self::open("memory:")
    }

    pub fn open(url: &str) -> Self {
        let clock = Clock::new_virtual();
        let runtime = Runtime::with_clock(RuntimeConfig::default(), clock.clone()).unwrap();
        let client = now(runtime.connect(url)).unwrap();
        Self {
            clock,
            client,
            folder: None,
        }
    }

    /// A client of a fresh store in a folder, or of the one that is there.
    pub fn file(folder: &Arc<folder::Folder>, options: &str) -> Self {
        Self {
            folder: Some(folder.clone()),
            ..Self::open(&folder.url(options))
        }
    }

    /// A queue whose nacked messages are back at once, unless the options say otherwise.
    pub fn queue(&self, options: QueueOptions) -> Queue {
        let options = options.or(&QueueOptions {
            retry: Some(Retry::None),
            ..QueueOptions::default()
        });
        self.client.queue_with("q", options).unwrap()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by).unwrap();
    }
}

/// The result of a future that is ready at its first poll, as every verb of a built-in engine is
/// that need not wait.
#[track_caller]
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a verb with nothing to wait for did not answer at once"),
    }
}

/// Waits for a future, on this thread, as long as nothing is stuck.
#[track_caller]
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let watched = async { tokio::time::timeout(STUCK, future).await };
    runtime
        .unwrap()
        .block_on(watched)
        .expect("nothing is stuck")
}

/// Lets background work go on until this holds.
#[track_caller]
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + STUCK;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {STUCK:?}");
        std::thread::yield_now();
    }
}

/// A fresh engine of each kind.
pub fn kits() -> Vec<Kit> {
    let mut kits = vec![Kit::new()];
    if cfg!(all(feature = "file", target_os = "linux")) {
        kits.push(Kit::file(&Arc::new(folder::Folder::new()), ""));
    }
    kits
}

/// What a consumer hands out next.
#[track_caller]
pub fn next(consumer: &Consumer) -> Delivery {
    wait(consumer.next()).expect("the consumer goes on")
}

/// A consumer has nothing to hand out, after background work had its chance.
#[track_caller]
pub fn nothing(consumer: &Consumer) {
    for _ in 0..100 {
        std::thread::yield_now();
    }
    let came = wait(async { tokio::time::timeout(ms(20), consumer.next()).await });
    assert!(came.is_err(), "nothing could be taken");
}

/// Looks once for up to `max` messages.
pub fn look(queue: &Queue, max: u32) -> Vec<Delivery> {
    let options = ReceiveOptions::new().max_messages(max).wait(Duration::ZERO);
    now(queue.receive(&options)).unwrap()
}

/// Looks once for one message that must be there.
#[track_caller]
pub fn take(queue: &Queue) -> Delivery {
    look(queue, 1).pop().expect("a message is ready")
}

pub fn body(delivery: &Delivery) -> &str {
    std::str::from_utf8(delivery.body()).unwrap()
}

pub fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(body).collect()
}

/// A future somebody waits for, and whether it was woken.
pub struct Waiting<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    woken: Arc<Woken>,
}

impl<T> Waiting<T> {
    /// Polls the future once; it must have to wait.
    #[track_caller]
    pub fn start(future: impl Future<Output = T> + Send + 'static) -> Self {
        let mut waiting = Self {
            future: Box::pin(future),
            woken: Arc::default(),
        };
        assert!(waiting.poll().is_pending(), "there is nothing to wait for");
        waiting
    }

    /// Polls the future, with a waker that is remembered.
    pub fn poll(&mut self) -> Poll<T> {
        *self.woken.state.lock().unwrap() = false;
        let waker = Waker::from(self.woken.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Whether the waker was called since the last poll.
    pub fn is_woken(&self) -> bool {
        *self.woken.state.lock().unwrap()
    }

    /// The result, polled for only when woken: a lost wake-up is a panic.
    #[track_caller]
    pub fn finish(mut self, why: &str) -> T {
        let deadline = Instant::now() + STUCK;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(self.woken.wait(left), "{why}: nobody was woken");
            if let Poll::Ready(output) = self.poll() {
                return output;
            }
        }
    }
}

#[derive(Default)]
struct Woken {
    state: Mutex<bool>,
    changed: Condvar,
}

impl Woken {
    fn wait(&self, at_most: Duration) -> bool {
        let state = self.state.lock().unwrap();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, at_most, |woken| !*woken)
            .unwrap();
        *state
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.state.lock().unwrap() = true;
        self.changed.notify_all();
    }
}
