//! Sending, of one and of many.

use super::Queue;
use crate::capability::Capability;
use crate::error::{Error, Result};
use crate::message::{Message, SendResult};
use crate::reply::Reply;

impl Queue {
    #[doc(hidden)]
    pub fn start_send(&self, messages: Vec<Message>) -> Reply<Vec<Result<SendResult>>> {
        if let Err(error) = self.0.client.check_open() {
            return Reply::error(self.fail("send", error));
        }
        if messages.iter().any(|m| self.check_message(m).is_err()) {
            return self.start_send_some(messages);
        }
        let sending = match self.sending() {
            Ok(sending) => sending,
            Err(error) => return Reply::error(self.fail("send", error)),
        };
        let reply = self.0.provider.send(messages);
        self.end("send", reply, |queue, answer| {
            sending.ended_many(queue, &answer);
            let mut results = answer?;
            queue.sent(&mut results);
            Ok(results)
        })
    }

    /// Sends the messages that can be sent; the others have their errors at their places.
    #[cold]
    fn start_send_some(&self, messages: Vec<Message>) -> Reply<Vec<Result<SendResult>>> {
        let mut refused = Vec::new();
        let mut sound = Vec::new();
        for (index, message) in messages.into_iter().enumerate() {
            match self.check_message(&message) {
                Ok(()) => sound.push(message),
                Err(error) => refused.push((index, self.fail("send", error))),
            }
        }
        let reply = if sound.is_empty() {
            Reply::now(Ok(Vec::new()))
        } else {
            self.start_send(sound)
        };
        reply.map(move |mut results| {
            for (index, error) in refused {
                results.insert(index, Err(error));
            }
            Ok(results)
        })
    }

    fn sent(&self, results: &mut [Result<SendResult>]) {
        self.place_all("send", results);
        let stored = |result: &&Result<SendResult>| matches!(result, Ok(r) if !r.is_duplicate());
        self.0.metrics.sent(results.iter().filter(stored).count());
    }

    #[doc(hidden)]
    #[inline]
    pub fn start_send_one(&self, message: Message) -> Reply<SendResult> {
        let checked = self.0.client.check_open();
        if let Err(error) = checked.and_then(|()| self.check_message(&message)) {
            return Reply::error(self.fail("send", error));
        }
        let sending = match self.sending() {
            Ok(sending) => sending,
            Err(error) => return Reply::error(self.fail("send", error)),
        };
        let reply = self.0.provider.send_one(message);
        self.end("send", reply, |queue, answer: Result<SendResult>| {
            sending.ended(queue, answer.as_ref().err());
            let result = answer?;
            queue.0.metrics.sent(usize::from(!result.is_duplicate()));
            Ok(result)
        })
    }

    /// What holds for every provider, and what this one's capabilities and limits say.
    pub(crate) fn check_message(&self, message: &Message) -> Result<()> {
        let limits = self.0.capabilities.limits();
        let bytes = message.bytes() as u64;
        let limit = self
            .0
            .definition
            .max_message_bytes
            .min(limits.message_bytes.unwrap_or(u64::MAX));
        if bytes > limit {
            return Err(Error::too_large(bytes, limit));
        }
        let Some(p) = message.properties.as_deref() else {
            return Ok(());
        };
        message.validate()?;
        let ordered = !self.0.capabilities.has(Capability::FairGroups);
        let needed = [
            (p.session.is_some() && ordered, Capability::Sessions),
            (p.delay.is_some(), Capability::Delay),
            (p.ttl.is_some(), Capability::Ttl),
            (p.dedup_id.is_some(), Capability::Dedup),
        ];
        for (asked, capability) in needed {
            if asked {
                self.0.capabilities.require(capability)?;
            }
        }
        if let (Some(delay), Some(limit)) = (p.delay, limits.delay)
            && delay > limit
        {
            return Err(Error::invalid_message(
                "delay",
                format!("must be at most {}", humantime::format_duration(limit)),
            ));
        }
        if let Some(limit) = limits.headers
            && p.headers.len() > limit as usize
        {
            return Err(Error::invalid_message(
                "headers",
                format!("there are {}, the limit is {limit}", p.headers.len()),
            ));
        }
        Ok(())
    }
}
