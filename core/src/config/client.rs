//! Configuration of a client, and how its layers become settings.

use serde::{Deserialize, Deserializer, Serialize};

use super::env::Environment;
use super::options::{self, Foreign, Options, flag, list, put};
use super::queue::QueueOptions;
use super::url::{Address, Endpoint};
use crate::capability::Capability;
use crate::error::{Error, Result};
use crate::providers;
use crate::resilience::Breaker;

/// What a client is asked to be. A URL is enough to start; what is set here or in JSON goes
/// before the URL's options, those before `QUEUE_RUNTIME_*` variables of the environment, and
/// those before the defaults: each option on its own.
///
/// The same names everywhere: `lock` in code and JSON, `memory:?lock=10s` in a URL,
/// `QUEUE_RUNTIME_LOCK` in the environment. An unknown name is refused, and so is a repeated one.
///
/// ```
/// use queue_runtime_core::{Capability, ClientConfig, QueueOptions};
/// use std::time::Duration;
///
/// let in_code = ClientConfig::new("memory:orders")
///     .queue(QueueOptions { lock: Some(Duration::from_secs(10)), ..QueueOptions::default() })
///     .require([Capability::Sessions]);
/// let in_json = ClientConfig::from_json(
///     r#"{"url": "memory:orders", "lock": "10s", "require": ["sessions"]}"#,
/// )?;
/// assert_eq!(in_code, in_json);
/// # Ok::<(), queue_runtime_core::Error>(())
/// ```
///
/// What only one provider knows is an option of its URL alone. Shown or serialised, the URL is
/// without user, password and the values of such options.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClientConfig {
    url: Address,
    #[serde(flatten)]
    layer: Layer,
}

/// What one layer says about clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Layer {
    #[serde(flatten)]
    pub(super) queue: QueueOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) require: Option<Vec<Capability>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_breaker: Option<Breaker>,
    /// Whether queues in memory are to be on disk instead, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enable_persistence: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) persistence_path: Option<String>,
}

/// A client's configuration with every layer looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Which engine, and where.
    pub(crate) endpoint: Endpoint,
    /// Options of every queue that says nothing else.
    pub(crate) queue: QueueOptions,
    /// Capabilities without which the client does not open.
    pub(crate) require: Vec<Capability>,
    /// When nothing more is asked of the provider for a while.
    pub(crate) client_breaker: Breaker,
}

impl ClientConfig {
    /// A client of the engine at this URL. An empty one takes `QUEUE_RUNTIME_URL`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Address::new(url.into()),
            layer: Layer::default(),
        }
    }

    /// The configuration of a JSON object: `url`, `require`, `client_breaker` and the options of a
    /// queue, all optional. `InvalidConfig` names the option.
    pub fn from_json(json: &str) -> Result<Self> {
        let config = <Self as Options>::from_json(json)?;
        config.layer.queue.check()?;
        Ok(config)
    }

    /// This configuration for the engine at this URL.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Address::new(url.into());
        self
    }

    /// Options of every queue of this client that says nothing else.
    pub fn queue(mut self, options: QueueOptions) -> Self {
        self.layer.queue = options.or(&self.layer.queue);
        self
    }

    /// Capabilities without which the client does not open.
    pub fn require(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.layer.require = Some(capabilities.into_iter().collect());
        self
    }

    /// When the whole provider is left alone since it is away: calls of all queues of this client
    /// count together, see [`Client::breaker_state`](crate::Client::breaker_state). Off by default.
    pub fn client_breaker(mut self, breaker: Breaker) -> Self {
        self.layer.client_breaker = Some(breaker);
        self
    }

    /// This configuration over the URL's options and the environment. `InvalidConfig` names the
    /// option or variable at fault.
    pub(crate) fn layered(self) -> Result<Settings> {
        self.over(Environment::of_process()?)
    }

    pub(super) fn over(self, environment: Environment) -> Result<Settings> {
        let (mut endpoint, of_url) = if self.url.is_empty() {
            let url = environment.url.ok_or_else(|| {
                let what = "give one, like \"memory:\", or set QUEUE_RUNTIME_URL";
                Error::invalid_config("url", what)
            })?;
            url.parse(providers::url_options)
                .map_err(|e| match e.field() {
                    Some("url") => e.with_field("QUEUE_RUNTIME_URL"),
                    _ => e,
                })?
        } else {
            self.url.parse(providers::url_options)?
        };
        let layer = self.layer.or(of_url).or(environment.client);
        layer.queue.define()?;
        let client_breaker = layer.client_breaker.unwrap_or(Breaker::None);
        client_breaker
            .check()
            .map_err(|e| e.with_field("client_breaker"))?;
        if let Some(path) = layer.persistence()? {
            endpoint = endpoint.persisted(path)?;
        }
        Ok(Settings {
            endpoint,
            queue: layer.queue,
            require: layer.require.unwrap_or_default(),
            client_breaker,
        })
    }
}

