//! Writers: each takes the batches of its lane to the sink, until they are written or given up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::batch::{Batch, Group, OnRepeat, gather};
use super::buffer::{Buffer, Came, Queued};
use super::metrics::WriteBehindMetrics;
use super::origin;
use super::rejected::{DeadLetterQueue, RejectedEntry};
use super::sink::{Target, is_bad, upsert};
use crate::error::{Error, Result};
use crate::resilience::{Breaker, BreakerState, Retry, SharedCircuit};
use crate::runtime::{Runtime, Tasks};

/// The breaker that the writers of one sink share.
pub(super) fn circuit(policy: Breaker) -> Arc<SharedCircuit> {
    SharedCircuit::new(policy, None, move |state| match state {
        BreakerState::Open => tracing::warn!(%policy, "the sink is away: the breaker is open"),
        BreakerState::HalfOpen => {}
        BreakerState::Closed => tracing::info!("the sink is back: the breaker is closed"),
    })
}

/// What the writers of one sink, and the program, share.
pub(super) struct Shared {
    pub(super) name: Box<str>,
    pub(super) buffer: Buffer,
    pub(super) tasks: Tasks,
    /// Threads stay as long as there is something to write.
    pub(super) _runtime: Runtime,
    pub(super) retry: Retry,
    pub(super) on_repeat: OnRepeat,
    pub(super) circuit: Arc<SharedCircuit>,
    pub(super) dead_letters: Option<DeadLetterQueue>,
    /// Ends writing at once: what is not written is left.
    pub(super) stop: CancellationToken,
}

