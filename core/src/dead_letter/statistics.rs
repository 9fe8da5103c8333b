//! Statistics of dead letters: how many died of what, since when, and from which queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::DeadLetter;
use crate::clock::Timestamp;

/// The name under which a list of groups counts together what it has no room for.
pub const OTHERS: &str = "(others)";

/// How many names a list of groups keeps beside [`OTHERS`], and their bytes together: reasons are
/// the caller's own texts.
const MAX_NAMES: usize = 1000;
const MAX_NAME_BYTES: usize = 1 << 20;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// The oldest that a dead letter of each group is; older ones are in a last group.
const AGES: [Duration; 4] = [
    Duration::from_secs(MINUTE),
    Duration::from_secs(HOUR),
    Duration::from_secs(DAY),
    Duration::from_secs(WEEK),
];

/// How many dead letters there are, why, since when, and from which queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterStatistics {
    /// Dead letters.
    pub count: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// When the first of them was given up; `None` when there are none.
    pub oldest: Option<Timestamp>,
    /// When the last of them was given up; `None` when there are none.
    pub newest: Option<Timestamp>,
    /// By their reason, the most frequent first, then by name. The first 1,000 reasons met, of 1 MiB
    /// together, have a group each; all others are in one named [`OTHERS`].
    pub by_reason: Vec<DeadLetterGroup>,
    /// By the queue they were sent to, as `by_reason`. The providers there are list the dead letters
    /// of one queue, which is then the only group.
    pub by_source: Vec<DeadLetterGroup>,
    /// By the time since they were given up: up to a minute, an hour, a day, a week, and longer.
    /// Always these five.
    pub by_age: Vec<DeadLetterAge>,
}

/// Dead letters that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterGroup {
    /// The reason, or the queue.
    pub name: Arc<str>,
    /// How many.
    pub count: u64,
    /// When the first of them was given up.
    pub oldest: Timestamp,
    /// When the last of them was given up.
    pub newest: Timestamp,
}

/// Dead letters that were given up about as long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterAge {
    /// As long ago at most, and longer than the group before; `None`: longer than all of them.
    pub up_to: Option<Duration>,
    /// How many.
    pub count: u64,
}

/// Dead letters that are being counted.
pub(crate) struct Tally {
    now: Timestamp,
    bytes: u64,
    all: Option<DeadLetterGroup>,
    by_reason: Names,
    by_source: Names,
    by_age: [u64; AGES.len() + 1],
}

impl Tally {
    /// Of none yet, with ages as they are now.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            bytes: 0,
            all: None,
            by_reason: Names::default(),
            by_source: Names::default(),
            by_age: [0; AGES.len() + 1],
        }
    }

    pub fn add(&mut self, letter: &DeadLetter) {
        let at = letter.dead_lettered_at;
        self.bytes += letter.message.body().len() as u64;
        self.all
            .get_or_insert_with(|| DeadLetterGroup::new(OTHERS.into(), at))
            .add(at);
        self.by_reason.add(&letter.reason, at);
        self.by_source.add(&letter.source, at);
        // The clock of who gave it up may be ahead.
        let age = u64::try_from(self.now.0.saturating_sub(at.0)).unwrap_or(0);
        let age = Duration::from_millis(age);
        self.by_age[AGES.partition_point(|up_to| *up_to < age)] += 1;
    }

    pub fn statistics(self) -> DeadLetterStatistics {
        let all = self.all.as_ref();
        let up_to = AGES.into_iter().map(Some).chain([None]);
        let by_age = up_to.zip(self.by_age);
        DeadLetterStatistics {
            count: all.map_or(0, |all| all.count),
            bytes: self.bytes,
            oldest: all.map(|all| all.oldest),
            newest: all.map(|all| all.newest),
            by_reason: self.by_reason.sorted(),
            by_source: self.by_source.sorted(),
            by_age: by_age
                .map(|(up_to, count)| DeadLetterAge { up_to, count })
                .collect(),
        }
    }
}

impl DeadLetterGroup {
    fn new(name: Arc<str>, at: Timestamp) -> Self {
        Self {
            name,
            count: 0,
            oldest: at,
            newest: at,
        }
    }

    fn add(&mut self, at: Timestamp) {
        self.count += 1;
        self.oldest = self.oldest.min(at);
        self.newest = self.newest.max(at);
    }
}

/// Groups by their names, of which there are not too many.
#[derive(Default)]
struct Names {
    groups: HashMap<Arc<str>, DeadLetterGroup>,
    bytes: usize,
}

impl Names {
    fn add(&mut self, name: &Arc<str>, at: Timestamp) {
        if let Some(group) = self.groups.get_mut(name) {
            return group.add(at);
        }
        let bytes = self.bytes + name.len();
        let name = if self.groups.len() < MAX_NAMES && bytes <= MAX_NAME_BYTES {
            self.bytes = bytes;
            name.clone()
        } else {
            OTHERS.into()
        };
        self.groups
            .entry(name)
            .or_insert_with_key(|name| DeadLetterGroup::new(name.clone(), at))
            .add(at);
    }

