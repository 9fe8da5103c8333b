//! Every scenario as a test of its own, for the providers of one test program.
//!
//! Ends with the table of what ran; the rows go into `conformance.json` in cargo's target folder.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Trial};
use queue_runtime_core::conformance::{Outcome, Report, Target, run, scenarios};

/// Runs the scenarios of these targets, as the command line says.
pub fn conformance(targets: impl IntoIterator<Item = Target>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // In real time scenarios wait most of the time, so they wait together.
    arguments.test_threads.get_or_insert(16);
    let report = Arc::new(Mutex::new(Report::default()));
    let mut trials = Vec::new();
    for target in targets {
        trials.extend(trials_of(Arc::new(target), &report));
    }
    let all = trials.len();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let report = report.lock().unwrap();
    let ran = report.rows().count();
    if arguments.list || ran < all && conclusion.num_filtered_out > 0 {
        return conclusion.exit_code();
    }
    println!("{report}");
    let path = Report::path();
    if let Err(error) = report.merge_into(&path) {
        eprintln!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if report.count("pass") + report.count("fail") == 0 {
        eprintln!("no scenario ran");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// The scenarios of a target. One that is skipped is a row of the report and no test.
fn trials_of(target: Arc<Target>, report: &Arc<Mutex<Report>>) -> Vec<Trial> {
    let scenarios = scenarios().unwrap_or_else(|e| panic!("{e}"));
    let unknown: Vec<_> = target.unknown_deviations(&scenarios).collect();
    assert!(unknown.is_empty(), "no such scenarios: {unknown:?}");
    let capabilities = target.capabilities().unwrap();
    let mut trials = Vec::new();
    for scenario in target.choose(scenarios).unwrap() {
        let skip = target.skip(&scenario, &capabilities);
        let name = format!(
            "{}::{}::{}",
            target.provider(),
            scenario.theme,
            scenario.name
        );
        let skipped = skip.is_some();
        if let Some(skip) = skip {
            report.lock().unwrap().add(&target, &scenario, &skip);
        }
        let (target, report) = (target.clone(), report.clone());
        let trial = Trial::test(name, move || {
            let outcome = run(&target, &scenario);
            report.lock().unwrap().add(&target, &scenario, &outcome);
            match outcome {
                Outcome::Fail(reason) => Err(reason.into()),
                _ => Ok(()),
            }
        });
        trials.push(trial.with_ignored_flag(skipped));
    }
    trials
}
