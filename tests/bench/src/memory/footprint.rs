//! Memory for a queued message.

use queue_runtime_core::{Message, QueueOptions, Runtime};

use super::{AREA, queue};
use crate::Result;
use crate::allocations::growth;
use crate::report::{Goal, Row, Unit};

const BODY: [u8; 100] = [0x5a; 100];
/// Tables grow by doubling, so the worst of several fills counts.
const FILLS: [usize; 5] = [1_000, 10_000, 70_000, 300_000, 1_000_000];

/// By how many bytes the memory in use grows when a new queue is filled, for each message,
/// without its body.
pub fn row(runtime: &Runtime) -> Result<Row> {
    let mut worst = 0.0_f64;
    for messages in FILLS {
        let options = QueueOptions {
            max_messages: Some(messages as u64),
            max_bytes: Some(4 << 30),
            ..QueueOptions::default()
        };
        let queue = queue(runtime, options)?;
        let (bytes, filled) = growth(|| {
            runtime.block_on(async {
                for _ in 0..messages {
                    let body = runtime.bodies().copy(&BODY);
                    queue.send(Message::new(body)).await?;
                }
                Result::Ok(())
            })
        });
        filled??;
        worst = worst.max(bytes as f64 / messages as f64 - BODY.len() as f64);
    }
    Ok(Row::alone(
        AREA,
        "memory per queued 100-byte message beyond its body",
        Unit::Bytes,
        worst,
        Goal::AtMost(300.0),
    ))
}
