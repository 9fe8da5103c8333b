//! The journal: a durable queue that keeps entries until they are written.
//!
//! What is accepted goes into the queue and comes back out of it, in order, to be written. All of
//! it is one session: its holder is the one writer of the journal, and after a crash everything
//! comes again from the first entry that is not acknowledged, in order.

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::sync::{oneshot, watch};

use super::entry::Entry;
use super::lanes::LaneOf;
use super::options::WriteBehindOptions;
use super::origin::is_lost;
use super::rejected::{header, with_key};
use super::writer::Shared;
use crate::capability::Capability;
use crate::clock::Tick;
use crate::config::{Address, QueueOptions};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use crate::queue::{Queue, ReceiveOptions, SessionOptions, Statistics};
use crate::runtime::{Runtime, Tasks};
use crate::sessions::Session;

/// The session that all entries are in.
const SESSION: &str = "write-behind";
/// How long the journal stays locked after its holder died.
const LOCK: Duration = Duration::from_secs(5);
/// What the queue of a journal holds at most, and so do its dead letters. Always the same, since a
/// queue keeps its definition, and the bounds of a write-behind may change between two starts.
pub(super) const MAX_ENTRIES: u64 = 1 << 24;
pub(super) const MAX_BYTES: u64 = 1 << 36;

/// The queue of a journal, and the right to write what is in it.
pub(super) struct Opened {
    queue: Queue,
    session: Session,
    left: Statistics,
}

/// Opens the journal. After a crash that takes as long as the dead holder's lock lasts; when
/// somebody else holds it, `SessionLocked`.
pub(super) async fn open(
    runtime: &Runtime,
    url: &Address,
    options: &WriteBehindOptions,
    name: &str,
) -> Result<Opened> {
    let placed = |error: Error| match error.field() {
        Some("url") | None => error.with_field("journal"),
        Some(_) => error,
    };
    let client = runtime.connect(url.reveal()).await.map_err(placed)?;
    for needed in [Capability::SessionById, Capability::Statistics] {
        client.capabilities().require(needed).map_err(placed)?;
    }
    let name = match &options.journal_queue {
        Some(name) => name.clone(),
        None => format!("{name}-journal"),
    };
    let limits = options.limits()?;
    for (name, asked, most) in [
        ("max_entries", limits.max_entries, MAX_ENTRIES),
        ("max_bytes", limits.max_bytes, MAX_BYTES),
    ] {
        if asked > most {
            let what = format!("must be at most {most} with a journal");
            return Err(Error::invalid_config(name, what));
        }
    }
    let defined = QueueOptions {
        lock: Some(LOCK),
        // An entry is not to blame for the process it was in.
        budget: Some(u32::MAX),
        max_messages: Some(MAX_ENTRIES),
        max_bytes: Some(MAX_BYTES),
        // Whatever the environment says of other queues.
        fair_groups: Some(false),
        ..QueueOptions::default()
    };
    let queue = client.queue_with(&name, defined)?;
    let tasks = runtime.tasks();
    let give_up = tasks.clock().now() + 2 * LOCK;
    let session = accept(&queue, tasks, give_up).await?;
    let left = queue.statistics().await?;
    Ok(Opened {
        queue,
        session,
        left,
    })
}

/// Takes the session; waits for the end of a lock on it until the given time.
async fn accept(queue: &Queue, tasks: &Tasks, give_up: Tick) -> Result<Session> {
    loop {
        let error = match queue
            .accept_session(SessionOptions::id(SESSION).lock(LOCK))
            .await
        {
            Ok(Some(session)) => return Ok(session),
            Ok(None) => Error::new(ErrorKind::SessionLocked, "the journal was not given"),
            Err(error) if error.kind() == ErrorKind::SessionLocked => error,
            Err(error) => return Err(error),
        };
        let now = tasks.clock().now();
        if now >= give_up {
            let what = "another write-behind holds the journal; give each a journal of its own";
            return Err(Error::new(ErrorKind::SessionLocked, what).with_source(error));
        }
        let free = error
            .until()
            .map_or(0, |until| until.0 - tasks.clock().timestamp(now).0);
        let wait = Duration::from_millis(u64::try_from(free).unwrap_or(0));
        let wait = wait.clamp(LOCK / 100, LOCK);
        tasks.sleep_until((now + wait).min(give_up)).await;
    }
}

