//! Dead letters: looked through, sent back, deleted; and the counts of a queue.
//!
//! SQS shows a message only to who receives it. A listing receives the whole dead-letter queue, up
//! to a bound, and gives back what it does not want; meanwhile nobody else sees it.

use std::collections::HashSet;
use std::sync::Arc;

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Attribute};

use super::address::FIFO;
use super::envelope::{Arrived, Extra, Wire};
use super::receive::BATCH;
use super::remote::{DeadLetterQueue, attributes};
use super::settle::no_dead_letter_queue;
use super::work::Work;
use crate::clock::Timestamp;
use crate::dead_letter::{DeadLetter, DeadLetterFilter, REDRIVE_COUNT, RedriveReport, reason};
use crate::error::Result;
use crate::message::{Message, MessageId};
use crate::queue::Statistics;

/// How many dead letters one look goes through at most.
const MOST: usize = 10_000;
/// How long a look hides what it sees, in seconds.
const HIDDEN: i32 = 60;

/// A dead letter in hand while it is looked at.
struct Seen {
    letter: DeadLetter,
    handle: Arc<str>,
}

impl Work {
    async fn dead_letter_queue(&self) -> Result<DeadLetterQueue> {
        self.remote(0)
            .await?
            .dead_letters
            .clone()
            .ok_or_else(no_dead_letter_queue)
    }

    /// Lists dead letters in the order of their death.
    pub(super) async fn dead_letters(
        self: Arc<Self>,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: usize,
    ) -> Result<Vec<DeadLetter>> {
        let queue = self.dead_letter_queue().await?;
        let (seen, rest) = self.look(&queue, &filter, after, max).await?;
        let handles = seen.iter().map(|seen| seen.handle.clone());
        self.put_back(&queue, rest.into_iter().chain(handles).collect())
            .await;
        Ok(seen.into_iter().map(|seen| seen.letter).collect())
    }

    /// Sends dead letters back: first sent, then deleted.
    pub(super) async fn redrive(
        self: Arc<Self>,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: usize,
    ) -> Result<RedriveReport> {
        let queue = self.dead_letter_queue().await?;
        if self.settings.native_redrive {
            return self.move_all(&queue, &filter, after).await;
        }
        let (seen, rest) = self.look(&queue, &filter, after, max).await?;
        let mut report = RedriveReport {
            matched: seen.len() as u64,
            last: seen.last().map(|seen| seen.letter.number).or(after),
            ..RedriveReport::default()
        };
        let mut keep = rest;
        let mut wires: Vec<Vec<(usize, Wire)>> =
            self.shared.parts.iter().map(|_| Vec::new()).collect();
        for (index, seen) in seen.iter().enumerate() {
            match self.revived(&seen.letter) {
                Ok(wire) => wires[self.part_of(&seen.letter.message)].push((index, wire)),
                Err(error) => report
                    .failed
                    .push((seen.letter.id.clone(), error.to_string().into())),
            }
        }
        let mut sent = HashSet::new();
        for (part, wires) in wires.into_iter().enumerate() {
            let url = self.remote(part).await?.url.clone();
            for (index, result) in self.send_all(&url, wires).await {
                match result {
                    Ok(_) => drop(sent.insert(index)),
                    Err(error) => {
                        let id = seen[index].letter.id.clone();
                        report.failed.push((id, error.to_string().into()));
                    }
                }
            }
        }
        let (mut gone, mut at) = (Vec::new(), 0);
        for seen in &seen {
            match sent.contains(&at) {
                true => gone.push((at, seen.handle.clone())),
                false => keep.push(seen.handle.clone()),
            }
            at += 1;
        }
        report.redriven = gone.len() as u64;
        for (_, result) in self.delete(&queue.url, gone).await {
            if let Err(error) = result {
                tracing::warn!(%error, "a dead letter was sent back and could not be deleted: it is there twice");
            }
        }
        self.put_back(&queue, keep).await;
        Ok(report)
    }

