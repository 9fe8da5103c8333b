//! Requests of up to ten entries each: several on their way at a time, and of each only what
//! failed is tried again.

use std::future::Future;
use std::sync::Arc;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry as ChangeEntry,
    DeleteMessageBatchRequestEntry as DeleteEntry, SendMessageBatchRequestEntry as SendEntry,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::call::{Link, again, pause};
use super::envelope::Wire;
use super::error;
use super::work::Work;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MessageId;

/// An entry and its number, which is its id in the request and goes with its result.
pub(super) type Numbered<T> = (usize, T);

/// What SQS answered to a request: of which entries what, and which failed.
type Answer<T> = (Vec<(String, T)>, Vec<BatchResultErrorEntry>);

/// A request of many entries, to one queue of SQS.
pub(super) trait BatchRequest: Clone + Send + Sync + 'static {
    type Entry: Send + Sync + 'static;
    type Done: Send + 'static;
    /// The action it needs to be allowed.
    const ACTION: &'static str;

    fn make(
        &self,
        link: &Link,
        batch: &[Numbered<Self::Entry>],
    ) -> impl Future<Output = Result<Answer<Self::Done>>> + Send;
}

/// Stores messages. Answers their ids.
#[derive(Clone)]
pub(super) struct Store(pub(super) Arc<str>);

/// Deletes messages by their handles.
#[derive(Clone)]
pub(super) struct Delete(pub(super) Arc<str>);

/// Hides messages for so many seconds from now, by their handles.
#[derive(Clone)]
pub(super) struct Change(pub(super) Arc<str>);

impl BatchRequest for Store {
    type Entry = Wire;
    type Done = MessageId;
    const ACTION: &'static str = "SendMessage";

    async fn make(&self, link: &Link, batch: &[Numbered<Wire>]) -> Result<Answer<MessageId>> {
        let entry = |(index, wire): &Numbered<Wire>| {
            let entry = SendEntry::builder()
                .id(index.to_string())
                .message_body(&wire.body)
                .set_message_attributes(
                    (!wire.attributes.is_empty()).then(|| wire.attributes.clone()),
                )
                .set_message_group_id(wire.group.clone())
                .set_message_deduplication_id(wire.dedup.clone())
                .set_delay_seconds((wire.delay > 0).then_some(wire.delay));
            entry
                .build()
                .unwrap_or_else(|_| unreachable!("id and body are set"))
        };
        let request = || {
            let request = link.sqs.send_message_batch().queue_url(&*self.0);
            let entries = batch.iter().map(entry).collect();
            request.set_entries(Some(entries)).send()
        };
        let answer = link.ask(Self::ACTION, request).await?;
        let stored = answer.successful.into_iter();
        let stored = stored.map(|stored| (stored.id, MessageId::new(stored.message_id)));
        Ok((stored.collect(), answer.failed))
    }
}

impl BatchRequest for Delete {
    type Entry = Arc<str>;
    type Done = ();
    const ACTION: &'static str = "DeleteMessage";

    async fn make(&self, link: &Link, batch: &[Numbered<Arc<str>>]) -> Result<Answer<()>> {
        let entry = |(index, handle): &Numbered<Arc<str>>| {
            let entry = DeleteEntry::builder()
                .id(index.to_string())
                .receipt_handle(&**handle);
            entry
                .build()
                .unwrap_or_else(|_| unreachable!("id and handle are set"))
        };
        let request = || {
            let request = link.sqs.delete_message_batch().queue_url(&*self.0);
            let entries = batch.iter().map(entry).collect();
            request.set_entries(Some(entries)).send()
        };
        let answer = link.ask(Self::ACTION, request).await?;
        Ok((
            answer
                .successful
                .into_iter()
                .map(|done| (done.id, ()))
                .collect(),
            answer.failed,
        ))
    }
}

