//! The registry: URL schemes and the providers behind them.

#[cfg(feature = "memory")]
mod memory;

use std::sync::Arc;

use crate::config::ClientConfig;
use crate::error::{Error, Result};
use crate::provider::Provider;
use crate::runtime::Runtime;

/// Opens the provider of the URL's scheme.
pub(crate) async fn open(runtime: &Runtime, config: &ClientConfig) -> Result<Arc<dyn Provider>> {
    let (scheme, _) = config.url.split_once(':').unwrap_or((&config.url, ""));
    match scheme {
        #[cfg(feature = "memory")]
        "memory" => memory::open(runtime, config),
        _ => Err(Error::invalid_config(
            "url",
            format!(
                "no provider for the scheme {scheme:?} is built in; there are: {}",
                SCHEMES.join(", ")
            ),
        )),
    }
}

/// The schemes that are built in.
pub const SCHEMES: &[&str] = &[
    #[cfg(feature = "memory")]
    "memory",
];
