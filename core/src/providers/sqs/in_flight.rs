//! Messages in somebody's hands. SQS takes late and repeated settlements of standard queues in
//! silence, so this process keeps account itself; a dead letter is made of what is kept here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::envelope::Arrived;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::settlement::Receipt;

/// The longest that SQS keeps a message in flight, from its receive on.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// Lost messages are forgotten when there are so many more than at the last time.
const PRUNE_AFTER: usize = 1024;

/// A message in flight.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) arrived: Arrived,
    pub(super) attempt: u32,
    /// Which queue of SQS it is from.
    pub(super) part: usize,
    pub(super) received_at: Tick,
    pub(super) until: Tick,
    /// The held session it was handed over in.
    pub(super) session: Option<u64>,
}

/// By receipt.
#[derive(Default)]
pub(super) struct InFlight(Mutex<Table>);

#[derive(Default)]
struct Table {
    held: HashMap<Arc<str>, Held>,
    after_pruning: usize,
}

impl InFlight {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message, or puts one back whose settlement failed.
    pub(super) fn add(&self, held: Held, now: Tick) {
        let mut table = self.table();
        if table.held.len() > table.after_pruning + PRUNE_AFTER {
            table.held.retain(|_, held| held.until > now);
            table.after_pruning = table.held.len();
        }
        table.held.insert(held.arrived.handle.clone(), held);
    }

    /// Takes a message out to settle it. `InvalidReceipt` when nobody holds it any more, `LockLost`
    /// when its lock has ended.
    pub(super) fn take(&self, receipt: &Receipt, now: Tick) -> Result<Held> {
        let held = match receipt {
            Receipt::Text(handle) => self.table().held.remove(handle),
            _ => None,
        };
        match held {
            Some(held) if held.until > now => Ok(held),
            Some(_) => Err(lost()),
            None => Err(unknown()),
        }
    }

    /// Looks at a message that stays held. Fails as [`InFlight::take`].
    pub(super) fn look<T>(
        &self,
        receipt: &Receipt,
        now: Tick,
        look: impl FnOnce(&Held) -> T,
    ) -> Result<T> {
        let table = self.table();
        let held = match receipt {
            Receipt::Text(handle) => table.held.get(handle),
            _ => None,
        };
        match held {
            Some(held) if held.until > now => Ok(look(held)),
            Some(_) => Err(lost()),
            None => Err(unknown()),
        }
    }

    /// Changes a message that is held.
    pub(super) fn change(&self, handle: &str, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.table().held.get_mut(handle) {
            change(held);
        }
    }

    /// Which queue of SQS a message that is held is from.
    pub(super) fn part(&self, handle: &str) -> Option<usize> {
        self.table().held.get(handle).map(|held| held.part)
    }

    /// Takes out all that was handed over in a session.
    pub(super) fn take_session(&self, session: u64) -> Vec<Held> {
        let mut table = self.table();
        let of_it = |_: &Arc<str>, held: &mut Held| held.session == Some(session);
        table.held.extract_if(of_it).map(|(_, held)| held).collect()
    }

    /// Receipts of all that was handed over in a session.
    pub(super) fn of_session(&self, session: u64) -> Vec<Arc<str>> {
        let table = self.table();
        let of_it = table
            .held
            .iter()
            .filter(|(_, held)| held.session == Some(session));
        of_it.map(|(handle, _)| handle.clone()).collect()
    }
}

fn unknown() -> Error {
    let what = "this delivery was settled before, or is of another queue or process";
    Error::new(ErrorKind::InvalidReceipt, what)
}

fn lost() -> Error {
    let what = "the lock has ended; the message is, or will be, somebody else's";
    Error::new(ErrorKind::LockLost, what)
}
