//! Requests that are made, counted on the way to the server.

use std::time::Duration;

use queue_runtime_core::{
    ConsumerOptions, Message, Queue, ReceiveOptions, Runtime, RuntimeConfig, Verb,
};
use queue_runtime_services::{Proxy, Service};

use super::AREA;
use crate::Result;
use crate::report::{Goal, Row, Unit};

/// How long an idle consumer is watched.
const MINUTE: Duration = Duration::from_secs(60);

/// A thousand messages, and a minute of nothing.
pub fn rows(server: &Service) -> Result<Vec<Row>> {
    let proxy = Proxy::before(server.port())?;
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let url = format!(
        "sqs://us-east-1?endpoint={}&access_key_id=test&secret_access_key=test",
        proxy.endpoint()
    );
    let client = runtime.block_on(runtime.connect(url))??;
    let queue = client.queue("requests")?;
    runtime.block_on(queue.create())??;
    runtime.block_on(thousand(&queue))??;
    proxy.seen();
    runtime.block_on(thousand(&queue))??;
    let busy = proxy.seen().len();
    let consumer = queue.consume(ConsumerOptions::default())?;
    // Made inside, where there is a timer.
    runtime.block_on(async { tokio::time::sleep(MINUTE).await })?;
    let idle = proxy.seen().len();
    drop(consumer);
    Ok(vec![
        Row::alone(
            AREA,
            "requests for 1,000 messages in full batches",
            Unit::Requests,
            busy as f64,
            Goal::AtMost(310.0),
        ),
        Row::alone(
            AREA,
            "requests of an idle consumer of one poller in a minute",
            Unit::Requests,
            idle as f64,
            Goal::AtMost(4.0),
        ),
    ])
}

/// Sends, receives and acks a thousand messages.
async fn thousand(queue: &Queue) -> Result<()> {
    for sent in queue
        .send_many((0..1000).map(|_| Message::new("x")))
        .await?
    {
        sent?;
    }
    let options = ReceiveOptions::new()
        .max_messages(100)
        .wait(Duration::from_secs(2));
    let mut left = 1000;
    while left > 0 {
        let deliveries = queue.receive(&options).await?;
        let acks = deliveries.iter().map(|d| d.settlement(Verb::Ack));
        for settled in queue.settle(acks.collect()).await? {
            settled?;
        }
        left -= deliveries.len();
    }
    Ok(())
}
