//! Random use of a write-behind against a model: nothing is lost, nothing comes out of order, and
//! the counts add up at every moment.

#![cfg(not(feature = "shuttle"))]

mod common;
mod write_behind_kit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{HOUR, ms, now, soak};
use proptest::prelude::*;
use queue_runtime_core::write_behind::{OnBufferFull, OnRepeat};
use queue_runtime_core::{DeadLetterFilter, Entry, Retry, WriteBehind, WriteBehindOptions};
use write_behind_kit::{Answer, Kit};

#[derive(Clone, Debug)]
enum Step {
    Enqueue { key: u8, bad: bool },
    EnqueueMany { count: u8 },
    Advance { ms: u64 },
    Answer { answer: Answer, times: usize },
    Flush,
    TakeRejected,
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        3 => Just(Answer::Away),
        1 => Just(Answer::Throttled(ms(3))),
        2 => Just(Answer::Each),
        1 => Just(Answer::Panic),
        1 => Just(Answer::OneResultLess),
    ];
    prop_oneof![
        12 => (0..6u8, prop::bool::weighted(0.1)).prop_map(|(key, bad)| Step::Enqueue { key, bad }),
        3 => (0..40u8).prop_map(|count| Step::EnqueueMany { count }),
        3 => (0..30u64).prop_map(|ms| Step::Advance { ms }),
        2 => (answer, 1..4usize).prop_map(|(answer, times)| Step::Answer { answer, times }),
        1 => Just(Step::Flush),
        1 => Just(Step::TakeRejected),
    ]
}

fn shape() -> impl Strategy<Value = WriteBehindOptions> {
    let journal = prop_oneof![
        Just(None),
        Just(Some(OnBufferFull::Wait)),
        Just(Some(OnBufferFull::Spill))
    ];
    let shape = (1..20usize, 1..4usize, any::<bool>(), 10..200u64, journal);
    shape.prop_map(|(batch, writers, cut, bound, journal)| WriteBehindOptions {
        journal: journal.map(|_| "memory:journal".into()),
        on_full: journal,
        batch_size: Some(batch),
        writers: Some(writers),
        on_repeat: Some(if cut { OnRepeat::Cut } else { OnRepeat::Last }),
        max_entries: Some(bound),
        flush_interval: Some(ms(10)),
        retry: Some(Retry::Fixed { delay: ms(5) }),
        breaker: Some("3,20ms,2".parse().unwrap()),
        ..WriteBehindOptions::default()
    })
}

/// The identity of the counts, looked at by another thread all the time.
fn adds_up(sut: &WriteBehind) {
    let m = sut.metrics();
    let sum = m.total_persisted + m.total_failed + m.current_queue_depth;
    assert_eq!(m.total_enqueued, sum, "{m:?}");
}

struct Model {
    kit: Kit,
    journaled: bool,
    enqueued: u64,
    /// By key: every good body, in order.
    good: BTreeMap<u8, Vec<String>>,
    bad: Vec<String>,
    rejected: Vec<String>,
}

