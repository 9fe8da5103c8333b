//! Clients of a provider.

use queue_runtime::*;

use crate::abi::{Handle, NOBODY, call, lend_text, make};
use crate::error::Result;
use crate::op::{Started, start};
use crate::runtime::text_of;
use crate::{Breaker, Queue, Runtime};

/// A connection to one provider. Dropping it never waits; its queues hold on to it.
pub struct Client(pub(crate) Handle<qrt_client_t>);

impl Client {
    /// Opens a client of the provider a URL names. `config` is JSON over the URL's own, or empty.
    pub fn open(runtime: &Runtime, url: &str, config: &str) -> Result<Started<Self>> {
        let (url, config) = (lend_text(Some(url)), lend_text(Some(config)));
        // SAFETY: the handle is owned, the texts live for the length of the call.
        start(|place, op, error| unsafe {
            qrt_client_open(runtime.0.get(), url, config, NOBODY, place, op, error)
        })
    }

    /// Opens a queue. `config` is options as JSON over the client's, or empty.
    pub fn queue(&self, name: &str, config: &str) -> Result<Queue> {
        let (name, config) = (lend_text(Some(name)), lend_text(Some(config)));
        // SAFETY: the handle is owned, the texts live for the length of the call.
        make(|place, error| unsafe { qrt_queue_open(self.0.get(), name, config, place, error) })
            .map(Queue)
    }

    /// What the provider can do and its limits, as JSON.
    pub fn capabilities(&self) -> Result<String> {
        // SAFETY: the handle is owned.
        let made =
            make(|place, error| unsafe { qrt_client_capabilities(self.0.get(), place, error) });
        made.map(|buffer| text_of(&buffer))
    }

    /// Where the breaker of the whole client stands.
    pub fn breaker(&self) -> Breaker {
        // SAFETY: the handle is owned.
        Breaker::of(unsafe { qrt_client_breaker_state(self.0.get()) })
    }

    /// Closes the breaker of the whole client by hand, and forgets what failed.
    pub fn reset_breaker(&self) -> Result<()> {
        // SAFETY: the handle is owned.
        call(|error| unsafe { qrt_client_reset_breaker(self.0.get(), error) }).map(drop)
    }

    /// Ends the client: verbs that wait end with `CLOSED`, later ones fail with it.
    pub fn close(&self) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe { qrt_client_close(self.0.get(), NOBODY, op, error) })
    }
}
