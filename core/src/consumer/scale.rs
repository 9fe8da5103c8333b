//! How many deliveries a consumer may have in hand: between two limits, as many as there is work for
//! and as get more done.
//!
//! Once in a cool-down somebody looks, and changes the limit at most once:
//!
//! - *Up* when work waits that a hand more could take: by as many hands as messages are seen to wait,
//!   and twice as many hands at most. A backlog may be of any size, so the steps must grow with it:
//!   doubling comes from 1 to 64 in six looks.
//! - *Back*, to where it was before, when handlers became markedly slower by a step up and no more
//!   was done: what they work with is at its limit. Then it rests for a while, each time twice as
//!   long, before it tries again.
//! - *Down* when hands lay idle for the whole cool-down: to as many as were in use, and to half at
//!   most, so that a short calm does not cost what a load has shown to be needed.
//!
//! Handler times are not taken: while all hands are in use, the mean time of a handler is the number
//! of hands divided by what gets done in a second (Little's law), and one count of what was done
//! gives both. Only what ended for good counts: handlers that fail fast get nothing done.

use std::fmt;
use std::time::Duration;

/// Deliveries that a comparison rests on, at least.
const FEW: u64 = 20;
/// After so many looks at work that waits, more hands are tried though too little has ended to tell
/// what the last ones were good for: handlers may take very long.
const PATIENCE: u32 = 3;
/// Handlers are markedly slower when they take so many times as long as before.
const SLOWER: f64 = 1.5;
/// More gets done when it is so many times what it was.
const MORE: f64 = 1.1;
/// How many looks it rests after the first step back, and at most.
const RESTS: (u32, u32) = (2, 32);

/// What is counted from one look to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// The most that were in hand at one time.
    pub(super) peak: usize,
    /// How many ended for good.
    pub(super) done: u64,
}

impl Load {
    #[inline]
    pub(super) fn in_hand(&mut self, deliveries: usize) {
        self.peak = self.peak.max(deliveries);
    }

    #[inline]
    pub(super) fn done(&mut self) {
        self.done += 1;
    }
}

/// Why a limit changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Waiting,
    Slower,
    Idle,
    HeldBack,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "work waits",
            Self::Slower => "handlers became slower, and no more was done",
            Self::Idle => "hands were idle",
            Self::HeldBack => "its breaker or the memory held it back",
        })
    }
}

/// How much got done with so many hands, all of them in use.
#[derive(Clone, Copy, Debug)]
struct Pace {
    hands: usize,
    /// Deliveries in a second.
    rate: f64,
}

impl Pace {
    /// Whether it is no better than this one, with slower handlers.
    fn is_worse_than(&self, other: &Pace) -> bool {
        // The mean times of handlers, compared without dividing: nothing may have been done.
        let slower = self.hands as f64 * other.rate >= SLOWER * other.hands as f64 * self.rate;
        slower && !self.is_better_than(other)
    }

    fn is_better_than(&self, other: &Pace) -> bool {
        self.rate >= MORE * other.rate
    }
}

/// The limit of one consumer. Knows no clock and no queue: it is told what happened.
#[derive(Debug)]
pub(super) struct Scale {
    least: usize,
    most: usize,
    pub(super) limit: usize,
    /// The last pace that was worth its hands.
    best: Option<Pace>,
    /// Whether the last step up is still to be compared with that.
    on_trial: bool,
    /// What was done at this limit while work waited, and in what time, since the last comparison.
    done: u64,
    time: Duration,
    /// How many looks in a row saw work wait, at this limit.
    waited: u32,
    /// For how many looks no more hands are tried, and how many it will be after the next step back.
    rest: u32,
    next_rest: u32,
}

impl Scale {
    /// Begins with the least: what the handlers need is not known to bear more.
    pub(super) fn new(least: usize, most: usize) -> Self {
        Self {
            least,
            most,
            limit: least,
            best: None,
            on_trial: false,
            done: 0,
            time: Duration::ZERO,
            waited: 0,
            rest: 0,
            next_rest: RESTS.0,
        }
    }

