//! The scenarios every provider passes, and their interpreter.
//!
//! A scenario is data: steps in a TOML file, the same for every language; its format is described
//! in `tests/conformance/README.md` beside the files. A provider's author makes a [`Target`] and
//! runs them all:
//!
//! ```
//! use queue_runtime_core::conformance::{Store, Target, run_all};
//! use queue_runtime_core::{Clock, Runtime, RuntimeConfig};
//!
//! let target = Target::new("memory", || {
//!     let runtime = Runtime::with_clock(RuntimeConfig::default(), Clock::new_virtual())?;
//!     Ok(Store::new(runtime, "memory:conformance"))
//! });
//! let report = run_all(&target).unwrap();
//! println!("{report}");
//! ```
//!
//! A test harness that wants each scenario as a test of its own uses the parts: [`scenarios`],
//! [`Target::choose`], [`Target::skip`], [`run`] and [`Report`].

mod arguments;
mod background;
mod beside;
mod check;
mod consumers;
mod dead_letter_statistics;
mod follow;
mod orders;
mod producers;
mod report;
mod scenario;
mod step;
mod target;
mod template;
mod verbs;
mod workers;
mod world;

pub use follow::follow;
pub use report::{Kind, Outcome, Report, Row};
pub use scenario::{Scenario, Tag, scenarios};
pub use target::{Store, Target};

use world::World;

/// How often a scenario is begun anew when another process was quicker than a cancel.
const TRIES: usize = 100;

/// Runs one scenario in a fresh store. Waits; not to be called on a thread of a tokio runtime.
pub fn run(target: &Target, scenario: &Scenario) -> Outcome {
    for _ in 0..TRIES {
        let mut world = match World::new(target, scenario) {
            Ok(world) => world,
            Err(error) => return Outcome::Fail(format!("making a store: {error:?}")),
        };
        match world.run() {
            Ok(()) => return Outcome::Pass,
            Err(_) if world.too_late => {}
            Err(reason) => return Outcome::Fail(reason),
        }
    }
    Outcome::Fail("every cancel came too late".to_owned())
}

/// Runs every scenario that a target is asked, one after the other. Waits; not to be called on a
/// thread of a tokio runtime.
///
/// # Errors
///
/// A text that says what is wrong with the scenarios, the target or its capabilities; a scenario
/// that fails is a row of the report.
pub fn run_all(target: &Target) -> Result<Report, String> {
    let scenarios = scenarios()?;
    if let Some(name) = target.unknown_deviations(&scenarios).next() {
        return Err(format!("there is no scenario {name} to deviate from"));
    }
    let capabilities = target.capabilities().map_err(|e| format!("{e:?}"))?;
    let chosen = target.choose(scenarios).map_err(|e| format!("{e:?}"))?;
    let mut report = Report::default();
    for scenario in &chosen {
        let outcome = target
            .skip(scenario, &capabilities)
            .unwrap_or_else(|| run(target, scenario));
        report.add(target, scenario, &outcome);
    }
    Ok(report)
}

#[cfg(all(test, feature = "memory", not(feature = "shuttle")))]
mod tests {
    use super::*;
    use crate::{Clock, Runtime, RuntimeConfig};

    fn outcome(steps: &str) -> Outcome {
        let target = Target::new("memory", || {
            let runtime = Runtime::with_clock(RuntimeConfig::default(), Clock::new_virtual())?;
            Ok(Store::new(runtime, "memory:conformance"))
        });
        let options = "{ lock = '30s', retry = 'none' }";
        let text = format!(
            "[[scenario]]\nname = 'n'\nabout = 'a'\noptions = {options}\nsteps = [{steps}]\n"
        );
        let scenarios = scenario::parse("theme", &text).unwrap();
        run(&target, &scenarios[0])
    }

