//! Attempts given back. SQS counts every receive; what was released, or never reached anybody, is
//! subtracted here, for as long as this process remembers it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::message::MessageId;

/// Messages remembered at most; the oldest are forgotten first.
const MOST: usize = 10_000;

/// Receives that do not count, by the ids that SQS gave.
#[derive(Default)]
pub(super) struct Credits(Mutex<Book>);

#[derive(Default)]
struct Book {
    given: HashMap<MessageId, u32>,
    order: VecDeque<MessageId>,
}

impl Credits {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more receive of this message does not count.
    pub(super) fn give(&self, id: &MessageId) {
        let mut book = self.book();
        if let Some(given) = book.given.get_mut(id) {
            *given += 1;
            return;
        }
        while book.order.len() >= MOST {
            let oldest = book.order.pop_front();
            oldest.and_then(|oldest| book.given.remove(&oldest));
        }
        book.given.insert(id.clone(), 1);
        book.order.push_back(id.clone());
    }

    /// It does after all: giving the message back failed.
    pub(super) fn take_back(&self, id: &MessageId) {
        if let Some(given) = self.book().given.get_mut(id) {
            *given = given.saturating_sub(1);
        }
    }

    /// Which attempt the n-th receive of this message is.
    pub(super) fn attempt(&self, id: &MessageId, receives: u32) -> u32 {
        let given = self.book().given.get(id).copied().unwrap_or(0);
        receives.saturating_sub(given).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_receives_are_no_attempts() {
        let credits = Credits::default();
        let id = MessageId::from("a");
        assert_eq!(credits.attempt(&id, 2), 2);
        credits.give(&id);
        credits.give(&id);
        assert_eq!(credits.attempt(&id, 3), 1);
        assert_eq!(credits.attempt(&id, 1), 1);
        credits.take_back(&id);
        assert_eq!(credits.attempt(&id, 3), 2);
        assert_eq!(credits.attempt(&MessageId::from("b"), 3), 3);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let credits = Credits::default();
        for n in 0..=MOST {
            credits.give(&MessageId::from(&*n.to_string()));
        }
        assert_eq!(credits.attempt(&MessageId::from("0"), 2), 2);
        assert_eq!(credits.attempt(&MessageId::from("1"), 2), 1);
        assert_eq!(credits.book().given.len(), MOST);
    }
}
