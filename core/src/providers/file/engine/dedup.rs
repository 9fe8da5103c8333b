//! The dedup window: which dedup ids were stored within it. Kept are their hashes; the ids
//! themselves, and those of their messages, stand in the log.

use super::append::{forget, unreadable};
use super::step::{Ground, Step};
use crate::error::Result;
use crate::message::MessageId;
use crate::providers::file::index::layout::{Dedup, NIL, Queue};
use crate::providers::file::index::region::Cell;
use crate::providers::file::index::{list, pool, tree};
use crate::providers::file::log::frame::read_record;
use crate::providers::file::log::record::Record;

impl Ground {
    /// A hash that nobody outside can make collide: it begins with the store's own number.
    pub(in crate::providers::file) fn hash(&self, bytes: &[u8]) -> [u64; 2] {
        use std::hash::Hasher;
        [0u8, 1].map(|turn| {
            // Not `RandomState`: all processes must agree.
            #[allow(deprecated)]
            let mut hasher = std::hash::SipHasher::new_with_keys(
                self.seed as u64,
                (self.seed >> 64) as u64 ^ u64::from(turn),
            );
            hasher.write(bytes);
            hasher.finish()
        })
    }
}

impl Step<'_> {
    /// The message stored under this dedup id within the window.
    pub(super) fn find_dedup_id(&self, queue: &Queue, id: &str) -> Result<Option<MessageId>> {
        let hash = self.ground.hash(id.as_bytes());
        let node = tree::find::<tree::ByHash>(self.r, &queue.dedup, |d| {
            (d.hash[0].get(), d.hash[1].get()).cmp(&(hash[0], hash[1]))
        });
        if node == NIL {
            return Ok(None);
        }
        if let Some((_, message)) = self.batch.new_ids.iter().find(|(new, _)| *new == node) {
            return Ok(Some(message.clone()));
        }
        if self.r.node::<Dedup>(node).end.get() <= self.now {
            self.forget_dedup(queue, node);
            return Ok(None);
        }
        let place = &self.r.node::<Dedup>(node).record;
        let bytes = self.read_place(place)?;
        let record = read_record(&bytes).and_then(|(kind, payload)| Record::read(kind, payload));
        match record {
            Some(Record::Message(head, content)) => Ok(Some(match content.given_id() {
                Some(given) => given,
                None => MessageId::made(queue.engine.get(), head.number),
            })),
            Some(Record::Dedup(dedup)) => Ok(Some(MessageId::new(dedup.message))),
            _ => Err(unreadable(place.position.get())),
        }
    }

    /// Remembers a dedup id; its record is the caller's to place.
    pub(in crate::providers::file) fn remember_dedup_id(
        &self,
        queue_id: u32,
        id: &str,
        end: u64,
    ) -> Result<u32> {
        let queue = self.queue(queue_id);
        let node_id = self.take_node::<Dedup>()?;
        let node: &Dedup = self.r.node(node_id);
        let hash = self.ground.hash(id.as_bytes());
        self.set(&node.queue, queue_id);
        self.set(&node.hash[0], hash[0]);
        self.set(&node.hash[1], hash[1]);
        self.set(&node.end, end);
        self.set(&node.record.position, 0);
        self.set(&node.record.len, 0);
        tree::insert::<tree::ByHash>(self.r, &queue.dedup, node_id);
        list::push_back::<list::Ends>(self.r, &queue.dedup_ends, node_id);
        self.add32(&queue.dedup_len, 1);
        Ok(node_id)
    }

    /// Forgets the dedup ids whose windows are over, some at a time.
    pub(super) fn forget_dedup_ids(&self, queue: &Queue) {
        for _ in 0..16 {
            let first = queue.dedup_ends.first.get();
            if first == NIL || self.r.node::<Dedup>(first).end.get() > self.now {
                return;
            }
            self.forget_dedup(queue, first);
        }
    }

    pub(in crate::providers::file) fn forget_dedup(&self, queue: &Queue, id: u32) {
        let node: &Dedup = self.r.node(id);
        forget(self.r, &node.record);
        tree::remove::<tree::ByHash>(self.r, &queue.dedup, id);
        list::remove::<list::Ends>(self.r, &queue.dedup_ends, id);
        self.sub32(&queue.dedup_len, 1);
        pool::free::<Dedup>(self.r, id);
    }
}
