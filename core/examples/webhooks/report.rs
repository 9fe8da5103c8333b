//! What is printed, and the check that everything adds up: against the list of what was sent,
//! not by asking the queue.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use queue_runtime_core::{DeadLetter, Statistics};

use crate::input::{self, Webhook};
use crate::{Attempt, FAILING, PLAIN_HANDLERS, SESSION_HANDLERS};

/// In microseconds; nothing here takes longer.
const HOUR: u64 = 3_600_000_000;

pub fn print_input(webhooks: &[Webhook]) {
    let sessions = input::sessions(webhooks).len();
    let free = webhooks.iter().filter(|w| w.session.is_none()).count();
    println!(
        "Sent {} webhooks to memory: {} in {sessions} sessions (a pull request, an issue, or the \
         rest of a repository), {free} without one",
        webhooks.len(),
        webhooks.len() - free,
    );
}

pub fn print_dead_letters(letters: &[DeadLetter], held_back: &[&str]) {
    println!("\nDead letters, before they are redriven");
    for letter in letters {
        let session = letter.message.properties().session.as_deref();
        let waiting = held_back.iter().filter(|id| **id != letter.id.to_string());
        println!("  message       {}", letter.id);
        println!("  session       {}", session.unwrap_or("none"));
        println!("  reason        {}", letter.reason);
        println!(
            "  description   {}",
            letter.description.as_deref().unwrap_or("none")
        );
        println!("  attempts      {}", letter.attempts);
        println!("  waiting       {} messages behind it", waiting.count());
    }
}

/// What the handlers did, beside what was sent.
pub struct Outcome<'a> {
    pub webhooks: &'a [Webhook],
    /// When each webhook was sent.
    pub sent: &'a [Instant],
    /// The failing webhook and those that waited behind it.
    pub held_back: &'a [&'a str],
    pub attempts: Vec<Attempt>,
    pub dead_letters: usize,
    pub redriven: u64,
    /// The queue at the end.
    pub left: Statistics,
    pub budget: u32,
}

