//! Explaining: when the next attempt at a message comes, and why then.

mod message;
mod text;

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Queue, same};
use crate::capability::Capability;
use crate::config::OnFailure;
use crate::dead_letter::reason;
use crate::error::Result;
use crate::provider::{DeadLetterPlace, Terms};
use crate::resilience::Retry;
pub use message::{Behind, Death, MessageExplanation, Standing};

/// At most so many waits are listed.
const LISTED: u32 = 100;

/// When failed messages of a queue are tried again, as it is in force for this client. Printed it is
/// text for people; serialised its durations are milliseconds, in fields that end in `_ms`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The queue.
    pub queue: String,
    /// Its provider.
    pub provider: String,
    /// Attempts at a message; `None` where it comes back until somebody acknowledges it, since there
    /// is nowhere to put dead letters.
    pub budget: Option<u32>,
    /// Who says so.
    pub budget_from: BudgetFrom,
    /// After how many receives the provider itself gives a message up, where it counts them.
    pub max_receives: Option<u32>,
    /// How long each delivery is locked.
    #[serde(rename = "lock_ms", serialize_with = "ms")]
    pub lock: Duration,
    /// The retry policy of this client.
    pub retry: Retry,
    /// How long after a failed attempt the next one comes: the first wait is that after the first.
    /// Where the budget is larger than 101, or there is none, the first 100 of them.
    pub waits: Vec<Wait>,
    /// The provider keeps no message away for longer.
    #[serde(rename = "longest_wait_ms", serialize_with = "some_ms")]
    pub longest_wait: Option<Duration>,
    /// The queue whose dead letters messages become when the last attempt has failed: itself, or one
    /// of the provider's.
    pub dead_letters: Option<String>,
    /// What a failed message does to those after it in its session; `None` without sessions.
    pub on_failure: Option<OnFailure>,
    /// What follows from each way to fail.
    pub failures: Vec<Consequence>,
}

/// Who says how many attempts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetFrom {
    /// The queue's own definition, by whoever used it first.
    Queue,
    /// This client's option `budget`, or its default.
    Client,
    /// The provider, which gives up earlier than this client would.
    Provider,
}

/// How long a message stays away: between these two, by chance where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// At least.
    #[serde(rename = "least_ms", serialize_with = "ms")]
    pub least: Duration,
    /// At most.
    #[serde(rename = "most_ms", serialize_with = "ms")]
    pub most: Duration,
}

/// What follows from a way to fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consequence {
    /// Which way: `transient`, `throttled`, `release`, `permanent` or `lock_lost`.
    pub failure: &'static str,
    /// Whether the attempt is used up.
    pub uses_attempt: bool,
    /// What becomes of the message.
    pub then: String,
}

impl Queue {
    /// When messages of this queue are tried again after they failed, as it is in force: budget and
    /// retry policy, what the provider makes of them, and where it ends. Takes nothing; a provider
    /// across a network may be asked.
    ///
    /// ```
    /// # async fn example() -> queue_runtime_core::Result<()> {
    /// # let client = queue_runtime_core::connect("memory:").await?;
    /// let orders = client.queue("orders")?;
    /// println!("{}", orders.explain().await?);
    /// # Ok(())
    /// # }
    /// # queue_runtime_core::Runtime::shared().unwrap().block_on(example()).unwrap().unwrap();
    /// ```
    pub async fn explain(&self) -> Result<Explanation> {
        Ok(self.explanation(self.terms().await?))
    }

    async fn terms(&self) -> Result<Terms> {
        self.placed("explain", self.check_open())?;
        self.ask("explain", |provider| provider.terms(), same).await
    }

    fn explanation(&self, terms: Terms) -> Explanation {
        let definition = self.definition();
        let (budget, budget_from) = budget(&terms, definition.budget);
        let failing = budget.map_or(LISTED, |budget| LISTED.min(budget - 1));
        let waits = (1..=failing).map(|attempt| wait(&definition.retry, attempt, &terms));
        Explanation {
            queue: self.name().to_owned(),
            provider: self.capabilities().provider().to_owned(),
            budget,
            budget_from,
            max_receives: terms.max_receives,
            lock: terms.lock.unwrap_or(definition.lock),
            retry: definition.retry.clone(),
            waits: waits.collect(),
            longest_wait: terms.longest_wait,
            on_failure: self
                .has(Capability::Sessions)
                .then(|| terms.on_failure.unwrap_or(definition.on_failure)),
            failures: self.consequences(&terms),
            dead_letters: match terms.dead_letters {
                DeadLetterPlace::Beside => Some(self.name().to_owned()),
                DeadLetterPlace::Queue(name) => Some(name),
                DeadLetterPlace::Nowhere => None,
            },
        }
    }

    fn consequences(&self, terms: &Terms) -> Vec<Consequence> {
        let charged = !self.has(Capability::Release);
        let ends = terms.dead_letters != DeadLetterPlace::Nowhere;
        let last = if ends {
            let crashed = reason::CRASHED;
            format!("; after the last attempt it is a dead letter with the reason {crashed}")
        } else {
            String::new()
        };
        [
            (
                "transient",
                true,
                "comes back as the retry policy says".to_owned(),
            ),
            (
                "throttled",
                charged,
                "comes back after the time that the failure says, or 1s".to_owned(),
            ),
            (
                "release",
                charged,
                "comes back after the delay it is given back with, or at once".to_owned(),
            ),
            (
                "permanent",
                true,
                if ends {
                    "is a dead letter at once".to_owned()
                } else {
                    "cannot be a dead letter, and comes back when its lock ends".to_owned()
                },
            ),
            (
                "lock_lost",
                true,
                format!("comes back at once when its lock ends, also when its process died{last}"),
            ),
        ]
        .map(|(failure, uses_attempt, then)| Consequence {
            failure,
            uses_attempt,
            then,
        })
        .into()
    }
}

/// How many attempts there are, if they are counted, and who says so.
fn budget(terms: &Terms, of_client: u32) -> (Option<u32>, BudgetFrom) {
    let (budget, from) = match (terms.budget, terms.max_receives) {
        (Some(budget), _) => (budget, BudgetFrom::Queue),
        (None, Some(receives)) if receives < of_client => (receives, BudgetFrom::Provider),
        (None, _) => (of_client, BudgetFrom::Client),
    };
    let counted = terms.dead_letters != DeadLetterPlace::Nowhere;
    (counted.then_some(budget.max(1)), from)
}

/// How long after this failed attempt the next one comes.
fn wait(retry: &Retry, attempt: u32, terms: &Terms) -> Wait {
    let kept = |wait: Duration| {
        let longest = terms.longest_wait.unwrap_or(Duration::MAX);
        match terms.wait_step.as_nanos() {
            0 => wait,
            step => {
                let steps = wait.as_nanos().div_ceil(step);
                terms
                    .wait_step
                    .saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
            }
        }
        .min(longest)
    };
    let (least, most) = retry.range(attempt);
    Wait {
        least: kept(least),
        most: kept(most),
    }
}

fn ms<S: Serializer>(duration: &Duration, s: S) -> std::result::Result<S::Ok, S::Error> {
    some_ms(&Some(*duration), s)
}

fn some_ms<S: Serializer>(
    duration: &Option<Duration>,
    s: S,
) -> std::result::Result<S::Ok, S::Error> {
    let millis = |duration: Duration| duration.as_nanos().div_ceil(1_000_000) as u64;
    duration.map(millis).serialize(s)
}
