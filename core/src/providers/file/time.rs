//! The time of a store: one line for all processes that share it.
//!
//! Ticks are nanoseconds of the machine's boot clock, which goes on while the machine sleeps and
//! which nobody can set; or, in a test's store, of the virtual clock that all its processes share
//! through the index. The log keeps wall time, for ticks end with the machine's run.

use std::sync::atomic::{AtomicI64, Ordering};

use super::index::layout::{Header, NEVER};
use super::log::record::NO_TIME;
use super::{faults, sys};
use crate::clock::{Clock, Tick, Timestamp};
use crate::provider::Moment;

/// The tick of the start of the clock, so that what was before it has a tick too: 126 years.
const BASE: u64 = 4_000_000_000_000_000_000;
const NANOS_PER_MS: i64 = 1_000_000;

/// Where the time of a store comes from.
#[derive(Debug)]
pub(super) struct Time {
    /// The virtual clock of a test.
    clock: Option<Clock>,
    /// Wall time less ticks, as of the beginning of the present step.
    offset: AtomicI64,
}

impl Time {
    pub(super) fn new(clock: &Clock) -> Self {
        let time = Self {
            clock: clock.is_virtual().then(|| clock.clone()),
            offset: AtomicI64::new(0),
        };
        if let Some(clock) = &time.clock {
            let start = clock.timestamp(Tick(0)).0.saturating_mul(NANOS_PER_MS);
            time.offset.store(start - BASE as i64, Ordering::Relaxed);
        }
        time
    }

    pub(super) fn is_virtual(&self) -> bool {
        self.clock.is_some()
    }

    /// The present moment. A virtual one is never before what another process has seen.
    pub(super) fn now(&self, header: &Header) -> u64 {
        match &self.clock {
            None => BASE + sys::boot_time(),
            Some(clock) => {
                let own = clock.now().0;
                let seen = header.virtual_now.fetch_max(own, Ordering::AcqRel);
                BASE + own.max(seen)
            }
        }
    }

    /// Brings the offset of wall time up to the present.
    pub(super) fn refresh(&self) {
        if self.clock.is_none() {
            let ticks = (BASE + sys::boot_time()) as i64;
            self.offset
                .store(faults::wall_time() - ticks, Ordering::Relaxed);
        }
    }

    /// For this step wall time is not before this: a calendar that is behind what the log says, as
    /// on a machine that has lost it, stands at the end of the log.
    pub(super) fn not_before(&self, wall: i64) {
        if self.clock.is_none() {
            let ticks = (BASE + sys::boot_time()) as i64;
            self.offset
                .fetch_max(wall.saturating_sub(ticks), Ordering::Relaxed);
        }
    }

    /// The wall time of a tick.
    pub(super) fn to_wall(&self, tick: u64) -> i64 {
        match i64::try_from(tick) {
            Err(_) => NO_TIME,
            Ok(tick) => tick.saturating_add(self.offset.load(Ordering::Relaxed)),
        }
    }

    /// The tick of a wall time.
    pub(super) fn tick_at(&self, wall: i64) -> u64 {
        if wall == NO_TIME {
            return NEVER;
        }
        let tick = wall.saturating_sub(self.offset.load(Ordering::Relaxed));
        u64::try_from(tick).unwrap_or(0)
    }

    /// How far a virtual clock is, by wall time.
    pub(super) fn virtual_nanos(&self, wall: i64) -> u64 {
        self.tick_at(wall).saturating_sub(BASE)
    }

    /// A tick as the port has it.
    pub(super) fn moment(&self, tick: u64) -> Moment {
        match self.clock {
            Some(_) => Moment::Tick(Tick(tick.saturating_sub(BASE))),
            None => Moment::Timestamp(self.timestamp(tick)),
        }
    }

    pub(super) fn timestamp(&self, tick: u64) -> Timestamp {
        Timestamp(self.to_wall(tick).div_euclid(NANOS_PER_MS))
    }
}
