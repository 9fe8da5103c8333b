//! Explanations as text for people.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use super::message::{MessageExplanation, Standing};
use super::{BudgetFrom, Explanation, Wait};
use crate::clock::Timestamp;
use crate::config::OnFailure;
use crate::dead_letter::reason;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lock = span(self.lock);
        write!(f, "queue {} ({}): ", self.queue, self.provider)?;
        match self.budget {
            Some(1) => write!(f, "1 attempt at a message")?,
            Some(budget) => write!(f, "{budget} attempts at a message")?,
            None => write!(f, "a message comes back until it is acknowledged")?,
        }
        match (self.budget, self.budget_from) {
            (None, _) => write!(f, ", since there is no dead-letter queue")?,
            (_, BudgetFrom::Queue) => write!(f, ", as the queue is defined")?,
            (_, BudgetFrom::Client) => write!(f, ", as this client is configured")?,
            (_, BudgetFrom::Provider) => write!(f, ", as the provider gives up then")?,
        }
        writeln!(f, "; each is locked for {lock}")?;
        if let Some(receives) = self.max_receives.filter(|n| Some(*n) != self.budget) {
            writeln!(f, "the provider itself gives up after {receives} receives")?;
        }
        writeln!(
            f,
            "retry {}: when an attempt fails, the next one comes",
            self.retry
        )?;
        for (attempt, wait) in (1..).zip(&self.waits) {
            writeln!(f, "  after attempt {attempt}: {wait} later")?;
        }
        self.end(f)?;
        if let Some(longest) = self.longest_wait {
            writeln!(
                f,
                "the provider keeps a message away for {} at most",
                span(longest)
            )?;
        }
        match self.on_failure {
            Some(OnFailure::Block) => {
                writeln!(
                    f,
                    "those after it in its session wait meanwhile (on_failure=block)"
                )?;
            }
            Some(OnFailure::Skip) => {
                writeln!(
                    f,
                    "those after it in its session go on meanwhile (on_failure=skip)"
                )?;
            }
            Some(OnFailure::Park) => writeln!(
                f,
                "those after it in its session wait meanwhile, and until no dead letter of the \
                 session is left (on_failure=park)"
            )?,
            None => {}
        }
        write!(f, "what a failure does:")?;
        for consequence in &self.failures {
            let attempt = if consequence.uses_attempt {
                "uses an attempt"
            } else {
                "uses no attempt"
            };
            write!(
                f,
                "\n  {}: {attempt}; {}",
                consequence.failure, consequence.then
            )?;
        }
        Ok(())
    }
}

impl Explanation {
    /// What comes after the waits.
    fn end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.waits.len();
        match self.budget {
            None => writeln!(f, "  and so on"),
            Some(budget) if budget as usize > listed + 1 => {
                writeln!(f, "  and so on, up to attempt {budget}")
            }
            Some(_) => Ok(()),
        }?;
        let Some(last) = self.budget else {
            return Ok(());
        };
        let place = match &self.dead_letters {
            Some(name) if *name != self.queue => format!("in {name}"),
            _ => "of this queue".to_owned(),
        };
        let why = reason::MAX_ATTEMPTS;
        writeln!(
            f,
            "  after attempt {last}: never, it is a dead letter {place} (reason {why})"
        )?;
        if listed > 1 && last as usize == listed + 1 {
            let sum = |of: fn(&Wait) -> Duration| self.waits.iter().map(of).sum();
            let all = Wait {
                least: sum(|wait| wait.least),
                most: sum(|wait| wait.most),
            };
            writeln!(f, "  all these waits together: {all}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most {
            return write!(f, "{}", span(self.most));
        }
        write!(f, "{} to {}", span(self.least), span(self.most))
    }
}

