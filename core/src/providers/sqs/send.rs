//! Sends: cut into batches by count and bytes, and only what failed is sent again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::batches;
use super::envelope::{Extra, Kind, Wire, check_size};
use super::receive::BATCH;
use super::remote::MAX_BYTES;
use super::work::Work;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, MessageId, SendResult};

/// Batches of one send on their way at a time, where their order does not matter.
pub(super) const AT_ONCE: usize = 8;
/// The longest delay that SQS keeps itself.
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(900);

impl Work {
    /// Sends messages. Result i is of message i.
    pub(super) async fn send(
        self: Arc<Self>,
        messages: Vec<Message>,
    ) -> Result<Vec<Result<SendResult>>> {
        let mut results: Vec<Option<Result<SendResult>>> = messages.iter().map(|_| None).collect();
        let mut wires: Vec<Vec<(usize, Wire)>> =
            self.shared.parts.iter().map(|_| Vec::new()).collect();
        let now = self.calendar();
        for (index, message) in messages.iter().enumerate() {
            let part = self.part_of(message);
            let limit = self.remote(part).await?.max_bytes;
            let wire = self.write(message, now.0).and_then(|wire| {
                check_size(&wire, limit)?;
                Ok(wire)
            });
            match wire {
                Ok(wire) => wires[part].push((index, wire)),
                Err(error) => results[index] = Some(Err(error)),
            }
        }
        let mut sent = Vec::new();
        for (part, wires) in wires.into_iter().enumerate() {
            let url = self.remote(part).await?.url.clone();
            sent.extend(self.send_all(&url, wires).await);
        }
        if sent.len() == messages.len() && messages.len() > 1 && all_alike(&sent) {
            // Nothing was stored: the send as a whole failed.
            if let Some((_, Err(error))) = sent.pop() {
                return Err(error);
            }
        }
        for (index, result) in sent {
            results[index] = Some(result.map(|sqs_id| self.stored(&messages[index], sqs_id)));
        }
        let missing = || {
            Err(Error::new(
                ErrorKind::Provider,
                "SQS gave no result for this message",
            ))
        };
        Ok(results
            .into_iter()
            .map(|result| result.unwrap_or_else(missing))
            .collect())
    }

    fn write(&self, message: &Message, now: i64) -> Result<Wire> {
        let p = message.properties();
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let life = p.ttl.or(self.definition.ttl);
        let delay = p.delay.unwrap_or_default();
        let beyond = delay > LONGEST_DELAY;
        let extra = Extra {
            id: p.id.as_ref().map(MessageId::to_string),
            expires_at: life.map(|life| now.saturating_add(millis(life))),
            not_before: beyond.then(|| now.saturating_add(millis(delay))),
            ..Extra::default()
        };
        let mut wire = Wire::write(message, extra, self.shared.kind)?;
        wire.delay = delay.min(LONGEST_DELAY).as_secs_f64().ceil() as i32;
        Ok(wire)
    }

    /// The shard of a message: that of its session, or any.
    pub(super) fn part_of(&self, message: &Message) -> usize {
        match (self.shared.parts.len(), &message.properties().session) {
            (1, _) => 0,
            (parts, Some(session)) => (hash(session) % parts as u64) as usize,
            (parts, None) => fastrand::usize(..parts),
        }
    }

    fn stored(&self, message: &Message, sqs_id: MessageId) -> SendResult {
        let p = message.properties();
        let id = p.id.clone().unwrap_or_else(|| sqs_id.clone());
        if p.dedup_id.is_none() {
            return SendResult::stored(id);
        }
        match self.shared.duplicates.first(sqs_id, &id, self.now()) {
            Some(first) => SendResult::duplicate_of(first),
            None => SendResult::stored(id),
        }
    }

    /// Sends what is written to one queue of SQS, in batches. Each answer goes with its number.
    pub(super) async fn send_all(
        self: &Arc<Self>,
        url: &str,
        wires: Vec<(usize, Wire)>,
    ) -> Vec<(usize, Result<MessageId>)> {
        // A FIFO queue orders messages as they come.
        let at_once = if self.shared.kind == Kind::Fifo {
            1
        } else {
            AT_ONCE
        };
        self.request(batches::Store(url.into()), cut(wires), at_once)
            .await
    }
}

