//! A process that sends, receives and settles at random until it is killed.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use queue_runtime_core::{
    Delivery, Message, Queue, QueueOptions, ReceiveOptions, Retry, Runtime, RuntimeConfig,
    Settlement, Verb, blocking,
};

use crate::journal::{Journal, What, now};

/// The most messages of one send or receive.
pub const BATCH: usize = 20;
/// Sessions of each worker.
const SESSIONS: u32 = 3;
/// Messages the store holds before workers rather receive.
const ENOUGH: u64 = 400;
const BUDGET: u32 = 8;

pub struct Task {
    pub url: String,
    pub journal: PathBuf,
    pub name: u32,
}

impl Task {
    pub fn from_environment() -> Option<Self> {
        let value = |name| std::env::var(name).ok();
        Some(Self {
            url: value("QRT_CRASH_URL")?,
            journal: value("QRT_CRASH_JOURNAL")?.into(),
            name: value("QRT_CRASH_NAME")?.parse().ok()?,
        })
    }

    pub fn into_environment(self, command: &mut Command) -> &mut Command {
        command
            .env("QRT_CRASH_URL", self.url)
            .env("QRT_CRASH_JOURNAL", self.journal)
            .env("QRT_CRASH_NAME", self.name.to_string())
            .env("RUST_BACKTRACE", "0")
    }
}

pub fn options() -> QueueOptions {
    QueueOptions {
        lock: Some(Duration::from_millis(150)),
        budget: Some(BUDGET),
        retry: Some(Retry::None),
        ..QueueOptions::default()
    }
}

struct Worker {
    runtime: Runtime,
    queue: Queue,
    journal: Journal,
    random: Rng,
    name: u32,
    sent: u32,
    of_session: [u32; SESSIONS as usize],
}

/// Ends this process when who started it is gone.
fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::abort();
    });
}

pub fn run(task: &Task) {
    end_with_parent();
    let config = RuntimeConfig {
        worker_threads: Some(1),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config).unwrap();
    let client = runtime
        .block_on(runtime.connect(task.url.as_str()))
        .unwrap()
        .unwrap();
    let mut worker = Worker {
        queue: client.queue_with("crash", options()).unwrap(),
        runtime,
        journal: Journal::open(&task.journal),
        random: Rng::new(),
        name: task.name,
        sent: 0,
        of_session: [0; SESSIONS as usize],
    };
    loop {
        let depth = worker.wait(worker.queue.statistics()).depth();
        if depth < ENOUGH && worker.random.u8(..) < 110 {
            worker.send();
        } else {
            worker.receive();
        }
    }
}

impl Worker {
    /// Waits for a verb: half of the time leading its flush, half of the time letting it be led.
    fn wait<T>(&self, verb: impl Future<Output = queue_runtime_core::Result<T>>) -> T {
        let waited = if fastrand::bool() {
            blocking(|| self.runtime.block_on(verb))
        } else {
            self.runtime.block_on(verb)
        };
        waited.unwrap().unwrap()
    }

    /// Names say where in its session a message stands: `w3.s1.17`, or `w3.17` without one.
    fn send(&mut self) {
        let mut names = Vec::new();
        let mut messages = Vec::new();
        for _ in 0..self.random.usize(1..=BATCH) {
            let padding = "x".repeat(self.random.usize(..900));
            if self.random.u8(..) < 100 {
                let session = self.random.u32(..SESSIONS);
                let number = &mut self.of_session[session as usize];
                *number += 1;
                let id = format!("w{}.s{session}", self.name);
                let name = format!("{id}.{number}");
                messages.push(Message::new(format!("{name} {padding}")).session(id));
                names.push((name, 0));
            } else {
                self.sent += 1;
                let name = format!("w{}.{}", self.name, self.sent);
                let mut message = Message::new(format!("{name} {padding}"));
                if self.random.u8(..) < 30 {
                    message = message.delay(Duration::from_millis(self.random.u64(1..80)));
                }
                messages.push(message);
                names.push((name, 0));
            }
        }
        let began = now();
        self.journal.say(began, What::Sending, &names);
        let results = self.wait(self.queue.send_many(messages));
        results.into_iter().for_each(|result| drop(result.unwrap()));
        self.journal.say(began, What::Sent, &names);
    }

    fn receive(&mut self) {
        let options = ReceiveOptions::new()
            .max_messages(self.random.u32(1..=BATCH as u32))
            .wait(Duration::from_millis(20));
        let began = now();
        let deliveries = self.wait(self.queue.receive(&options));
        let named = |d: &Delivery| {
            let body = std::str::from_utf8(d.body()).unwrap();
            (body.split(' ').next().unwrap().to_owned(), d.attempt())
        };
        let all: Vec<_> = deliveries.iter().map(named).collect();
        self.journal.say(began, What::Received, &all);
        let mut groups: [(What, Option<What>, Verb, Vec<usize>); 4] = [
            (What::Acking, Some(What::Acked), Verb::Ack, Vec::new()),
            (
                What::Nacking,
                None,
                Verb::Nack {
                    reason: None,
                    delay: Some(Duration::from_millis(self.random.u64(..20))),
                },
                Vec::new(),
            ),
            (
                What::Releasing,
                Some(What::Released),
                Verb::Release { delay: None },
                Vec::new(),
            ),
            (
                What::Burying,
                None,
                Verb::DeadLetter {
                    reason: "random".into(),
                    description: None,
                },
                Vec::new(),
            ),
        ];
        for index in 0..deliveries.len() {
            match self.random.u8(..100) {
                0..75 => groups[0].3.push(index),
                75..85 => groups[1].3.push(index),
                85..91 => groups[2].3.push(index),
                91..94 => groups[3].3.push(index),
                // Held until its lock ends.
                _ => {}
            }
        }
        for (before, after, verb, indices) in groups {
            let names: Vec<_> = indices.iter().map(|i| all[*i].clone()).collect();
            let began = now();
            self.journal.say(began, before, &names);
            let settlements: Vec<Settlement> = indices
                .iter()
                .map(|i| deliveries[*i].settlement(verb.clone()))
                .collect();
            let results = self.wait(self.queue.settle(settlements));
            // A lock may have ended meanwhile; the others are settled.
            let done = names.into_iter().zip(&results).filter(|(_, r)| r.is_ok());
            let done: Vec<_> = done.map(|(name, _)| name).collect();
            if let Some(after) = after {
                self.journal.say(began, after, &done);
            }
        }
    }
}
