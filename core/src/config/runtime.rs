//! Configuration of the runtime.

use crate::error::{Error, ErrorKind, Result};

/// Threads of the runtime.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeConfig {}

impl RuntimeConfig {
    /// From the environment.
    pub fn from_env() -> Result<Self> {
        Ok(Self {})
    }

    pub(crate) fn build(&self) -> Result<tokio::runtime::Runtime> {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| {
                Error::new(ErrorKind::Io, "the runtime's threads cannot be started").with_source(e)
            })
    }
}
