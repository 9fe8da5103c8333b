//! Random operations on one queue, done to the engine and to a plain model of it: what is handed
//! out and in which order, attempts, errors of stale receipts, what can be looked at; and at the
//! end every message is accounted for.
//!
//! `QRT_SOAK=1000` does a thousand times as many sequences.

#![cfg(not(feature = "shuttle"))]

#[path = "../common/mod.rs"]
mod common;
mod ops;
mod reference;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(all(feature = "file", target_os = "linux"))]
use std::sync::Arc;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use common::Kit;
#[cfg(all(feature = "file", target_os = "linux"))]
use common::{folder::Folder, now};
use ops::{Op, Setup};
#[cfg(all(feature = "file", target_os = "linux"))]
use proptest::prop_assert;
#[cfg(all(feature = "file", target_os = "linux"))]
use queue_runtime_core::{DeadLetterFilter, QueueOptions};
use run::Run;

#[test]
fn the_engine_does_what_the_model_does() {
    search(4000, |setup, ops| check(Kit::new(), setup, ops));
}

#[test]
#[cfg(all(feature = "file", target_os = "linux"))]
fn the_engine_in_a_folder_does_what_the_model_does() {
    search(300, |setup, ops| {
        check(Kit::file(&Arc::default(), OPTIONS), setup, ops)
    });
}

/// What is on the disk when is another matter.
#[cfg(all(feature = "file", target_os = "linux"))]
const OPTIONS: &str = "durability=os";

/// After any operations, an index that is built from the log shows what the one before it showed.
#[test]
#[cfg(all(feature = "file", target_os = "linux"))]
fn an_index_from_the_log_is_as_the_one_before() {
    search(100, |setup, ops| {
        let folder = Arc::new(Folder::new());
        let open = || Kit::file(&folder, OPTIONS);
        let mut run = Run::new(open(), setup.clone());
        for op in ops {
            run.apply(op.clone())?;
        }
        drop(run);
        folder.wait_until_closed();
        let kit = open();
        // Whatever has a timer has its turn in both.
        kit.advance(common::ms(1));
        let (before, at) = (sight(&kit, setup), kit.clock.now());
        drop(kit);
        folder.lose_index();
        let kit = open();
        kit.advance(at.since(kit.clock.now()));
        let after = sight(&kit, setup);
        prop_assert!(before == after, "{before}\n---\n{after}");
        Ok(())
    });
}

/// What a client can see of the queue.
#[cfg(all(feature = "file", target_os = "linux"))]
fn sight(kit: &Kit, setup: &Setup) -> String {
    let queue = kit.queue(QueueOptions {
        fair_groups: Some(setup.fair),
        ..QueueOptions::default()
    });
    let letters = now(queue.dead_letters(DeadLetterFilter::all(), None, 1000)).unwrap();
    let peeked = now(queue.peek(None, 1000)).unwrap();
    let statistics = now(queue.statistics()).unwrap();
    format!("{statistics:?}\n{peeked:#?}\n{letters:#?}")
}

fn check(kit: Kit, setup: &Setup, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut run = Run::new(kit, setup.clone());
    for op in ops {
        run.apply(op.clone())?;
    }
    run.finish()
}

/// Tries random sequences; a failure is shown with as few operations as it needs.
fn search(sequences: u32, check: impl Fn(&Setup, &[Op]) -> Result<(), TestCaseError>) {
    let config = Config {
        cases: sequences.saturating_mul(common::soak()),
        max_shrink_iters: 100_000,
        // The failing sequence is printed as data, small enough for a test of its own.
        failure_persistence: None,
        ..Config::default()
    };
    let checked =
        TestRunner::new(config).run(&ops::sequences(), |(setup, ops)| check(&setup, &ops));
    match checked {
        Ok(()) => {}
        Err(TestError::Abort(why)) => panic!("{why}"),
        Err(TestError::Fail(_, (setup, ops))) => {
            let (ops, why) = thin_out(&check, &setup, ops);
            let ops: String = ops.iter().map(|op| format!("    {op:?},\n")).collect();
            panic!("{why}\n{setup:?}\n[\n{ops}]");
        }
    }
}

/// Takes away what a failure can do without. Proptest tries each operation once; taking one away
/// often makes others needless.
fn thin_out(
    check: &impl Fn(&Setup, &[Op]) -> Result<(), TestCaseError>,
    setup: &Setup,
    mut ops: Vec<Op>,
) -> (Vec<Op>, String) {
    let failure = |ops: &[Op]| match catch_unwind(AssertUnwindSafe(|| check(setup, ops))) {
        Ok(result) => result.err().map(|why| why.to_string()),
        Err(_) => Some("a panic, shown above".to_owned()),
    };
    let mut why = failure(&ops).unwrap_or_else(|| "it does not fail every time".to_owned());
    loop {
        let shorter = (0..ops.len()).rev().find_map(|gone| {
            let mut fewer = ops.clone();
            fewer.remove(gone);
            failure(&fewer).map(|why| (fewer, why))
        });
        match shorter {
            Some((fewer, still)) => (ops, why) = (fewer, still),
            None => return (ops, why),
        }
    }
}
