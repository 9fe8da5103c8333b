//! Settlements, and what is done with messages that are in flight.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::batches::{self, Numbered};
use super::envelope::{Death, Extra, Kind, Wire};
use super::in_flight::{Held, LONGEST};
use super::receive::BATCH;
use super::remote::Remote;
use super::send::{AT_ONCE, LONGEST_DELAY};
use super::work::{Work, seconds};
use crate::dead_letter::reason;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Moment;
use crate::settlement::{Receipt, Settlement, Verb};

/// What becomes of a message in flight.
enum Fate {
    Deleted,
    /// It comes back after so many seconds.
    Back(u32),
    Buried {
        reason: Arc<str>,
        description: Option<Arc<str>>,
    },
}

impl Work {
    /// Ends deliveries. Result i is of settlement i.
    pub(super) async fn settle(
        self: Arc<Self>,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<()>>> {
        let mut results: Vec<Option<Result<()>>> = settlements.iter().map(|_| None).collect();
        let mut released = Vec::new();
        let mut parts: Vec<Vec<(usize, Held, Fate)>> =
            self.shared.parts.iter().map(|_| Vec::new()).collect();
        for (index, settlement) in settlements.into_iter().enumerate() {
            match self.take(&settlement.receipt) {
                Err(error) => results[index] = Some(Err(error)),
                Ok(held) => match self.decide(&held, &settlement.verb).await {
                    Ok(fate) => {
                        if matches!(settlement.verb, Verb::Release { .. }) {
                            // Before it can be received again.
                            self.shared.credits.give(&held.arrived.sqs_id);
                            released.push((index, held.arrived.sqs_id.clone()));
                        }
                        parts[held.part].push((index, held, fate));
                    }
                    Err(error) => {
                        self.shared.in_flight.add(held, self.now());
                        results[index] = Some(Err(error));
                    }
                },
            }
        }
        for (part, fates) in parts.into_iter().enumerate() {
            if !fates.is_empty() {
                let remote = self.remote(part).await?.clone();
                for (index, result) in self.fulfil(&remote, fates).await {
                    results[index] = Some(result);
                }
            }
        }
        for (index, id) in released {
            if !matches!(results[index], Some(Ok(()))) {
                self.shared.credits.take_back(&id);
            }
        }
        self.shared.sessions.something_settled();
        let missing = || {
            Err(Error::new(
                ErrorKind::Provider,
                "SQS gave no result for this delivery",
            ))
        };
        Ok(results
            .into_iter()
            .map(|result| result.unwrap_or_else(missing))
            .collect())
    }

    fn take(&self, receipt: &Receipt) -> Result<Held> {
        let now = self.now();
        let held = self.shared.in_flight.take(receipt, now)?;
        match held.session {
            Some(session) => self.shared.sessions.check(session, now).map(|()| held),
            None => Ok(held),
        }
    }

    async fn decide(&self, held: &Held, verb: &Verb) -> Result<Fate> {
        let remote = self.remote(held.part).await?;
        Ok(match verb {
            Verb::Ack => Fate::Deleted,
            Verb::Release { delay } => Fate::Back(self.away(held, *delay)?),
            Verb::Nack { reason, .. }
                if held.attempt >= self.budget(remote) && remote.dead_letters.is_some() =>
            {
                let max_attempts = reason::MAX_ATTEMPTS.into();
                Fate::Buried {
                    reason: max_attempts,
                    description: reason.clone(),
                }
            }
            Verb::Nack { delay, .. } => Fate::Back(self.away(held, *delay)?),
            Verb::DeadLetter { .. } if remote.dead_letters.is_none() => {
                return Err(no_dead_letter_queue());
            }
            Verb::DeadLetter {
                reason,
                description,
            } => Fate::Buried {
                reason: reason.clone(),
                description: description.clone(),
            },
        })
    }

    /// How many seconds a message stays away: SQS allows twelve hours from its receive on.
    fn away(&self, held: &Held, delay: Option<Duration>) -> Result<u32> {
        let delay = delay.unwrap_or_default();
        if delay.is_zero() {
            return Ok(0);
        }
        let left = LONGEST.saturating_sub(self.now().since(held.received_at));
        if delay > left {
            let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
            let what = format!("SQS keeps a received message away for at most {left} more");
            return Err(Error::invalid_argument("delay", what));
        }
        Ok(seconds(delay).min(LONGEST.as_secs() as u32))
    }

    async fn fulfil(
        self: &Arc<Self>,
        remote: &Remote,
        fates: Vec<(usize, Held, Fate)>,
    ) -> Vec<Numbered<Result<()>>> {
        let (mut deleted, mut back, mut buried) = (Vec::new(), Vec::new(), Vec::new());
        for (index, held, fate) in fates {
            match fate {
                Fate::Deleted => deleted.push((index, held)),
                Fate::Back(seconds) => back.push((index, held, seconds)),
                Fate::Buried {
                    reason,
                    description,
                } => {
                    let death = self.death(&held, reason, description);
                    buried.push((index, held, death));
                }
            }
        }
        let mut results = Vec::new();
        let changes = back
            .iter()
            .map(|(index, held, s)| (*index, (held.arrived.handle.clone(), *s)));
        let changed = self.change(&remote.url, changes.collect()).await;
        let held = back
            .into_iter()
            .map(|(index, held, _)| (index, held))
            .collect();
        results.extend(self.close(held, changed));
        if !buried.is_empty() {
            // First sent, then deleted: a message is never in neither queue.
            let (dead, failed) = self.send_dead(remote, buried).await;
            deleted.extend(dead);
            results.extend(failed);
        }
        let handles = deleted
            .iter()
            .map(|(index, held)| (*index, held.arrived.handle.clone()));
        let gone = self.delete(&remote.url, handles.collect()).await;
        results.extend(self.close(deleted, gone));
        results
    }

    /// Puts back what is still in flight, because its request failed.
    fn close(
        &self,
        mut held: Vec<Numbered<Held>>,
        results: Vec<Numbered<Result<()>>>,
    ) -> Vec<Numbered<Result<()>>> {
        for (index, result) in &results {
            let at = held.iter().position(|(other, _)| other == index);
            let (Some(at), Err(error)) = (at, result) else {
                continue;
            };
            if error.kind() != ErrorKind::InvalidReceipt {
                self.shared
                    .in_flight
                    .add(held.swap_remove(at).1, self.now());
            }
        }
        results
    }

    fn death(&self, held: &Held, reason: Arc<str>, description: Option<Arc<str>>) -> Death {
        Death {
            reason,
            description,
            attempts: held.attempt,
            source: self.source.clone(),
            first_delivered_at: held.arrived.first_received_at.map(|at| at.0),
            at: self.calendar().0,
        }
    }

    /// Sends messages to the dead-letter queue. Answers which are there, and what failed.
    async fn send_dead(
        self: &Arc<Self>,
        remote: &Remote,
        dying: Vec<(usize, Held, Death)>,
    ) -> (Vec<Numbered<Held>>, Vec<Numbered<Result<()>>>) {
        let (mut dead, mut failed, mut wires) = (Vec::new(), Vec::new(), Vec::new());
        let mut waiting = Vec::new();
        for (index, held, death) in dying {
            let extra = Extra {
                dead: Some(death),
                ..held.arrived.again()
            };
            let (extra, message) = extra.ungrouped(&held.arrived.message);
            match Wire::write(&message, extra, self.shared.kind) {
                Ok(wire) => {
                    wires.push((index, wire));
                    waiting.push((index, held));
                }
                Err(error) => failed.push((index, Err(error))),
            }
        }
        let sent = match &remote.dead_letters {
            Some(queue) => self.send_all(&queue.url, wires).await,
            None => Vec::new(),
        };
        for (index, result) in sent {
            let at = waiting.iter().position(|(other, _)| *other == index);
            let Some((index, held)) = at.map(|at| waiting.swap_remove(at)) else {
                continue;
            };
            match result {
                Ok(_) => dead.push((index, held)),
                Err(error) => {
                    self.shared.in_flight.add(held, self.now());
                    failed.push((index, Err(error)));
                }
            }
        }
        (dead, failed)
    }

    /// Dead-letters messages that nobody was given. What fails comes back when its lock ends.
    pub(super) async fn bury(self: &Arc<Self>, dying: Vec<Held>, reason: &'static str) {
        let Some(part) = dying.first().map(|held| held.part) else {
            return;
        };
        let Ok(remote) = self.remote(part).await else {
            return;
        };
        let fates = dying.into_iter().enumerate().map(|(index, held)| {
            (
                index,
                held,
                Fate::Buried {
                    reason: reason.into(),
                    description: None,
                },
            )
        });
        note("dead-letter", self.fulfil(remote, fates.collect()).await);
    }

    /// Deletes messages that nobody was given.
    pub(super) async fn delete_in_silence(self: &Arc<Self>, over: Vec<Held>) {
        let Some(part) = over.first().map(|held| held.part) else {
            return;
        };
        let Ok(remote) = self.remote(part).await else {
            return;
        };
        let fates = over
            .into_iter()
            .enumerate()
            .map(|(index, held)| (index, held, Fate::Deleted));
        note("delete", self.fulfil(remote, fates.collect()).await);
    }

    /// Sends messages that are not due yet on their way again, as another sending that counts no
    /// attempt. A FIFO queue has no delay of one message: there they are kept away.
    pub(super) async fn hop(self: &Arc<Self>, early: Vec<Held>, remote: &Remote) {
        let now = self.calendar().0;
        let left = |held: &Held| {
            let millis = held
                .arrived
                .extra
                .not_before
                .unwrap_or(now)
                .saturating_sub(now);
            Duration::from_millis(u64::try_from(millis).unwrap_or(0))
        };
        if self.shared.kind == Kind::Fifo {
            for held in &early {
                self.shared.credits.give(&held.arrived.sqs_id);
            }
            let away = |held: &Held| seconds(left(held).min(LONGEST - Duration::from_secs(1)));
            let changes = early
                .iter()
                .enumerate()
                .map(|(i, held)| (i, (held.arrived.handle.clone(), away(held))));
            note("delay", self.change(&remote.url, changes.collect()).await);
            return;
        }
        let wires = early.iter().enumerate().filter_map(|(index, held)| {
            let mut wire =
                Wire::write(&held.arrived.message, held.arrived.again(), Kind::Standard).ok()?;
            wire.delay = seconds(left(held).min(LONGEST_DELAY)) as i32;
            Some((index, wire))
        });
        let sent = self.send_all(&remote.url, wires.collect()).await;
        let gone = sent.iter().filter(|(_, result)| result.is_ok());
        let handles = gone.map(|(index, _)| (*index, early[*index].arrived.handle.clone()));
        note("delay", self.delete(&remote.url, handles.collect()).await);
    }

    /// Gives messages back that did not reach anybody: at once, and their attempts do not count.
    pub(super) async fn give_back(self: &Arc<Self>, receipts: Vec<Receipt>) {
        let now = self.now();
        let held = receipts
            .iter()
            .filter_map(|receipt| self.shared.in_flight.take(receipt, now).ok());
        self.back_unblamed(held.collect()).await;
    }

    pub(super) async fn back_unblamed(self: &Arc<Self>, held: Vec<Held>) {
        for held in &held {
            self.shared.credits.give(&held.arrived.sqs_id);
        }
        self.back(held).await;
    }

    /// Gives messages back at once.
    pub(super) async fn back(self: &Arc<Self>, held: Vec<Held>) {
        for part in 0..self.shared.parts.len() {
            let of_it = held.iter().filter(|held| held.part == part);
            let changes: Vec<_> = of_it
                .map(|held| (held.arrived.handle.clone(), 0))
                .enumerate()
                .collect();
            if let (false, Ok(remote)) = (changes.is_empty(), self.remote(part).await) {
                note("give back", self.change(&remote.url, changes).await);
            }
        }
    }

    /// Keeps locks for this long from now. Result i is of receipt i.
    pub(super) async fn extend(
        self: Arc<Self>,
        receipts: Vec<Receipt>,
        lock: Duration,
    ) -> Result<Vec<Result<Moment>>> {
        let now = self.now();
        let until = now + Duration::from_secs(u64::from(seconds(lock)));
        let mut results: Vec<Option<Result<Moment>>> = receipts.iter().map(|_| None).collect();
        let mut changes: Vec<Vec<_>> = self.shared.parts.iter().map(|_| Vec::new()).collect();
        let mut sessions = BTreeSet::new();
        for (index, receipt) in receipts.iter().enumerate() {
            let seen = self.shared.in_flight.look(receipt, now, |held| {
                let asked = self.away(held, Some(lock));
                (held.part, held.arrived.handle.clone(), held.session, asked)
            });
            let checked = seen.and_then(|(part, handle, session, asked)| {
                if let Some(session) = session {
                    self.shared.sessions.check(session, now)?;
                    sessions.insert(session);
                }
                let no_longer = |e: Error| Error::invalid_argument("lock", e.message().to_owned());
                Ok((part, handle, asked.map_err(no_longer)?))
            });
            match checked {
                Ok((part, handle, seconds)) => changes[part].push((index, (handle, seconds))),
                Err(error) => results[index] = Some(Err(error)),
            }
        }
        for (part, changes) in changes.into_iter().enumerate() {
            if changes.is_empty() {
                continue;
            }
            let url = self.remote(part).await?.url.clone();
            for (index, result) in self.change(&url, changes).await {
                if let (Ok(()), Receipt::Text(handle)) = (&result, &receipts[index]) {
                    self.shared
                        .in_flight
                        .change(handle, |held| held.until = until);
                }
                results[index] = Some(result.map(|()| Moment::Tick(until)));
            }
        }
        // The lock of a session's message is the session's.
        for session in sessions {
            self.renew(session, lock).await?;
        }
        let missing = || {
            Err(Error::new(
                ErrorKind::Provider,
                "SQS gave no result for this delivery",
            ))
        };
        Ok(results
            .into_iter()
            .map(|result| result.unwrap_or_else(missing))
            .collect())
    }

    /// Deletes messages by their handles.
    pub(super) async fn delete(
        &self,
        url: &str,
        handles: Vec<Numbered<Arc<str>>>,
    ) -> Vec<Numbered<Result<()>>> {
        self.request(batches::Delete(url.into()), tens(handles), AT_ONCE)
            .await
    }

    /// Hides messages for so many seconds, by their handles.
    pub(super) async fn change(
        &self,
        url: &str,
        changes: Vec<Numbered<(Arc<str>, u32)>>,
    ) -> Vec<Numbered<Result<()>>> {
        self.request(batches::Change(url.into()), tens(changes), AT_ONCE)
            .await
    }
}

pub(super) fn no_dead_letter_queue() -> Error {
    let what = "is needed: the queue has no dead-letter queue. Give it a redrive policy, or name one \
                by dead_letter_queue= in the URL";
    Error::invalid_config("dead_letter_queue", what)
}

fn tens<T>(entries: Vec<T>) -> Vec<Vec<T>> {
    let mut entries = entries.into_iter().peekable();
    let mut batches = Vec::new();
    while entries.peek().is_some() {
        batches.push(entries.by_ref().take(BATCH).collect());
    }
    batches
}

/// What fails where nobody asks for the result: SQS brings the message again.
fn note(what: &'static str, results: Vec<Numbered<Result<()>>>) {
    for (_, result) in results {
        if let Err(error) = result {
            tracing::debug!(%error, what, "a request for messages that nobody holds failed");
        }
    }
}
