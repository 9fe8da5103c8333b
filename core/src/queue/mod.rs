//! A queue as a program uses it: checks, metrics and errors with their place, around the port.

mod breaker;
mod client_breaker;
mod dead_letters;
pub mod explain;
mod observe;
mod options;
mod send;
mod settle;

pub(crate) use breaker::SendBreakers;
pub(crate) use client_breaker::{Calling, circuit as client_circuit, is_away};
pub use observe::{MessageState, Outlook, Peeked, Statistics};
pub(crate) use options::{MAX_RECEIVE, check_lock_argument};
pub use options::{ReceiveOptions, SessionOptions};

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::capability::{Capabilities, Capability};
use crate::client::ClientInner;
use crate::clock::{Clock, Tick, Timestamp};
use crate::config::QueueDefinition;
use crate::consumer::{
    Batch, BatchOptions, Consumer, ConsumerOptions, Failure, Failures, Hold, Keep, Keeper, Kept,
    MemoryWatch, Worker,
};
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::message::{Message, SendResult};
use crate::producer::{Producer, ProducerOptions};
use crate::provider::{AcceptRequest, Moment, ProviderQueue, ReceiveRequest, Received};
use crate::reply::Reply;
use crate::resilience::SharedCircuit;
use crate::sessions::Session;
use crate::settlement::{Receipt, Settlement};
use crate::telemetry::QueueMetrics;

/// Awaits a reply; one that is there already is not even kept.
macro_rules! now_or_later {
    ($reply:expr) => {
        match $reply.try_now() {
            Ok(result) => result,
            Err(pending) => pending.await,
        }
    };
}
pub(crate) use now_or_later;

/// A queue of a client. Cheap to clone; any thread. Opening one creates nothing.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    client: Arc<ClientInner>,
    provider: Arc<dyn ProviderQueue>,
    definition: QueueDefinition,
    capabilities: Capabilities,
    metrics: QueueMetrics,
    /// Of its sends, where there is a breaker.
    circuit: Option<Arc<SharedCircuit>>,
}

impl Queue {
    pub(crate) fn new(
        name: Arc<str>,
        client: Arc<ClientInner>,
        provider: Arc<dyn ProviderQueue>,
        definition: QueueDefinition,
        capabilities: Capabilities,
        metrics: QueueMetrics,
        circuit: Option<Arc<SharedCircuit>>,
    ) -> Self {
        Self(Arc::new(Inner {
            name,
            client,
            provider,
            definition,
            capabilities,
            metrics,
            circuit,
        }))
    }

    /// The name it was opened by.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its definition, as this client sees it.
    pub fn definition(&self) -> &QueueDefinition {
        &self.0.definition
    }

    /// What this queue can do: less than the client says where its queues differ.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    /// Sends one message. `CircuitOpen` while sends pause since the provider is away.
    pub async fn send(&self, message: impl Into<Message>) -> Result<SendResult> {
        now_or_later!(self.start_send_one(message.into()))
    }

