//! A write-behind on a virtual clock, and a sink that does as it is told.

#![allow(dead_code)] // each test binary uses a part of it

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use queue_runtime_core::write_behind::{CloseReport, Sink};
use queue_runtime_core::{
    Clock, Entry, Error, ErrorKind, Result, Runtime, RuntimeConfig, WriteBehind, WriteBehindOptions,
};
use tokio::sync::Semaphore;

use super::common::{HOUR, STUCK, Waiting};

/// Options under which nothing is written by time alone.
pub fn options() -> WriteBehindOptions {
    WriteBehindOptions {
        flush_interval: Some(HOUR),
        ..WriteBehindOptions::default()
    }
}

/// Spins until this is so.
#[track_caller]
pub fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + STUCK;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to be");
        std::thread::yield_now();
    }
}

pub struct Kit {
    pub clock: Clock,
    pub runtime: Runtime,
    pub sink: TestSink,
    pub sut: WriteBehind,
}

impl Kit {
    pub fn start(options: WriteBehindOptions) -> Self {
        Self::try_start(options).unwrap()
    }

    pub fn try_start(options: WriteBehindOptions) -> Result<Self> {
        let clock = Clock::new_virtual();
        let runtime = Runtime::with_clock(RuntimeConfig::default(), clock.clone()).unwrap();
        Self::start_on(runtime, options)
    }

    pub fn start_on(runtime: Runtime, options: WriteBehindOptions) -> Result<Self> {
        let sink = TestSink::default();
        let opening = WriteBehind::with_sink(&runtime, options, sink.clone());
        let sut = runtime.block_on(opening).unwrap()?;
        Ok(Self {
            clock: runtime.clock().clone(),
            runtime,
            sink,
            sut,
        })
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by).unwrap();
    }

    #[track_caller]
    pub fn until(&self, condition: impl FnMut() -> bool) {
        until(condition);
    }

    /// Moves the clock in steps until this is so.
    #[track_caller]
    pub fn advance_until(&self, step: Duration, mut condition: impl FnMut() -> bool) {
        until(|| {
            let done = condition();
            if !done {
                self.advance(step);
            }
            done
        });
    }

    /// Waits for everything to be written.
    #[track_caller]
    pub fn flush(&self) {
        self.wait(self.sut.flush()).unwrap();
    }

    /// A flush that has to wait.
    #[track_caller]
    pub fn start_flush(&self) -> Waiting<Result<()>> {
        let sut = self.sut.clone();
        Waiting::start(async move { sut.flush().await })
    }

    #[track_caller]
    pub fn close(&self, deadline: Duration) -> CloseReport {
        self.wait(self.sut.close(deadline))
    }

    #[track_caller]
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        let bounded = async { tokio::time::timeout(STUCK, future).await };
        self.runtime.block_on(bounded).unwrap().expect("it hangs")
    }
}

/// How the sink answers once.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Away,
    Throttled(Duration),
    /// An error for each entry that says so, and not for the whole.
    Each,
    Panic,
    OneResultLess,
}

/// A sink that keeps what it is given. A batch with an entry that begins with "bad" is refused,
/// unless it is told otherwise.
#[derive(Clone, Default)]
pub struct TestSink(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    gate: Gate,
}

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(Semaphore::MAX_PERMITS))
    }
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    attempts: Vec<Vec<String>>,
    batches: Vec<Vec<String>>,
    keys: Vec<String>,
    waiting: usize,
}

impl TestSink {
    /// Holds every write until it is let pass.
    pub fn hold(&self) {
        self.0.gate.0.forget_permits(usize::MAX);
    }

    /// Lets some writes pass.
    pub fn let_pass(&self, writes: usize) {
        self.0.gate.0.add_permits(writes);
    }

    /// Holds no write any more.
    pub fn release(&self) {
        let free = Semaphore::MAX_PERMITS - self.0.gate.0.available_permits();
        self.0.gate.0.add_permits(free);
    }

    pub fn answer_next(&self, times: usize, answer: Answer) {
        let mut state = self.0.state.lock().unwrap();
        state.answers.extend(vec![answer; times]);
    }

    /// Every write that was tried.
    pub fn attempts(&self) -> Vec<Vec<String>> {
        self.0.state.lock().unwrap().attempts.clone()
    }

    /// Every batch of which something was written: what was written of it.
    pub fn batches(&self) -> Vec<Vec<String>> {
        self.0.state.lock().unwrap().batches.clone()
    }

    /// The keys of everything that came, in order.
    pub fn keys(&self) -> Vec<String> {
        self.0.state.lock().unwrap().keys.clone()
    }

    /// Writes that are held.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().unwrap().waiting
    }

    /// Everything written, in order.
    pub fn written(&self) -> Vec<String> {
        self.batches().concat()
    }
}

fn bad(body: &str) -> Error {
    Error::invalid_message("body", format!("{body} is bad"))
}

fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "the sink is away")
}

impl Sink for TestSink {
    async fn upsert_many(&self, entries: Vec<Entry>) -> Result<Vec<Result<()>>> {
        self.0.state.lock().unwrap().waiting += 1;
        let pass = self.0.gate.0.acquire().await.unwrap();
        self.0.state.lock().unwrap().waiting -= 1;
        pass.forget();
        let body = |entry: &Entry| String::from_utf8(entry.body().to_vec()).unwrap();
        let bodies: Vec<String> = entries.iter().map(body).collect();
        let mut state = self.0.state.lock().unwrap();
        state.attempts.push(bodies.clone());
        let keys = entries.iter().filter_map(|entry| entry.get_key());
        let keys = keys.map(|key| String::from_utf8(key.to_vec()).unwrap());
        state.keys.extend(keys);
        let answer = state.answers.pop_front();
        let results: Vec<Result<()>> = match answer {
            Some(Answer::Away) => return Err(away()),
            Some(Answer::Throttled(after)) => {
                let error = Error::new(ErrorKind::Throttled, "slow down");
                return Err(error.with_retry_after(after));
            }
            Some(Answer::Panic) => {
                drop(state);
                // Without the noise of a panic that nobody expects.
                std::panic::resume_unwind(Box::new("as told"))
            }
            Some(Answer::OneResultLess) => return Ok(bodies[1..].iter().map(|_| Ok(())).collect()),
            Some(Answer::Each) => {
                let answer = |body: &String| match body {
                    body if body.starts_with("bad") => Err(bad(body)),
                    body if body.starts_with("away") => Err(away()),
                    _ => Ok(()),
                };
                bodies.iter().map(answer).collect()
            }
            None => match bodies.iter().find(|body| body.starts_with("bad")) {
                Some(body) => return Err(bad(body)),
                None => bodies.iter().map(|_| Ok(())).collect(),
            },
        };
        let written = bodies.into_iter().zip(&results);
        let written = written.filter(|(_, result)| result.is_ok());
        let written = written.map(|(body, _)| body).collect();
        state.batches.push(written);
        Ok(results)
    }
}