    /// A check that cannot fail checks nothing: each of these promises is not kept.
    #[test]
    fn what_is_not_so_is_found_out() {
        const SENT: &str = "{ send = 'a', headers = { h = 'v' } }, { receive = 1, count = 1 }";
        const WORKING: &str =
            "{ send = 'a' }, { work = 'w', batch_size = 1 }, { call = 'w', count = 1 }";
        const WORKED: &str = "{ send = 'a' }, { work = 'w' }, { call = 'w', expect = ['b'] }";
        const CONSUMED: &str = "{ send = 'a' }, { consume = 'c' }, { next = 'c', count = 1 }";
        const DEAD: &str = "{ send = 'a' }, { receive = 1, count = 1 }, \
             { dead_letter = 'a', reason = 'r' }, { dead_letter_statistics = true";
        for (steps, why) in [
            ("{ send = 'a' }, { receive = 1, expect = [] }", "got 1"),
            ("{ receive = 1, expect = ['a'] }", "got 0"),
            ("{ receive = 1, count = 1 }", "deliveries is 0"),
            ("{ send = 'a' }, { receive = 1, expect = ['b'] }", "body is"),
            (
                "{ send = 'a' }, { receive = 1, expect = [{ body = 'a', attempt = 2 }] }",
                "attempt is",
            ),
            (
                "{ send = 'a' }, { receive = 1, expect = [{ body = 'a', headers = { h = '' } }] }",
                "header",
            ),
            (
                "{ send = 'a' }, { receive = 1, expect = [{ body = 'a', locked_until = '1s' }] }",
                "locked_until is",
            ),
            (
                "{ send_many = ['a', 'b'] }, { receive = 2, expect = ['b', 'a'] }",
                "message 1",
            ),
            (
                "{ send_many = ['a', 'b'] }, { receive = 2, any_order = true, expect = ['b', 'b'] }",
                "not among",
            ),
            ("{ send = 'a', duplicate_of = 'a' }", "duplicate is false"),
            ("{ send = 'a', error = 'full' }", "succeeded"),
            ("{ send = 'a', queue = '' }", "failed: InvalidArgument"),
            (
                "{ send = 'a', queue = '', error = 'invalid_config' }",
                "the error is InvalidArgument",
            ),
            (
                "{ send = 'a', queue = '', error = { kind = 'invalid_argument', field = 'x' } }",
                "its field is",
            ),
            (
                &format!("{SENT}, {{ advance = '30s' }}, {{ ack = 'a' }}"),
                "failed: LockLost",
            ),
            (
                &format!("{SENT}, {{ ack = 'a' }}, {{ ack = 'a', error = 'lock_lost' }}"),
                "the error is InvalidReceipt",
            ),
            (
                &format!("{SENT}, {{ settle_many = [{{ ack = 'a', error = 'lock_lost' }}] }}"),
                "entry 1: succeeded",
            ),
            (
                &format!("{SENT}, {{ extend = 'a', lock = '1m', locked_until = '61s' }}"),
                "end of the lock",
            ),
            (
                "{ receive = 1, wait = '1s', start = 'r' }, { send = 'a' }, { pending = 'r' }, { cancel = 'r' }",
                "it has ended",
            ),
            (
                "{ receive = 1, wait = '1s', start = 'r' }, { send = 'a' }, { join = 'r', expect = [] }",
                "got 1",
            ),
            ("{ accept_next = '0s', expect = ['s'] }", "the session is"),
            (
                "{ accept = 's' }, { state = 's', expect = ['x'] }",
                "the state is",
            ),
            ("{ send = 'a' }, { peek = 1, expect = [] }", "got 1"),
            ("{ dead_letters = 1, expect = ['a'] }", "got 0"),
            (
                "{ redrive = true, expect = { matched = 1, redriven = 1 } }",
                "the report is",
            ),
            ("{ purge = true, expect = 1 }", "the count is"),
            ("{ statistics = { depth = 1 } }", "depth is 0"),
            (
                "{ dead_letter_statistics = true, expect = { newest = '0s' } }",
                "newest is None",
            ),
            (
                &format!("{DEAD}, expect = {{ by_reason = [{{ name = 'r', count = 2 }}] }} }}"),
                "by_reason is",
            ),
            (
                &format!(
                    "{DEAD}, expect = {{ by_source = [{{ name = 'jobs', count = 1, oldest = '1s' }}] }} }}"
                ),
                "oldest of by_source \"jobs\" is",
            ),
            (
                &format!("{DEAD}, expect = {{ by_age = [0, 1, 0, 0, 0] }} }}"),
                "by_age is",
            ),
            (
                "{ consume = 'c', idle = '0s' }, { next = 'c', expect = ['a'] }",
                "got 0",
            ),
            (
                "{ send = 'a' }, { consume = 'c' }, { next = 'c', expect = [] }",
                "got 1",
            ),
            (
                "{ consume = 'c' }, { next = 'c', start = 'n' }, { stop = 'c' }, { pending = 'n' }, { cancel = 'n' }",
                "it has ended",
            ),
            (
                &format!(
                    "{CONSUMED}, {{ drain = 'c', deadline = '0s', expect = {{ finished = 1, released = 0, abandoned = 0 }} }}"
                ),
                "the report is",
            ),
            (
                &format!(
                    "{CONSUMED}, {{ drain = 'c', deadline = '0s' }}, {{ cancelled = 'a', cause = 'stalled' }}"
                ),
                "the cause is",
            ),
            (
                &format!(
                    "{CONSUMED}, {{ advance = '15s', times = 4 }}, {{ cancelled = 'a', cause = 'none' }}, {{ ack = 'a', error = 'lock_lost' }}"
                ),
                "succeeded",
            ),
            (
                &format!("{CONSUMED}, {{ advance = '30s' }}, {{ ack = 'a' }}"),
                "failed: LockLost",
            ),
            (
                "{ consume = 'c', concurrency = 0 }",
                "failed: InvalidArgument",
            ),
            (WORKED, "message 1: body is"),
            (
                &format!(
                    "{WORKING}, {{ return = 'a' }}, {{ drain = 'w', deadline = '1h', expect = {{ finished = 7, released = 0, abandoned = 0 }} }}"
                ),
                "the report is",
            ),
            (
                &format!("{WORKING}, {{ return = 'b' }}"),
                "no call has the message",
            ),
            (
                "{ produce = 'p' }, { send = 'a', by = 'p', start = 's' }, { flush = 'p' }, { pending = 's' }, { cancel = 's' }",
                "it has ended",
            ),
            (
                "{ produce = 'p' }, { close_producer = 'p', deadline = '1s', expect = { sent = 1, failed = 0 } }",
                "sent is 0",
            ),
            ("{ send = 'a', by = 'p' }", "no producer"),
            ("{ stop = 'c' }", "no consumer"),
            ("{ ack = 'a' }", "no delivery"),
            (
                "{ connect = 'b', url = 'nowhere:' }",
                "failed: InvalidConfig",
            ),
        ] {
            match outcome(steps) {
                Outcome::Fail(reason) if reason.contains(why) => {}
                other => panic!("{steps}: {other:?}, expected a failure with {why:?}"),
            }
        }
    }

    #[test]
    fn a_lost_lock_is_an_invalid_receipt() {
        let steps = "{ send = 'a' }, { receive = 1, expect = ['a'] }, { advance = '30s' }, \
                     { ack = 'a', error = 'invalid_receipt' }";
        assert_eq!(outcome(steps), Outcome::Pass);
    }
}