impl Model {
    fn run(shape: WriteBehindOptions, steps: Vec<Step>) {
        let cut = shape.on_repeat == Some(OnRepeat::Cut);
        let mut model = Model {
            journaled: shape.journal.is_some(),
            kit: Kit::start(shape),
            enqueued: 0,
            good: BTreeMap::new(),
            bad: Vec::new(),
            rejected: Vec::new(),
        };
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sut = model.kit.sut.clone();
            let watched = scope.spawn(|| {
                let sut = sut;
                while !over.load(Ordering::Relaxed) {
                    adds_up(&sut);
                }
            });
            let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for step in steps {
                    model.play(step);
                }
                model.end(cut);
            }));
            over.store(true, Ordering::Relaxed);
            watched.join().expect("the counts add up at every moment");
            if let Err(panic) = played {
                std::panic::resume_unwind(panic);
            }
        });
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Enqueue { key, bad } => self.enqueue(key, bad),
            Step::EnqueueMany { count } => {
                for n in 0..count {
                    self.enqueue(n % 6, false);
                }
            }
            Step::Advance { ms } => self.kit.advance(Duration::from_millis(ms)),
            Step::Answer { answer, times } => self.kit.sink.answer_next(times, answer),
            Step::Flush => self.finish(self.enqueued),
            Step::TakeRejected => self.take_rejected(),
        }
    }

    fn enqueue(&mut self, key: u8, bad: bool) {
        let number = self.enqueued;
        let body = if bad {
            format!("bad{number}")
        } else {
            format!("{key}:{number:06}")
        };
        let entry = Entry::new(body.clone()).key(vec![key]);
        // Room comes with time, when the sink was away, or when the rejected are taken.
        while now(self.kit.sut.try_enqueue(entry.clone())).is_err() {
            self.kit.advance(ms(1));
            self.take_rejected();
            std::thread::yield_now();
        }
        self.enqueued += 1;
        match bad {
            true => self.bad.push(body),
            false => self.good.entry(key).or_default().push(body),
        }
    }

    /// Waits until this many are persisted or failed.
    fn finish(&self, count: u64) {
        let sut = &self.kit.sut;
        self.kit.advance_until(ms(1), || {
            let m = sut.metrics();
            m.total_persisted + m.total_failed >= count
        });
    }

    fn take_rejected(&mut self) {
        let rejected = self.kit.sut.take_rejected();
        let body = |entry: &Entry| String::from_utf8(entry.body().to_vec()).unwrap();
        self.rejected
            .extend(rejected.iter().map(|r| body(&r.entry)));
    }

    /// What came by the journal is rejected into its dead letters.
    fn take_dead_letters(&mut self) {
        let journal = now(self.kit.runtime.connect("memory:journal")).unwrap();
        let journal = journal.queue("write-behind-journal").unwrap();
        let dead = journal.dead_letters(DeadLetterFilter::all(), None, 1000);
        let dead = now(dead).unwrap();
        let bodies = dead.iter().map(|letter| letter.message.body().to_vec());
        self.rejected
            .extend(bodies.map(|body| String::from_utf8(body).unwrap()));
    }

    fn end(&mut self, cut: bool) {
        self.finish(self.enqueued);
        let report = self.kit.close(HOUR);
        assert_eq!(report.left_in_journal, 0);
        self.take_dead_letters();
        assert!(report.unwritten.is_empty());
        let body = |entry: &Entry| String::from_utf8(entry.body().to_vec()).unwrap();
        self.rejected
            .extend(report.rejected.iter().map(|r| body(&r.entry)));

        self.rejected.sort();
        self.bad.sort();
        let m = report.metrics;
        assert_eq!(m.current_queue_depth, 0);
        // The clock runs faster than the journal can keep its lock: what could not be acknowledged
        // then counts, and comes, again.
        let once = m.total_enqueued == self.enqueued;
        if once {
            assert_eq!(m.total_failed, self.rejected.len() as u64);
        } else {
            assert!(self.journaled && m.total_enqueued > self.enqueued, "{m:?}");
            self.rejected.dedup();
        }
        if cut {
            assert_eq!(self.rejected, self.bad, "exactly the bad ones are rejected");
        }
        // A bad one for which a later one of its key stands is never looked at.
        let is_bad = |body| self.bad.binary_search(body).is_ok();
        assert!(self.rejected.iter().all(is_bad), "{:?}", self.rejected);

        let written = self.kit.sink.written();
        for (key, bodies) in &self.good {
            let prefix = format!("{key}:");
            let of_key = written.iter().filter(|body| body.starts_with(&prefix));
            let of_key: Vec<_> = of_key.cloned().collect();
            assert_eq!(of_key.last(), bodies.last(), "the last of key {key} stands");
            if once {
                assert!(of_key.is_sorted(), "key {key} out of order: {of_key:?}");
            }
            if cut {
                let of_key: BTreeSet<_> = of_key.iter().collect();
                assert!(
                    of_key.into_iter().eq(bodies),
                    "each of key {key} is written"
                );
            }
            if cut && once {
                assert_eq!(
                    of_key.len(),
                    bodies.len(),
                    "each of key {key} is written once"
                );
            }
        }
    }
}

#[test]
fn whatever_happens_nothing_is_lost_and_the_counts_add_up() {
    let mut config = ProptestConfig::with_cases(32 * soak());
    config.failure_persistence = None;
    proptest!(config, |(shape in shape(), steps in prop::collection::vec(step(), 1..120))| {
        Model::run(shape, steps);
    });
}
