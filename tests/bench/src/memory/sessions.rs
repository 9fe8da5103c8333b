//! Many sessions worked off by a few workers: accept the next, drain it, let it go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use published::{QueueClient, QueueClientFactory, QueueError, QueueName, SessionId};
use queue_runtime_core::{Message, Queue, ReceiveOptions, Runtime, SessionOptions};
use tokio::task::JoinSet;

use super::{AREA, BODY};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::report::{Goal, Row, Unit};

const ROUNDS: usize = 3;
const SESSIONS: usize = 100;
const MESSAGES: usize = 100;
const WORKERS: usize = 4;
const TOTAL: u64 = (SESSIONS * MESSAGES) as u64;

/// Both sides are driven alike: as tasks of one tokio runtime.
pub fn row() -> Result<Row> {
    let threads = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (queue, client) = threads.block_on(async {
        let client = Runtime::current()?.connect("memory:").await?;
        let theirs: Arc<dyn QueueClient> = QueueClientFactory::create_test_client().into();
        Result::Ok((client.queue("bench")?, theirs))
    })?;
    let [ours, yardstick] = take_turns(
        ROUNDS,
        [&mut || threads.block_on(ours(&queue)), &mut || {
            threads.block_on(theirs(&client))
        }],
    )?;
    Ok(Row::beside(
        AREA,
        "100 sessions x 100 messages, accept next, drain, 4 workers: queue-runtime 0.2.2",
        Unit::Rate,
        &ours,
        &yardstick,
        Goal::AtLeast(50.0),
    ))
}

/// Fills, then measures the workers from their start to the last ack.
async fn ours(queue: &Queue) -> Result<f64> {
    let sessions: Vec<Arc<str>> = (0..SESSIONS)
        .map(|s| format!("session-{s}").into())
        .collect();
    for _ in 0..MESSAGES {
        for session in &sessions {
            let body = Bytes::copy_from_slice(&BODY);
            queue
                .send(Message::new(body).session(session.clone()))
                .await?;
        }
    }
    let start = Instant::now();
    let done = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(our_worker(queue.clone(), done.clone()));
    }
    finish(workers, &done, start).await
}

async fn our_worker(queue: Queue, done: Arc<AtomicU64>) -> Result<()> {
    let next = SessionOptions::next().wait(Duration::ZERO);
    let one = ReceiveOptions::new().wait(Duration::ZERO);
    while let Some(session) = queue.accept_session(next.clone()).await? {
        while let Some(delivery) = session.receive(&one).await?.pop() {
            delivery.ack().await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        session.close().await?;
    }
    Ok(())
}

async fn theirs(client: &Arc<dyn QueueClient>) -> Result<f64> {
    let queue = QueueName::new("bench".to_owned())?;
    for _ in 0..MESSAGES {
        for session in 0..SESSIONS {
            let session = SessionId::new(format!("session-{session}"))?;
            let message = published::Message::new(Bytes::copy_from_slice(&BODY));
            client
                .send_message(&queue, message.with_session_id(session))
                .await?;
        }
    }
    let start = Instant::now();
    let done = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(their_worker(client.clone(), queue.clone(), done.clone()));
    }
    finish(workers, &done, start).await
}

async fn their_worker(
    client: Arc<dyn QueueClient>,
    queue: QueueName,
    done: Arc<AtomicU64>,
) -> Result<()> {
    loop {
        let session = match client.accept_session(&queue, None).await {
            Ok(session) => session,
            // Two workers may find the same one: look again.
            Err(QueueError::SessionLocked { .. }) => continue,
            // What is left, others hold.
            Err(QueueError::SessionNotFound { .. }) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        while let Some(message) = session.receive_message(chrono::Duration::zero()).await? {
            session.complete_message(message.receipt_handle).await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        session.close_session().await?;
    }
}

async fn finish(mut workers: JoinSet<Result<()>>, done: &AtomicU64, start: Instant) -> Result<f64> {
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    let rate = rate(TOTAL, start);
    match done.load(Ordering::Relaxed) {
        TOTAL => Ok(rate),
        done => Err(format!("{done} of {TOTAL} messages were acked").into()),
    }
}
