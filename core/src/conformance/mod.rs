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
mod check;
mod report;
mod scenario;
mod step;
mod target;
mod template;
mod verbs;
mod world;

pub use report::{Kind, Outcome, Report, Row};
pub use scenario::{Scenario, Tag, scenarios};
pub use target::{Store, Target};

use world::World;

/// Runs one scenario in a fresh store. Waits; not to be called on a thread of a tokio runtime.
pub fn run(target: &Target, scenario: &Scenario) -> Outcome {
    let world = World::new(target, scenario).map_err(|e| format!("making a store: {e:?}"));
    match world.and_then(World::run) {
        Ok(()) => Outcome::Pass,
        Err(reason) => Outcome::Fail(reason),
    }
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
        report.add(target.provider(), scenario, &outcome);
    }
    Ok(report)
}
