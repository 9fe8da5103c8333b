//! Receives that cannot end at once, 64 in flight: each end is told by a callback, which takes the
//! message, acks it and begins the next. Beside them tokio tasks that await the same receive and
//! call a function pointer, which does the same.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use queue_runtime_core::{Delivery, Message, Queue, QueueOptions, Runtime, RuntimeConfig};

use super::{AREA, CQueue};
use crate::Result;
use crate::measure::take_turns;
use crate::memory::BODY;
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 15;
const COUNT: u64 = 50_000;
const IN_FLIGHT: u64 = 64;
/// Fewer than wait, so that every message finds a receive that pends.
const UNSEEN: u64 = IN_FLIGHT / 2;
const PATIENCE: Duration = Duration::from_secs(10);

/// Receives in C that pend.
#[repr(C)]
struct Pending {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn c_pending_begin(queue: *mut c_void, in_flight: u64) -> *mut Pending;
    fn c_pending_send(pending: *mut Pending);
    fn c_pending_moved(pending: *mut Pending) -> u64;
    fn c_pending_end(pending: *mut Pending);
}

pub fn row() -> Result<Row> {
    let c = CQueue::open()?;
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let queue = crate::memory::queue(&runtime, QueueOptions::default())?;
    let [ours, yardstick] = take_turns(
        ROUNDS,
        [&mut || Ok(in_c(&c)), &mut || in_rust(&runtime, &queue)],
    )?;
    Ok(Row::beside(
        AREA,
        "completion by callback, 64 receives in flight: a tokio task that calls a function pointer",
        Unit::Nanos,
        &ours,
        &yardstick,
        Goal::AtMost(1.5),
    ))
}

/// Nanoseconds for each message, which `send` puts in and `moved` counts.
fn paced(send: impl Fn(), moved: impl Fn() -> u64) -> f64 {
    let start = Instant::now();
    let mut sent = 0;
    while sent < COUNT {
        if sent < moved() + UNSEEN {
            send();
            sent += 1;
        } else {
            std::hint::spin_loop();
        }
    }
    while moved() < COUNT {
        std::hint::spin_loop();
    }
    start.elapsed().as_nanos() as f64 / COUNT as f64
}

fn in_c(queue: &CQueue) -> f64 {
    // SAFETY: the queue is good, and what is begun is ended below.
    unsafe {
        let pending = c_pending_begin(queue.0, IN_FLIGHT);
        let time = paced(|| c_pending_send(pending), || c_pending_moved(pending));
        c_pending_end(pending);
        time
    }
}

/// What the tasks share.
struct Shared {
    queue: Queue,
    handle: tokio::runtime::Handle,
    function: fn(&Arc<Shared>, Option<Delivery>),
    moved: AtomicU64,
    open: AtomicU64,
    stop: AtomicBool,
}

fn in_rust(runtime: &Runtime, queue: &Queue) -> Result<f64> {
    let shared = Arc::new(Shared {
        queue: queue.clone(),
        handle: runtime.block_on(async { tokio::runtime::Handle::current() })?,
        function: ended,
        moved: AtomicU64::new(0),
        open: AtomicU64::new(IN_FLIGHT),
        stop: AtomicBool::new(false),
    });
    for _ in 0..IN_FLIGHT {
        receive_one(&shared);
    }
    let send = || {
        let message = Message::new(runtime.bodies().copy(&BODY));
        let _ = queue.start_send_one(message).try_now();
    };
    let time = paced(send, || shared.moved.load(Ordering::Relaxed));
    shared.stop.store(true, Ordering::Relaxed);
    while shared.open.load(Ordering::Relaxed) > 0 {
        send();
    }
    Ok(time)
}

fn receive_one(shared: &Arc<Shared>) {
    if shared.stop.load(Ordering::Relaxed) {
        shared.open.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let task = {
        let shared = shared.clone();
        async move {
            let delivery = shared.queue.receive_one(PATIENCE).await;
            (shared.function)(&shared, delivery.ok().flatten());
        }
    };
    drop(shared.handle.spawn(task));
}

fn ended(shared: &Arc<Shared>, delivery: Option<Delivery>) {
    if let Some(delivery) = delivery {
        let _ = delivery
            .start_settle(queue_runtime_core::Verb::Ack)
            .try_now();
        shared.moved.fetch_add(1, Ordering::Relaxed);
    }
    receive_one(shared);
}