impl Layer {
    fn or(self, other: Layer) -> Self {
        Self {
            queue: self.queue.or(&other.queue),
            require: self.require.or(other.require),
            client_breaker: self.client_breaker.or(other.client_breaker),
            enable_persistence: self.enable_persistence.or(other.enable_persistence),
            persistence_path: self.persistence_path.or(other.persistence_path),
        }
    }

    /// The folder that queues in memory are to be kept in, if they are.
    fn persistence(&self) -> Result<Option<&str>> {
        match (self.enable_persistence, self.persistence_path.as_deref()) {
            (Some(false), _) | (None, None) => Ok(None),
            (_, Some(path)) => Ok(Some(path)),
            (Some(true), None) => Err(Error::invalid_config(
                "persistence_path",
                "say in which folder queues are kept, or open a URL like file:///path",
            )),
        }
    }
}

impl Options for Layer {
    fn names() -> impl Iterator<Item = &'static str> {
        QueueOptions::names().chain(["require", "client_breaker"])
    }

    fn set(&mut self, name: &str, text: &str) -> std::result::Result<bool, String> {
        match name {
            "require" => put(&mut self.require, capabilities(text)),
            "client_breaker" => {
                let breaker = text.parse().map_err(|e: Error| e.message().to_owned());
                put(&mut self.client_breaker, breaker)
            }
            "enable_persistence" => put(&mut self.enable_persistence, flag(text)),
            "persistence_path" => put(&mut self.persistence_path, Ok(text.to_owned())),
            _ => Ok(self.queue.set(name, text)? || Foreign::set(FOREIGN, name, text)?),
        }
    }
}

impl Options for ClientConfig {
    fn names() -> impl Iterator<Item = &'static str> {
        ["url"].into_iter().chain(Layer::names())
    }

    fn set(&mut self, name: &str, text: &str) -> std::result::Result<bool, String> {
        match name {
            "url" if self.url.is_empty() => {
                self.url = Address::new(text.to_owned());
                Ok(true)
            }
            "url" => Err("is given more than once".to_owned()),
            _ => self.layer.set(name, text),
        }
    }
}

fn capabilities(text: &str) -> std::result::Result<Vec<Capability>, String> {
    let known = || Capability::ALL.map(Capability::name).join(", ");
    let capabilities: Vec<Capability> = list(text)
        .map(|name| {
            let unknown = || format!("{name:?} is not a capability; there are: {}", known());
            Capability::from_name(name).ok_or_else(unknown)
        })
        .collect::<std::result::Result<_, _>>()?;
    if capabilities.is_empty() {
        return Err(format!("names no capability; there are: {}", known()));
    }
    Ok(capabilities)
}

/// Fields of in-memory queues elsewhere.
const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "channel_buffer_size",
        fine: None,
        instead: "there is no channel between a queue and its receivers; bound the queue by \
                  max_messages, and a receive by its own max_messages",
    },
    Foreign {
        name: "worker_threads",
        fine: None,
        instead: "threads belong to the runtime: set it in RuntimeConfig, or as \
                  QUEUE_RUNTIME_WORKER_THREADS",
    },
];

impl From<&str> for ClientConfig {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for ClientConfig {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

impl<'de> Deserialize<'de> for ClientConfig {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        options::deserialize(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECONDS: fn(u64) -> Option<Duration> = |n| Some(Duration::from_secs(n));

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = variables.iter().map(|(n, v)| (n.into(), v.into()));
        Environment::read(owned).unwrap()
    }

    fn locked(seconds: u64) -> QueueOptions {
        QueueOptions {
            lock: SECONDS(seconds),
            ..QueueOptions::default()
        }
    }

