//! The runtime: threads, time, metrics and what the clients of one process share.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::body_pool::BodyPool;
use crate::client::Client;
use crate::clock::{Clock, Sleep, Tick};
use crate::config::{ClientConfig, RuntimeConfig};
use crate::consumer::{Keeper, MemoryWatch, ShownMemory};
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::Telemetry;

/// What clients stand on. Cheap to clone; any thread; several may live in one process. Threads
/// end when the last clone and the last client of it are gone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    /// `None` where the threads are the host's own, and after a shutdown.
    own: Mutex<Option<tokio::runtime::Runtime>>,
    closing: CancellationToken,
    tasks: Tasks,
    keeper: Arc<Keeper>,
    /// Where memory has a limit.
    memory: Option<Arc<MemoryWatch>>,
    bodies: BodyPool,
    telemetry: Telemetry,
    shared: Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>,
}

impl Runtime {
    /// A runtime with threads of its own. `InvalidConfig` names the field.
    pub fn new(config: RuntimeConfig) -> Result<Self> {
        Self::with_clock(config, Clock::system())
    }

    /// A runtime whose locks, delays, waits and timers follow this clock.
    pub fn with_clock(config: RuntimeConfig, clock: Clock) -> Result<Self> {
        let config = config.layered()?;
        let own = config.build()?;
        let handle = own.handle().clone();
        Ok(Self::from_parts(Some(own), handle, clock, &config))
    }

    /// A runtime on the threads of the tokio runtime this is called in, with time enabled.
    /// `InvalidConfig` outside of one.
    pub fn current() -> Result<Self> {
        let handle = Handle::try_current().map_err(|e| {
            Error::invalid_config(
                "runtime",
                "there is no tokio runtime here; use Runtime::new",
            )
            .with_source(e)
        })?;
        let config = RuntimeConfig::default().layered()?;
        Ok(Self::from_parts(None, handle, Clock::system(), &config))
    }

    /// The runtime of those who need no other: built from the environment at its first use.
    pub fn shared() -> Result<Self> {
        static SHARED: OnceCell<Runtime> = OnceCell::new();
        SHARED
            .get_or_try_init(|| Self::new(RuntimeConfig::default()))
            .cloned()
    }

    fn from_parts(
        own: Option<tokio::runtime::Runtime>,
        handle: Handle,
        clock: Clock,
        config: &RuntimeConfig,
    ) -> Self {
        let body_bytes = config.body_pool_bytes.unwrap_or(BodyPool::DEFAULT_BYTES);
        let tasks = Tasks { handle, clock };
        let limit = config.memory_limit.filter(|limit| *limit > 0);
        let memory = limit.map(|limit| MemoryWatch::new(limit, tasks.clone()));
        let mut telemetry = Telemetry::new();
        if let Some(memory) = &memory {
            telemetry.show(ShownMemory(memory.clone()));
        }
        Self(Arc::new(Inner {
            own: Mutex::new(own),
            closing: CancellationToken::new(),
            keeper: Keeper::new(tasks.clone()),
            tasks,
            memory,
            bodies: BodyPool::new(body_bytes),
            telemetry,
            shared: Mutex::default(),
        }))
    }

    /// Opens a client. Creates no queue and lists none. `InvalidConfig` names the field at fault,
    /// `Unsupported` the required capability the provider lacks.
    pub async fn connect(&self, config: impl Into<ClientConfig>) -> Result<Client> {
        Client::open(self.clone(), config.into()).await
    }

    /// The time this runtime follows.
    pub fn clock(&self) -> &Clock {
        self.0.tasks.clock()
    }

    /// Memory for message bodies, reused.
    pub fn bodies(&self) -> &BodyPool {
        &self.0.bodies
    }

    /// The metrics of all clients of this runtime, as Prometheus text (OpenMetrics 1.0).
    pub fn metrics(&self) -> String {
        self.0.telemetry.text()
    }

    /// Waits, by the time this runtime follows.
    pub async fn sleep(&self, duration: Duration) {
        let deadline = self.clock().now() + duration;
        self.0.tasks.sleep_until(deadline).await;
    }

    /// Waits for a future on the calling thread. `WouldDeadlock` on a thread of a tokio runtime.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output> {
        if Handle::try_current().is_ok() {
            return Err(Error::new(
                ErrorKind::WouldDeadlock,
                "block_on was called on a thread of a tokio runtime; await the future instead",
            ));
        }
        Ok(self.0.tasks.handle.block_on(future))
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    /// Ends every client of this runtime and then its threads, waiting for what runs on them.
    /// `Timeout` when that takes longer: something hangs, and keeps its thread. `WouldDeadlock`
    /// on a thread of a tokio runtime. The host's own threads go on.
    pub fn shutdown(&self, timeout: Duration) -> Result<()> {
        if Handle::try_current().is_ok() {
            return Err(Error::new(
                ErrorKind::WouldDeadlock,
                "shutdown was called on a thread of a tokio runtime, which it would wait for",
            ));
        }
        self.close();
        let own = self
            .0
            .own
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(own) = own else { return Ok(()) };
        let begun = std::time::Instant::now();
        own.shutdown_timeout(timeout);
        if begun.elapsed() < timeout {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Timeout,
            "something still runs on a thread of the runtime: a callback that hangs?",
        ))
    }

    /// Ends every client of this runtime: what waits ends with `Closed`. The threads go on.
    #[doc(hidden)]
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// The tokio runtime below, for what stands on the core.
    #[doc(hidden)]
    pub fn handle(&self) -> &Handle {
        &self.0.tasks.handle
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper> {
        &self.0.keeper
    }

    pub(crate) fn memory(&self) -> Option<&Arc<MemoryWatch>> {
        self.0.memory.as_ref()
    }

    /// Measures the memory of the process by this from now on.
    #[doc(hidden)]
    pub fn measure_memory_by(
        &self,
        measure: impl Fn() -> std::io::Result<u64> + Send + Sync + 'static,
    ) {
        if let Some(memory) = &self.0.memory {
            memory.measure_by(Arc::new(measure));
        }
    }

    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    /// Time and background work, for what must not keep the runtime alive.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// What clients of this runtime share under a name: made at the first call, kept as long as
    /// the runtime.
    pub(crate) fn share<T: Any + Send + Sync>(
        &self,
        name: &str,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shared
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(make()));
        // A name begins with its provider's scheme, so nobody else puts another type under it.
        entry
            .clone()
            .downcast()
            .unwrap_or_else(|_| unreachable!("{name} is shared as another type"))
    }
}

/// Time and background work of a runtime.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    handle: Handle,
    clock: Clock,
}

impl Tasks {
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Runs a future in the background.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        #[cfg(not(feature = "shuttle"))]
        drop(self.handle.spawn(future));
        #[cfg(feature = "shuttle")]
        drop(shuttle::future::spawn(future));
    }

    pub(crate) fn sleep_until(&self, deadline: Tick) -> Sleep {
        let _entered = self.handle.enter();
        self.clock.sleep_until(deadline)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Never waits: the last clone may go inside a future, where waiting is forbidden.
        let own = self.own.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = own.take() {
            own.shutdown_background();
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("clock", self.0.tasks.clock())
            .finish_non_exhaustive()
    }
}
