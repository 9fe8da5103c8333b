//! Where one message stands, and when the next attempt at it comes.

use serde::Serialize;

use super::{Queue, budget, same, wait};
use crate::capability::Capability;
use crate::clock::Timestamp;
use crate::config::OnFailure;
use crate::dead_letter::DeadLetterFilter;
use crate::error::Result;
use crate::message::MessageId;
use crate::provider::ProviderQueue;
use crate::queue::{MessageState, Peeked};

/// Messages looked at in one go.
const PAGE: u32 = 1000;

/// Where a message stands, and when the next attempt at it comes. Printed it is text for people;
/// serialised its moments are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MessageExplanation {
    /// The queue.
    pub queue: String,
    /// The message.
    pub id: String,
    /// When this was so.
    pub now: Timestamp,
    /// How it stands.
    pub standing: Standing,
    /// Attempts it has used, with the one that goes on.
    pub attempts: u32,
    /// Attempts it may use.
    pub budget: Option<u32>,
    /// The session it is of.
    pub session: Option<String>,
    /// Of a delayed one: when the delay ends. Of one in flight: when its lock ends, unless that is
    /// kept.
    pub until: Option<Timestamp>,
    /// When it expires, unless somebody has it in hand then.
    pub expires_at: Option<Timestamp>,
    /// What it waits for in its session, first of all.
    pub behind: Option<Behind>,
    /// Until when its session is held by who accepted it, unless the lock is kept. To the holder it
    /// can be handed out meanwhile.
    pub session_held_until: Option<Timestamp>,
    /// Whether its session waits until no dead letter of it is left (`on_failure = park`).
    pub parked: bool,
    /// Why and when it was given up.
    pub death: Option<Death>,
    /// The next attempt does not begin before; `None` when there will be none, or when it waits for
    /// something that has no time.
    pub earliest: Option<Timestamp>,
    /// The message is back at the latest then, if nobody keeps its lock. `None` when that depends on
    /// others: it is there, or waits for them.
    pub latest: Option<Timestamp>,
}

/// How a message stands that is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// To be received, when its turn comes.
    Ready,
    /// Not yet to be received.
    Delayed,
    /// Fetched ahead by somebody, who has not begun to work on it.
    Fetched,
    /// In somebody's hands.
    InFlight,
    /// Given up.
    Dead,
    /// Not in the queue: acknowledged, expired, purged, or never sent to it.
    Gone,
}

/// A message that another one of its session waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Behind {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub standing: Standing,
    /// When its delay or its lock ends.
    pub until: Option<Timestamp>,
}

/// Why and when a message was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Death {
    /// Why, in a word.
    pub reason: String,
    /// Why, at length.
    pub description: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Standing {
    fn of(peeked: &Peeked) -> Self {
        match peeked.state {
            MessageState::Ready => Self::Ready,
            MessageState::Delayed => Self::Delayed,
            MessageState::InFlight if peeked.outlook.unbegun => Self::Fetched,
            MessageState::InFlight => Self::InFlight,
        }
    }
}

impl Queue {
    /// Where the message of this id stands, and when the next attempt at it comes: of the first one,
    /// if several have the id. It is looked for among all messages, so its cost grows with the
    /// queue; takes nothing. `Unsupported` without the capability `peek`.
    pub async fn explain_message(&self, id: &MessageId) -> Result<MessageExplanation> {
        self.require("explain", Capability::Peek)?;
        let terms = self.terms().await?;
        let mut said = MessageExplanation {
            queue: self.name().to_owned(),
            id: id.to_string(),
            now: self.clock().timestamp(self.clock().now()),
            standing: Standing::Gone,
            attempts: 0,
            budget: budget(&terms, self.definition().budget).0,
            session: None,
            until: None,
            expires_at: None,
            behind: None,
            session_held_until: None,
            parked: false,
            death: None,
            earliest: None,
            latest: None,
        };
        let Some(peeked) = self.find(|peeked| peeked.id == *id).await? else {
            self.explain_death(id, &mut said).await?;
            return Ok(said);
        };
        said.standing = Standing::of(&peeked);
        said.attempts = peeked.attempts;
        said.until = peeked.outlook.until;
        said.expires_at = peeked.outlook.expires_at;
        said.session = peeked
            .message
            .properties()
            .session
            .as_deref()
            .map(str::to_owned);
        // Groups without an order wait for nothing.
        let ordered = self.has(Capability::Sessions);
        if ordered && matches!(said.standing, Standing::Ready | Standing::Delayed) {
            let on_failure = terms.on_failure.unwrap_or(self.definition().on_failure);
            self.explain_session(&peeked, on_failure, &mut said).await?;
        }
        said.foretell(|attempt| wait(&self.definition().retry, attempt, &terms));
        Ok(said)
    }