    /// Deletes dead letters. Answers how many.
    pub(super) async fn purge(self: Arc<Self>, filter: DeadLetterFilter) -> Result<u64> {
        let queue = self.dead_letter_queue().await?;
        let mut purged = 0;
        loop {
            let (seen, rest) = self.look(&queue, &filter, None, usize::MAX).await?;
            let looked_at = seen.len() + rest.len();
            let handles = seen.iter().map(|seen| seen.handle.clone()).enumerate();
            let deleted = self.delete(&queue.url, handles.collect()).await;
            self.put_back(&queue, rest).await;
            let before = purged;
            for (_, result) in deleted {
                result?;
                purged += 1;
            }
            if looked_at < MOST || purged == before {
                return Ok(purged);
            }
        }
    }

    /// Looks through the dead letters of this queue: the first so many that match, in the order of
    /// their death, and the handles of everything else that was seen.
    async fn look(
        &self,
        queue: &DeadLetterQueue,
        filter: &DeadLetterFilter,
        after: Option<u64>,
        max: usize,
    ) -> Result<(Vec<Seen>, Vec<Arc<str>>)> {
        let (mut seen, mut rest): (Vec<Seen>, Vec<Arc<str>>) = (Vec::new(), Vec::new());
        while seen.len() + rest.len() < MOST {
            let came = self.receive_dead(queue).await?;
            if came.is_empty() {
                break;
            }
            for arrived in came {
                let handle = arrived.handle.clone();
                let letter = self.letter(arrived);
                let wanted = is_same(&letter.source, &self.source)
                    && after.is_none_or(|after| letter.number > after)
                    && filter.matches(&letter);
                match wanted {
                    true => seen.push(Seen { letter, handle }),
                    false => rest.push(handle),
                }
            }
            if seen.len() > max.saturating_add(MOST / 10) {
                shorten(&mut seen, max, &mut rest);
            }
        }
        shorten(&mut seen, max, &mut rest);
        Ok((seen, rest))
    }

    async fn receive_dead(&self, queue: &DeadLetterQueue) -> Result<Vec<Arrived>> {
        let wait = std::time::Duration::from_secs(1);
        let request = || {
            let request = self.link.sqs.receive_message().queue_url(&queue.url);
            request
                .max_number_of_messages(BATCH as i32)
                // A look without a wait asks only some of SQS's hosts.
                .wait_time_seconds(1)
                .visibility_timeout(HIDDEN)
                .message_attribute_names("All")
                .message_system_attribute_names(System::All)
                .send()
        };
        let answer = self.link.poll("ReceiveMessage", wait, request).await?;
        Ok(answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .filter_map(Arrived::read)
            .collect())
    }

    /// A message of the dead-letter queue as a dead letter of this library's.
    fn letter(&self, arrived: Arrived) -> DeadLetter {
        let number = arrived
            .sequence
            .unwrap_or_else(|| number(arrived.queued_at, &arrived.sqs_id));
        let attempts = arrived.receives.saturating_sub(1);
        match arrived.extra.dead {
            Some(death) => {
                let mut letter = DeadLetter::new(
                    arrived.id,
                    arrived.message,
                    death.reason,
                    death.attempts,
                    death.source,
                    number,
                    arrived.enqueued_at,
                    Timestamp(death.at),
                );
                letter.description = death.description;
                letter.first_delivered_at = death.first_delivered_at.map(Timestamp);
                letter
            }
            // SQS moved it, after its last receive ended without a settlement, or somebody else
            // put it there.
            None => {
                let source = arrived.moved_from.map(|name| self.known_as(&name));
                let mut letter = DeadLetter::new(
                    arrived.id,
                    arrived.message,
                    reason::CRASHED.into(),
                    attempts.max(1),
                    source.unwrap_or_else(|| self.source.clone()),
                    number,
                    arrived.enqueued_at,
                    arrived.queued_at,
                );
                letter.first_delivered_at = arrived.first_received_at;
                letter
            }
        }
    }

