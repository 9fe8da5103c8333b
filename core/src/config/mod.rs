//! Configuration: from code, URL, environment and defaults, in this precedence.
//!
//! Every source gives names and texts, and each configuration has one place that reads them
//! ([`Options::set`](options::Options::set)): an option is spelled the same in JSON, in a URL and
//! in the environment, and its errors are the same.

mod client;
pub(crate) mod duration;
mod env;
pub(crate) mod options;
mod presets;
mod queue;
mod runtime;
mod url;

pub use client::ClientConfig;
pub(crate) use client::Settings;
pub use queue::*;
pub use runtime::RuntimeConfig;
pub use url::Address;

#[cfg(test)]
mod tests {
    use super::env::Environment;
    use super::options::Options;

    #[test]
    fn every_option_is_in_the_documentation() {
        let page = include_str!("../../../docs/configuration.md");
        for name in Environment::names() {
            let row = format!("\n| `{name}` |");
            assert!(page.contains(&row), "{name} has no row");
        }
    }
}
