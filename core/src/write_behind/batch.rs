//! Entries that are written together: of each key the last one.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::buffer::Queued;
use super::sink::Target;
use crate::error::Error;

/// What becomes of a key that comes again within a batch. A sink gets it once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRepeat {
    /// The last entry stands for all of its key, where it has all their columns; otherwise as
    /// `cut`.
    #[default]
    Last,
    /// The batch ends before the repeat: every entry is written.
    Cut,
}

/// The entries of one key in a batch.
pub(super) struct Group<R> {
    /// The row of the last one, which is written.
    pub(super) row: R,
    pub(super) last: Queued,
    /// Those it stands for, in their order.
    pub(super) before: Vec<Queued>,
    /// How often it was tried.
    pub(super) attempts: u32,
}

impl<R> Group<R> {
    pub(super) fn new(row: R, last: Queued) -> Self {
        Self {
            row,
            last,
            before: Vec::new(),
            attempts: 0,
        }
    }

    /// All its entries, the last one first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Queued> {
        [&self.last].into_iter().chain(&self.before)
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = Queued> {
        self.before.into_iter().chain([self.last])
    }

    fn replace(&mut self, row: R, last: Queued) {
        self.row = row;
        self.before.push(std::mem::replace(&mut self.last, last));
    }
}

/// An entry that the sink cannot take, as far as can be seen without asking it.
pub(super) struct Misfit {
    pub(super) queued: Queued,
    pub(super) error: Error,
}

/// Entries made ready to be written.
pub(super) struct Batch<R> {
    pub(super) groups: Vec<Group<R>>,
    pub(super) misfits: Vec<Misfit>,
    /// The target's version that the rows were prepared for.
    pub(super) version: u64,
}

/// Makes a batch of entries; what comes after a key that may not be repeated is left over.
pub(super) fn gather<T: Target>(
    target: &T,
    entries: Vec<Queued>,
    on_repeat: OnRepeat,
) -> (Batch<T::Row>, Vec<Queued>) {
    let mut batch = Batch {
        groups: Vec::with_capacity(entries.len()),
        misfits: Vec::new(),
        version: target.version(),
    };
    let mut places: HashMap<Bytes, usize> = HashMap::with_capacity(entries.len());
    let mut entries = entries.into_iter();
    while let Some(queued) = entries.next() {
        let row = match target.prepare(&queued.entry) {
            Ok(row) => row,
            Err(error) => {
                batch.misfits.push(Misfit { queued, error });
                continue;
            }
        };
        let Some(key) = target.key(&row) else {
            batch.groups.push(Group::new(row, queued));
            continue;
        };
        match places.entry(key) {
            Slot::Vacant(place) => {
                place.insert(batch.groups.len());
                batch.groups.push(Group::new(row, queued));
            }
            Slot::Occupied(place) => {
                let group = &mut batch.groups[*place.get()];
                if on_repeat == OnRepeat::Cut || !target.covers(&row, &group.row) {
                    let rest = [queued].into_iter().chain(entries).collect();
                    return (batch, rest);
                }
                group.replace(row, queued);
            }
        }
    }
    (batch, Vec::new())
}
