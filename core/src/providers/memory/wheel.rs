//! The deadlines of a queue: a hierarchical timing wheel of milliseconds. Setting and clearing a
//! timer is O(1) at any number of timers; a jump of the clock costs as many steps as timers fire.
//!
//! Invariants: a timer at level n shares all bits above that level's six with `now`, and is later
//! in them; so every level's occupied slots lie after `now`'s, and the lowest occupied level
//! holds the next timer. A timer fires at the first whole millisecond not before its deadline.

use super::entry::{Entries, NO_BUCKET, Timer};
use super::list::List;
use crate::clock::Tick;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// 2^42 ms: 139 years.
const LEVELS: usize = 7;
const LAST: u64 = (1 << (BITS as usize * LEVELS)) - 1;
const NANOS: u64 = 1_000_000;

#[derive(Debug)]
pub(super) struct Wheel {
    /// All timers up to this millisecond have fired.
    now: u64,
    occupied: [u64; LEVELS],
    slots: Vec<List<Timer>>,
}

impl Wheel {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            now: now.0 / NANOS,
            occupied: [0; LEVELS],
            slots: (0..LEVELS * SLOTS).map(|_| List::new()).collect(),
        }
    }

    /// Sets the timer of an entry that has none to its `due`.
    #[inline]
    pub(super) fn set(&mut self, entries: &mut Entries, index: u32) {
        let due = entries[index].due;
        if due != Tick::NEVER {
            self.set_to(entries, index, due);
        }
    }

    fn set_to(&mut self, entries: &mut Entries, index: u32, due: Tick) {
        let when = due.0.div_ceil(NANOS).clamp(self.now + 1, LAST);
        self.place(entries, index, when);
    }

    fn place(&mut self, entries: &mut Entries, index: u32, when: u64) {
        // The highest group of bits in which `when` differs from `now` is the level.
        let level = ((self.now ^ when) | 1).ilog2() / BITS;
        let slot = (when >> (level * BITS)) as usize & (SLOTS - 1);
        let bucket = level as usize * SLOTS + slot;
        self.occupied[level as usize] |= 1 << slot;
        self.slots[bucket].push_back(entries, index);
        entries[index].bucket = bucket as u16;
    }

    /// Clears the timer of an entry, if it has one.
    #[inline]
    pub(super) fn clear(&mut self, entries: &mut Entries, index: u32) {
        let bucket = std::mem::replace(&mut entries[index].bucket, NO_BUCKET);
        if bucket != NO_BUCKET {
            self.clear_from(entries, index, bucket as usize);
        }
    }

    fn clear_from(&mut self, entries: &mut Entries, index: u32, bucket: usize) {
        self.slots[bucket].remove(entries, index);
        if self.slots[bucket].is_empty() {
            self.occupied[bucket / SLOTS] &= !(1 << (bucket % SLOTS));
        }
    }

    /// Whether [`Wheel::advance`] to this moment would do nothing.
    #[inline]
    pub(super) fn is_at(&self, now: Tick) -> bool {
        now.0 / NANOS <= self.now
    }

    /// Moves to this moment; the entries whose timers fire are added to `due`.
    pub(super) fn advance(&mut self, entries: &mut Entries, now: Tick, due: &mut Vec<u32>) {
        let target = (now.0 / NANOS).min(LAST);
        while let Some((level, slot, start)) = self.next_slot() {
            if start > target {
                break;
            }
            self.now = start;
            let bucket = level * SLOTS + slot;
            self.occupied[level] &= !(1 << slot);
            let mut list = std::mem::replace(&mut self.slots[bucket], List::new());
            while let Some(index) = list.pop_front(entries) {
                entries[index].bucket = NO_BUCKET;
                let when = entries[index].due.0.div_ceil(NANOS).min(LAST);
                if when <= self.now {
                    due.push(index);
                } else {
                    self.place(entries, index, when);
                }
            }
        }
        self.now = self.now.max(target);
    }

    /// No timer fires before this moment; `None` if there is no timer.
    pub(super) fn next(&self) -> Option<Tick> {
        let (_, _, start) = self.next_slot()?;
        Some(Tick(start.saturating_mul(NANOS)))
    }

    /// Level and slot of the next timers, and the millisecond at which the slot begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = BITS as usize * level;
        let above = self.now >> shift >> BITS << BITS << shift;
        Some((level, slot, above | (slot as u64) << shift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn ms(n: u64) -> Tick {
        Tick(n * NANOS)
    }

    fn add(wheel: &mut Wheel, entries: &mut Entries, due: Tick) -> u32 {
        let index = entries.insert(Message::new(""));
        entries[index].due = due;
        wheel.set(entries, index);
        index
    }

    #[test]
    fn timers_fire_on_time_and_in_order_whatever_the_jumps() {
        let mut random = fastrand::Rng::with_seed(7);
        for start in [0, 1, 63, 64, 4095, 4096, 1 << 30] {
            let (mut entries, mut wheel) = (Entries::default(), Wheel::new(ms(start)));
            let mut waiting = std::collections::BTreeSet::new();
            let mut now = start;
            for _ in 0..3000 {
                if random.bool() {
                    let due = now + 1 + (random.u64(..) >> random.u32(24..64)).min(1 << 40);
                    waiting.insert((due, add(&mut wheel, &mut entries, ms(due))));
                } else if random.u8(..) < 60 && !waiting.is_empty() {
                    let pick = *waiting.iter().nth(random.usize(..waiting.len())).unwrap();
                    waiting.remove(&pick);
                    wheel.clear(&mut entries, pick.1);
                } else {
                    now += random.u64(..) >> random.u32(30..64);
                    let mut fired = Vec::new();
                    wheel.advance(&mut entries, ms(now), &mut fired);
                    let later = waiting.split_off(&(now + 1, 0));
                    let expected: Vec<u32> = waiting.iter().map(|(_, i)| *i).collect();
                    waiting = later;
                    let order = |i: &u32| (entries[*i].due, *i);
                    let mut sorted = fired.clone();
                    sorted.sort_by_key(order);
                    assert!(fired.is_sorted_by_key(|i| entries[*i].due));
                    assert_eq!(sorted, expected);
                }
                let first = waiting.first().map(|(due, _)| ms(*due));
                assert_eq!(wheel.next().is_some(), first.is_some());
                assert!(
                    wheel
                        .next()
                        .is_none_or(|next| next <= first.unwrap() && next > ms(now))
                );
            }
        }
    }

    #[test]
    fn a_timer_never_fires_early_and_a_past_one_fires_next() {
        let (mut entries, mut wheel) = (Entries::default(), Wheel::new(ms(100)));
        let late = add(&mut wheel, &mut entries, Tick(ms(105).0 + 1));
        let past = add(&mut wheel, &mut entries, ms(3));
        let mut due = Vec::new();
        wheel.advance(&mut entries, ms(105), &mut due);
        assert_eq!(due, [past]);
        wheel.advance(&mut entries, ms(106), &mut due);
        assert_eq!(due, [past, late]);
    }
}
