//! Time is a port: locks, delays, waits and timers follow one [`Clock`], of the system or virtual.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Add;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// A moment on a clock that never goes back, in nanoseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// Later than any other.
    pub const NEVER: Tick = Tick(u64::MAX);

    /// The time from an earlier moment to this one; zero if it is later.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;

    /// Stops at [`Tick::NEVER`].
    fn add(self, duration: Duration) -> Tick {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Tick(self.0.saturating_add(nanos))
    }
}

/// A moment of the calendar, in milliseconds since 1970 in UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    fn from_system(time: SystemTime) -> Self {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(millis(after)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

/// A source of time: the system's, or one that a test moves. Cheap to clone; any thread.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System(std::time::Instant),
    Virtual(Arc<VirtualTime>),
}

/// Wall time at the start of every virtual clock: 2026-01-01 00:00:00 UTC.
const VIRTUAL_START: Timestamp = Timestamp(1_767_225_600_000);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System(std::time::Instant::now()))
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn new_virtual() -> Self {
        Self(Source::Virtual(Arc::new(VirtualTime::default())))
    }

    /// Whether this clock is moved by [`Clock::advance`].
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Source::Virtual(_))
    }

    /// The present moment.
    pub fn now(&self) -> Tick {
        match &self.0 {
            Source::System(start) => system::now(*start),
            Source::Virtual(time) => time.now(),
        }
    }

    /// The present moment, up to [`Clock::lag`] behind and never ahead; several times cheaper.
    pub(crate) fn recent(&self) -> Tick {
        match &self.0 {
            Source::System(start) => system::recent(*start),
            Source::Virtual(time) => time.now(),
        }
    }

    /// How far `recent` may be behind. Added where a deadline must not come early.
    #[cfg_attr(not(feature = "memory"), allow(dead_code))]
    pub(crate) fn lag(&self) -> Duration {
        match &self.0 {
            Source::System(_) => system::LAG,
            Source::Virtual(_) => Duration::ZERO,
        }
    }

    /// The calendar time of a moment, by the present setting of the system's calendar.
    pub fn timestamp(&self, tick: Tick) -> Timestamp {
        match &self.0 {
            Source::System(_) => {
                let (now, wall) = (self.now(), SystemTime::now());
                let moved = if tick >= now {
                    wall.checked_add(tick.since(now))
                } else {
                    wall.checked_sub(now.since(tick))
                };
                moved.map_or(Timestamp(i64::MAX), Timestamp::from_system)
            }
            Source::Virtual(_) => {
                let millis = i64::try_from(tick.0 / 1_000_000).unwrap_or(i64::MAX);
                Timestamp(VIRTUAL_START.0.saturating_add(millis))
            }
        }
    }

    /// Moves a virtual clock and wakes what is due, in the order of its time.
    ///
    /// Fails with `Unsupported`-like `InvalidArgument` on the system's clock.
    pub fn advance(&self, by: Duration) -> crate::Result<()> {
        match &self.0 {
            Source::System(_) => Err(crate::Error::invalid_argument(
                "clock",
                "only a virtual clock can be advanced; build the runtime with one",
            )),
            Source::Virtual(time) => {
                time.advance(by);
                Ok(())
            }
        }
    }

    /// Moves a virtual clock to a moment that others have come to already; never back.
    #[cfg_attr(not(feature = "file"), allow(dead_code))]
    pub(crate) fn catch_up(&self, moment: Tick) {
        if let Source::Virtual(time) = &self.0 {
            time.move_by(|now| now.max(moment));
        }
    }

    /// Calls this whenever a virtual clock was moved, for as long as somebody else keeps it.
    #[cfg_attr(not(feature = "file"), allow(dead_code))]
    pub(crate) fn on_move(&self, watcher: &Arc<Watcher>) {
        if let Source::Virtual(time) = &self.0 {
            let mut watchers = lock(&time.watchers);
            watchers.retain(|other| other.strong_count() > 0);
            watchers.push(Arc::downgrade(watcher));
        }
    }

    /// Completes once this moment has come. On the system's clock it needs the runtime's timer,
    /// so the caller must be inside the entered runtime.
    pub(crate) fn sleep_until(&self, deadline: Tick) -> Sleep {
        match &self.0 {
            Source::System(_) => {
                let wait = deadline.since(self.now());
                // tokio refuses no duration, but adds it to an instant: keep that from overflow.
                let wait = wait.min(Duration::from_secs(60 * 60 * 24 * 365));
                Sleep(Sleeper::System(Box::pin(tokio::time::sleep(wait))))
            }
            Source::Virtual(time) => Sleep(Sleeper::Virtual {
                time: time.clone(),
                deadline,
                key: None,
            }),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System(_) => "Clock::system",
            Source::Virtual(_) => "Clock::virtual",
        })
    }
}