/// Whether every message failed, and all of them in the same way.
fn all_alike(sent: &[(usize, Result<MessageId>)]) -> bool {
    let why = |(_, result): &(usize, Result<MessageId>)| {
        let error = result.as_ref().err();
        error.map(|error| (error.kind(), error.code().map(str::to_owned)))
    };
    let first = sent.first().and_then(why);
    first.is_some() && sent.iter().all(|sent| why(sent) == first)
}

/// Batches in the order of their messages, none with too many messages or bytes.
fn cut(wires: Vec<(usize, Wire)>) -> Vec<Vec<(usize, Wire)>> {
    let mut batches: Vec<Vec<(usize, Wire)>> = Vec::new();
    let mut bytes = 0;
    for (index, wire) in wires {
        bytes += wire.bytes;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes <= MAX_BYTES => batch.push((index, wire)),
            _ => {
                bytes = wire.bytes;
                batches.push(vec![(index, wire)]);
            }
        }
    }
    batches
}

/// FNV-1a: the same in every process and version, for a session stays on its shard.
fn hash(session: &str) -> u64 {
    session.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The window in which SQS remembers dedup ids.
pub(super) const DEDUP_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Messages with a dedup id that are remembered at most.
const MOST: usize = 10_000;

/// Which messages with dedup ids this process stored. SQS answers a duplicate with the first one's
/// id and says no more.
#[derive(Default)]
pub(super) struct Duplicates(Mutex<Firsts>);

#[derive(Default)]
struct Firsts {
    ids: HashMap<MessageId, MessageId>,
    order: VecDeque<(Tick, MessageId)>,
}

impl Duplicates {
    /// The id of the message that was stored before under this id of SQS.
    fn first(&self, sqs_id: MessageId, id: &MessageId, now: Tick) -> Option<MessageId> {
        let mut firsts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |sent: Tick| now.since(sent) > DEDUP_WINDOW;
        while firsts.order.len() >= MOST
            || firsts.order.front().is_some_and(|(sent, _)| is_over(*sent))
        {
            let oldest = firsts.order.pop_front();
            oldest.and_then(|(_, oldest)| firsts.ids.remove(&oldest));
        }
        if let Some(first) = firsts.ids.get(&sqs_id) {
            return Some(first.clone());
        }
        firsts.ids.insert(sqs_id.clone(), id.clone());
        firsts.order.push_back((now, sqs_id));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(bytes: usize) -> Wire {
        let message = Message::new("x".repeat(bytes));
        Wire::write(&message, Extra::default(), Kind::Standard).unwrap()
    }

    fn lengths(sizes: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let wires = sizes.into_iter().map(wire).enumerate().collect();
        cut(wires).iter().map(Vec::len).collect()
    }

    #[test]
    fn batches_are_cut_by_count_and_bytes() {
        assert_eq!(lengths([]), [0; 0]);
        assert_eq!(lengths([1; 25]), [10, 10, 5]);
        assert_eq!(lengths([MAX_BYTES]), [1]);
        assert_eq!(lengths([MAX_BYTES / 2; 5]), [2, 2, 1]);
        assert_eq!(lengths([1, MAX_BYTES, 1, 1]), [1, 1, 2]);
    }

    #[test]
    fn a_session_stays_on_its_shard_in_every_version() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_duplicate_is_known_within_the_window() {
        let duplicates = Duplicates::default();
        let first = |sqs: &str, id: &str, at: u64| {
            let at = Tick(at * 1_000_000_000);
            duplicates
                .first(sqs.into(), &id.into(), at)
                .map(|id| id.to_string())
        };
        assert_eq!(first("1", "a", 0), None);
        assert_eq!(first("1", "b", 300), Some("a".to_owned()));
        assert_eq!(first("1", "c", 301), None);
    }
}
