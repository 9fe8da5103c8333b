//! Queues: finding one by its name, and defining it.

use super::append::Of;
use super::moves::{text, word, words};
use super::step::Step;
use crate::config::{OnExpiry, OnFailure, QueueDefinition, QueueOptions};
use crate::error::Result;
use crate::providers::file::index::layout::{NEVER, NIL, Queue};
use crate::providers::file::index::list;
use crate::providers::file::index::region::Cell;
use crate::providers::file::log::record::{self, QueueRecord, nanos};
use std::time::Duration;

impl Queue {
    pub(in crate::providers::file) fn name(&self) -> String {
        text(&self.name, self.name_len.get())
    }

    fn name_is(&self, name: &str) -> bool {
        self.name_len.get() as usize == name.len()
            && words(name.as_bytes())
                .zip(&self.name)
                .all(|(word, cell)| cell.get() == word)
    }

    /// What the queue was defined as, where the engine keeps to it; the rest as the client says.
    pub(in crate::providers::file) fn definition(
        &self,
        client: &QueueDefinition,
    ) -> QueueDefinition {
        QueueDefinition {
            lock: Duration::from_nanos(self.lock.get()),
            budget: self.budget.get(),
            ttl: match self.ttl.get() {
                NEVER => None,
                ttl => Some(Duration::from_nanos(ttl)),
            },
            on_expiry: match self.on_expiry.get() {
                word::EXPIRED_ARE_DROPPED => OnExpiry::Drop,
                _ => OnExpiry::DeadLetter,
            },
            dedup_window: Duration::from_nanos(self.dedup_window.get()),
            on_failure: match self.on_failure.get() {
                word::SKIP => OnFailure::Skip,
                word::PARK => OnFailure::Park,
                _ => OnFailure::Block,
            },
            max_messages: self.max_messages.get(),
            max_bytes: self.max_bytes.get(),
            fair_groups: self.fair_groups.get() != 0,
            ..client.clone()
        }
    }
}

/// The part of a definition that all clients share, as options.
pub(in crate::providers::file) fn shared_options(definition: &QueueDefinition) -> QueueOptions {
    QueueOptions {
        lock: Some(definition.lock),
        budget: Some(definition.budget),
        ttl: definition.ttl,
        on_expiry: Some(definition.on_expiry),
        dedup_window: Some(definition.dedup_window),
        on_failure: Some(definition.on_failure),
        max_messages: Some(definition.max_messages),
        max_bytes: Some(definition.max_bytes),
        // Not said where it is not: an earlier version of this library does not know it.
        fair_groups: definition.fair_groups.then_some(true),
        ..QueueOptions::default()
    }
}

impl Step<'_> {
    pub(in crate::providers::file) fn find_queue(&self, name: &str) -> Option<u32> {
        self.queue_ids()
            .into_iter()
            .find(|id| self.queue(*id).name_is(name))
    }

    /// Makes a queue and says so to the log.
    pub(in crate::providers::file) fn create_queue(
        &mut self,
        name: &str,
        definition: &QueueDefinition,
    ) -> Result<u32> {
        let header = self.r.header();
        let number = header.next_queue.get();
        let engine = fastrand::u64(..);
        let id = self.add_queue(number, engine, name, definition)?;
        self.write_queue(id);
        Ok(id)
    }

    /// Says to the log what a queue is.
    pub(in crate::providers::file) fn write_queue(&mut self, id: u32) {
        let queue = self.queue(id);
        // What only clients decide is not kept, so any definition will do for it.
        let definition = QueueOptions::default()
            .define()
            .map(|d| queue.definition(&d));
        let options = definition.map(|d| shared_options(&d)).unwrap_or_default();
        let json = serde_json::to_string(&options).unwrap_or_default();
        let (name, number) = (queue.name(), queue.number.get());
        let said = QueueRecord {
            number,
            engine: queue.engine.get(),
            name: &name,
            definition: &json,
        };
        let written = record::write_queue(&mut self.batch.frame, &said);
        self.batch.place(Of::Queue(id), written);
    }

    /// Puts a queue into the index.
    pub(in crate::providers::file) fn add_queue(
        &mut self,
        number: u32,
        engine: u64,
        name: &str,
        definition: &QueueDefinition,
    ) -> Result<u32> {
        let id = self.take_node::<Queue>()?;
        let queue = self.queue(id);
        let header = self.r.header();
        self.set(&header.next_queue, header.next_queue.get().max(number + 1));
        self.set(&queue.number, number);
        self.set(&queue.engine, engine);
        self.set(&queue.name_len, name.len() as u32);
        for (cell, word) in queue.name.iter().zip(words(name.as_bytes())) {
            self.set(cell, word);
        }
        self.set(&queue.lock, nanos(definition.lock));
        self.set(&queue.ttl, definition.ttl.map_or(NEVER, nanos));
        self.set(&queue.dedup_window, nanos(definition.dedup_window));
        self.set(&queue.max_messages, definition.max_messages);
        self.set(&queue.max_bytes, definition.max_bytes);
        self.set(&queue.budget, definition.budget);
        let on_expiry = match definition.on_expiry {
            OnExpiry::Drop => word::EXPIRED_ARE_DROPPED,
            OnExpiry::DeadLetter => word::EXPIRED_ARE_DEAD,
        };
        self.set(&queue.on_expiry, on_expiry);
        let on_failure = match definition.on_failure {
            OnFailure::Block => word::BLOCK,
            OnFailure::Skip => word::SKIP,
            OnFailure::Park => word::PARK,
        };
        self.set(&queue.on_failure, on_failure);
        self.set(&queue.fair_groups, u32::from(definition.fair_groups));
        for cell in [
            &queue.session_turn,
            &queue.lane.returned,
            &queue.lane.len,
            &queue.sessions,
            &queue.sessions_len,
            &queue.late,
            &queue.dedup,
            &queue.dedup_len,
            &queue.record.len,
        ] {
            self.set(cell, 0);
        }
        for ends in [
            &queue.lane.fresh,
            &queue.ring,
            &queue.all,
            &queue.dead_list,
            &queue.dedup_ends,
            &queue.waiters[0],
            &queue.waiters[1],
            &queue.waiters[2],
        ] {
            self.set(&ends.first, NIL);
            self.set(&ends.last, NIL);
        }
        for cell in [
            &queue.ready,
            &queue.delayed,
            &queue.in_flight,
            &queue.dead,
            &queue.bytes,
            &queue.dead_bytes,
            &queue.record.position,
        ] {
            self.set(cell, 0);
        }
        list::push_back::<list::Queues>(self.r, &header.queues, id);
        Ok(id)
    }
}
