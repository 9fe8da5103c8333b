//! A client: one connection to one provider.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use crate::capability::{Capabilities, Capability};
use crate::clock::Clock;
use crate::config::{ClientConfig, Create, OnFailure, QueueOptions, Settings};
use crate::error::{Error, Result};
use crate::provider::Provider;
use crate::providers;
use crate::queue::{Queue, SendBreakers, client_circuit};
use crate::resilience::{Breaker, BreakerState, SharedCircuit};
use crate::runtime::Runtime;

/// A connection to one provider. Cheap to clone; any thread.
///
/// ```
/// # async fn example() -> queue_runtime_core::Result<()> {
/// use std::time::Duration;
///
/// let client = queue_runtime_core::connect("memory:").await?;
/// let orders = client.queue("orders")?;
/// orders.send("first").await?;
/// if let Some(order) = orders.receive_one(Duration::from_secs(1)).await? {
///     order.ack().await?;
/// }
/// # Ok(())
/// # }
/// # queue_runtime_core::Runtime::shared().unwrap().block_on(example()).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Client(Arc<ClientInner>);

pub(crate) struct ClientInner {
    runtime: Runtime,
    settings: Settings,
    provider: Arc<dyn Provider>,
    breakers: SendBreakers,
    /// Of all that is asked of the provider, where there is a breaker.
    circuit: Option<Arc<SharedCircuit>>,
    closed: AtomicBool,
    /// Ends what waits, once closed.
    closing: CancellationToken,
}

/// Opens a client on the shared runtime; see [`Runtime::connect`].
pub async fn connect(config: impl Into<ClientConfig>) -> Result<Client> {
    Runtime::shared()?.connect(config).await
}

impl Client {
    pub(crate) async fn open(runtime: Runtime, config: ClientConfig) -> Result<Self> {
        let settings = config.layered()?;
        let provider = providers::open(&runtime, &settings).await?;
        for capability in &settings.require {
            provider.capabilities().require(*capability)?;
        }
        check_options(provider.capabilities(), &settings.queue)?;
        check_breaker(&*provider, &settings.queue)?;
        let name = provider.capabilities().provider();
        let circuit = client_circuit(settings.client_breaker, name, runtime.telemetry());
        let closing = runtime.closing().child_token();
        Ok(Self(Arc::new(ClientInner {
            runtime,
            settings,
            provider,
            breakers: SendBreakers::default(),
            circuit,
            closed: AtomicBool::new(false),
            closing,
        })))
    }

    /// A queue with the client's options. Creates nothing.
    pub fn queue(&self, name: &str) -> Result<Queue> {
        self.queue_with(name, QueueOptions::default())
    }

    /// A queue with options of its own, over the client's. Creates nothing. `InvalidArgument`
    /// when the provider does not allow the name, `InvalidConfig` or `Unsupported` for an option.
    pub fn queue_with(&self, name: &str, options: QueueOptions) -> Result<Queue> {
        let named = |e: Error| e.with_operation("queue").with_queue(name);
        self.0.check_open().map_err(named)?;
        check_options(self.capabilities(), &options).map_err(named)?;
        check_breaker(&*self.0.provider, &options).map_err(named)?;
        let options = options.or(&self.0.settings.queue);
        let defaults = self.0.provider.queue_defaults();
        let mut definition = options.clone().or(&defaults).define().map_err(named)?;
        if options.breaker.is_none() && !self.0.provider.is_embedded() {
            definition.breaker = Breaker::default();
        }
        let provider = self.0.provider.queue(name, &options).map_err(named)?;
        let capabilities = provider
            .capabilities()
            .unwrap_or(self.capabilities())
            .clone();
        for capability in &self.0.settings.require {
            capabilities.require(*capability).map_err(named)?;
        }
        check_options(&capabilities, &options).map_err(named)?;
        let name: Arc<str> = name.into();
        let metrics = self
            .0
            .runtime
            .telemetry()
            .queue(self.capabilities().provider(), &name);
        let circuit = self.0.breakers.of(&name, &definition, &metrics);
        Ok(Queue::new(
            name,
            self.0.clone(),
            provider,
            definition,
            capabilities,
            metrics,
            circuit,
        ))
    }

