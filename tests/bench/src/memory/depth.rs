//! Receive and ack on a queue that holds much, beside one that holds little.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use queue_runtime_core::{Delivery, Message, Queue, QueueOptions, ReceiveOptions, Runtime};

use super::{AREA, BODY, queue};
use crate::Result;
use crate::measure::take_turns;
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 201;
/// Messages received and acked in a round; sent anew before the next.
const CHUNK: usize = 500;
const GOAL: Goal = Goal::AtMost(1.3);

pub fn rows(runtime: &Runtime) -> Result<[Row; 3]> {
    Ok([
        compare(
            runtime,
            "1,000,000 queued: 1,000 queued",
            Fill::plain(1_000_000),
            Fill::plain(1_000),
        )?,
        compare(
            runtime,
            "100,000 queued in 10,000 sessions: in one session",
            Fill::in_sessions(100_000, 10_000),
            Fill::in_sessions(100_000, 1),
        )?,
        compare(
            runtime,
            "100,000 in flight, 1,000 queued: none in flight",
            Fill {
                in_flight: 100_000,
                ..Fill::plain(1_000)
            },
            Fill::plain(1_000),
        )?,
    ])
}

/// What a queue holds while it is measured.
struct Fill {
    queued: usize,
    sessions: usize,
    in_flight: usize,
}

impl Fill {
    fn plain(queued: usize) -> Self {
        Self::in_sessions(queued, 0)
    }

    fn in_sessions(queued: usize, sessions: usize) -> Self {
        Self {
            queued,
            sessions,
            in_flight: 0,
        }
    }
}

fn compare(runtime: &Runtime, name: &str, much: Fill, little: Fill) -> Result<Row> {
    let much = Filled::new(runtime, much)?;
    let little = Filled::new(runtime, little)?;
    let [much, little] = take_turns(
        ROUNDS,
        [
            &mut || runtime.block_on(much.receive_and_ack())?,
            &mut || runtime.block_on(little.receive_and_ack())?,
        ],
    )?;
    let name = format!("receive + ack, {name}");
    Ok(Row::beside(AREA, name, Unit::Nanos, &much, &little, GOAL))
}

struct Filled {
    queue: Queue,
    _in_flight: Vec<Delivery>,
}

impl Filled {
    fn new(runtime: &Runtime, fill: Fill) -> Result<Self> {
        // No lock ends before the row does.
        let queue = queue(
            runtime,
            QueueOptions {
                lock: Some(Duration::from_secs(60 * 60)),
                max_messages: Some(2_000_000),
                max_bytes: Some(4 << 30),
                ..QueueOptions::default()
            },
        )?;
        // One body for all: what is measured is the queue, not the fetch of a body.
        let message = Message::new(Bytes::copy_from_slice(&BODY));
        let sessions: Vec<Arc<str>> = (0..fill.sessions)
            .map(|s| format!("session-{s}").into())
            .collect();
        let in_flight = runtime.block_on(async {
            let mut in_flight = Vec::with_capacity(fill.in_flight);
            for _ in 0..fill.in_flight {
                queue.send(message.clone()).await?;
                in_flight.extend(queue.receive(&look()).await?);
            }
            for n in 0..fill.queued {
                let message = message.clone();
                queue
                    .send(match sessions.get(n % fill.sessions.max(1)) {
                        Some(session) => message.session(session.clone()),
                        None => message,
                    })
                    .await?;
            }
            Result::Ok(in_flight)
        })??;
        Ok(Self {
            queue,
            _in_flight: in_flight,
        })
    }

    /// Nanoseconds for one message; what was taken is put back afterwards.
    async fn receive_and_ack(&self) -> Result<f64> {
        let mut taken = Vec::with_capacity(CHUNK);
        let start = Instant::now();
        for _ in 0..CHUNK {
            let delivery = self.queue.receive_one(Duration::ZERO).await?;
            let delivery = delivery.ok_or("the queue is empty")?;
            delivery.ack().await?;
            taken.push(black_box(delivery));
        }
        let nanos = start.elapsed().as_nanos() as f64 / CHUNK as f64;
        for delivery in taken {
            self.queue.send(delivery.message().clone()).await?;
        }
        Ok(nanos)
    }
}

fn look() -> ReceiveOptions {
    ReceiveOptions::new().wait(Duration::ZERO)
}