/// The way into the journal.
pub(super) struct Journal {
    queue: Queue,
    shared: Arc<Shared>,
    /// What every message has in common.
    blank: Message,
}

impl Journal {
    /// The way in, and what brings entries out again.
    pub(super) fn start(
        opened: Opened,
        shared: &Arc<Shared>,
        lane_of: Arc<LaneOf>,
        running: watch::Receiver<()>,
    ) -> (Self, Reader) {
        shared
            .buffer
            .journaled(opened.left.depth(), opened.left.bytes);
        let journal = Self {
            queue: opened.queue.clone(),
            shared: shared.clone(),
            blank: Message::new("").session(SESSION),
        };
        let reader = Reader {
            queue: opened.queue,
            session: opened.session,
            shared: shared.clone(),
            lane_of,
            _running: running,
        };
        (journal, reader)
    }

    /// Accepts entries: once this returns they are durable. Result i belongs to entry i. Waits for
    /// room, if asked to. What was sent when the future is dropped is accepted nevertheless.
    pub(super) async fn enqueue(&self, entries: Vec<Entry>, wait: bool) -> Vec<Result<()>> {
        let messages = entries.into_iter().map(|entry| self.message(entry));
        let mut messages: Vec<Message> = messages.collect();
        let sizes: Vec<u64> = messages.iter().map(|m| m.bytes() as u64).collect();
        let mut results = Vec::with_capacity(sizes.len());
        while !messages.is_empty() {
            match self
                .shared
                .buffer
                .reserve(&sizes[results.len()..], wait)
                .await
            {
                Ok(count) => {
                    let rest = messages.split_off(count);
                    results.extend(self.send(messages).await);
                    messages = rest;
                }
                // One that is too large stands in nobody's way.
                Err(error) if error.size().is_some() => {
                    messages.remove(0);
                    results.push(Err(error));
                }
                Err(error) => {
                    results.extend(messages.drain(..).map(|_| Err(error.clone())));
                }
            }
        }
        results
    }

    fn message(&self, entry: Entry) -> Message {
        let mut message = with_key(self.blank.clone(), &entry);
        message.set_body(entry.into_body());
        message
    }

    async fn send(&self, messages: Vec<Message>) -> Vec<Result<()>> {
        let sizes: Vec<u64> = messages.iter().map(|m| m.bytes() as u64).collect();
        let pending = match self.queue.start_send(messages).try_now() {
            Ok(sent) => return settle(&self.shared, sizes, sent),
            Err(pending) => pending,
        };
        // From here on it goes to its end, whoever waits for it: what was stored must be counted.
        let (tell, told) = oneshot::channel();
        let shared = self.shared.clone();
        self.shared.tasks.spawn(async move {
            let sent = pending.await;
            let _ = tell.send(settle(&shared, sizes, sent));
        });
        told.await
            .unwrap_or_else(|_| vec![Err(Error::closed("runtime"))])
    }
}

/// Counts what became of a send.
fn settle<T>(shared: &Shared, sizes: Vec<u64>, sent: Result<Vec<Result<T>>>) -> Vec<Result<()>> {
    let results: Vec<Result<()>> = match sent {
        Ok(results) => results.into_iter().map(|result| result.map(drop)).collect(),
        Err(error) => sizes.iter().map(|_| Err(error.clone())).collect(),
    };
    let failed = sizes
        .iter()
        .zip(&results)
        .filter(|(_, result)| result.is_err());
    shared
        .buffer
        .sent(sizes.len(), failed.map(|(bytes, _)| *bytes));
    results
}

/// Brings entries out of the journal into the lanes, as its one holder.
pub(super) struct Reader {
    queue: Queue,
    session: Session,
    shared: Arc<Shared>,
    lane_of: Arc<LaneOf>,
    _running: watch::Receiver<()>,
}

