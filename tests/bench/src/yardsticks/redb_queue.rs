//! A queue by hand on `redb`: messages in a file whose transactions are flushed, locks in a file of
//! their own whose transactions are not, as in the queue on LMDB. The head of the queue is kept in
//! memory: one consumer.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use crate::Result;

const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
const LOCKS: TableDefinition<'_, u64, u64> = TableDefinition::new("locks");

pub struct RedbQueue {
    messages: Database,
    locks: Database,
    head: u64,
    tail: u64,
}

impl RedbQueue {
    pub fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            messages: Database::create(folder.join("messages.redb"))?,
            locks: Database::create(folder.join("locks.redb"))?,
            head: 0,
            tail: 0,
        })
    }

    /// Sends, locks and acks this many messages, a transaction for each verb.
    pub fn cycle(&mut self, body: &[u8], count: u64) -> Result<()> {
        let txn = self.messages.begin_write()?;
        {
            let mut messages = txn.open_table(MESSAGES)?;
            for _ in 0..count {
                messages.insert(self.tail, body)?;
                self.tail += 1;
            }
        }
        txn.commit()?;

        let first = self.head;
        let lock = self.lock()?;
        let mut bodies = Vec::with_capacity(count as usize);
        {
            let read = self.messages.begin_read()?;
            let (messages, mut locks) = (read.open_table(MESSAGES)?, lock.open_table(LOCKS)?);
            for _ in 0..count {
                let body = messages.get(self.head)?.ok_or("no message")?;
                bodies.push(body.value().to_vec());
                locks.insert(self.head, 30)?;
                self.head += 1;
            }
        }
        lock.commit()?;
        std::hint::black_box(&bodies);

        let (txn, lock) = (self.messages.begin_write()?, self.lock()?);
        {
            let (mut messages, mut locks) = (txn.open_table(MESSAGES)?, lock.open_table(LOCKS)?);
            for number in first..self.head {
                if locks.remove(number)?.is_none() || messages.remove(number)?.is_none() {
                    return Err("the lock is void".into());
                }
            }
        }
        txn.commit()?;
        lock.commit()?;
        Ok(())
    }

    /// A transaction on the locks, which no power cut need survive.
    fn lock(&self) -> Result<redb::WriteTransaction> {
        let mut lock = self.locks.begin_write()?;
        lock.set_durability(Durability::None)?;
        Ok(lock)
    }
}