    /// A look, so long after the last one, at which so many messages wait for a hand (`usize::MAX`:
    /// nobody knows how many). Answers why the limit changed, if it did.
    pub(super) fn look(&mut self, load: Load, waiting: usize, elapsed: Duration) -> Option<Reason> {
        let resting = self.rest > 0;
        self.rest = self.rest.saturating_sub(1);
        if load.peak < self.limit {
            self.waited = 0;
            return self.shrink(load.peak);
        }
        if waiting == 0 {
            self.waited = 0;
            return None;
        }
        self.waited += 1;
        self.done += load.done;
        self.time += elapsed;
        let pace = self.pace();
        if let Some(pace) = pace
            && let Some(best) = self.best.filter(|_| std::mem::take(&mut self.on_trial))
        {
            if pace.is_worse_than(&best) {
                self.rest = self.next_rest;
                self.next_rest = (2 * self.next_rest).min(RESTS.1);
                self.best = None;
                return self.move_to(best.hands, Reason::Slower);
            }
            if pace.is_better_than(&best) {
                self.next_rest = RESTS.0;
            }
        }
        if resting || (pace.is_none() && self.waited < PATIENCE) {
            return None;
        }
        // Hands that brought nothing, and took nothing, are no measure for those that follow.
        let is_best = |pace: &Pace| self.best.is_none_or(|best| pace.is_better_than(&best));
        self.best = pace.filter(is_best).or(self.best);
        let more = self.limit.min(waiting);
        let grown = self.move_to((self.limit + more).min(self.most), Reason::Waiting);
        self.on_trial = grown.is_some();
        grown
    }

    /// Begins again with the least: what held the consumer back may have been its load.
    pub(super) fn restart(&mut self) -> Option<Reason> {
        (self.best, self.on_trial) = (None, false);
        self.move_to(self.least, Reason::HeldBack)
    }

    /// Hands lay idle all the time: no more than this many were in use.
    fn shrink(&mut self, used: usize) -> Option<Reason> {
        let limit = used.max(self.limit / 2).max(self.least);
        if limit < self.limit {
            (self.best, self.on_trial) = (None, false);
        }
        self.move_to(limit, Reason::Idle)
    }

    fn move_to(&mut self, limit: usize, reason: Reason) -> Option<Reason> {
        if limit == self.limit {
            return None;
        }
        (self.limit, self.done, self.time, self.waited) = (limit, 0, Duration::ZERO, 0);
        Some(reason)
    }