    /// Sends many. Result i belongs to message i; a message that fails does not hide the rest.
    pub async fn send_many(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Vec<Result<SendResult>>> {
        self.start_send(messages.into_iter().collect()).await
    }

    /// Sends in batches what many parts of a program give it one by one. `InvalidArgument` names the
    /// option.
    pub fn producer(&self, options: ProducerOptions) -> Result<Producer> {
        let started = self
            .check_open()
            .and_then(|()| Producer::start(self.clone(), options));
        self.placed("producer", started)
    }

    /// Receives messages: as soon as one is there, with what else is ready. Empty when none came
    /// within the wait. Dropping the future before its end takes nothing from the queue.
    pub async fn receive(&self, options: &ReceiveOptions) -> Result<Vec<Delivery>> {
        self.start_receive(options).await
    }

    /// [`Queue::receive`] of one message.
    pub async fn receive_one(&self, wait: Duration) -> Result<Option<Delivery>> {
        now_or_later!(self.start_receive_one(&ReceiveOptions::new().wait(wait)))
    }

    /// Receives until it is drained or dropped, with locks kept and a bounded number in hand.
    /// `InvalidArgument` names the option.
    pub fn consume(&self, options: ConsumerOptions) -> Result<Consumer> {
        let started = self
            .check_open()
            .and_then(|()| Consumer::start(self.clone(), options));
        self.placed("consume", started)
    }

    /// Runs a handler for each delivery, as many at a time as the options say: acknowledged when it
    /// returns, unless it settled by itself; tried again, or as the [`Failure`] says, when it fails
    /// or panics. When the delivery is cancelled (see [`Delivery::cancelled`]) the handler's future
    /// is dropped at the point where it waits.
    ///
    /// ```
    /// # async fn example() -> queue_runtime_core::Result<()> {
    /// use std::time::Duration;
    /// use queue_runtime_core::{ConsumerOptions, connect};
    ///
    /// let orders = connect("memory:").await?.queue("orders")?;
    /// let options = ConsumerOptions::new().concurrency(4);
    /// let worker = orders.process(options, async |order| {
    ///     let text = std::str::from_utf8(order.body())?;
    ///     println!("{text}");
    ///     Ok(())
    /// })?;
    /// // until it is time to stop
    /// worker.drain(Duration::from_secs(30)).await;
    /// # Ok(())
    /// # }
    /// # queue_runtime_core::Runtime::shared().unwrap().block_on(example()).unwrap().unwrap();
    /// ```
    pub fn process<H, F>(&self, options: ConsumerOptions, handler: H) -> Result<Worker>
    where
        H: Fn(Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send,
    {
        self.placed("process", options.check_worker())?;
        self.consume(options)
            .map(|consumer| Worker::start(consumer, handler))
    }

    /// Runs a handler for batches of deliveries, formed as their options say. When it returns, all
    /// are acknowledged but those it names in [`Failures`], which leave the batch and are tried again
    /// alone; when it fails or panics, all have failed. All that it did not settle itself is settled
    /// with one call. Of each session there is at most one in a batch.
    ///
    /// A delivery that is cancelled in a handler's hands does not disturb the others: see
    /// [`Batch::cancelled`]. When all are, the handler's future is dropped.
    ///
    /// ```
    /// # async fn example() -> queue_runtime_core::Result<()> {
    /// use std::time::Duration;
    /// use queue_runtime_core::{BatchOptions, ConsumerOptions, Failure, connect};
    ///
    /// let orders = connect("memory:").await?.queue("orders")?;
    /// let batches = BatchOptions::new().batch_size(500);
    /// let worker = orders.process_batches(ConsumerOptions::new(), batches, async |batch| {
    ///     let mut failed = Vec::new();
    ///     for (position, order) in batch.iter().enumerate() {
    ///         if order.body().is_empty() {
    ///             failed.push((position, Failure::permanent("empty", "there is no order")));
    ///         }
    ///     }
    ///     Ok(failed)
    /// })?;
    /// worker.drain(Duration::from_secs(30)).await;
    /// # Ok(())
    /// # }
    /// # queue_runtime_core::Runtime::shared().unwrap().block_on(example()).unwrap().unwrap();
    /// ```
    pub fn process_batches<H, F, R>(
        &self,
        options: ConsumerOptions,
        batches: BatchOptions,
        handler: H,
    ) -> Result<Worker>
    where
        H: Fn(Arc<Batch>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R, Failure>> + Send,
        R: Into<Failures> + Send,
    {
        self.placed("process_batches", options.check_worker())?;
        self.consume(options.batches(batches))
            .map(|consumer| Worker::start_batches(consumer, batches, handler))
    }

    /// Ends many deliveries of this queue. Result i belongs to settlement i.
    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Result<()>>> {
        self.start_settle(settlements).await
    }

    /// Charges the attempts of deliveries that were received unstarted, as work on them starts.
    pub async fn begin(&self, receipts: Vec<Receipt>) -> Result<Vec<Result<()>>> {
        self.require("begin", Capability::Begin)?;
        self.start_begin(receipts).await
    }

    /// Keeps the locks of these deliveries for this long from now. Answers the new ends.
    pub async fn extend(
        &self,
        receipts: Vec<Receipt>,
        lock: Duration,
    ) -> Result<Vec<Result<Timestamp>>> {
        let moments = self.start_extend(receipts, lock).await?;
        let timestamps = moments.into_iter().map(|m| m.map(|m| self.timestamp(m)));
        Ok(timestamps.collect())
    }

    /// Takes a session: an ordered group with one holder. `None` when no session had work within
    /// the wait; `SessionLocked` when the one asked for is held.
    pub async fn accept_session(&self, options: SessionOptions) -> Result<Option<Session>> {
        let needed = match options.id {
            Some(_) => Capability::SessionById,
            None => Capability::SessionNext,
        };
        self.require("accept_session", needed)?;
        self.placed("accept_session", options.check())?;
        let calling = self.placed("accept_session", self.calling())?;
        self.accept_called(calling, options).await
    }

    /// [`Queue::accept_session`] by who may ask the provider.
    pub(crate) async fn accept_called(
        &self,
        calling: Calling,
        options: SessionOptions,
    ) -> Result<Option<Session>> {
        let reply = self.0.provider.accept_session(AcceptRequest {
            id: options.id,
            wait: calling.wait(options.wait),
            lock: options.lock,
            prefer: options.prefer,
        });
        self.finish_called(
            "accept_session",
            calling,
            reply,
            |queue, lock: Option<_>| lock.map(|lock| Session::new(queue.clone(), lock)),
        )
        .await
    }

    /// Looks at up to `max` messages in the order of their sending, from after a sequence number
    /// on, without taking them.
    pub async fn peek(&self, after: Option<u64>, max: u32) -> Result<Vec<Peeked>> {
        self.require("peek", Capability::Peek)?;
        let max = max.min(MAX_RECEIVE);
        self.ask("peek", |provider| provider.peek(after, max), same)
            .await
    }

    /// Counts and ages at this moment.
    pub async fn statistics(&self) -> Result<Statistics> {
        self.require("statistics", Capability::Statistics)?;
        self.ask("statistics", |provider| provider.statistics(), same)
            .await
    }

    /// Creates the queue by explicit call; `AlreadyExists` if it is there.
    pub async fn create(&self) -> Result<()> {
        self.require("create", Capability::Create)?;
        self.ask("create", |provider| provider.create(), same).await
    }

    // The forms below start the verb at once, and answer at once where the provider does. What
    // stands on the core and must not wait for a first poll (the C ABI) uses them.

    #[doc(hidden)]
    pub fn start_receive(&self, options: &ReceiveOptions) -> Reply<Vec<Delivery>> {
        match self.placed("receive", options.request(None)) {
            Ok(request) => self.start_request(request, options.keep(self.0.definition.lock)),
            Err(error) => Reply::error(error),
        }
    }

    pub(crate) fn start_request(
        &self,
        request: ReceiveRequest,
        keep: Option<Keep>,
    ) -> Reply<Vec<Delivery>> {
        match self.may_receive() {
            Ok(calling) => self.start_called(calling, request, keep),
            Err(error) => Reply::error(self.fail("receive", error)),
        }
    }

    /// The right to receive: `Closed`, or `CircuitOpen`, which says when to try again.
    #[inline]
    pub(crate) fn may_receive(&self) -> Result<Calling> {
        self.0.client.check_open()?;
        self.calling()
    }

    /// [`Queue::start_request`] by who may receive.
    pub(crate) fn start_called(
        &self,
        calling: Calling,
        mut request: ReceiveRequest,
        keep: Option<Keep>,
    ) -> Reply<Vec<Delivery>> {
        request.wait = calling.wait(request.wait);
        let reply = self.0.provider.receive(request);
        self.finish_called("receive", calling, reply, |queue, received| {
            queue.deliver(received, keep)
        })
    }

    fn deliver(&self, received: Vec<Box<Received>>, keep: Option<Keep>) -> Vec<Delivery> {
        if received.is_empty() {
            return Vec::new();
        }
        self.0.metrics.received(received.len());
        let now = self.0.client.clock().recent();
        let kept = keep.map(|keep| Kept::start(self, keep, &received));
        let deliver = |(index, received)| {
            let hold = kept.clone().map(|kept| Hold::new(kept, index));
            Delivery::new(received, self.clone(), now, hold)
        };
        (0..).zip(received).map(deliver).collect()
    }

    #[doc(hidden)]
    #[inline]
    pub fn start_receive_one(&self, options: &ReceiveOptions) -> Reply<Option<Delivery>> {
        match self.placed("receive", options.request(None)) {
            Ok(request) => self.start_request_one(&request, options.keep(self.0.definition.lock)),
            Err(error) => Reply::error(error),
        }
    }

    #[inline]
    pub(crate) fn start_request_one(
        &self,
        request: &ReceiveRequest,
        keep: Option<Keep>,
    ) -> Reply<Option<Delivery>> {
        let calling = match self.may_receive() {
            Ok(calling) => calling,
            Err(error) => return Reply::error(self.fail("receive", error)),
        };
        let reply = if calling.is_probe() {
            let look = ReceiveRequest {
                wait: Duration::ZERO,
                ..request.clone()
            };
            self.0.provider.receive_one(&look)
        } else {
            self.0.provider.receive_one(request)
        };
        self.finish_called(
            "receive",
            calling,
            reply,
            |queue, received: Option<Box<Received>>| {
                let received = received?;
                queue.0.metrics.received(1);
                let now = queue.0.client.clock().recent();
                let hold = keep.map(|keep| {
                    let kept = Kept::start(queue, keep, std::slice::from_ref(&received));
                    Hold::new(kept, 0)
                });
                Some(Delivery::new(received, queue.clone(), now, hold))
            },
        )
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        self.0.client.check_open()
    }

    fn client(&self) -> &ClientInner {
        &self.0.client
    }

    pub(crate) fn provider(&self) -> &dyn ProviderQueue {
        &*self.0.provider
    }

    /// Lets a reply nobody waits for run to its end in the background.
    pub(crate) fn detach<T: Send + 'static>(&self, reply: Reply<T>) {
        if let Err(pending) = reply.try_now() {
            self.0.client.spawn(async move {
                let _ = pending.await;
            });
        }
    }

    /// One number for all clones of this queue.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(crate) fn has(&self, capability: Capability) -> bool {
        self.0.capabilities.has(capability)
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.0.client.clock()
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper> {
        self.0.client.runtime().keeper()
    }

    /// What watches over the memory of the process, if anything does.
    pub(crate) fn memory(&self) -> Option<&Arc<MemoryWatch>> {
        self.0.client.runtime().memory()
    }

    pub(crate) fn metrics(&self) -> &QueueMetrics {
        &self.0.metrics
    }

    pub(crate) fn closing(&self) -> &CancellationToken {
        self.0.client.closing()
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.client.spawn(future);
    }

    pub(crate) fn sleep_until(&self, deadline: Tick) -> impl Future<Output = ()> {
        self.0.client.runtime().tasks().sleep_until(deadline)
    }

    /// A provider's moment on the runtime's clock.
    pub(crate) fn tick(&self, moment: Moment) -> Tick {
        match moment {
            Moment::Tick(tick) => tick,
            Moment::Timestamp(at) => {
                let clock = self.clock();
                let now = clock.now();
                let ahead = at.0.saturating_sub(clock.timestamp(now).0);
                now + Duration::from_millis(u64::try_from(ahead).unwrap_or(0))
            }
        }
    }

    pub(crate) fn timestamp(&self, moment: Moment) -> Timestamp {
        match moment {
            Moment::Tick(tick) => self.0.client.clock().timestamp(tick),
            Moment::Timestamp(timestamp) => timestamp,
        }
    }

    fn require(&self, operation: &'static str, capability: Capability) -> Result<()> {
        let client = &self.0.client;
        let checked = client
            .check_open()
            .and_then(|()| self.check_capability(capability));
        self.placed(operation, checked)
    }

    /// `Unsupported` naming the capability, unless this queue has it.
    pub(crate) fn check_capability(&self, capability: Capability) -> Result<()> {
        use Capability::{FairGroups, SessionById, SessionNext, SessionState, Sessions};
        let of_sessions = [Sessions, SessionById, SessionNext, SessionState];
        let capabilities = &self.0.capabilities;
        if capabilities.has(FairGroups) && of_sessions.contains(&capability) {
            return Err(Error::unsupported_by_groups(capability));
        }
        capabilities.require(capability)
    }

    /// Ends a verb: what the provider answered, now or later, becomes what the caller gets. A
    /// verb that waits ends with the client.
    #[inline]
    pub(crate) fn finish<T: Send + 'static, U>(
        &self,
        operation: &'static str,
        reply: Reply<T>,
        done: impl FnOnce(&Queue, T) -> U + Send + 'static,
    ) -> Reply<U> {
        self.end(operation, reply, |queue, answer| {
            answer.map(|answer| done(queue, answer))
        })
    }

    /// [`Queue::finish`] for who wants to see its failure as well.
    #[inline]
    fn end<T: Send + 'static, U>(
        &self,
        operation: &'static str,
        reply: Reply<T>,
        done: impl FnOnce(&Queue, Result<T>) -> Result<U> + Send + 'static,
    ) -> Reply<U> {
        match reply.try_now() {
            Ok(answer) => {
                tracing::trace!(operation, queue = self.name(), "answered at once");
                Reply::now(self.placed(operation, done(self, answer)))
            }
            Err(pending) => {
                let queue = self.clone();
                let span = tracing::debug_span!("verb", operation, queue = self.name());
                let ending = async move {
                    let answer = queue.0.client.unless_closed(pending).await;
                    queue.placed(operation, done(&queue, answer))
                };
                Reply::later(ending.instrument(span))
            }
        }
    }

    pub(crate) fn placed<T>(&self, operation: &'static str, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.fail(operation, error))
    }

    /// Counts an error and says where it happened.
    #[cold]
    pub(crate) fn fail(&self, operation: &'static str, error: Error) -> Error {
        self.0.metrics.failed(error.kind());
        let error = error.with_operation(operation).with_queue(&self.0.name);
        tracing::debug!(kind = error.kind().name(), %error, "a verb failed");
        error
    }

    #[inline]
    fn place_all<T>(&self, operation: &'static str, results: &mut [Result<T>]) {
        for result in results {
            if let Err(error) = result {
                let bare = std::mem::replace(error, Error::closed("error"));
                *error = self.fail(operation, bare);
            }
        }
    }
}

/// The answer as it is.
pub(crate) fn same<T>(_: &Queue, answer: T) -> T {
    answer
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("name", &self.0.name).finish()
    }
}