impl Outcome<'_> {
    pub fn check_and_print(mut self) -> Result<(), String> {
        self.attempts.sort_by_key(|attempt| attempt.started);
        self.check_handled()?;
        self.check_failing()?;
        let ordered = self.check_order()?;

        self.print_events();
        let (total, attempts) = (self.webhooks.len(), self.attempts.len());
        let sessions = input::sessions(self.webhooks).len();
        let held_back = |id: &str| self.held_back.contains(&id);
        let rows = [
            ("handled", format!("{} of {total}", self.handled().count())),
            (
                "in order",
                format!("{ordered} messages of {sessions} sessions, one at a time in each"),
            ),
            (
                "attempts",
                format!("{attempts}, {} failed on purpose", attempts - total),
            ),
            ("by handler", self.by_handler()),
            ("at one time", format!("up to {}", self.side_by_side())),
            ("dead letters", self.dead_letters.to_string()),
            ("redriven", self.redriven.to_string()),
            ("latency", self.latency(|id| !held_back(id))),
            (
                "held back",
                self.latency(held_back) + " (by the dead letter)",
            ),
        ];
        println!("\nResult");
        for (name, value) in rows {
            println!("  {name:<14}{value}");
        }
        Ok(())
    }

    fn handled(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.handled)
    }

    /// Every webhook was handled once, with its event, and nothing is left.
    fn check_handled(&self) -> Result<(), String> {
        let name = |id: &str, event: &str| format!("{id} ({event})");
        let mut sent: Vec<String> = self
            .webhooks
            .iter()
            .map(|w| name(&w.id, &w.event))
            .collect();
        let mut handled: Vec<String> = self.handled().map(|a| name(&a.id, &a.event)).collect();
        sent.sort();
        handled.sort();
        ensure(sent == handled, || {
            format!("sent {sent:?}, but handled {handled:?}")
        })?;
        ensure(self.left.depth() == 0 && self.left.dead == 0, || {
            format!("something is left in the queue: {:?}", self.left)
        })
    }

    /// The failing webhook used its budget, was dead-lettered, redriven, and handled at once; all
    /// others were handled at their first attempt.
    fn check_failing(&self) -> Result<(), String> {
        let attempts_at = |failing: bool| {
            let attempts = self
                .attempts
                .iter()
                .filter(move |a| (a.id == FAILING) == failing);
            attempts.map(|attempt| attempt.number)
        };
        let numbers: Vec<u32> = attempts_at(true).collect();
        let expected: Vec<u32> = (1..=self.budget).chain([1]).collect();
        ensure(numbers == expected, || {
            format!("{FAILING} had the attempts {numbers:?}, not {expected:?}")
        })?;
        ensure(attempts_at(false).all(|number| number == 1), || {
            "a message was delivered again that had not failed".to_owned()
        })?;
        ensure((self.dead_letters, self.redriven) == (1, 1), || {
            format!(
                "{} dead letters, {} redriven",
                self.dead_letters, self.redriven
            )
        })
    }

    /// In each session messages were handled as sent, and no attempt began before the one before
    /// it had ended. Answers how many messages that was checked for.
    fn check_order(&self) -> Result<usize, String> {
        let mut checked = 0;
        for session in input::sessions(self.webhooks) {
            let in_session = |w: &&Webhook| w.session.as_deref() == Some(session);
            let sent: Vec<&str> = self
                .webhooks
                .iter()
                .filter(in_session)
                .map(|w| w.id.as_str())
                .collect();
            let attempts: Vec<&Attempt> = self
                .attempts
                .iter()
                .filter(|a| sent.contains(&a.id.as_str()))
                .collect();
            let mut seen: Vec<&str> = attempts.iter().map(|a| a.id.as_str()).collect();
            // Several attempts at one message in a row are one place in the order.
            seen.dedup();
            ensure(seen == sent, || {
                format!("{session}: sent {sent:?}, but handled {seen:?}")
            })?;
            let overlap = attempts
                .windows(2)
                .find(|pair| pair[1].started < pair[0].ended);
            ensure(overlap.is_none(), || {
                format!("{session}: two handlers at one time")
            })?;
            checked += sent.len();
        }
        Ok(checked)
    }

    fn print_events(&self) {
        const COLUMNS: usize = 3;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for attempt in self.handled() {
            *counts.entry(&attempt.event).or_default() += 1;
        }
        println!("\nHandled, by event ({} events)", counts.len());
        let cells: Vec<String> = counts
            .iter()
            .map(|(event, count)| format!("{event:<30} {count:>3}"))
            .collect();
        let rows = cells.len().div_ceil(COLUMNS);
        for row in 0..rows {
            let line: Vec<&str> = cells
                .iter()
                .skip(row)
                .step_by(rows)
                .map(String::as_str)
                .collect();
            println!("  {}", line.join("   "));
        }
    }

    /// Attempts of each handler.
    fn by_handler(&self) -> String {
        let mut counts = [0; SESSION_HANDLERS + PLAIN_HANDLERS];
        for attempt in &self.attempts {
            counts[attempt.handler] += 1;
        }
        counts.map(|count: usize| count.to_string()).join(" + ")
    }

    /// The most attempts that went on at one time.
    fn side_by_side(&self) -> usize {
        let going_on_at = |moment| {
            let attempts = self.attempts.iter();
            attempts
                .filter(|a| a.started <= moment && moment < a.ended)
                .count()
        };
        self.attempts
            .iter()
            .map(|a| going_on_at(a.started))
            .max()
            .unwrap_or(0)
    }

    /// From send to the end of the handling, of the webhooks whose id is picked.
    fn latency(&self, pick: impl Fn(&str) -> bool) -> String {
        let ended: BTreeMap<&str, Instant> =
            self.handled().map(|a| (a.id.as_str(), a.ended)).collect();
        let mut histogram =
            Histogram::<u64>::new_with_bounds(1, HOUR, 3).expect("these bounds are allowed");
        for (webhook, sent) in self.webhooks.iter().zip(self.sent) {
            if pick(&webhook.id) {
                let latency = ended[webhook.id.as_str()].duration_since(*sent);
                histogram.saturating_record(latency.as_micros() as u64);
            }
        }
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        format!("p50 {:.1?}, p99 {:.1?}", at(0.5), at(0.99))
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