impl Shared {
    pub(super) fn metrics(&self) -> WriteBehindMetrics {
        let clock = self.tasks.clock();
        self.buffer.metrics(clock.timestamp(clock.now()))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let unwritten = self.buffer.take_unwritten();
        let here = unwritten.iter().filter(|q| matches!(q.came, Came::Here));
        let unwritten = here.count();
        if unwritten > 0 {
            let name = &*self.name;
            tracing::error!(
                name,
                unwritten,
                "the runtime ended before entries were written"
            );
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Writing was stopped.
struct Stopped;

/// Takes the batches of one lane to the sink. Until it is dropped, something may be on its way.
pub(super) struct Writer<T> {
    pub(super) lane: usize,
    pub(super) target: Arc<T>,
    pub(super) shared: Arc<Shared>,
    pub(super) _running: watch::Receiver<()>,
}

/// What is left to do of a batch: parts, the next one last, each written at once.
struct Parts<R> {
    todo: Vec<Vec<Group<R>>>,
    /// The target's version that their rows were prepared for.
    version: u64,
    /// How often in a row the sink was away.
    failures: u32,
}

impl<T: Target> Writer<T> {
    /// Runs until nothing will come any more.
    pub(super) async fn run(self) {
        let buffer = &self.shared.buffer;
        let mut ahead = None;
        loop {
            let batch = match ahead.take() {
                Some(batch) => batch,
                None => match self.unless_stopped(buffer.due(self.lane)).await {
                    Ok(Some(entries)) => self.gather(entries),
                    Ok(None) | Err(Stopped) => break,
                },
            };
            let span = tracing::info_span!(
                "write_behind.flush",
                name = &*self.shared.name,
                entries = batch.groups.len()
            );
            let mut writing = std::pin::pin!(self.write(batch).instrument(span));
            // While the sink works on one batch, the next whole one is prepared.
            loop {
                tokio::select! {
                    biased;
                    () = &mut writing => break,
                    entries = buffer.full(self.lane), if ahead.is_none() => {
                        ahead = Some(self.gather(entries));
                    }
                }
            }
            buffer.done(self.lane);
        }
        if self.shared.stop.is_cancelled() {
            buffer.stop();
        }
    }

    fn gather(&self, entries: Vec<Queued>) -> Batch<T::Row> {
        let (batch, rest) = gather(&*self.target, entries, self.shared.on_repeat);
        self.shared.buffer.give_back(self.lane, rest.into_iter());
        batch
    }

    /// Writes a batch. When writing stops before its end, the rest is left.
    async fn write(&self, batch: Batch<T::Row>) {
        let (mut batch, mut rest) = self.look_again(batch).await;
        loop {
            self.write_batch(batch).await;
            if rest.is_empty() {
                break;
            }
            (batch, rest) = gather(&*self.target, rest, self.shared.on_repeat);
        }
    }

    /// What does not fit may fit by now: then the batch is made anew.
    async fn look_again(&self, batch: Batch<T::Row>) -> (Batch<T::Row>, Vec<Queued>) {
        if batch.misfits.is_empty() {
            return (batch, Vec::new());
        }
        let refreshed = self.unless_stopped(self.target.refresh()).await;
        if !matches!(refreshed, Ok(Ok(()))) || self.target.version() == batch.version {
            return (batch, Vec::new());
        }
        let misfits = batch.misfits.into_iter().map(|misfit| misfit.queued);
        let fitting = batch.groups.into_iter().flat_map(Group::into_entries);
        let mut entries: Vec<Queued> = misfits.chain(fitting).collect();
        entries.sort_unstable_by_key(|queued| queued.number);
        gather(&*self.target, entries, self.shared.on_repeat)
    }

    async fn write_batch(&self, batch: Batch<T::Row>) {
        for misfit in batch.misfits {
            self.give_up(misfit.queued, &misfit.error, 0).await;
        }
        let mut parts = Parts {
            todo: vec![batch.groups],
            version: batch.version,
            failures: 0,
        };
        while let Some(part) = parts.todo.pop() {
            self.write_part(part, &mut parts).await;
        }
    }

    /// Tries a part once, and puts what is to be tried again among the parts.
    async fn write_part(&self, part: Vec<Group<T::Row>>, parts: &mut Parts<T::Row>) {
        let mut part = self.fit(part, parts).await;
        if part.is_empty() {
            return;
        }
        let answer = match self.attempt(&part).await {
            Ok(answer) => answer,
            Err(Stopped) => return self.leave(part),
        };
        for group in &mut part {
            group.attempts += 1;
        }
        match answer {
            Ok(results) => self.settle(part, results, parts).await,
            Err(error) if !is_bad(&error) => self.again(part, &error, parts).await,
            Err(error) if part.len() == 1 => {
                for group in part {
                    self.give_up_group(group, &error, parts).await;
                }
            }
            Err(error) => {
                tracing::debug!(
                    code = error.code(),
                    rows = part.len(),
                    "a bad entry is searched for"
                );
                self.count_retries(&part);
                let second = part.split_off(part.len() / 2);
                parts.todo.extend([second, part]);
            }
        }
    }

    /// Rows that were prepared for an earlier version of the sink are prepared again.
    async fn fit(&self, part: Vec<Group<T::Row>>, parts: &mut Parts<T::Row>) -> Vec<Group<T::Row>> {
        let version = self.target.version();
        if parts.version == version {
            return part;
        }
        // The other parts as well, since there is one version for all.
        let mut todo = std::mem::take(&mut parts.todo);
        todo.push(part);
        parts.version = version;
        for old in todo {
            let mut fitting = Vec::with_capacity(old.len());
            for mut group in old {
                match self.target.prepare(&group.last.entry) {
                    Ok(row) => {
                        group.row = row;
                        fitting.push(group);
                    }
                    Err(error) => self.give_up_group(group, &error, parts).await,
                }
            }
            parts.todo.push(fitting);
        }
        parts.todo.pop().unwrap_or_default()
    }

    /// Asks the sink, once the breaker allows it.
    async fn attempt(&self, part: &[Group<T::Row>]) -> Result<Result<Vec<Result<()>>>, Stopped> {
        let shared = &*self.shared;
        let permit = self
            .unless_stopped(shared.circuit.permitted(&shared.tasks))
            .await?;
        let rows: Vec<&T::Row> = part.iter().map(|group| &group.row).collect();
        let begun = shared.tasks.clock().now();
        let answer = self.unless_stopped(upsert(&*self.target, &rows)).await?;
        let now = shared.tasks.clock().now();
        match &answer {
            Err(error) if !is_bad(error) => permit.failed(now),
            answer => {
                permit.succeeded();
                if answer.is_ok() {
                    shared.buffer.wrote(rows.len(), now.since(begun));
                }
            }
        }
        Ok(answer)
    }

    /// Looks at each entry's own result.
    async fn settle(
        &self,
        part: Vec<Group<T::Row>>,
        results: Vec<Result<()>>,
        parts: &mut Parts<T::Row>,
    ) {
        let mut written = Vec::with_capacity(part.len());
        let mut bad = Vec::new();
        let mut away = Vec::new();
        let mut trouble = None;
        for (group, result) in part.into_iter().zip(results) {
            match result {
                Ok(()) => written.push(group),
                Err(error) if is_bad(&error) => bad.push((group, error)),
                Err(error) => {
                    away.push(group);
                    trouble = Some(error);
                }
            }
        }
        let entries = || written.iter().flat_map(Group::entries);
        self.shared.buffer.persisted(entries());
        origin::acknowledge(entries()).await;
        for (group, error) in bad {
            self.give_up_group(group, &error, parts).await;
        }
        match trouble {
            Some(error) => self.again(away, &error, parts).await,
            None => parts.failures = 0,
        }
    }

    /// Tries a part again after a while: the sink is away.
    async fn again(&self, part: Vec<Group<T::Row>>, error: &Error, parts: &mut Parts<T::Row>) {
        parts.failures += 1;
        let delay = self.shared.retry.delay(parts.failures);
        let delay = delay.max(error.retry_after().unwrap_or_default());
        let failures = parts.failures;
        tracing::warn!(%error, rows = part.len(), failures, ?delay, "the sink is away");
        match self.sleep(delay).await {
            Ok(()) => {
                self.count_retries(&part);
                parts.todo.push(part);
            }
            Err(Stopped) => self.leave(part),
        }
    }

    /// Gives up the last entry of a key. The one before it then stands for the key.
    async fn give_up_group(
        &self,
        mut group: Group<T::Row>,
        error: &Error,
        parts: &mut Parts<T::Row>,
    ) {
        let before = std::mem::take(&mut group.before);
        self.give_up(group.last, error, group.attempts).await;
        let mut before = before.into_iter();
        while let Some(last) = before.next_back() {
            match self.target.prepare(&last.entry) {
                Ok(row) => {
                    let mut group = Group::new(row, last);
                    group.before = before.collect();
                    parts.todo.push(vec![group]);
                    return;
                }
                Err(error) => self.give_up(last, &error, 0).await,
            }
        }
    }

    /// Brings an entry to where entries go that can never be written. It is not let go before it
    /// is there.
    async fn give_up(&self, queued: Queued, error: &Error, attempts: u32) {
        let shared = &*self.shared;
        let enqueued_at = shared.tasks.clock().timestamp(queued.at);
        let rejected = RejectedEntry::new(queued.entry.clone(), error, attempts, enqueued_at);
        // The error's text can quote the entry, which is not for the log.
        tracing::warn!(reason = &*rejected.reason, attempts, "an entry is given up");
        let mut failures = 0;
        loop {
            let sent = match (&shared.dead_letters, queued.delivery()) {
                (Some(queue), _) => {
                    self.unless_stopped(queue.send(&rejected, &shared.name))
                        .await
                }
                (None, Some(delivery)) => {
                    let dead = origin::dead_letter(delivery, &rejected);
                    self.unless_stopped(dead).await
                }
                (None, None) => return shared.buffer.keep(rejected),
            };
            let error = match sent {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error,
                Err(Stopped) => return shared.buffer.leave([queued]),
            };
            failures += 1;
            let delay = shared.retry.delay(failures);
            tracing::warn!(%error, ?delay, "a dead letter cannot be stored");
            if let Err(Stopped) = self.sleep(delay).await {
                return shared.buffer.leave([queued]);
            }
        }
        shared.buffer.failed(&queued);
        if shared.dead_letters.is_some() {
            origin::acknowledge([&queued].into_iter()).await;
        }
    }

    fn leave(&self, part: Vec<Group<T::Row>>) {
        let entries = part.into_iter().flat_map(Group::into_entries);
        self.shared.buffer.leave(entries);
    }

    fn count_retries(&self, part: &[Group<T::Row>]) {
        let entries = part.iter().map(|group| 1 + group.before.len()).sum();
        self.shared.buffer.retried(entries);
    }

    async fn sleep(&self, duration: Duration) -> Result<(), Stopped> {
        let tasks = &self.shared.tasks;
        let deadline = tasks.clock().now() + duration;
        self.unless_stopped(tasks.sleep_until(deadline)).await
    }

    async fn unless_stopped<F: Future>(&self, future: F) -> Result<F::Output, Stopped> {
        let stop = &self.shared.stop;
        stop.run_until_cancelled(future).await.ok_or(Stopped)
    }
}