    /// The pace at this limit since it was last asked for, once enough has ended to tell. As good as
    /// that is that too little ended in a time in which enough would have.
    fn pace(&mut self) -> Option<Pace> {
        let time = self.time.as_secs_f64();
        let expected = match self.best {
            Some(best) if self.on_trial => (best.rate * time) as u64,
            _ => 0,
        };
        if self.done.max(expected) < FEW.max(self.limit as u64) || time == 0.0 {
            return None;
        }
        let done = std::mem::take(&mut self.done);
        self.time = Duration::ZERO;
        Some(Pace {
            hands: self.limit,
            rate: done as f64 / time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A look after a second in which all hands were in use and this much was done.
    fn busy(scale: &mut Scale, done: u64) -> Option<Reason> {
        look(scale, scale.limit, done, usize::MAX)
    }

    fn look(scale: &mut Scale, peak: usize, done: u64, waiting: usize) -> Option<Reason> {
        scale.look(Load { peak, done }, waiting, Duration::from_secs(1))
    }

    #[test]
    fn a_backlog_doubles_it_up_to_the_most() {
        let mut scale = Scale::new(1, 20);
        for limit in [2, 4, 8, 16, 20] {
            let done = 100 * scale.limit as u64;
            assert_eq!(busy(&mut scale, done), Some(Reason::Waiting));
            assert_eq!(scale.limit, limit);
        }
        assert_eq!(busy(&mut scale, 2000), None);
    }

    #[test]
    fn it_grows_by_no_more_than_waits() {
        let mut scale = Scale::new(8, 100);
        assert_eq!(look(&mut scale, 8, 100, 3), Some(Reason::Waiting));
        assert_eq!(scale.limit, 11);
        assert_eq!(look(&mut scale, 11, 100, 0), None);
    }

    #[test]
    fn idle_hands_go_by_half_and_no_further_than_what_was_in_use() {
        let mut scale = Scale::new(2, 64);
        scale.limit = 64;
        for (peak, limit) in [(40, 40), (0, 20), (19, 19), (3, 9), (0, 4), (0, 2), (0, 2)] {
            let changed = (limit != scale.limit).then_some(Reason::Idle);
            assert_eq!(look(&mut scale, peak, 10, 0), changed);
            assert_eq!(scale.limit, limit);
        }
    }

    #[test]
    fn it_grows_when_there_is_something_to_compare_with_or_after_some_looks() {
        let mut scale = Scale::new(1, 4);
        assert_eq!(busy(&mut scale, FEW - 1), None);
        assert_eq!(busy(&mut scale, 1), Some(Reason::Waiting));
        // Handlers that take an hour.
        let mut scale = Scale::new(1, 4);
        for _ in 0..PATIENCE - 1 {
            assert_eq!(busy(&mut scale, 0), None);
        }
        assert_eq!(busy(&mut scale, 0), Some(Reason::Waiting));
    }

    #[test]
    fn hands_that_get_no_more_done_go_and_come_again_later_each_time() {
        let mut scale = Scale::new(4, 64);
        let mut rests = Vec::new();
        for _ in 0..7 {
            assert_eq!(busy(&mut scale, 100), Some(Reason::Waiting));
            assert_eq!(busy(&mut scale, 105), Some(Reason::Slower));
            assert_eq!(scale.limit, 4);
            rests.push(scale.rest);
            for _ in 0..scale.rest {
                assert_eq!(busy(&mut scale, 100), None);
            }
        }
        assert_eq!(rests, [2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(busy(&mut scale, 100), Some(Reason::Waiting));
        // This time they did, and the next failure is the first again.
        assert_eq!(busy(&mut scale, 180), Some(Reason::Waiting));
        assert_eq!(busy(&mut scale, 180), Some(Reason::Slower));
        assert_eq!((scale.limit, scale.rest), (8, 2));
    }

    #[test]
    fn nothing_done_in_a_time_for_much_is_an_answer_too() {
        let mut scale = Scale::new(8, 64);
        assert_eq!(busy(&mut scale, 100), Some(Reason::Waiting));
        assert_eq!(busy(&mut scale, 0), Some(Reason::Slower));
        assert_eq!(scale.limit, 8);
    }

    #[test]
    fn small_steps_that_bring_nothing_are_found_out_together() {
        let mut scale = Scale::new(8, 64);
        for limit in 9..=12 {
            assert_eq!(look(&mut scale, limit - 1, 100, 1), Some(Reason::Waiting));
            assert_eq!(scale.limit, limit);
        }
        // Half as many hands more, and no more done.
        assert_eq!(look(&mut scale, 12, 100, 1), Some(Reason::Slower));
        assert_eq!(scale.limit, 8);
    }

    #[test]
    fn what_held_it_back_makes_it_begin_again() {
        let mut scale = Scale::new(2, 64);
        assert_eq!(scale.restart(), None);
        scale.limit = 64;
        assert_eq!(scale.restart(), Some(Reason::HeldBack));
        assert_eq!(scale.limit, 2);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_limits_and_moves_no_faster_than_it_says(
            least in 1usize..50,
            more in 0usize..200,
            looks in prop::collection::vec(
                (0usize..300, 0u64..500, prop_oneof![0usize..100, Just(usize::MAX)], 1u64..5000),
                0..200,
            ),
        ) {
            let most = least + more;
            let mut scale = Scale::new(least, most);
            for (peak, done, waiting, millis) in looks {
                let before = scale.limit;
                let load = Load { peak, done };
                let why = scale.look(load, waiting, Duration::from_millis(millis));
                let now = scale.limit;
                prop_assert!((least..=most).contains(&now));
                prop_assert_eq!(why.is_some(), now != before);
                match why {
                    Some(Reason::Waiting) => {
                        prop_assert!(peak >= before && now > before);
                        prop_assert!(now - before <= waiting.min(before));
                    }
                    Some(Reason::Slower) => prop_assert!(peak >= before && now < before),
                    Some(Reason::Idle) => {
                        prop_assert!(peak < before && now < before);
                        prop_assert!(now >= peak.min(before) && now >= before / 2);
                    }
                    Some(Reason::HeldBack) | None => prop_assert_eq!(now, before),
                }
            }
        }

        /// Downstreams of which so many calls at a time take as long as one, and more take longer.
        #[test]
        fn it_finds_what_the_downstream_bears(knee in 1usize..64, most in 1usize..128) {
            let mut scale = Scale::new(1, most);
            let mut seen = Vec::new();
            for _ in 0..500 {
                let done = 100 * scale.limit.min(knee) as u64;
                busy(&mut scale, done);
                seen.push(scale.limit);
            }
            // Half of what it bears at least, and hardly ever more than twice that; but for a last
            // step to the most, which may be too small to tell.
            let enough = knee.min(most);
            let lately = &seen[100..];
            let good = |limit: &usize| *limit >= enough.div_ceil(2) && *limit <= 4 * enough;
            prop_assert!(lately.iter().all(good), "{:?}", lately);
            let usual = lately.iter().filter(|limit| **limit <= 3 * enough).count();
            prop_assert!(10 * usual >= 9 * lately.len(), "{:?}", lately);
        }
    }
}
