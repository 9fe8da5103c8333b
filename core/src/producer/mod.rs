//! Producers: messages that many parts of a program send one by one leave in batches.

mod options;
mod pending;
mod sender;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use self::options::ProducerOptions;
use self::sender::{Receiver, Shared, full};
use crate::error::{Error, Result};
use crate::message::{Message, SendResult};
use crate::queue::Queue;
use crate::reply::Reply;

/// Sends in batches what it is given one by one, in the order of acceptance: a batch leaves when it
/// has enough messages or bytes, when its first message has waited for the linger, or when somebody
/// flushes. One is on its way at a time. Cheap to clone; any thread.
///
/// ```
/// # async fn example() -> queue_runtime_core::Result<()> {
/// use std::time::Duration;
/// use queue_runtime_core::{ProducerOptions, connect};
///
/// let orders = connect("memory:").await?.queue("orders")?;
/// let producer = orders.producer(ProducerOptions::new())?;
/// let (latte, mocha) = (producer.try_send("a latte")?, producer.try_send("a mocha")?);
/// producer.flush().await?;
/// println!("{} and {}", latte.await?.id, mocha.await?.id);
/// let report = producer.close(Duration::from_secs(30)).await;
/// assert_eq!((report.sent, report.failed, report.unsent.len()), (2, 0, 0));
/// # Ok(())
/// # }
/// # queue_runtime_core::Runtime::shared().unwrap().block_on(example()).unwrap().unwrap();
/// ```
///
/// A message that fails is its sender's to send again: the others of its batch, and those behind it,
/// go on. When the last clone is dropped, what was accepted is still sent in the background, and who
/// waits for a result gets it; [`Producer::close`] waits for it.
#[derive(Clone)]
pub struct Producer(Arc<Handle>);

struct Handle(Arc<Shared>);

/// What became of everything that a producer has accepted.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ProducerReport {
    /// Stored.
    pub sent: u64,
    /// Answered with an error.
    pub failed: u64,
    /// Not answered by the deadline, in their order. The batch that was on its way then may have been
    /// stored all the same. Whoever waits for their results gets `Closed`.
    pub unsent: Vec<Message>,
}

/// The result of a message that was accepted, when its batch was sent. Dropping it does not take the
/// message back.
#[derive(Debug)]
pub struct Sending(Receiver);

impl Future for Sending {
    type Output = Result<SendResult>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let given_up = |_| Err(Error::closed("producer"));
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|answer| answer.unwrap_or_else(given_up))
    }
}

impl Producer {
    pub(crate) fn start(queue: Queue, options: ProducerOptions) -> Result<Self> {
        options.check()?;
        let shared = Arc::new(Shared::new(queue, options));
        shared.queue.spawn(shared.clone().send());
        Ok(Self(Arc::new(Handle(shared))))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    /// Accepts a message and answers when its batch was sent. While there is no room it waits, or
    /// fails with `Full`, as the options say. A message that can never be sent fails at once. Dropping
    /// the future before there was room sends nothing; afterwards the message is sent all the same.
    pub async fn send(&self, message: impl Into<Message>) -> Result<SendResult> {
        self.start_send(message.into()).await
    }

    /// Accepts a message if there is room now, else fails with `Full`. Answers where its result comes.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Sending> {
        let accepted = self.shared().try_accept(message.into());
        let accepted = accepted.and_then(|accepted| accepted.map_err(|_| full()));
        self.placed(accepted).map(Sending)
    }

    /// [`Producer::send`], accepted at once where there is room: for what stands on the core.
    #[doc(hidden)]
    pub fn start_send(&self, message: Message) -> Reply<SendResult> {
        let accepted = self.shared().try_accept(message);
        match self.placed(accepted) {
            Ok(Ok(result)) => Reply::later(Sending(result)),
            Ok(Err(message)) if self.shared().waits() => {
                let producer = self.clone();
                Reply::later(async move {
                    let accepted = producer.shared().accept(message).await;
                    let result = producer.placed(accepted)?;
                    // It is not to be kept open by those who wait.
                    drop(producer);
                    Sending(result).await
                })
            }
            Ok(Err(_)) => Reply::error(self.shared().queue.fail("send", full())),
            Err(error) => Reply::error(error),
        }
    }

    fn placed<T>(&self, result: Result<T>) -> Result<T> {
        self.shared().queue.placed("send", result)
    }

    /// Sends what was accepted before at once, and waits until all of it has its result. `Closed`
    /// when some of it was given up.
    pub async fn flush(&self) -> Result<()> {
        self.shared().flush().await
    }

    /// Accepts nothing more, sends what was accepted, and at the deadline gives back what is left.
    /// Again it answers the same, without the messages that were given back.
    pub async fn close(&self, deadline: Duration) -> ProducerReport {
        let shared = self.shared();
        let deadline = shared.queue.clock().now() + deadline;
        shared.drain();
        tokio::select! {
            biased;
            () = shared.empty() => {}
            () = shared.queue.sleep_until(deadline) => {}
        }
        shared.stop();
        shared.ended.cancelled().await;
        let mut pending = shared.pending();
        ProducerReport {
            sent: pending.sent,
            failed: pending.failed,
            unsent: std::mem::take(&mut pending.unsent),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.drain();
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("queue", &self.shared().queue.name())
            .finish()
    }
}
