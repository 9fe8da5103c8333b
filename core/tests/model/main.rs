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

use std::panic::catch_unwind;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use ops::{Op, Setup};
use run::Run;

const SEQUENCES: u32 = 4000;

#[test]
fn the_engine_does_what_the_model_does() {
    let config = Config {
        cases: SEQUENCES.saturating_mul(common::soak()),
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
            let (ops, why) = thin_out(&setup, ops);
            let ops: String = ops.iter().map(|op| format!("    {op:?},\n")).collect();
            panic!("{why}\n{setup:?}\n[\n{ops}]");
        }
    }
}

fn check(setup: &Setup, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut run = Run::new(setup.clone());
    for op in ops {
        run.apply(op.clone())?;
    }
    run.finish()
}

/// Takes away what a failure can do without. Proptest tries each operation once; taking one away
/// often makes others needless.
fn thin_out(setup: &Setup, mut ops: Vec<Op>) -> (Vec<Op>, String) {
    let failure = |ops: &[Op]| match catch_unwind(|| check(setup, ops)) {
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
