//! A worker of the demo that crosses processes, in Rust: it shares the webhooks of a `file:` store
//! with workers in other languages, and reports each one it handled in another queue of the store.
//!
//! ```text
//! webhook_worker URL [HANG]
//! ```
//!
//! With HANG it gets stuck in the handler of its HANG-th webhook, for somebody to kill it there.

use std::time::Duration;

use queue_runtime_core::{Delivery, Message, Queue, connect};
use serde_json::{Value, json};

type Anything = Box<dyn std::error::Error>;

/// It ends when nothing came for so long.
const IDLE: Duration = Duration::from_secs(2);
/// What the work on a webhook takes.
const WORK: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: webhook_worker URL [HANG]")?;
    let hang = arguments.next().map(|text| text.parse()).transpose()?;

    let client = connect(&*url).await?;
    let (webhooks, handled) = (client.queue("webhooks")?, client.queue("handled")?);
    let mut count = 0;
    while let Some(delivery) = webhooks.receive_one(IDLE).await? {
        count += 1;
        if Some(count) == hang {
            println!("stuck with {}", delivery.id());
            std::future::pending::<()>().await;
        }
        handle(&delivery, &handled).await?;
    }
    Ok(())
}

async fn handle(delivery: &Delivery, handled: &Queue) -> Result<(), Anything> {
    let webhook: &Value = delivery.json()?;
    tokio::time::sleep(WORK).await;
    let report = json!({
        "worker": "Rust",
        "id": delivery.id().to_string(),
        "attempt": delivery.attempt(),
        "sender": webhook["sender"]["login"],
    });
    // Reported before it is acked: a crash between the two shows as a second report.
    handled.send(Message::new(report.to_string())).await?;
    delivery.ack().await?;
    Ok(())
}
