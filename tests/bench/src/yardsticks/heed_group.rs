//! The queue on LMDB for many callers: a thread gathers the verbs that wait, does them in one
//! transaction, flushes, and answers them all. So a flush is for many.

use std::path::Path;
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::heed_queue::{HeedQueue, Verb};
use crate::Result;

/// Verbs that one transaction takes along at most.
const MOST: usize = 1000;

pub struct Request {
    verb: Verb,
    answer: oneshot::Sender<Option<(u64, Vec<u8>)>>,
}

#[derive(Clone)]
pub struct HeedGroup(mpsc::Sender<Request>);

impl HeedGroup {
    pub fn new(folder: &Path) -> Result<Self> {
        let mut queue = HeedQueue::new(folder, true)?;
        let (sender, receiver) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            while let Ok(first) = receiver.recv() {
                let mut requests = vec![first];
                requests.extend(receiver.try_iter().take(MOST - 1));
                let verbs = requests.iter().map(|request| &request.verb);
                // Who waits sees a closed channel.
                let Ok(answers) = queue.transaction(verbs) else {
                    return;
                };
                for (request, answer) in requests.into_iter().zip(answers) {
                    let _ = request.answer.send(answer);
                }
            }
        });
        Ok(Self(sender))
    }

    async fn ask(&self, verb: Verb) -> Result<Option<(u64, Vec<u8>)>> {
        let (answer, wait) = oneshot::channel();
        let sent = self.0.send(Request { verb, answer });
        sent.map_err(|_| "the writer is gone")?;
        Ok(wait.await?)
    }

    /// Sends, receives and acks a message.
    pub async fn cycle(&self, body: &[u8]) -> Result<()> {
        self.ask(Verb::Send(body.to_vec())).await?;
        let received = self.ask(Verb::Receive).await?;
        let (number, body) = received.ok_or("no message")?;
        std::hint::black_box(&body);
        self.ask(Verb::Ack(number)).await?;
        Ok(())
    }
}