    #[test]
    fn code_goes_before_url_before_environment_for_each_option() {
        let variables = environment(&[
            ("QUEUE_RUNTIME_LOCK", "3s"),
            ("QUEUE_RUNTIME_BUDGET", "3"),
            ("QUEUE_RUNTIME_TTL", "3s"),
            ("QUEUE_RUNTIME_REQUIRE", "peek"),
            ("QUEUE_RUNTIME_CLIENT_BREAKER", "1,1s,1"),
            ("QUEUE_RUNTIME_URL", "memory:unused"),
        ]);
        let config = ClientConfig::new("memory:store?lock=2s&budget=2&require=delay")
            .queue(locked(1))
            .require([Capability::Sessions]);
        let settings = config.over(variables).unwrap();
        assert_eq!(settings.endpoint.path, "store");
        assert_eq!(settings.queue.lock, SECONDS(1));
        assert_eq!(settings.queue.budget, Some(2));
        assert_eq!(settings.queue.ttl, SECONDS(3));
        assert_eq!(settings.queue.max_messages, None);
        assert_eq!(settings.require, [Capability::Sessions]);
        assert_eq!(settings.client_breaker.to_string(), "1,1s,1");
        // It is not the one that every queue has for its sends.
        assert_eq!(settings.queue.breaker, None);
    }

