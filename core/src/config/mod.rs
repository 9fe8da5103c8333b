//! Configuration: from code, URL, environment and defaults, in this precedence.

pub(crate) mod duration;
mod queue;
mod runtime;

pub use queue::*;
pub use runtime::*;

use crate::capability::Capability;

/// What a client is asked to be. `ClientConfig::from("memory:")` is enough to start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientConfig {
    /// Which engine, and where.
    pub url: String,
    /// Options of every queue that says nothing else.
    pub queue: QueueOptions,
    /// Capabilities without which the client does not open.
    pub require: Vec<Capability>,
}

impl From<&str> for ClientConfig {
    fn from(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..Self::default()
        }
    }
}

impl ClientConfig {
    /// This configuration over the URL's and the environment's.
    pub(crate) fn layered(self) -> crate::Result<Self> {
        Ok(self)
    }
}