    /// The first message that is as wanted.
    async fn find(&self, mut wanted: impl FnMut(&Peeked) -> bool) -> Result<Option<Peeked>> {
        let mut after = None;
        loop {
            let ask = |provider: &dyn ProviderQueue| provider.peek(after, PAGE);
            let page = self.ask("explain", ask, same).await?;
            let Some(last) = page.last().map(|last| last.sequence) else {
                return Ok(None);
            };
            after = Some(last);
            if let Some(found) = page.into_iter().find(&mut wanted) {
                return Ok(Some(found));
            }
        }
    }

    async fn explain_death(&self, id: &MessageId, said: &mut MessageExplanation) -> Result<()> {
        if !self.has(Capability::DeadLetterList) {
            return Ok(());
        }
        let filter = DeadLetterFilter::ids([id.clone()]);
        let ask = |provider: &dyn ProviderQueue| provider.dead_letters(filter, None, 1);
        let Some(letter) = self.ask("explain", ask, same).await?.pop() else {
            return Ok(());
        };
        said.standing = Standing::Dead;
        said.attempts = letter.attempts;
        said.session = letter
            .message
            .properties()
            .session
            .as_deref()
            .map(str::to_owned);
        said.death = Some(Death {
            reason: letter.reason.to_string(),
            description: letter.description.as_deref().map(str::to_owned),
            at: letter.dead_lettered_at,
        });
        Ok(())
    }

    /// What a message that nobody has waits for in its session.
    async fn explain_session(
        &self,
        of: &Peeked,
        on_failure: OnFailure,
        said: &mut MessageExplanation,
    ) -> Result<()> {
        let Some(session) = &of.message.properties().session else {
            return Ok(());
        };
        said.session_held_until = of.outlook.session_held_until;
        let mut behind: Option<(u8, Peeked)> = None;
        self.find(|other| {
            let same = other.message.properties().session.as_ref() == Some(session);
            // What is away and holds the others up has a time; what is in hand, none but its lock's;
            // what is before it, neither.
            let weight = match other.state {
                _ if !same || other.sequence == of.sequence => 0,
                MessageState::Delayed if other.outlook.blocks => 3,
                MessageState::InFlight => 2,
                MessageState::Ready if other.sequence < of.sequence => 1,
                MessageState::Ready | MessageState::Delayed => 0,
            };
            let is_later =
                |before: &Peeked| weight == 3 && other.outlook.until > before.outlook.until;
            if weight > 0
                && behind.as_ref().is_none_or(|(most, before)| {
                    weight > *most || (weight == *most && is_later(before))
                })
            {
                behind = Some((weight, other.clone()));
            }
            false
        })
        .await?;
        said.behind = behind.map(|(_, other)| Behind {
            id: other.id.to_string(),
            standing: Standing::of(&other),
            until: other.outlook.until,
        });
        if on_failure == OnFailure::Park && self.has(Capability::DeadLetterList) {
            let filter = DeadLetterFilter {
                session: Some(session.clone()),
                ..DeadLetterFilter::default()
            };
            let ask = |provider: &dyn ProviderQueue| provider.dead_letters(filter, None, 1);
            said.parked = !self.ask("explain", ask, same).await?.is_empty();
        }
        Ok(())
    }
}

impl MessageExplanation {
    /// Whether an attempt is left after the present one.
    pub(super) fn has_attempts_left(&self) -> bool {
        self.budget.is_none_or(|budget| self.attempts < budget)
    }

    /// Says when the next attempt comes, from everything else.
    fn foretell(&mut self, wait: impl Fn(u32) -> super::Wait) {
        let later = |at: Timestamp, by: std::time::Duration| {
            let by = i64::try_from(by.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
            Timestamp(at.0.saturating_add(by))
        };
        (self.earliest, self.latest) = match self.standing {
            Standing::Ready | Standing::Delayed if self.parked => (None, None),
            Standing::Ready => (Some(self.now), None),
            Standing::Delayed => (self.until, self.until),
            Standing::Fetched => (Some(self.now), self.until),
            Standing::InFlight if self.has_attempts_left() => {
                let wait = wait(self.attempts.max(1));
                let failed_now = later(self.now, wait.least);
                let earliest = self.until.map_or(failed_now, |lost| failed_now.min(lost));
                (
                    Some(earliest),
                    self.until.map(|until| later(until, wait.most)),
                )
            }
            Standing::InFlight | Standing::Dead | Standing::Gone => (None, None),
        };
        if let Some(behind) = &self.behind {
            self.latest = None;
            if behind.standing == Standing::Delayed {
                self.earliest = self.earliest.max(behind.until);
            }
        }
        // What is in somebody's hands does not expire there.
        let waits = matches!(self.standing, Standing::Ready | Standing::Delayed);
        if waits
            && self
                .expires_at
                .is_some_and(|end| self.earliest.is_some_and(|at| end <= at))
        {
            (self.earliest, self.latest) = (None, None);
        }
    }
}
