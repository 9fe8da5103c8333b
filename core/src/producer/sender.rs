//! Sends what is due, one batch after the other, so that messages leave in the order of their
//! acceptance.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::options::ProducerOptions;
use super::pending::{Due, Pending, Stage};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, SendResult};
use crate::queue::Queue;
use crate::room::Room;

pub(super) struct Shared {
    pub(super) queue: Queue,
    options: ProducerOptions,
    pending: Mutex<Pending>,
    /// Something may be due.
    due: Notify,
    room: Room,
    /// A batch has landed, or the stage changed.
    progress: Notify,
    /// Cancelled when what is on its way is not waited for any more.
    stop: CancellationToken,
    /// Cancelled when nothing more is sent.
    pub(super) ended: CancellationToken,
}

/// What a message's sender waits on.
pub(super) type Receiver = oneshot::Receiver<Result<SendResult>>;

impl Shared {
    pub(super) fn new(queue: Queue, options: ProducerOptions) -> Self {
        Self {
            queue,
            options,
            pending: Mutex::default(),
            due: Notify::new(),
            room: Room::default(),
            progress: Notify::new(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a message if there is room and nobody waits for it; else gives it back.
    pub(super) fn try_accept(&self, message: Message) -> Result<Result<Receiver, Message>> {
        let bytes = message.bytes() as u64;
        let limit = self.options.max_pending_bytes;
        if bytes > limit {
            return Err(Error::too_large(bytes, limit));
        }
        self.queue.check_open()?;
        self.queue.check_message(&message)?;
        self.accept_before(message, 0)
    }

    /// Accepts a message, after those who waited before.
    pub(super) async fn accept(&self, message: Message) -> Result<Receiver> {
        let mut waiting = Some(message);
        self.room
            .when(|| {
                let accepted = self.accept_before(waiting.take()?, usize::MAX);
                match accepted {
                    Ok(Ok(accepted)) => Some(Ok(accepted)),
                    Ok(Err(message)) => {
                        waiting = Some(message);
                        // What is there need not wait for more, which finds no room.
                        self.due.notify_one();
                        None
                    }
                    Err(error) => Some(Err(error)),
                }
            })
            .await
    }

    /// Accepts a message if there is room and no more than this many wait for it.
    fn accept_before(&self, message: Message, waiting: usize) -> Result<Result<Receiver, Message>> {
        let bytes = message.bytes() as u64;
        let now = self.queue.clock().now();
        let mut pending = self.pending();
        let fits = pending.has_room(&self.options, bytes)?;
        if !fits || self.room.waiting() > waiting {
            return Ok(Err(message));
        }
        let (done, result) = oneshot::channel();
        let wake = pending.put(&self.options, message, now, done);
        drop(pending);
        if wake {
            self.due.notify_one();
        }
        Ok(Ok(result))
    }

    /// Whether a full producer lets its callers wait.
    pub(super) fn waits(&self) -> bool {
        self.options.on_full == crate::config::OnFull::Wait
    }

    /// Waits until everything accepted so far has its result. `Closed` when it will have none.
    pub(super) async fn flush(&self) -> Result<()> {
        let target = self.pending().flush();
        self.due.notify_one();
        self.progressed(|pending| {
            if pending.done() >= target {
                Some(Ok(()))
            } else if pending.stage == Stage::Stopped {
                Some(Err(Error::closed("producer")))
            } else {
                None
            }
        })
        .await
    }

    /// Waits until nothing is pending.
    pub(super) async fn empty(&self) {
        let empty = |pending: &Pending| pending.is_empty().then_some(());
        self.progressed(empty).await;
    }

    /// Waits until this answers something.
    async fn progressed<T>(&self, mut look: impl FnMut(&Pending) -> Option<T>) -> T {
        loop {
            let mut progress = pin!(self.progress.notified());
            progress.as_mut().enable();
            if let Some(seen) = look(&self.pending()) {
                return seen;
            }
            progress.await;
        }
    }

    /// Accepts nothing more, and makes everything due.
    pub(super) fn drain(&self) {
        self.enter(Stage::Draining);
    }

    /// Leaves what is not sent, and what is on its way.
    pub(super) fn stop(&self) {
        self.enter(Stage::Stopped);
        self.stop.cancel();
    }

    fn enter(&self, stage: Stage) {
        let mut pending = self.pending();
        pending.stage = pending.stage.max(stage);
        drop(pending);
        self.due.notify_one();
        self.room.made();
        self.progress.notify_waiters();
    }

    /// Sends until the producer has ended.
    pub(super) async fn send(self: Arc<Self>) {
        let _ended = self.ended.clone().drop_guard();
        while let Some(messages) = self.next().await {
            // Kept for the case that nobody waits for the end of this: they share their contents.
            let copies = messages.clone();
            let sending = self.queue.start_send(messages);
            let Some(results) = self.stop.run_until_cancelled(sending).await else {
                self.pending().give_up(copies);
                break;
            };
            let told = self.pending().landed(results);
            for (sender, result) in told {
                // Not everybody waits for it.
                let _ = sender.send(result);
            }
            self.room.made();
            self.progress.notify_waiters();
        }
        self.pending().give_up(Vec::new());
        self.progress.notify_waiters();
    }

    /// The next batch, once it is due. `None` when nothing will come any more.
    async fn next(&self) -> Option<Vec<Message>> {
        loop {
            // Also where it is the runtime that ends, and not the client alone.
            let pressed = self.room.waiting() > 0 || self.queue.closing().is_cancelled();
            let due = {
                let now = self.queue.clock().now();
                let mut pending = self.pending();
                let due = pending.due(&self.options, now, pressed);
                if let Due::Now = due {
                    return Some(pending.cut(&self.options));
                }
                due
            };
            let woken = self.due.notified();
            match due {
                Due::Never => return None,
                Due::At(deadline) => tokio::select! {
                    () = woken => {}
                    () = self.queue.sleep_until(deadline) => {}
                    // What is there fails at once.
                    () = self.queue.closing().cancelled() => {}
                },
                Due::Now | Due::Later => woken.await,
            }
        }
    }
}

/// There is no room.
pub(super) fn full() -> Error {
    Error::new(ErrorKind::Full, "the producer has no room for more")
}
