//! A queue by hand on LMDB (`heed`): bodies in a table by number, locks in a second environment that
//! is never flushed, so that a receive costs no flush, which is the quickest that is safe at a power
//! cut. The head of the queue is kept in memory: one consumer. With `sync` each send and each ack is
//! a transaction that is flushed.

use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};

use crate::Result;

type Table = Database<Bytes, Bytes>;

/// What one of many callers asks for.
pub enum Verb {
    Send(Vec<u8>),
    Receive,
    Ack(u64),
}

pub struct HeedQueue {
    messages: (Env, Table),
    locks: (Env, Table),
    head: u64,
    tail: u64,
}

fn open(path: &Path, sync: bool) -> Result<(Env, Table)> {
    std::fs::create_dir_all(path)?;
    let mut options = EnvOpenOptions::new();
    options.map_size(4 << 30);
    if !sync {
        // SAFETY: without flushes a power cut may break the file; a benchmark survives none.
        unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP) };
    }
    // SAFETY: the folder is this benchmark's own, and nobody else opens it.
    let env = unsafe { options.open(path)? };
    let mut txn = env.write_txn()?;
    let table = env.create_database(&mut txn, None)?;
    txn.commit()?;
    Ok((env, table))
}

impl HeedQueue {
    pub fn new(folder: &Path, sync: bool) -> Result<Self> {
        Ok(Self {
            messages: open(&folder.join("messages"), sync)?,
            locks: open(&folder.join("locks"), false)?,
            head: 0,
            tail: 0,
        })
    }

    /// Does verbs in the order they came, in one transaction that is flushed when something lasts.
    pub fn transaction<'v>(
        &mut self,
        verbs: impl Iterator<Item = &'v Verb>,
    ) -> Result<Vec<Option<(u64, Vec<u8>)>>> {
        let ((env, messages), (lock_env, locks)) = (&self.messages, &self.locks);
        let mut txn = env.write_txn()?;
        let mut lock = lock_env.write_txn()?;
        let mut lasts = false;
        let mut answers = Vec::new();
        for verb in verbs {
            answers.push(match verb {
                Verb::Send(body) => {
                    lasts = true;
                    messages.put(&mut txn, &self.tail.to_be_bytes(), body)?;
                    self.tail += 1;
                    None
                }
                Verb::Receive if self.head == self.tail => None,
                Verb::Receive => {
                    let number = self.head;
                    let key = number.to_be_bytes();
                    let body = messages.get(&txn, &key)?.ok_or("no message")?.to_vec();
                    locks.put(&mut lock, &key, &30u64.to_be_bytes())?;
                    self.head += 1;
                    Some((number, body))
                }
                Verb::Ack(number) => {
                    lasts = true;
                    let key = number.to_be_bytes();
                    if !locks.delete(&mut lock, &key)? || !messages.delete(&mut txn, &key)? {
                        return Err("the lock is void".into());
                    }
                    None
                }
            });
        }
        if lasts {
            txn.commit()?;
        }
        lock.commit()?;
        Ok(answers)
    }

    pub fn cycle(&mut self, body: &[u8], count: u64) -> Result<()> {
        let (env, messages) = &self.messages;
        let mut txn = env.write_txn()?;
        for _ in 0..count {
            messages.put(&mut txn, &self.tail.to_be_bytes(), body)?;
            self.tail += 1;
        }
        txn.commit()?;
        let first = self.head;
        let (lock_env, locks) = &self.locks;
        let mut lock = lock_env.write_txn()?;
        let read = env.read_txn()?;
        let mut bodies = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let key = self.head.to_be_bytes();
            bodies.push(messages.get(&read, &key)?.ok_or("no message")?.to_vec());
            locks.put(&mut lock, &key, &30u64.to_be_bytes())?;
            self.head += 1;
        }
        drop(read);
        lock.commit()?;
        std::hint::black_box(&bodies);
        let mut txn = env.write_txn()?;
        let mut lock = lock_env.write_txn()?;
        for number in first..self.head {
            let key = number.to_be_bytes();
            if !locks.delete(&mut lock, &key)? || !messages.delete(&mut txn, &key)? {
                return Err("the lock is void".into());
            }
        }
        txn.commit()?;
        lock.commit()?;
        Ok(())
    }
}
