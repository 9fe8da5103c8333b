//! What a worker did, as it says itself: a line for each thing it is about to do or has done,
//! written at once, so that it survives the kill of the worker.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When what it says began, in nanoseconds of the machine.
    pub began: u64,
    /// When it was written.
    pub written: u64,
    pub what: What,
    /// The messages, each with a number that belongs to it: the attempt of a delivery.
    pub messages: Vec<(String, u32)>,
}

/// What is said of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Sending,
    Sent,
    Received,
    Acking,
    Acked,
    Nacking,
    Releasing,
    Released,
    Burying,
}

const WORDS: [(What, &str); 9] = [
    (What::Sending, "sending"),
    (What::Sent, "sent"),
    (What::Received, "received"),
    (What::Acking, "acking"),
    (What::Acked, "acked"),
    (What::Nacking, "nacking"),
    (What::Releasing, "releasing"),
    (What::Released, "released"),
    (What::Burying, "burying"),
];

pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub struct Journal(File);

impl Journal {
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Self(file.unwrap())
    }

    pub fn say(&mut self, began: u64, what: What, messages: &[(String, u32)]) {
        if messages.is_empty() {
            return;
        }
        let word = WORDS.iter().find(|(w, _)| *w == what).unwrap().1;
        let mut line = format!("{began} {} {word}", now());
        for (name, number) in messages {
            line += &format!(" {name}={number}");
        }
        line.push('\n');
        self.0.write_all(line.as_bytes()).unwrap();
    }
}

/// The lines of a journal; one that was cut by a kill is none.
pub fn read(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Event> {
    let mut words = line.split(' ');
    let began = words.next()?.parse().ok()?;
    let written = words.next()?.parse().ok()?;
    let word = words.next()?;
    let what = WORDS.iter().find(|(_, w)| *w == word)?.0;
    let message = |text: &str| {
        let (name, number) = text.split_once('=')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    Some(Event {
        began,
        written,
        what,
        messages: words.map(message).collect::<Option<_>>()?,
    })
}
