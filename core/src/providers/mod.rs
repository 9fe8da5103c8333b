//! The registry: URL schemes and the providers behind them.

#[cfg(any(feature = "memory", all(feature = "file", target_os = "linux")))]
mod embedded;
#[cfg(all(feature = "file", target_os = "linux"))]
pub(crate) mod file;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "sqs")]
mod sqs;

use std::sync::Arc;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::provider::Provider;
use crate::runtime::Runtime;

/// Opens the provider of the URL's scheme.
pub(crate) async fn open(runtime: &Runtime, settings: &Settings) -> Result<Arc<dyn Provider>> {
    match settings.endpoint.url.scheme() {
        #[cfg(feature = "memory")]
        "memory" => memory::open(runtime, settings),
        #[cfg(feature = "sqs")]
        "sqs" => sqs::open(runtime, settings).await,
        #[cfg(all(feature = "file", target_os = "linux"))]
        "file" => file::open(runtime, settings),
        scheme => Err(not_built_in(scheme)),
    }
}

/// The options of a URL that only the provider of this scheme knows.
pub(crate) fn url_options(scheme: &str) -> Result<&'static [&'static str]> {
    match scheme {
        #[cfg(feature = "memory")]
        "memory" => Ok(&[]),
        #[cfg(feature = "sqs")]
        "sqs" => Ok(sqs::NAMES),
        #[cfg(all(feature = "file", target_os = "linux"))]
        "file" => Ok(file::OPTIONS),
        scheme => Err(not_built_in(scheme)),
    }
}

fn not_built_in(scheme: &str) -> Error {
    Error::invalid_config(
        "url",
        format!(
            "no provider for the scheme {scheme:?} is built in; there are: {}",
            SCHEMES.join(", ")
        ),
    )
}

/// The schemes that are built in.
pub const SCHEMES: &[&str] = &[
    #[cfg(feature = "memory")]
    "memory",
    #[cfg(feature = "sqs")]
    "sqs",
    #[cfg(all(feature = "file", target_os = "linux"))]
    "file",
];
