//! The verbs of a queue.

use std::sync::Arc;
use std::time::Duration;

use super::envelope::Kind;
use super::receive::Visit;
use super::work::Work;
use crate::capability::{Capabilities, Capability};
use crate::dead_letter::{DeadLetter, DeadLetterFilter, RedriveReport};
use crate::error::{Error, Result};
use crate::message::{Message, SendResult};
use crate::provider::{
    AcceptRequest, Moment, ProviderQueue, ReceiveRequest, Received, SessionLock, Terms,
};
use crate::queue::Statistics;
use crate::reply::Reply;
use crate::settlement::{Receipt, Settlement};

/// One queue of a client.
pub(super) struct SqsQueue {
    pub(super) work: Arc<Work>,
    pub(super) capabilities: Capabilities,
}

impl ProviderQueue for SqsQueue {
    fn capabilities(&self) -> Option<&Capabilities> {
        Some(&self.capabilities)
    }

    fn send(&self, messages: Vec<Message>) -> Reply<Vec<Result<SendResult>>> {
        self.work.run(self.work.clone().send(messages))
    }

    fn receive(&self, request: ReceiveRequest) -> Reply<Vec<Box<Received>>> {
        let (most, wait) = (request.max_messages as usize, request.wait);
        let (work, lock) = (self.work.clone(), self.work.lock(request.lock));
        // What was begun and is not handed over finds its way by itself when this is dropped.
        Reply::later(async move {
            let lock = lock.await?;
            match request.session {
                Some(session) => work.receive_from(*session, most, wait, lock).await,
                None => Visit::new(&work, lock).gather(most, wait, |_| true).await,
            }
        })
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Reply<Vec<Result<()>>> {
        self.work.run(self.work.clone().settle(settlements))
    }

    fn extend(&self, receipts: Vec<Receipt>, lock: Duration) -> Reply<Vec<Result<Moment>>> {
        self.work.run(self.work.clone().extend(receipts, lock))
    }

    fn accept_session(&self, request: AcceptRequest) -> Reply<Option<SessionLock>> {
        let unsupported = match (self.work.shared.kind, request.id) {
            (Kind::Standard, _) => Some(Capability::Sessions),
            (Kind::Fifo, Some(_)) => Some(Capability::SessionById),
            (Kind::Fifo, None) => None,
        };
        if let Some(capability) = unsupported {
            return Reply::error(Error::unsupported(capability));
        }
        let (work, lock) = (self.work.clone(), self.work.lock(request.lock));
        Reply::later(async move { work.accept_next(request.wait, lock.await?).await })
    }

    fn renew_session(&self, session: SessionLock, lock: Option<Duration>) -> Reply<Moment> {
        let work = self.work.clone();
        self.work.run(async move {
            let number = work.number(&session)?;
            let lock = match lock {
                Some(lock) => lock,
                None => Duration::from_secs(u64::from(work.lock(None).await?)),
            };
            work.renew(number, lock).await
        })
    }

    fn close_session(&self, session: SessionLock) -> Reply<()> {
        self.work.run(self.work.clone().close_session(session))
    }

    fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Reply<Vec<DeadLetter>> {
        self.work
            .run(self.work.clone().dead_letters(filter, after, max as usize))
    }

    fn redrive(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Reply<RedriveReport> {
        self.work
            .run(self.work.clone().redrive(filter, after, max as usize))
    }

    fn purge_dead_letters(&self, filter: DeadLetterFilter) -> Reply<u64> {
        self.work.run(self.work.clone().purge(filter))
    }

    fn statistics(&self) -> Reply<Statistics> {
        self.work.run(self.work.clone().statistics())
    }

    fn terms(&self) -> Reply<Terms> {
        let work = self.work.clone();
        self.work.run(async move { work.terms().await })
    }

    fn create(&self) -> Reply<()> {
        let work = self.work.clone();
        self.work.run(async move { work.create().await })
    }
}
