//! Send, receive and ack on one thread: one at a time, and in batches.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use omniqueue::backends::InMemoryBackend;
use published::{QueueClientFactory, QueueName};
use queue_runtime_core::{
    BodyPool, Message, Queue, QueueOptions, ReceiveOptions, Runtime, Settlement, Verb,
};

use super::{AREA, BODY, queue};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::report::{Goal, Row, Unit};
use crate::yardsticks::bare_queue::{BareQueue, Body};

pub const BATCH: usize = 100;

const ROUNDS: usize = 21;
const COUNT: u64 = 100_000;
/// Of the yardstick that is an order of magnitude slower.
const SLOW_COUNT: u64 = 20_000;

/// Why one at a time is slower than its yardsticks, as perf and callgrind tell.
const COST_OF_ONE: &str = "three calls through the port and their answers pass small structs \
    through memory (about a quarter of the time), a delivery is a box of its own, three more clock \
    reads and the metrics take a tenth, and a pooled body costs twice a hot malloc, which only \
    bursts repay";
const COST_OF_MANY: &str = "a delivery is a box of its own, and order, timers and the list of all \
    messages are kept for each message";

pub fn rows(runtime: &Runtime) -> Result<[Row; 4]> {
    let [one, bare_one, omni, published] = one_at_a_time(runtime)?;
    let [many, bare_many] = batches(runtime)?;
    let row = |name: &str, ours, yardstick, goal| {
        let name = format!("send + receive + ack, one thread, {name}");
        Row::beside(AREA, name, Unit::Rate, ours, yardstick, Goal::AtLeast(goal))
    };
    Ok([
        row("one at a time: bare queue", &one, &bare_one, 0.55).unless_met(COST_OF_ONE),
        row("batches of 100: bare queue", &many, &bare_many, 0.55).unless_met(COST_OF_MANY),
        row("one at a time: omniqueue 0.3.0", &one, &omni, 0.6).unless_met(COST_OF_ONE),
        row("one at a time: queue-runtime 0.2.2", &one, &published, 5.0),
    ])
}

fn one_at_a_time(runtime: &Runtime) -> Result<[crate::measure::Samples; 4]> {
    let ours = queue(runtime, QueueOptions::default())?;
    let bare = BareQueue::new(100_000);
    let (producer, mut consumer) = runtime.block_on(InMemoryBackend::builder().build_pair())??;
    let client = QueueClientFactory::create_test_client();
    let name = QueueName::new("bench".to_owned())?;
    take_turns(
        ROUNDS,
        [
            &mut || {
                let start = Instant::now();
                runtime.block_on(ours_one_at_a_time(&ours, runtime.bodies(), COUNT))??;
                Ok(rate(COUNT, start))
            },
            &mut || {
                let start = Instant::now();
                bare_one_at_a_time(&bare, COUNT)?;
                Ok(rate(COUNT, start))
            },
            &mut || {
                let start = Instant::now();
                runtime.block_on(async {
                    for _ in 0..COUNT {
                        producer.send_raw(black_box(&BODY)).await?;
                        let delivery = consumer.receive().await?;
                        black_box(delivery.borrow_payload());
                        delivery.ack().await.map_err(|(e, _)| e)?;
                    }
                    crate::Result::Ok(())
                })??;
                Ok(rate(COUNT, start))
            },
            &mut || {
                let start = Instant::now();
                runtime.block_on(async {
                    for _ in 0..SLOW_COUNT {
                        let body = Bytes::copy_from_slice(black_box(&BODY));
                        let message = published::Message::new(body);
                        client.send_message(&name, message).await?;
                        let received = client.receive_message(&name, chrono::Duration::zero());
                        let received = received.await?.ok_or("the queue is empty")?;
                        black_box(&received.body);
                        client.complete_message(received.receipt_handle).await?;
                    }
                    crate::Result::Ok(())
                })??;
                Ok(rate(SLOW_COUNT, start))
            },
        ],
    )
}

fn batches(runtime: &Runtime) -> Result<[crate::measure::Samples; 2]> {
    let ours = queue(runtime, QueueOptions::default())?;
    let bare = BareQueue::new(100_000);
    take_turns(
        ROUNDS,
        [
            &mut || {
                let start = Instant::now();
                runtime.block_on(ours_in_batches(&ours, runtime.bodies(), COUNT))??;
                Ok(rate(COUNT, start))
            },
            &mut || {
                let start = Instant::now();
                bare_in_batches(&bare, COUNT)?;
                Ok(rate(COUNT, start))
            },
        ],
    )
}

pub async fn ours_one_at_a_time(queue: &Queue, bodies: &BodyPool, count: u64) -> Result<()> {
    for _ in 0..count {
        queue
            .send(Message::new(bodies.copy(black_box(&BODY))))
            .await?;
        let delivery = queue.receive_one(Duration::ZERO).await?;
        let delivery = delivery.ok_or("the queue is empty")?;
        black_box(delivery.body());
        delivery.ack().await?;
    }
    Ok(())
}

pub fn bare_one_at_a_time(queue: &BareQueue, count: u64) -> Result<()> {
    for _ in 0..count {
        queue.send(Body::from(black_box(&BODY).as_slice()));
        let (receipt, body) = queue.receive();
        black_box(&body);
        if !queue.ack(receipt) {
            return Err("the receipt is void".into());
        }
    }
    Ok(())
}

pub async fn ours_in_batches(queue: &Queue, bodies: &BodyPool, count: u64) -> Result<()> {
    let options = ReceiveOptions::new()
        .max_messages(BATCH as u32)
        .wait(Duration::ZERO);
    for _ in 0..count / BATCH as u64 {
        send_batch(queue, bodies).await?;
        if receive_and_ack_batch(queue, &options).await? != BATCH {
            return Err("the batch came back in parts".into());
        }
    }
    Ok(())
}

pub async fn send_batch(queue: &Queue, bodies: &BodyPool) -> Result<()> {
    let message = |_| Message::new(bodies.copy(black_box(&BODY)));
    for result in queue.send_many((0..BATCH).map(message)).await? {
        result?;
    }
    Ok(())
}

/// Answers how many.
pub async fn receive_and_ack_batch(queue: &Queue, options: &ReceiveOptions) -> Result<usize> {
    let deliveries = queue.receive(options).await?;
    black_box(&deliveries);
    let acks: Vec<Settlement> = deliveries.iter().map(|d| d.settlement(Verb::Ack)).collect();
    for result in queue.settle(acks).await? {
        result?;
    }
    Ok(deliveries.len())
}

pub fn bare_in_batches(queue: &BareQueue, count: u64) -> Result<()> {
    for _ in 0..count / BATCH as u64 {
        bare_send_batch(queue);
        if bare_receive_and_ack_batch(queue) != BATCH {
            return Err("the batch came back in parts".into());
        }
    }
    Ok(())
}

pub fn bare_send_batch(queue: &BareQueue) {
    let body = |_| Body::from(black_box(&BODY).as_slice());
    queue.send_many((0..BATCH).map(body).collect());
}

/// Answers how many.
pub fn bare_receive_and_ack_batch(queue: &BareQueue) -> usize {
    let deliveries = queue.receive_many(BATCH);
    black_box(&deliveries);
    queue.ack_many(deliveries.iter().map(|(receipt, _)| *receipt))
}
