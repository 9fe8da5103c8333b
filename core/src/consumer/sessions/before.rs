//! The sessions that a pool held before: what the program keeps of them may still be warm.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Remembered for each place of the pool.
const FOR_EACH: usize = 4;
const MOST: usize = 1024;

/// Those that had no more work when they were let go, the latest of them. One that made room for the
/// others is not among them: a preference for it would be at their cost.
pub(super) struct Before {
    most: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    ids: Arc<HashSet<Arc<str>>>,
    /// The same, the earliest first.
    order: VecDeque<Arc<str>>,
}

impl Before {
    pub(super) fn new(max_sessions: u32) -> Self {
        Self {
            most: (max_sessions as usize).saturating_mul(FOR_EACH).min(MOST),
            known: Mutex::default(),
        }
    }

    /// It is let go, and not in the list since it was accepted.
    pub(super) fn remember(&self, id: &Arc<str>) {
        let mut known = self.locked();
        let Known { ids, order } = &mut *known;
        let ids = Arc::make_mut(ids);
        if order.len() >= self.most
            && let Some(earliest) = order.pop_front()
        {
            ids.remove(&earliest);
        }
        ids.insert(id.clone());
        order.push_back(id.clone());
    }

    /// It is held again. Answers whether it was remembered.
    pub(super) fn forget(&self, id: &str) -> bool {
        let mut known = self.locked();
        let Known { ids, order } = &mut *known;
        if !ids.contains(id) {
            return false;
        }
        if let Some(id) = Arc::make_mut(ids).take(id) {
            order.retain(|other| !Arc::ptr_eq(other, &id));
        }
        true
    }

    /// What to ask for, if there is anything.
    pub(super) fn ids(&self) -> Option<Arc<HashSet<Arc<str>>>> {
        let known = self.locked();
        (!known.ids.is_empty()).then(|| known.ids.clone())
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(before: &Before) -> Vec<String> {
        let known = before.locked();
        assert!(known.order.iter().all(|id| known.ids.contains(id)));
        assert_eq!(known.ids.len(), known.order.len());
        known.order.iter().map(|id| id.to_string()).collect()
    }

    #[test]
    fn the_latest_are_remembered_and_those_held_again_are_not() {
        let before = Before::new(1);
        assert_eq!(before.ids(), None);
        for id in ["a", "b", "c", "d", "e"] {
            before.remember(&id.into());
        }
        let asked_for = before.ids();
        assert_eq!(list(&before), ["b", "c", "d", "e"]);
        assert!(before.forget("c"));
        assert!(!before.forget("c") && !before.forget("a"));
        before.remember(&"c".into());
        assert_eq!(list(&before), ["b", "d", "e", "c"]);
        assert_eq!(asked_for.unwrap().len(), 4);
    }

    #[test]
    fn the_list_is_bounded_whatever_the_pool() {
        let before = Before::new(u32::MAX);
        for id in 0..2 * MOST {
            before.remember(&id.to_string().into());
        }
        assert_eq!(list(&before).len(), MOST);
    }
}
