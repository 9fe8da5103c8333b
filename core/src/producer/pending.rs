//! What a producer has accepted and not yet sent: bounded, in order, and due when its options say.
//!
//! Every message that is accepted ends in one of `sent`, `failed` and `unsent`, or is in `queued` or
//! `on_way` until then.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::options::ProducerOptions;
use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::message::{Message, SendResult};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    Open,
    /// Nothing more is accepted; what is there is sent.
    Draining,
    /// What is there stays.
    Stopped,
}

/// A message that was accepted.
pub(super) struct Queued {
    pub(super) message: Message,
    at: Tick,
    /// Who waits for its result, if he still does.
    done: oneshot::Sender<Result<SendResult>>,
}

#[derive(Default)]
pub(super) struct Pending {
    pub(super) stage: Stage,
    queued: VecDeque<Queued>,
    queued_bytes: u64,
    /// Of the batch that is on its way.
    on_way: Vec<oneshot::Sender<Result<SendResult>>>,
    on_way_bytes: u64,
    pub(super) accepted: u64,
    pub(super) sent: u64,
    pub(super) failed: u64,
    /// Given up, for the program to take.
    pub(super) unsent: Vec<Message>,
    /// What was accepted before is due at once.
    flush_to: u64,
}

/// When there is something to send.
pub(super) enum Due {
    Now,
    At(Tick),
    /// When something comes.
    Later,
    /// Nothing will come any more.
    Never,
}

impl Pending {
    /// Whether there is room for a message of this size. `Closed` when nothing is accepted any more.
    pub(super) fn has_room(&self, options: &ProducerOptions, bytes: u64) -> Result<bool> {
        if self.stage != Stage::Open {
            return Err(Error::closed("producer"));
        }
        let pending = (self.queued.len() + self.on_way.len()) as u64;
        let held = self.queued_bytes + self.on_way_bytes;
        Ok(pending < options.max_pending && held + bytes <= options.max_pending_bytes)
    }

    /// Accepts a message. Answers whether something may be due earlier than before.
    pub(super) fn put(
        &mut self,
        options: &ProducerOptions,
        message: Message,
        at: Tick,
        done: oneshot::Sender<Result<SendResult>>,
    ) -> bool {
        let whole = self.is_whole(options);
        self.accepted += 1;
        self.queued_bytes += message.bytes() as u64;
        self.queued.push_back(Queued { message, at, done });
        self.queued.len() == 1 || (!whole && self.is_whole(options))
    }

    fn is_whole(&self, options: &ProducerOptions) -> bool {
        self.queued.len() >= options.batch_size as usize || self.queued_bytes >= options.batch_bytes
    }

    /// When the next batch is due; `pressed`: somebody waits for room.
    pub(super) fn due(&self, options: &ProducerOptions, now: Tick, pressed: bool) -> Due {
        let Some(first) = self.queued.front() else {
            return match self.stage {
                Stage::Open => Due::Later,
                Stage::Draining | Stage::Stopped => Due::Never,
            };
        };
        let deadline = first.at + options.linger;
        let flushed = self.done() < self.flush_to;
        match self.stage {
            Stage::Stopped => Due::Never,
            Stage::Draining => Due::Now,
            Stage::Open if flushed || pressed || deadline <= now => Due::Now,
            Stage::Open if self.is_whole(options) => Due::Now,
            Stage::Open => Due::At(deadline),
        }
    }

    /// Sends the next batch off.
    pub(super) fn cut(&mut self, options: &ProducerOptions) -> Vec<Message> {
        let most = self.queued.len().min(options.batch_size as usize);
        let mut messages = Vec::with_capacity(most);
        while messages.len() < most
            && let Some(next) = self.queued.front()
            && let bytes = next.message.bytes() as u64
            && (messages.is_empty() || self.on_way_bytes + bytes <= options.batch_bytes)
            && let Some(Queued { message, done, .. }) = self.queued.pop_front()
        {
            self.queued_bytes -= bytes;
            self.on_way_bytes += bytes;
            self.on_way.push(done);
            messages.push(message);
        }
        messages
    }

    /// The batch on its way has these results. Answers who is to be told of them.
    pub(super) fn landed(
        &mut self,
        results: Result<Vec<Result<SendResult>>>,
    ) -> Vec<(oneshot::Sender<Result<SendResult>>, Result<SendResult>)> {
        self.on_way_bytes = 0;
        let senders = std::mem::take(&mut self.on_way);
        let results = match results {
            Ok(results) => results,
            Err(error) => senders.iter().map(|_| Err(error.clone())).collect(),
        };
        let stored = results.iter().filter(|result| result.is_ok()).count() as u64;
        self.sent += stored;
        self.failed += senders.len() as u64 - stored;
        senders.into_iter().zip(results).collect()
    }

    /// Gives up what is not sent, and the batch that is on its way, whose end is not known.
    pub(super) fn give_up(&mut self, on_way: Vec<Message>) {
        self.on_way.clear();
        self.on_way_bytes = 0;
        self.queued_bytes = 0;
        let queued = self.queued.drain(..).map(|queued| queued.message);
        self.unsent.extend(on_way.into_iter().chain(queued));
    }

    /// What was accepted so far is due at once. Answers how many that were.
    pub(super) fn flush(&mut self) -> u64 {
        self.flush_to = self.accepted;
        self.accepted
    }

    /// How many have their results.
    pub(super) fn done(&self) -> u64 {
        self.sent + self.failed
    }

    /// Whether nothing is pending.
    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.on_way.is_empty()
    }
}