    /// What this provider can do.
    pub fn capabilities(&self) -> &Capabilities {
        self.0.provider.capabilities()
    }

    /// The runtime this client stands on.
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// The metrics of this client's runtime, as Prometheus text (OpenMetrics 1.0).
    pub fn metrics(&self) -> String {
        self.0.runtime.metrics()
    }

    /// Where the breaker of the whole client stands, the option `client_breaker`; closed where there
    /// is none. While it is open what is new is not asked of the provider, of whatever queue: sends,
    /// receives, accepts of sessions and looks fail at once with `CircuitOpen`, consumers wait. What
    /// is in hand goes on.
    pub fn breaker_state(&self) -> BreakerState {
        let circuit = self.0.circuit.as_ref();
        circuit.map_or(BreakerState::Closed, |circuit| {
            circuit.state(self.0.clock().now())
        })
    }

    /// Closes the breaker of the whole client by hand, and forgets what failed. Those of its queues
    /// stay as they are.
    pub fn reset_breaker(&self) {
        if let Some(circuit) = &self.0.circuit {
            circuit.reset();
        }
    }

    /// Ends the client: verbs that wait end with `Closed`, later ones fail with it. Deliveries in
    /// hand come back when their locks end. Of a `file:` store, what is owed to the disk is there
    /// afterwards, and the folder may be removed if nobody else uses it. Closing again does nothing.
    pub async fn close(&self) -> Result<()> {
        if self.0.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.0.closing.cancel();
        self.0.provider.close().await
    }

    /// Whether the client was closed.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }
}

/// Options that need a capability are refused at once, not at the first message.
fn check_options(capabilities: &Capabilities, options: &QueueOptions) -> Result<()> {
    let needed = [
        (options.ttl.is_some(), Capability::Ttl),
        (
            options.on_failure == Some(OnFailure::Skip),
            Capability::SkipOnFailure,
        ),
        (
            options.on_failure == Some(OnFailure::Park),
            Capability::ParkOnFailure,
        ),
        (
            options.max_messages.is_some()
                || options.max_bytes.is_some()
                || options.on_full.is_some(),
            Capability::Bounds,
        ),
        (
            options.create == Some(Create::FirstUse),
            Capability::CreateAtFirstUse,
        ),
        (options.fair_groups == Some(true), Capability::FairGroups),
    ];
    for (asked, capability) in needed {
        if asked {
            capabilities.require(capability)?;
        }
    }
    Ok(())
}

/// A breaker of sends is refused where it would never open.
fn check_breaker(provider: &dyn Provider, options: &QueueOptions) -> Result<()> {
    let asked = options
        .breaker
        .is_some_and(|breaker| breaker != Breaker::None);
    if asked && provider.is_embedded() {
        let name = provider.capabilities().provider();
        return Err(Error::invalid_config(
            "breaker",
            format!("is for providers across a network; {name}: is never away, leave it out"),
        ));
    }
    Ok(())
}

impl ClientInner {
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(Error::closed("client"))
        } else {
            Ok(())
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.runtime.clock()
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    #[inline]
    pub(crate) fn circuit(&self) -> Option<&Arc<SharedCircuit>> {
        self.circuit.as_ref()
    }

    pub(crate) fn breaker(&self) -> Breaker {
        self.settings.client_breaker
    }

    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.tasks().spawn(future);
    }

    pub(crate) async fn sleep(&self, duration: std::time::Duration) {
        let deadline = self.clock().now() + duration;
        self.runtime.tasks().sleep_until(deadline).await;
    }

    /// Awaits a verb, or the closing of the client.
    pub(crate) async fn unless_closed<T>(
        &self,
        verb: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.closing
            .run_until_cancelled(verb)
            .await
            .unwrap_or_else(|| Err(Error::closed("client")))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("provider", &self.capabilities().provider())
            .field("closed", &self.is_closed())
            .finish()
    }
}
