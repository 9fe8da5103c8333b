//! The main job on real input: 329 webhooks as GitHub sends them, through `memory:`.
//!
//! Webhooks of one pull request or issue are handled in the order they were sent, one at a time;
//! those of different ones side by side. One webhook fails on purpose until it is dead-lettered,
//! and its session waits (`on_failure = park`) until it is sent back. At the end everything must
//! add up, or the program fails.

mod input;
mod report;

use std::error::Error;
use std::time::{Duration, Instant};

use queue_runtime_core::dead_letter::REDRIVE_COUNT;
use queue_runtime_core::{
    DeadLetterFilter, Delivery, OnFailure, Queue, QueueOptions, ReceiveOptions, RedriveOptions,
    Result, SessionOptions, connect,
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Handlers that take a session and work through it.
const SESSION_HANDLERS: usize = 6;
/// Handlers that take whatever is ready: what has no session, and sessions nobody holds.
const PLAIN_HANDLERS: usize = 2;
/// The webhook that cannot be handled before it was redriven.
const FAILING: &str = "issues-15";

/// One attempt at one message, as its handler saw it.
pub struct Attempt {
    id: String,
    event: String,
    handler: usize,
    number: u32,
    handled: bool,
    started: Instant,
    ended: Instant,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let webhooks = input::load()?;
    let held_back = input::from_on(&webhooks, FAILING);

    let client = connect("memory:").await?;
    let options = QueueOptions {
        on_failure: Some(OnFailure::Park),
        ..QueueOptions::default()
    };
    let queue = client.queue_with("webhooks", options)?;
    let budget = queue.definition().budget;

    let stop = CancellationToken::new();
    let (attempted, mut attempts) = mpsc::unbounded_channel();
    let mut handlers = JoinSet::new();
    for number in 0..SESSION_HANDLERS + PLAIN_HANDLERS {
        let handler = Handler {
            number,
            queue: queue.clone(),
            stop: stop.clone(),
            attempted: attempted.clone(),
        };
        if number < SESSION_HANDLERS {
            handlers.spawn(handler.work_on_sessions());
        } else {
            handlers.spawn(handler.work_on_anything());
        }
    }
    drop(attempted);

    let mut sent = Vec::new();
    for webhook in &webhooks {
        sent.push(Instant::now());
        queue.send(webhook.message()?).await?;
    }
    report::print_input(&webhooks);

    // Everything is handled but what is held back: the failing webhook, which uses up its budget,
    // and what is behind it in its session.
    let mut log = Vec::new();
    let expected = webhooks.len() - held_back.len() + budget as usize;
    collect(&mut attempts, &mut log, expected).await?;

    let letters = queue
        .dead_letters(DeadLetterFilter::all(), None, 10)
        .await?;
    report::print_dead_letters(&letters, &held_back);
    let redriven = queue.redrive(RedriveOptions::default()).await?;
    collect(&mut attempts, &mut log, held_back.len()).await?;

    stop.cancel();
    while let Some(handler) = handlers.join_next().await {
        handler??;
    }
    while let Some(surplus) = attempts.recv().await {
        log.push(surplus);
    }
    let outcome = report::Outcome {
        webhooks: &webhooks,
        sent: &sent,
        held_back: &held_back,
        attempts: log,
        dead_letters: letters.len(),
        redriven: redriven.redriven,
        left: queue.statistics().await?,
        budget,
    };
    client.close().await?;
    Ok(outcome.check_and_print()?)
}

struct Handler {
    number: usize,
    queue: Queue,
    stop: CancellationToken,
    attempted: UnboundedSender<Attempt>,
}

impl Handler {
    /// Takes one session after the other and works through each, in order.
    async fn work_on_sessions(self) -> Result<()> {
        let look_once = ReceiveOptions::new().wait(Duration::ZERO);
        let accept = || self.queue.accept_session(SessionOptions::next());
        while let Some(session) = self.stop.run_until_cancelled(accept()).await {
            let Some(session) = session? else { continue };
            while let Some(delivery) = session.receive(&look_once).await?.pop() {
                self.work_on(&delivery).await?;
            }
            session.close().await?;
        }
        Ok(())
    }

    /// Takes one message after the other. One of a session holds that session until it is settled.
    async fn work_on_anything(self) -> Result<()> {
        let receive = || self.queue.receive_one(Duration::from_secs(10));
        while let Some(delivery) = self.stop.run_until_cancelled(receive()).await {
            let Some(delivery) = delivery? else { continue };
            self.work_on(&delivery).await?;
        }
        Ok(())
    }

    async fn work_on(&self, delivery: &Delivery) -> Result<()> {
        let started = Instant::now();
        let result = handle(delivery).await;
        let ended = Instant::now();
        match &result {
            Ok(()) => delivery.ack().await?,
            Err(reason) => delivery.nack(Some(reason)).await?,
        }
        let attempt = Attempt {
            id: delivery.id().to_string(),
            event: delivery.header("event").unwrap_or_default().to_owned(),
            handler: self.number,
            number: delivery.attempt(),
            handled: result.is_ok(),
            started,
            ended,
        };
        // Nobody listens any more only when the program is failing already.
        let _ = self.attempted.send(attempt);
        Ok(())
    }
}

/// Reads the webhook and checks that it came whole and in the right session.
async fn handle(delivery: &Delivery) -> Result<(), String> {
    let payload = delivery.json().map_err(|e| e.to_string())?;
    if input::session_key(payload).as_deref() != delivery.session() {
        return Err("this payload is of another session".to_owned());
    }
    // Here a handler waits for a database or a peer, and others go on meanwhile.
    tokio::task::yield_now().await;
    let redriven = delivery.header(REDRIVE_COUNT).is_some();
    if delivery.id().to_string() == FAILING && !redriven {
        return Err("the issue tracker is down".to_owned());
    }
    Ok(())
}

/// Waits for this many attempts.
async fn collect(
    attempts: &mut UnboundedReceiver<Attempt>,
    log: &mut Vec<Attempt>,
    count: usize,
) -> Result<(), Box<dyn Error>> {
    for _ in 0..count {
        let next = timeout(Duration::from_secs(60), attempts.recv()).await;
        let Ok(Some(attempt)) = next else {
            return Err(format!("the handlers stopped after {} attempts", log.len()).into());
        };
        log.push(attempt);
    }
    Ok(())
}
