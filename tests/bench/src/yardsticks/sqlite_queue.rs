//! A queue by hand on SQLite (`rusqlite`, bundled), WAL: messages in a file with `synchronous=FULL`,
//! locks in a file of their own that is never flushed, as in the queue on LMDB. The head of the queue
//! is kept in memory: one consumer.

use std::path::Path;

use rusqlite::Connection;

use crate::Result;

pub struct SqliteQueue {
    messages: Connection,
    locks: Connection,
    head: i64,
}

fn open(path: &Path, synchronous: &str, table: &str) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", synchronous)?;
    db.execute_batch(table)?;
    Ok(db)
}

impl SqliteQueue {
    pub fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let messages = "create table messages (id integer primary key autoincrement, body blob)";
        let locks = "create table locks (id integer primary key, until integer)";
        Ok(Self {
            messages: open(&folder.join("messages.db"), "FULL", messages)?,
            locks: open(&folder.join("locks.db"), "OFF", locks)?,
            head: 0,
        })
    }

    /// Sends, locks and acks this many messages, a transaction for each verb.
    pub fn cycle(&mut self, body: &[u8], count: usize) -> Result<()> {
        let txn = self.messages.transaction()?;
        {
            let mut insert = txn.prepare_cached("insert into messages (body) values (?)")?;
            for _ in 0..count {
                insert.execute([body])?;
            }
        }
        txn.commit()?;

        let select = "select id, body from messages where id > ? order by id limit ?";
        let mut select = self.messages.prepare_cached(select)?;
        let rows = select.query_map((self.head, count as i64), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let taken = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        drop(select);
        let lock = self.locks.transaction()?;
        {
            let mut insert = lock.prepare_cached("insert into locks (id, until) values (?, 30)")?;
            for (id, _) in &taken {
                insert.execute([id])?;
            }
        }
        lock.commit()?;
        self.head = taken.last().ok_or("no message")?.0;
        std::hint::black_box(&taken);

        let lock = self.locks.transaction()?;
        let txn = self.messages.transaction()?;
        {
            let mut unlock = lock.prepare_cached("delete from locks where id = ?")?;
            let mut delete = txn.prepare_cached("delete from messages where id = ?")?;
            for (id, _) in &taken {
                if unlock.execute([id])? != 1 || delete.execute([id])? != 1 {
                    return Err("the lock is void".into());
                }
            }
        }
        txn.commit()?;
        lock.commit()?;
        Ok(())
    }
}