    #[test]
    fn the_breaker_of_the_client_is_off_and_must_make_sense() {
        let settings = ClientConfig::from("memory:?breaker=none");
        let settings = settings.over(environment(&[])).unwrap();
        assert_eq!(settings.client_breaker, Breaker::None);
        let in_url = ClientConfig::from("memory:?client_breaker=x");
        let in_code = ClientConfig::from("memory:").client_breaker(Breaker::After {
            failures: 0,
            pause: Duration::ZERO,
            successes: 1,
        });
        for (config, what) in [(in_url, "5,30s,3"), (in_code, "at least 1")] {
            let error = config.over(environment(&[])).unwrap_err();
            assert_eq!(error.field(), Some("client_breaker"));
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn an_empty_url_is_the_environments_with_its_options() {
        let variables = environment(&[
            ("QUEUE_RUNTIME_URL", "memory:store?lock=2s"),
            ("QUEUE_RUNTIME_LOCK", "3s"),
        ]);
        let settings = ClientConfig::default().over(variables).unwrap();
        assert_eq!(settings.endpoint.path, "store");
        assert_eq!(settings.queue.lock, SECONDS(2));
    }

    #[test]
    fn a_url_is_needed() {
        let error = ClientConfig::from("").over(environment(&[])).unwrap_err();
        assert_eq!(error.field(), Some("url"));
        assert!(error.to_string().contains("QUEUE_RUNTIME_URL"), "{error}");
        let variables = environment(&[("QUEUE_RUNTIME_URL", "nowhere:")]);
        let error = ClientConfig::from("").over(variables).unwrap_err();
        assert_eq!(error.field(), Some("QUEUE_RUNTIME_URL"));
    }

    #[test]
    fn the_layers_together_must_make_sense() {
        let variables = environment(&[("QUEUE_RUNTIME_MAX_BYTES", "100")]);
        let config = ClientConfig::from("memory:?max_message_bytes=101");
        let error = config.clone().over(variables).unwrap_err();
        assert_eq!(error.field(), Some("max_message_bytes"));
        config.over(environment(&[])).unwrap();
        let error = ClientConfig::from("memory:").queue(locked(0));
        assert_eq!(
            error.over(environment(&[])).unwrap_err().field(),
            Some("lock")
        );
    }

    #[test]
    fn json_errors_name_the_option() {
        let cases = [
            (r#"{"url": "memory:", "lokc": "1s"}"#, "lokc"),
            (r#"{"lock": "1s", "lock": "1s"}"#, "lock"),
            (r#"{"url": "memory:", "url": "memory:"}"#, "url"),
            (r#"{"lock": 30}"#, "lock"),
            (r#"{"lock": "-1s"}"#, "lock"),
            (r#"{"lock": "0s"}"#, "lock"),
            (r#"{"lock": {"seconds": 1}}"#, "lock"),
            (r#"{"budget": -1}"#, "budget"),
            (r#"{"budget": 0}"#, "budget"),
            (r#"{"budget": 1.5}"#, "budget"),
            (r#"{"max_messages": 18446744073709551616}"#, "max_messages"),
            (r#"{"retry": "often"}"#, "retry"),
            (r#"{"require": ["sessions", "magic"]}"#, "require"),
            (r#"{"require": [["sessions", {}]]}"#, "require"),
            (r#"{"enable_persistence": "maybe"}"#, "enable_persistence"),
            (r#"{"persistence_path": {"of": "x"}}"#, "persistence_path"),
            (r#"{"channel_buffer_size": 100}"#, "channel_buffer_size"),
            (r#"{"worker_threads": 4}"#, "worker_threads"),
            ("[]", "json"),
            ("{", "json"),
            ("", "json"),
        ];
        for (json, field) in cases {
            let error = ClientConfig::from_json(json).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfig, "{json}");
            assert_eq!(error.field(), Some(field), "{json}: {error}");
        }
    }

    #[test]
    fn fields_of_in_memory_queues_elsewhere_are_understood_or_explained() {
        let json =
            r#"{"max_queue_size": 10000, "enable_persistence": false, "persistence_path": null}"#;
        let config = ClientConfig::from_json(json).unwrap();
        assert_eq!(config.layer.queue.max_messages, Some(10_000));
    }

    #[cfg(all(feature = "file", target_os = "linux"))]
    #[test]
    fn persistence_of_queues_in_memory_is_the_engine_on_disk() {
        let of = |json: &str| {
            ClientConfig::from_json(json)
                .unwrap()
                .over(environment(&[]))
        };
        for json in [
            r#"{"url": "memory:?lock=7s", "enable_persistence": true, "persistence_path": "/var/my q"}"#,
            r#"{"url": "memory:name?lock=7s", "persistence_path": "/var/my q"}"#,
        ] {
            let settings = of(json).unwrap();
            assert_eq!(settings.endpoint.url.scheme(), "file", "{json}");
            assert_eq!(settings.endpoint.path, "/var/my q", "{json}");
            assert_eq!(settings.queue.lock, SECONDS(7), "{json}");
        }
        let off = r#"{"url": "memory:", "enable_persistence": false, "persistence_path": "/q"}"#;
        assert_eq!(of(off).unwrap().endpoint.url.scheme(), "memory");
        for (json, field) in [
            (
                r#"{"url": "memory:", "enable_persistence": true}"#,
                "persistence_path",
            ),
            (
                r#"{"url": "memory:", "persistence_path": "relative"}"#,
                "persistence_path",
            ),
            (
                r#"{"url": "file:///elsewhere", "persistence_path": "/q"}"#,
                "persistence_path",
            ),
        ] {
            assert_eq!(of(json).unwrap_err().field(), Some(field), "{json}");
        }
    }

    #[test]
    fn json_survives_both_ways_without_secrets() {
        let config = ClientConfig::new("memory:name")
            .queue(QueueOptions {
                retry: Some("linear:1s,1s,5s".parse().unwrap()),
                max_bytes: Some(u64::MAX),
                ..locked(90)
            })
            .require([Capability::Peek, Capability::Delay])
            .client_breaker(Breaker::default());
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            json,
            r#"{"url":"memory:name","lock":"1m 30s","retry":"linear:1s,1s,5s","max_bytes":18446744073709551615,"require":["peek","delay"],"client_breaker":"5,30s,3"}"#
        );
        assert_eq!(ClientConfig::from_json(&json).unwrap(), config);
        assert_eq!(serde_json::from_str::<ClientConfig>(&json).unwrap(), config);

        let secret = ClientConfig::new("amqp://user:hunter2@host/");
        let shown = format!("{secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert!(
            !shown.contains("hunter2") && shown.contains("host"),
            "{shown}"
        );
        let as_text = r#""amqp://user:hunter2@host/""#;
        let error = ClientConfig::from_json(as_text).unwrap_err().to_string();
        let of_serde = serde_json::from_str::<ClientConfig>(as_text).unwrap_err();
        assert!(
            !format!("{error} {of_serde}").contains("hunter2"),
            "{error} {of_serde}"
        );
    }

    #[test]
    fn every_option_of_a_queue_has_its_name() {
        let all = r#"{"lock":"1s","budget":1,"retry":"none","ttl":"1s","on_expiry":"dead_letter",
            "dedup_window":"1s","on_failure":"park","max_messages":1,"max_bytes":2,
            "max_message_bytes":1,"on_full":"error","create":"never","breaker":"5,30s,3",
            "fair_groups":true}"#;
        let options = QueueOptions::from_json(all).unwrap();
        let shown = serde_json::to_value(&options).unwrap();
        let given: serde_json::Value = serde_json::from_str(all).unwrap();
        assert_eq!(shown, given);
        let names: Vec<&str> = QueueOptions::names().collect();
        let mut fields: Vec<&String> = given.as_object().unwrap().keys().collect();
        fields.sort_by_key(|field| names.iter().position(|name| name == field));
        assert_eq!(fields, names);
    }
}
