//! One producer and one consumer, each on a thread, and a bounded queue between them.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use queue_runtime_core::{Message, OnFull, Queue, QueueOptions, ReceiveOptions, Runtime};

use super::one_thread::{
    BATCH, bare_receive_and_ack_batch, bare_send_batch, receive_and_ack_batch, send_batch,
};
use super::{AREA, BODY, queue};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::report::{Goal, Row, Unit};
use crate::yardsticks::bare_queue::{BareQueue, Body};

const BOUND: usize = 1024;
const ROUNDS: usize = 15;
const COUNT: u64 = 200_000;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn rows(runtime: &Runtime) -> Result<[Row; 3]> {
    let options = QueueOptions {
        max_messages: Some(BOUND as u64),
        on_full: Some(OnFull::Wait),
        ..QueueOptions::default()
    };
    let ours = queue(runtime, options)?;
    let bare = BareQueue::new(BOUND);
    let [one, bare_one, channel, many, bare_many] = take_turns(
        ROUNDS,
        [
            &mut || {
                both(
                    || runtime.block_on(send(&ours, runtime))?,
                    || runtime.block_on(receive(&ours))?,
                )
            },
            &mut || {
                both(
                    || {
                        (0..COUNT).for_each(|_| bare.send(body()));
                        Ok(())
                    },
                    || {
                        for _ in 0..COUNT {
                            let (receipt, body) = bare.receive();
                            black_box(&body);
                            if !bare.ack(receipt) {
                                return Err("the receipt is void".into());
                            }
                        }
                        Ok(())
                    },
                )
            },
            &mut || {
                let (sender, mut receiver) = tokio::sync::mpsc::channel(BOUND);
                both(
                    || {
                        runtime.block_on(async {
                            for _ in 0..COUNT {
                                sender
                                    .send(Bytes::copy_from_slice(black_box(&BODY)))
                                    .await?;
                            }
                            Ok(())
                        })?
                    },
                    || {
                        runtime.block_on(async {
                            for _ in 0..COUNT {
                                black_box(receiver.recv().await.ok_or("the channel is closed")?);
                            }
                            Ok(())
                        })?
                    },
                )
            },
            &mut || {
                both(
                    || runtime.block_on(send_batches(&ours, runtime))?,
                    || runtime.block_on(receive_batches(&ours))?,
                )
            },
            &mut || {
                both(
                    || {
                        (0..COUNT / BATCH as u64).for_each(|_| bare_send_batch(&bare));
                        Ok(())
                    },
                    || {
                        let mut received = 0;
                        while received < COUNT {
                            received += bare_receive_and_ack_batch(&bare) as u64;
                        }
                        Ok(())
                    },
                )
            },
        ],
    )?;
    let row = |name: &str, ours, yardstick, goal| {
        let name = format!("one producer, one consumer, bounded 1024, {name}");
        Row::beside(AREA, name, Unit::Rate, ours, yardstick, goal)
    };
    Ok([
        row(
            "one at a time: bare queue",
            &one,
            &bare_one,
            Goal::AtLeast(0.55),
        ),
        row(
            "one at a time: tokio mpsc (no ack)",
            &one,
            &channel,
            Goal::None,
        ),
        row("batches of 100: bare queue", &many, &bare_many, Goal::None),
    ])
}

/// Messages in a second, from the start of both threads to the end of both.
fn both(
    producer: impl FnOnce() -> Result<()> + Send,
    consumer: impl FnOnce() -> Result<()> + Send,
) -> Result<f64> {
    let start = Instant::now();
    thread::scope(|scope| {
        let producer = scope.spawn(producer);
        let received = consumer();
        producer.join().map_err(|_| "the producer panicked")??;
        received
    })?;
    Ok(rate(COUNT, start))
}

fn body() -> Body {
    Body::from(black_box(&BODY).as_slice())
}

async fn send(queue: &Queue, runtime: &Runtime) -> Result<()> {
    for _ in 0..COUNT {
        let body = runtime.bodies().copy(black_box(&BODY));
        queue.send(Message::new(body)).await?;
    }
    Ok(())
}

async fn receive(queue: &Queue) -> Result<()> {
    for _ in 0..COUNT {
        let delivery = queue
            .receive_one(PATIENCE)
            .await?
            .ok_or("no message came")?;
        black_box(delivery.body());
        delivery.ack().await?;
    }
    Ok(())
}

async fn send_batches(queue: &Queue, runtime: &Runtime) -> Result<()> {
    for _ in 0..COUNT / BATCH as u64 {
        send_batch(queue, runtime.bodies()).await?;
    }
    Ok(())
}

async fn receive_batches(queue: &Queue) -> Result<()> {
    let options = ReceiveOptions::new()
        .max_messages(BATCH as u32)
        .wait(PATIENCE);
    let mut received = 0;
    while received < COUNT {
        received += receive_and_ack_batch(queue, &options).await? as u64;
    }
    Ok(())
}