impl fmt::Display for MessageExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of {}: ", self.id, self.queue)?;
        match self.standing {
            Standing::Ready => write!(f, "ready")?,
            Standing::Delayed => write!(f, "delayed{}", self.until(self.until))?,
            Standing::Fetched => write!(
                f,
                "fetched ahead by a consumer that has not begun on it, its lock ends{}",
                self.until(self.until)
            )?,
            Standing::InFlight => {
                write!(
                    f,
                    "in somebody's hands, its lock ends{}",
                    self.until(self.until)
                )?;
            }
            Standing::Dead => write!(f, "a dead letter")?,
            Standing::Gone => write!(
                f,
                "not here: acknowledged, expired, purged, or never sent to this queue"
            )?,
        }
        if let Some(death) = &self.death {
            write!(f, ", since {} (reason {}", moment(death.at), death.reason)?;
            if let Some(description) = &death.description {
                write!(f, ": {description}")?;
            }
            write!(f, ")")?;
        }
        if self.standing != Standing::Gone {
            write!(f, "\nattempts used: {}", self.attempts)?;
            if let Some(budget) = self.budget {
                write!(f, " of {budget}")?;
            }
        }
        if let Some(session) = &self.session {
            write!(f, "\nsession {session}")?;
            self.session(f)?;
        }
        self.next(f)
    }
}

impl MessageExplanation {
    fn until(&self, until: Option<Timestamp>) -> String {
        until.map_or_else(String::new, |until| {
            format!(" {} ({})", self.distance(until), moment(until))
        })
    }

    /// How far away a moment is.
    fn distance(&self, at: Timestamp) -> String {
        let far = |ms: i64| span(Duration::from_millis(ms.unsigned_abs()));
        match at.0.saturating_sub(self.now.0) {
            0 => "now".to_owned(),
            ms if ms > 0 => format!("in {}", far(ms)),
            ms => format!("{} ago", far(ms)),
        }
    }

    /// What it waits for in its session.
    fn session(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parked {
            write!(f, "; parked until its dead letters are redriven or purged")?;
        }
        if let Some(until) = self.session_held_until {
            let until = self.until(Some(until));
            write!(f, "; held by who accepted it, whose lock ends{until}")?;
        }
        let Some(behind) = &self.behind else {
            return Ok(());
        };
        let until = self.until(behind.until);
        match behind.standing {
            Standing::Delayed => write!(f, "; behind {}, which comes back{until}", behind.id),
            Standing::Ready => write!(f, "; behind {}, which is ready before it", behind.id),
            _ => write!(
                f,
                "; behind {}, which somebody has in hand, its lock ends{until}",
                behind.id
            ),
        }
    }

    /// When the next attempt comes.
    fn next(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = format!(
            "a failure makes it a dead letter (reason {})",
            reason::MAX_ATTEMPTS
        );
        match (self.standing, self.earliest) {
            (Standing::Dead, _) => write!(f, "\nnext attempt: none, unless it is redriven"),
            (Standing::Gone, _) => write!(f, "\nnext attempt: none"),
            (Standing::InFlight, None) => write!(f, "\nnext attempt: none; {last}"),
            (_, None) if self.parked => {
                write!(f, "\nnext attempt: when nothing parks its session any more")
            }
            (_, None) => write!(
                f,
                "\nnext attempt: none, it expires before{}",
                self.until(self.expires_at)
            ),
            (standing, Some(earliest)) => {
                let attempt = self.attempts + 1;
                write!(f, "\nnext attempt (number {attempt}): ")?;
                if standing == Standing::InFlight {
                    write!(f, "if this one fails, ")?;
                }
                match (self.latest, earliest <= self.now) {
                    (Some(latest), _) if latest == earliest => {
                        write!(f, "{}", self.distance(earliest))?;
                    }
                    (Some(latest), true) => {
                        write!(f, "{} at the latest", self.distance(latest))?;
                    }
                    (Some(latest), false) => write!(
                        f,
                        "{} at the earliest, {} at the latest",
                        self.distance(earliest),
                        self.distance(latest)
                    )?,
                    (None, true) => write!(f, "when its turn comes")?,
                    (None, false) => write!(f, "{} at the earliest", self.distance(earliest))?,
                }
                match standing {
                    Standing::InFlight | Standing::Fetched => {
                        write!(f, ", unless its lock is kept for longer")
                    }
                    _ => write!(f, ", as soon as somebody receives then"),
                }
            }
        }
    }
}

/// A duration in whole milliseconds.
fn span(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let millis = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
    humantime::format_duration(millis).to_string()
}

/// A moment of the calendar.
fn moment(at: Timestamp) -> String {
    let after = Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
    match UNIX_EPOCH.checked_add(after) {
        Some(time) if at.0 < LAST => humantime::format_rfc3339_millis(time).to_string(),
        _ => "in a far future".to_owned(),
    }
}

/// The end of the year 9999, after which moments have no common form.
const LAST: i64 = 253_402_300_800_000;