    /// The name by which this client calls a queue of SQS.
    fn known_as(&self, name: &str) -> Arc<str> {
        let ours = self
            .shared
            .parts
            .iter()
            .any(|part| *part.address.name == *name);
        match ours {
            true => self.source.clone(),
            false if self.settings.fifo == Some(true) => name.trim_end_matches(FIFO).into(),
            false => name.into(),
        }
    }

    /// A dead letter as a message again: its budget whole, its redrives counted.
    fn revived(&self, letter: &DeadLetter) -> Result<Wire> {
        let redrives = letter.message.properties().headers.get(REDRIVE_COUNT);
        let redrives = redrives
            .and_then(|count| count.parse().ok())
            .unwrap_or(0u64);
        let message: Message = letter
            .message
            .clone()
            .header(REDRIVE_COUNT, redrives.saturating_add(1).to_string());
        // Its dedup id may still be remembered: it is no duplicate of itself.
        let message = message.without_dedup_id();
        let extra = Extra {
            id: Some(letter.id.to_string()),
            sent_at: Some(letter.enqueued_at.0),
            ..Extra::default()
        };
        Wire::write(&message, extra, self.shared.kind)
    }

    async fn put_back(self: &Arc<Self>, queue: &DeadLetterQueue, handles: Vec<Arc<str>>) {
        let changes = handles
            .into_iter()
            .map(|handle| (handle, 0))
            .enumerate()
            .collect();
        for (_, result) in self.change(&queue.url, changes).await {
            if let Err(error) = result {
                tracing::debug!(%error, "a dead letter stays hidden for up to a minute");
            }
        }
    }

    /// Counts, as SQS knows them: approximately.
    pub(super) async fn statistics(self: Arc<Self>) -> Result<Statistics> {
        let mut statistics = Statistics::default();
        let count = |attributes: &std::collections::HashMap<Attribute, String>, name: Attribute| {
            attributes
                .get(&name)
                .and_then(|text| text.parse::<u64>().ok())
                .unwrap_or(0)
        };
        use Attribute::*;
        for part in 0..self.shared.parts.len() {
            let remote = self.remote(part).await?;
            let attributes = attributes(&self.link, &remote.url, &All).await?;
            statistics.ready += count(&attributes, ApproximateNumberOfMessages);
            statistics.in_flight += count(&attributes, ApproximateNumberOfMessagesNotVisible);
            statistics.delayed += count(&attributes, ApproximateNumberOfMessagesDelayed);
        }
        if let Some(queue) = &self.remote(0).await?.dead_letters {
            let attributes = attributes(&self.link, &queue.url, &All).await?;
            statistics.dead = count(&attributes, ApproximateNumberOfMessages)
                + count(&attributes, ApproximateNumberOfMessagesNotVisible);
        }
        Ok(statistics)
    }
}

/// Whether two clients mean the same queue: one may leave the ending out.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches(FIFO) == other.trim_end_matches(FIFO)
}

/// Keeps the first so many, in the order of their numbers.
fn shorten(seen: &mut Vec<Seen>, max: usize, rest: &mut Vec<Arc<str>>) {
    seen.sort_by_key(|seen| seen.letter.number);
    let more = seen.split_off(seen.len().min(max));
    rest.extend(more.into_iter().map(|seen| seen.handle));
}

/// A number that rises with the time of death, for queues without sequence numbers; of one
/// millisecond, in an order of no meaning that stays the same.
fn number(at: Timestamp, id: &MessageId) -> u64 {
    const BITS: u32 = 20;
    let mixed = id.to_string().bytes().fold(0u64, |mixed, byte| {
        mixed.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    (at.0.max(0) as u64) << BITS | mixed & ((1 << BITS) - 1)
}
