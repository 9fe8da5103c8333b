//! The dedup window: which dedup ids were stored within it, and under which message ids.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Tick;
use crate::message::MessageId;

#[derive(Debug)]
pub(super) struct Dedup {
    window: Duration,
    ids: HashMap<Arc<str>, MessageId>,
    /// In the order of their ends, which is that of their stores: the window is one length.
    ends: VecDeque<(Tick, Arc<str>)>,
}

impl Dedup {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            ids: HashMap::new(),
            ends: VecDeque::new(),
        }
    }

    /// The message stored under this dedup id within the window.
    pub(super) fn find(&mut self, id: &str, now: Tick) -> Option<&MessageId> {
        self.forget(now);
        self.ids.get(id)
    }

    pub(super) fn remember(&mut self, id: Arc<str>, message: MessageId, now: Tick) {
        if !self.window.is_zero() {
            self.ends.push_back((now + self.window, id.clone()));
            self.ids.insert(id, message);
        }
    }

    /// How many are remembered.
    pub(super) fn len(&mut self, now: Tick) -> usize {
        self.forget(now);
        self.ids.len()
    }

    fn forget(&mut self, now: Tick) {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, id)) = self.ends.pop_front() {
                self.ids.remove(&id);
            }
        }
        if self.ids.is_empty() && self.ids.capacity() > 1024 {
            self.ids = HashMap::new();
            self.ends = VecDeque::new();
        }
    }
}