    fn sorted(self) -> Vec<DeadLetterGroup> {
        let mut groups: Vec<_> = self.groups.into_values().collect();
        groups.sort_by(|one, other| {
            let by_count = other.count.cmp(&one.count);
            by_count.then_with(|| one.name.cmp(&other.name))
        });
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, MessageId};

    const NOW: Timestamp = Timestamp(10_000_000_000);

    fn letter(reason: &str, source: &str, age: Duration) -> DeadLetter {
        let at = Timestamp(NOW.0 - age.as_millis() as i64);
        let (id, message) = (MessageId::new("id"), Message::new("body"));
        DeadLetter::new(id, message, reason.into(), 1, source.into(), 1, at, at)
    }

    fn tally(letters: impl IntoIterator<Item = DeadLetter>) -> DeadLetterStatistics {
        let mut tally = Tally::new(NOW);
        letters.into_iter().for_each(|letter| tally.add(&letter));
        tally.statistics()
    }

    fn names(groups: &[DeadLetterGroup]) -> Vec<(&str, u64)> {
        groups.iter().map(|g| (&*g.name, g.count)).collect()
    }

    fn counts(statistics: &DeadLetterStatistics) -> Vec<u64> {
        statistics.by_age.iter().map(|age| age.count).collect()
    }

    fn of_reasons(reasons: impl IntoIterator<Item = String>) -> Vec<DeadLetterGroup> {
        let letters = reasons.into_iter().map(|r| letter(&r, "q", Duration::ZERO));
        tally(letters).by_reason
    }

    #[test]
    fn nothing_has_no_groups_and_no_times_but_every_age() {
        let none = tally([]);
        assert_eq!((none.count, none.bytes), (0, 0));
        assert_eq!((none.oldest, none.newest), (None, None));
        assert!(none.by_reason.is_empty() && none.by_source.is_empty());
        assert_eq!(counts(&none), [0; 5]);
        let bounds: Vec<_> = none.by_age.iter().map(|age| age.up_to).collect();
        let [minute, hour, day, week] = [60, 3600, 86_400, 604_800].map(Duration::from_secs);
        assert_eq!(
            bounds,
            [Some(minute), Some(hour), Some(day), Some(week), None]
        );
    }

    #[test]
    fn groups_come_by_count_then_by_name_with_the_times_of_their_own() {
        let seconds = Duration::from_secs;
        let said = tally([
            letter("b", "jobs", seconds(3)),
            letter("c", "mail", seconds(9)),
            letter("a", "jobs", seconds(5)),
            letter("c", "jobs", seconds(7)),
        ]);
        assert_eq!((said.count, said.bytes), (4, 16));
        assert_eq!(names(&said.by_reason), [("c", 2), ("a", 1), ("b", 1)]);
        assert_eq!(names(&said.by_source), [("jobs", 3), ("mail", 1)]);
        let at = |ago: i64| Timestamp(NOW.0 - ago * 1000);
        let span = |group: &DeadLetterGroup| (group.oldest, group.newest);
        assert_eq!(span(&said.by_reason[0]), (at(9), at(7)));
        assert_eq!(span(&said.by_source[0]), (at(7), at(3)));
        assert_eq!((said.oldest, said.newest), (Some(at(9)), Some(at(3))));
    }

    #[test]
    fn an_age_is_of_the_group_whose_bound_it_reaches() {
        for (index, bound) in AGES.into_iter().enumerate() {
            let mut wanted = [0; 5];
            wanted[index] = 1;
            assert_eq!(counts(&tally([letter("r", "q", bound)])), wanted);
            wanted.swap(index, index + 1);
            let older = bound + Duration::from_millis(1);
            assert_eq!(counts(&tally([letter("r", "q", older)])), wanted);
        }
    }

    #[test]
    fn what_a_clock_ahead_gave_up_is_young() {
        let mut ahead = letter("r", "q", Duration::ZERO);
        ahead.dead_lettered_at = Timestamp(i64::MAX);
        assert_eq!(counts(&tally([ahead])), [1, 0, 0, 0, 0]);
    }

    #[test]
    fn names_beyond_their_bound_are_counted_together() {
        let groups = of_reasons((0..1500).map(|n| format!("reason {n}")));
        assert_eq!(groups.len(), MAX_NAMES + 1);
        assert_eq!((&*groups[0].name, groups[0].count), (OTHERS, 500));

        // One that has a group keeps it.
        let again = (0..1500).chain([7, 1400]).map(|n| format!("reason {n}"));
        let groups = of_reasons(again);
        assert_eq!(names(&groups[..2]), [(OTHERS, 501), ("reason 7", 2)]);
    }

    #[test]
    fn long_names_are_kept_up_to_their_bytes() {
        let long = |n: u8| format!("{n}").repeat(MAX_NAME_BYTES / 2);
        let groups = of_reasons([1, 2, 3, 1].map(long));
        let counted: Vec<_> = groups.iter().map(|g| (g.name.len(), g.count)).collect();
        let half = MAX_NAME_BYTES / 2;
        assert_eq!(counted, [(half, 2), (OTHERS.len(), 1), (half, 1)]);
    }
}
