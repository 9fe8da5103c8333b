//! Which lane an entry goes by.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

use super::entry::Entry;
use super::sink::Target;

/// The key of an entry, if it has one.
type KeyOf = dyn Fn(&Entry) -> Option<Bytes> + Send + Sync;

/// Which lane an entry goes by: always the same for one key.
pub(super) enum LaneOf {
    One,
    Many {
        lanes: usize,
        key: Box<KeyOf>,
        hasher: RandomState,
        /// Where the next entry without a key goes.
        next: AtomicUsize,
    },
}

impl LaneOf {
    pub(super) fn new<T: Target>(lanes: usize, target: Arc<T>) -> Self {
        if lanes == 1 {
            return Self::One;
        }
        Self::Many {
            lanes,
            key: Box::new(move |entry| target.lane_key(entry)),
            hasher: RandomState::new(),
            next: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(super) fn lane(&self, entry: &Entry) -> usize {
        match self {
            Self::One => 0,
            Self::Many {
                lanes,
                key,
                hasher,
                next,
            } => match key(entry) {
                Some(key) => hasher.hash_one(key) as usize % lanes,
                None => next.fetch_add(1, Relaxed) % lanes,
            },
        }
    }
}
