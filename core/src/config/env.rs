//! The environment: `QUEUE_RUNTIME_` and an option's name in capitals.

use std::ffi::OsString;

use super::client::Layer;
use super::options::{Options, unknown};
use super::runtime::RuntimeConfig;
use super::url::Address;
use crate::error::{Error, Result};

const PREFIX: &str = "QUEUE_RUNTIME_";

/// What the environment says. An empty variable says nothing.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) url: Option<Address>,
    pub(super) client: Layer,
    pub(super) runtime: RuntimeConfig,
}

impl Environment {
    /// The environment of this process. `InvalidConfig` names the variable.
    pub(super) fn of_process() -> Result<Self> {
        Self::read(std::env::vars_os())
    }

    /// An environment of these variables.
    pub(super) fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Self> {
        let mut environment = Self::default();
        for (variable, value) in variables {
            let variable = variable.to_string_lossy();
            if let Some(name) = variable.strip_prefix(PREFIX) {
                let invalid = |what| Error::invalid_config(variable.to_string(), what);
                let known = || Self::names().map(|name| PREFIX.to_owned() + &capitals(name));
                if name != capitals(name) {
                    return Err(unknown(variable, known()));
                }
                let value = value
                    .into_string()
                    .map_err(|_| invalid("is not UTF-8".to_owned()))?;
                let name = name.to_ascii_lowercase();
                if !environment.set(&name, &value).map_err(invalid)? {
                    return Err(unknown(variable, known()));
                }
            }
        }
        environment.check()?;
        Ok(environment)
    }

    /// Each value by itself, so that an error can name its variable.
    fn check(&self) -> Result<()> {
        let checked = self
            .client
            .queue
            .check()
            .and_then(|()| self.runtime.check());
        checked.map_err(|e| {
            let variable = e.field().map(|field| PREFIX.to_owned() + &capitals(field));
            match variable {
                Some(variable) => e.with_field(variable),
                None => e,
            }
        })
    }
}

impl Options for Environment {
    fn names() -> impl Iterator<Item = &'static str> {
        let client = ["url"].into_iter().chain(Layer::names());
        client.chain(RuntimeConfig::names())
    }

    fn set(&mut self, name: &str, text: &str) -> std::result::Result<bool, String> {
        if text.is_empty() {
            return Ok(Self::names().any(|known| known == name));
        }
        if name == "url" {
            self.url = Some(Address::new(text.to_owned()));
            return Ok(true);
        }
        Ok(self.runtime.set(name, text)? || self.client.set(name, text)?)
    }
}

fn capitals(name: &str) -> String {
    name.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn read(variables: &[(&str, &str)]) -> Result<Environment> {
        Environment::read(variables.iter().map(|(n, v)| (n.into(), v.into())))
    }

    #[test]
    fn variables_set_clients_and_the_runtime() {
        let environment = read(&[
            ("PATH", "/bin"),
            ("QUEUE_RUNTIME_URL", "memory:"),
            ("QUEUE_RUNTIME_LOCK", "10s"),
            ("QUEUE_RUNTIME_REQUIRE", "delay, ttl"),
            ("QUEUE_RUNTIME_WORKER_THREADS", "3"),
            ("QUEUE_RUNTIME_BUDGET", ""),
        ])
        .unwrap();
        assert_eq!(environment.url, Some(Address::new("memory:".to_owned())));
        assert_eq!(environment.client.queue.lock, Some(Duration::from_secs(10)));
        assert_eq!(environment.client.queue.budget, None);
        assert_eq!(environment.client.require.unwrap().len(), 2);
        assert_eq!(environment.runtime.worker_threads, Some(3));
    }

    #[test]
    fn errors_name_the_variable() {
        let cases = [
            ("QUEUE_RUNTIME_LOKC", "1s"),
            ("QUEUE_RUNTIME_LOKC", ""),
            ("QUEUE_RUNTIME_lock", "1s"),
            ("QUEUE_RUNTIME_", "1s"),
            ("QUEUE_RUNTIME_LOCK", "1"),
            ("QUEUE_RUNTIME_LOCK", "0s"),
            ("QUEUE_RUNTIME_LOCK", "-1s"),
            ("QUEUE_RUNTIME_RETRY", "fixed:-1s"),
            ("QUEUE_RUNTIME_REQUIRE", "magic"),
            ("QUEUE_RUNTIME_WORKER_THREADS", "0"),
            ("QUEUE_RUNTIME_WORKER_THREADS", "many"),
            ("QUEUE_RUNTIME_ENABLE_TIME", "false"),
            ("QUEUE_RUNTIME_ENABLE_PERSISTENCE", "maybe"),
        ];
        for (variable, value) in cases {
            let error = read(&[(variable, value)]).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfig);
            assert_eq!(error.field(), Some(variable), "{error}");
        }
    }

    #[test]
    fn an_unknown_variable_lists_the_known_ones() {
        let error = read(&[("QUEUE_RUNTIME_LOKC", "1s")])
            .unwrap_err()
            .to_string();
        for known in [
            "QUEUE_RUNTIME_URL",
            "QUEUE_RUNTIME_LOCK",
            "QUEUE_RUNTIME_WORKER_THREADS",
        ] {
            assert!(error.contains(known), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn bytes_that_are_not_utf_8_are_refused_where_they_are_ours() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = |text: &[u8]| OsString::from_vec(text.to_vec());
        let read = |name: &[u8]| Environment::read([(bytes(name), bytes(b"\xff"))].into_iter());
        assert!(read(b"LS_COLORS\xff").is_ok());
        let error = read(b"QUEUE_RUNTIME_LOCK").unwrap_err();
        assert_eq!(error.field(), Some("QUEUE_RUNTIME_LOCK"));
        assert!(read(b"QUEUE_RUNTIME_\xff").is_err());
    }
}