#[cfg(target_os = "linux")]
mod system {
    //! Linux offers its monotonic clock as of the last timer interrupt for a fifth of the price.

    use super::Tick;
    use rustix::time::{ClockId, clock_gettime};
    use std::time::{Duration, Instant};

    /// One timer interrupt at 100 Hz, the slowest kernels in use.
    pub(super) const LAG: Duration = Duration::from_millis(10);

    fn read(id: ClockId) -> Tick {
        let time = clock_gettime(id);
        Tick(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    pub(super) fn now(_start: Instant) -> Tick {
        read(ClockId::Monotonic)
    }

    pub(super) fn recent(_start: Instant) -> Tick {
        read(ClockId::MonotonicCoarse)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Tick;
    use std::time::{Duration, Instant};

    pub(super) const LAG: Duration = Duration::ZERO;

    pub(super) fn now(start: Instant) -> Tick {
        Tick(0) + start.elapsed()
    }

    pub(super) fn recent(start: Instant) -> Tick {
        now(start)
    }
}

#[derive(Default)]
struct VirtualTime {
    now: AtomicU64,
    timers: Mutex<Timers>,
    watchers: Mutex<Vec<Weak<Watcher>>>,
}

/// What is called when a virtual clock was moved, before those who sleep are woken.
pub(crate) type Watcher = dyn Fn() + Send + Sync;

#[derive(Default)]
struct Timers {
    waiting: BTreeMap<(Tick, u64), Waker>,
    next: u64,
}

impl VirtualTime {
    fn now(&self) -> Tick {
        Tick(self.now.load(Ordering::Acquire))
    }

    fn advance(&self, by: Duration) {
        self.move_by(|now| now + by);
    }

    fn move_by(&self, step: impl FnOnce(Tick) -> Tick) {
        let timers = lock(&self.timers);
        let now = step(self.now());
        self.now.store(now.0, Ordering::Release);
        drop(timers);
        let watchers: Vec<_> = lock(&self.watchers).iter().map(Weak::upgrade).collect();
        for watcher in watchers.into_iter().flatten() {
            watcher();
        }
        let mut timers = lock(&self.timers);
        let later = timers
            .waiting
            .split_off(&(Tick(now.0.saturating_add(1)), 0));
        let due = std::mem::replace(&mut timers.waiting, later);
        drop(timers);
        for waker in due.into_values() {
            waker.wake();
        }
    }
}

/// The future of [`Clock::sleep_until`].
pub(crate) struct Sleep(Sleeper);

enum Sleeper {
    System(Pin<Box<tokio::time::Sleep>>),
    Virtual {
        time: Arc<VirtualTime>,
        deadline: Tick,
        key: Option<(Tick, u64)>,
    },
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Sleeper::System(sleep) => sleep.as_mut().poll(cx),
            Sleeper::Virtual {
                time,
                deadline,
                key,
            } => {
                let mut timers = lock(&time.timers);
                if let Some(key) = key.take() {
                    timers.waiting.remove(&key);
                }
                if *deadline <= time.now() {
                    return Poll::Ready(());
                }
                let new = (*deadline, timers.next);
                timers.next += 1;
                timers.waiting.insert(new, cx.waker().clone());
                *key = Some(new);
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Sleeper::Virtual {
            time,
            key: Some(key),
            ..
        } = &self.0
        {
            lock(&time.timers).waiting.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_moves_only_by_hand() {
        let clock = Clock::new_virtual();
        let start = clock.now();
        clock.advance(Duration::from_millis(1500)).unwrap();
        assert_eq!(clock.now().since(start), Duration::from_millis(1500));
        assert_eq!(clock.timestamp(clock.now()).0 - VIRTUAL_START.0, 1500);
        assert_eq!(clock.recent(), clock.now());
    }

    #[test]
    fn a_system_clock_cannot_be_advanced() {
        let error = Clock::system().advance(Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
    }

    #[test]
    fn recent_is_never_ahead() {
        let clock = Clock::system();
        for _ in 0..1000 {
            let recent = clock.recent();
            assert!(recent <= clock.now());
        }
    }

    #[test]
    fn adding_stops_at_the_end_of_time() {
        assert_eq!(Tick(5) + Duration::MAX, Tick::NEVER);
    }

    #[test]
    fn an_abandoned_sleep_leaves_no_timer() {
        let clock = Clock::new_virtual();
        let Source::Virtual(time) = &clock.0 else {
            unreachable!()
        };
        let mut sleep = clock.sleep_until(Tick(10));
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut sleep).poll(&mut context).is_pending());
        assert_eq!(lock(&time.timers).waiting.len(), 1);
        drop(sleep);
        assert_eq!(lock(&time.timers).waiting.len(), 0);
    }
}