/// Why reading ended.
enum End {
    Drained,
    Stopped,
    /// The session is not ours any more.
    Lost,
}

impl Reader {
    /// Runs until the journal is drained, or writing stops.
    pub(super) async fn run(mut self) {
        loop {
            match self.read().await {
                End::Drained | End::Stopped => break,
                End::Lost => {}
            }
            tracing::warn!(
                queue = self.queue.name(),
                "the journal was lost; it is read again"
            );
            let stop = self.shared.stop.clone();
            let Some(()) = stop.run_until_cancelled(self.start_again()).await else {
                break;
            };
        }
        let buffer = &self.shared.buffer;
        buffer.pull_ended();
        // What is written on its way is acknowledged before the session is let go.
        buffer.idle().await;
        if let Err(error) = self.session.close().await {
            tracing::warn!(%error, "the journal could not be let go; its lock will end");
        }
    }

    /// Holds the session and reads, until either ends.
    async fn read(&self) -> End {
        tokio::select! {
            () = self.shared.stop.cancelled() => End::Stopped,
            () = self.renew() => End::Lost,
            end = self.pull() => end,
        }
    }

    /// Keeps the session until it is lost.
    async fn renew(&self) {
        loop {
            self.sleep(LOCK / 3).await;
            match self.session.renew_for(Some(LOCK)).await {
                Err(error) if is_lost(&error) => return,
                Err(error) => tracing::warn!(%error, "the journal could not be kept; again soon"),
                Ok(()) => {}
            }
        }
    }

    async fn pull(&self) -> End {
        let buffer = &self.shared.buffer;
        let mut failures = 0;
        while let Some(wanted) = buffer.wanted().await {
            let options = ReceiveOptions::new().max_messages(wanted as u32);
            let received = tokio::select! {
                received = self.session.receive(&options) => received,
                () = buffer.pull_changed() => continue,
            };
            match received {
                Ok(deliveries) => {
                    failures = 0;
                    self.put(deliveries);
                }
                Err(error) if is_lost(&error) => return End::Lost,
                Err(error) => {
                    failures += 1;
                    tracing::error!(%error, "the journal cannot be read");
                    self.sleep(self.shared.retry.delay(failures)).await;
                }
            }
        }
        End::Drained
    }

    fn put(&self, deliveries: Vec<Delivery>) {
        let clock = self.shared.tasks.clock();
        let now = clock.now();
        let today = clock.timestamp(now);
        let entries = deliveries.into_iter().map(|delivery| {
            let entry = entry_of(&delivery);
            let age = u64::try_from(today.0 - delivery.enqueued_at().0).unwrap_or(0);
            let at = Tick(now.0.saturating_sub(age.saturating_mul(1_000_000)));
            (self.lane_of.lane(&entry), entry, Box::new(delivery), at)
        });
        self.shared.buffer.pulled(entries);
    }

    /// Takes the session again. What is not acknowledged comes again, from the first on.
    async fn start_again(&mut self) {
        self.shared.buffer.lost_journal().await;
        let mut failures = 0;
        loop {
            let held = accept(&self.queue, &self.shared.tasks, Tick::NEVER).await;
            let found = match held {
                Ok(session) => {
                    self.session = session;
                    self.queue.statistics().await
                }
                Err(error) => Err(error),
            };
            match found {
                Ok(left) => return self.shared.buffer.found_journal(left.depth(), left.bytes),
                Err(error) => {
                    failures += 1;
                    tracing::error!(%error, "the journal cannot be taken again");
                    self.sleep(self.shared.retry.delay(failures)).await;
                }
            }
        }
    }

    async fn sleep(&self, duration: Duration) {
        let tasks = &self.shared.tasks;
        tasks.sleep_until(tasks.clock().now() + duration).await;
    }
}

/// The entry that a message of a queue is.
pub(super) fn entry_of(delivery: &Delivery) -> Entry {
    let entry = Entry::new(delivery.body().clone());
    match delivery.header(header::KEY) {
        Some(key) => entry.key(percent_decode_str(key).collect::<Vec<u8>>()),
        None => entry,
    }
}