impl BatchRequest for Change {
    type Entry = (Arc<str>, u32);
    type Done = ();
    const ACTION: &'static str = "ChangeMessageVisibility";

    async fn make(&self, link: &Link, batch: &[Numbered<Self::Entry>]) -> Result<Answer<()>> {
        let entry = |(index, (handle, seconds)): &Numbered<Self::Entry>| {
            let entry = ChangeEntry::builder()
                .id(index.to_string())
                .receipt_handle(&**handle);
            let entry = entry.visibility_timeout(*seconds as i32);
            entry
                .build()
                .unwrap_or_else(|_| unreachable!("id and handle are set"))
        };
        let request = || {
            let request = link
                .sqs
                .change_message_visibility_batch()
                .queue_url(&*self.0);
            let entries = batch.iter().map(entry).collect();
            request.set_entries(Some(entries)).send()
        };
        let answer = link.ask(Self::ACTION, request).await?;
        Ok((
            answer
                .successful
                .into_iter()
                .map(|done| (done.id, ()))
                .collect(),
            answer.failed,
        ))
    }
}

impl Work {
    /// Makes the requests for these batches, so many of them at a time. Results come with the
    /// numbers of their entries, in any order.
    pub(super) async fn request<R: BatchRequest>(
        &self,
        request: R,
        batches: Vec<Vec<Numbered<R::Entry>>>,
        at_once: usize,
    ) -> Vec<Numbered<Result<R::Done>>> {
        let mut results = Vec::new();
        if batches.len() <= 1 || at_once == 1 {
            for batch in batches {
                results.extend(until_done(&request, &self.link, batch).await);
            }
            return results;
        }
        let turns = Arc::new(Semaphore::new(at_once));
        let mut going = JoinSet::new();
        for batch in batches {
            let (turns, request, link) = (turns.clone(), request.clone(), self.link.clone());
            going.spawn(async move {
                let _turn = turns.acquire().await;
                until_done(&request, &link, batch).await
            });
        }
        while let Some(ended) = going.join_next().await {
            results.extend(ended.unwrap_or_default());
        }
        results
    }
}

/// Makes a request, and again for the entries that failed without a fault of theirs.
async fn until_done<R: BatchRequest>(
    request: &R,
    link: &Link,
    mut batch: Vec<Numbered<R::Entry>>,
) -> Vec<Numbered<Result<R::Done>>> {
    let mut ended = Vec::with_capacity(batch.len());
    let mut tried = 0;
    while !batch.is_empty() {
        tried += 1;
        let (done, failed) = match request.make(link, &batch).await {
            Ok(answer) => answer,
            Err(error) => {
                ended.extend(
                    batch
                        .iter()
                        .map(|(index, _)| (*index, Err(error::copy(&error)))),
                );
                return ended;
            }
        };
        for (id, done) in done {
            if let Some((index, _)) = take(&mut batch, &id) {
                ended.push((index, Ok(done)));
            }
        }
        let mut left = Vec::new();
        for failed in failed {
            let Some(entry) = take(&mut batch, &failed.id) else {
                continue;
            };
            if failed.sender_fault || !again(tried) {
                ended.push((entry.0, Err(error::of_entry(R::ACTION, &failed))));
            } else {
                left.push(entry);
            }
        }
        for (index, _) in std::mem::replace(&mut batch, left) {
            let what = format!("SQS answered {} without a result for this entry", R::ACTION);
            ended.push((index, Err(Error::new(ErrorKind::Provider, what))));
        }
        if !batch.is_empty() {
            batch.sort_by_key(|(index, _)| *index);
            tokio::time::sleep(pause(tried, ErrorKind::Unavailable)).await;
        }
    }
    ended
}

fn take<E>(batch: &mut Vec<Numbered<E>>, id: &str) -> Option<Numbered<E>> {
    let index: usize = id.parse().ok()?;
    let at = batch.iter().position(|(entry, _)| *entry == index)?;
    Some(batch.remove(at))
}
