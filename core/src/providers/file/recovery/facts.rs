//! What the records of the log say, gathered message by message.

use std::collections::HashMap;

use super::Spot;
use crate::providers::file::index::layout::{FIRST_BLOCK, Message, Node};
use crate::providers::file::log::frame::{Frame, RawRecord};
use crate::providers::file::log::record::{Death, MessageHead, NO_TIME, Record};

/// A message as the log knows it.
pub(super) struct Found {
    pub(super) head: MessageHead,
    pub(super) spot: Spot,
    pub(super) session: Option<u32>,
    pub(super) death: Option<Box<FoundDeath>>,
}

pub(super) struct FoundDeath {
    pub(super) number: u64,
    pub(super) at: i64,
    pub(super) first_delivered: i64,
    pub(super) attempts: u32,
    pub(super) spot: Spot,
}

pub(super) struct FoundQueue {
    pub(super) number: u32,
    pub(super) engine: u64,
    pub(super) name: String,
    pub(super) definition: String,
    pub(super) spot: Spot,
}

/// What the records said so far.
#[derive(Default)]
pub(in crate::providers::file) struct Facts {
    pub(super) queues: Vec<FoundQueue>,
    /// By block and place of their nodes.
    pub(super) messages: Vec<Vec<Option<Found>>>,
    pub(super) sessions: Vec<(u32, String)>,
    pub(super) session_numbers: HashMap<(u32, String), u32>,
    pub(super) states: HashMap<u32, (Spot, usize)>,
    pub(super) dedups: HashMap<(u32, String), (i64, Spot)>,
    pub(super) counter: u64,
    pub(super) latest: i64,
}

impl Facts {
    fn slot(&mut self, slot: u32) -> Option<&mut Option<Found>> {
        let (block, place) = ((slot >> 10) as usize, slot as usize & 1023);
        if block < FIRST_BLOCK as usize || place >= Message::PER_BLOCK || block > 1 << 21 {
            return None;
        }
        if self.messages.len() <= block {
            self.messages.resize_with(block + 1, Vec::new);
        }
        let nodes = &mut self.messages[block];
        if nodes.is_empty() {
            nodes.resize_with(Message::PER_BLOCK, || None);
        }
        nodes.get_mut(place)
    }

    fn of(&mut self, slot: u32, number: u64) -> Option<&mut Found> {
        let found = self.slot(slot)?.as_mut()?;
        (found.head.number == number).then_some(found)
    }

    fn session(&mut self, queue: u32, id: &str) -> u32 {
        let key = (queue, id.to_owned());
        let next = self.sessions.len() as u32;
        let number = *self.session_numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.sessions.push(key);
        }
        number
    }

    fn count(&mut self, number: u64) {
        self.counter = self.counter.max(number);
    }

    /// The queues: number, name, and how many messages and dead letters they have.
    pub(in crate::providers::file) fn queues(&self) -> Vec<(String, u64, u64)> {
        let mut counts: HashMap<u32, (u64, u64)> = HashMap::new();
        for found in self.messages.iter().flatten().flatten() {
            let (living, dead) = counts.entry(found.head.queue).or_default();
            match found.death {
                None => *living += 1,
                Some(_) => *dead += 1,
            }
        }
        let named = |queue: &FoundQueue| {
            let (living, dead) = counts.get(&queue.number).copied().unwrap_or_default();
            (queue.name.clone(), living, dead)
        };
        self.queues.iter().map(named).collect()
    }

    pub(in crate::providers::file) fn frame(&mut self, frame: Frame<'_>) {
        self.latest = self.latest.max(frame.head.time);
        for raw in frame.records() {
            self.record(raw);
        }
    }

    fn record(&mut self, raw: RawRecord<'_>) {
        let spot = (raw.position, raw.len);
        match Record::read(raw.kind, raw.payload) {
            Some(Record::Message(head, content)) => {
                let Some((session, dedup)) = content.keys() else {
                    return;
                };
                let session = session.map(|id| self.session(head.queue, id));
                if let Some(id) = dedup
                    && head.dedup_end != NO_TIME
                {
                    let key = (head.queue, id.to_owned());
                    self.dedups.insert(key, (head.dedup_end, spot));
                }
                self.count(head.number.max(head.sequence));
                if let Some(slot) = self.slot(head.slot) {
                    *slot = Some(Found {
                        head,
                        spot,
                        session,
                        death: None,
                    });
                }
            }
            Some(Record::Gone(gone)) => {
                for gone in gone {
                    self.count(gone.number);
                    if self.of(gone.slot, gone.number).is_some()
                        && let Some(slot) = self.slot(gone.slot)
                    {
                        *slot = None;
                    }
                }
            }
            Some(Record::Notes(notes)) => {
                for note in notes {
                    self.count(note.sequence);
                    if let Some(found) = self.of(note.slot, note.number) {
                        found.head.attempts = note.attempts;
                        found.head.sequence = note.sequence;
                        found.head.due = note.due;
                        found.head.expires = note.expires;
                        found.head.first_delivered = note.first_delivered;
                        found.head.flags = note.flags;
                    }
                }
            }
            Some(Record::Death(death)) => self.death(&death, spot),
            Some(Record::Queue(queue)) => {
                let found = FoundQueue {
                    number: queue.number,
                    engine: queue.engine,
                    name: queue.name.to_owned(),
                    definition: queue.definition.to_owned(),
                    spot,
                };
                self.queues.retain(|other| other.number != queue.number);
                self.queues.push(found);
            }
            Some(Record::State(state)) => {
                let session = self.session(state.queue, state.id);
                match state.state {
                    Some(bytes) => self.states.insert(session, (spot, bytes.len())),
                    None => self.states.remove(&session),
                };
            }
            Some(Record::Dedup(dedup)) => {
                let key = (dedup.queue, dedup.id.to_owned());
                self.dedups.insert(key, (dedup.end, spot));
            }
            Some(Record::Era) | None => {}
        }
    }

    fn death(&mut self, death: &Death<'_>, spot: Spot) {
        self.count(death.death_number);
        if let Some(found) = self.of(death.slot, death.number) {
            found.death = Some(Box::new(FoundDeath {
                number: death.death_number,
                at: death.at,
                first_delivered: death.first_delivered,
                attempts: death.attempts,
                spot,
            }));
        }
    }
}
