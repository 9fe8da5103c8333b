//! Counters that cost a load and a store.
//!
//! An atomic addition costs several nanoseconds, and far more when two processors share it. So
//! each thread counts in a stripe that no other thread writes, and reading adds the stripes up.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use once_cell::race::OnceBox;

/// One stripe for each bit of [`TAKEN`], and the shared one.
const STRIPES: usize = u32::BITS as usize + 1;

/// The stripe of threads that came when all others were taken. Additions to it are atomic.
const SHARED: usize = STRIPES - 1;

/// Which stripes belong to a living thread.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A thread's claim to its stripe, in all counters there are; it ends with the thread.
struct Stripe(usize);

thread_local! {
    static STRIPE: Stripe = Stripe::claim();
}

impl Stripe {
    fn claim() -> Self {
        // Acquire: what the stripe's last owner counted is seen, and counted on.
        let taken = TAKEN.fetch_update(Acquire, Relaxed, |taken| {
            let free = taken.trailing_ones();
            (free < u32::BITS).then(|| taken | 1 << free)
        });
        Self(taken.map_or(SHARED, |before| before.trailing_ones() as usize))
    }
}

impl Drop for Stripe {
    fn drop(&mut self) {
        if self.0 != SHARED {
            TAKEN.fetch_and(!(1 << self.0), Release);
        }
    }
}

/// `N` counters that only go up. A stripe's memory is taken when its thread first counts here.
pub(super) struct Counters<const N: usize> {
    stripes: [OnceBox<[AtomicU64; N]>; STRIPES],
}

impl<const N: usize> Counters<N> {
    pub(super) const fn new() -> Self {
        Self {
            stripes: [const { OnceBox::new() }; STRIPES],
        }
    }

    /// The calling thread's stripe, to add to. Never waits.
    #[inline]
    pub(super) fn mine(&self) -> Mine<'_, N> {
        // A thread that is ending has given its stripe up.
        let stripe = STRIPE.try_with(|stripe| stripe.0).unwrap_or(SHARED);
        let zeros = || Box::new([const { AtomicU64::new(0) }; N]);
        Mine {
            counters: self.stripes[stripe].get_or_init(zeros),
            shared: stripe == SHARED,
        }
    }

    /// What was added to a counter so far, by all threads.
    pub(super) fn sum(&self, counter: usize) -> u64 {
        let stripes = self.stripes.iter().filter_map(OnceBox::get);
        stripes.fold(0, |sum, counters| {
            sum.wrapping_add(counters[counter].load(Relaxed))
        })
    }
}

/// Where one thread counts.
pub(super) struct Mine<'a, const N: usize> {
    counters: &'a [AtomicU64; N],
    shared: bool,
}

impl<const N: usize> Mine<'_, N> {
    /// Adds to a counter.
    #[inline]
    pub(super) fn add(&self, counter: usize, count: u64) {
        let counter = &self.counters[counter];
        if self.shared {
            counter.fetch_add(count, Relaxed);
        } else {
            counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
        }
    }
}

impl<const N: usize> fmt::Debug for Counters<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..N).map(|c| self.sum(c))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn nothing_is_lost_among_more_threads_than_stripes() {
        // Enough for the threads of the shared stripe to get in each other's way.
        const ROUNDS: u64 = 300_000;
        let counters = Counters::<2>::new();
        let all_alive = std::sync::Barrier::new(2 * STRIPES);
        thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| {
                    STRIPE.with(|_| all_alive.wait());
                    for _ in 0..ROUNDS {
                        counters.mine().add(0, 1);
                        counters.mine().add(1, 3);
                    }
                });
            }
        });
        let calls = 2 * STRIPES as u64 * ROUNDS;
        assert_eq!((counters.sum(0), counters.sum(1)), (calls, 3 * calls));
    }

    #[test]
    fn threads_that_come_and_go_count_on_where_others_ended() {
        let counters = Counters::<1>::new();
        for _ in 0..200 {
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| (0..10).for_each(|_| counters.mine().add(0, 1)));
                }
            });
        }
        assert_eq!(counters.sum(0), 200 * 3 * 10);
    }
}
