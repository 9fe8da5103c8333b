//! Configuration of the runtime: its threads and its memory for bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use core_affinity::CoreId;
use serde::{Deserialize, Deserializer, Serialize};

use super::env::Environment;
use super::options::{self, Foreign, Options, list, number, put};
use crate::error::{Error, ErrorKind, Result};

/// Threads and memory of a runtime. `None` takes the value of the environment
/// (`QUEUE_RUNTIME_WORKER_THREADS` and so on), then the default.
///
/// ```
/// use queue_runtime_core::RuntimeConfig;
///
/// let config = RuntimeConfig { worker_threads: Some(2), ..RuntimeConfig::default() };
/// assert_eq!(config, RuntimeConfig::from_json(r#"{"worker_threads": 2}"#)?);
/// # Ok::<(), queue_runtime_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RuntimeConfig {
    /// Threads that run futures, 1 to 1024. Default: one for each processor that this process
    /// may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_threads: Option<usize>,
    /// Threads for blocking work at most, 1 to 65,536; they are started when needed. Default: 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_blocking_threads: Option<usize>,
    /// Bytes of each thread's stack, 64 KiB to 1 GiB. Default: 2 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_stack_size: Option<usize>,
    /// Threads are named by this and a number. 1 to 32 printable ASCII characters; Linux shows
    /// the first 15 of all. Default: `qrt-worker`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    /// Processors, by the system's numbers, that threads are pinned to in turn. Default: none,
    /// the system moves them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_affinity: Option<Vec<usize>>,
    /// Bytes of memory that is kept for message bodies at most; zero keeps none. Default: 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_pool_bytes: Option<usize>,
    /// Bytes of resident memory of the process above which the consumers of this runtime pause;
    /// they go on below 90 % of it. Looked at once a second, on Linux only. Default: 0, no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
}

/// Fields of runtimes elsewhere.
const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "enable_io",
        fine: Some("true"),
        instead: "cannot be turned off: providers on a network need it",
    },
    Foreign {
        name: "enable_time",
        fine: Some("true"),
        instead: "cannot be turned off: locks, delays and waits need it",
    },
];

impl Options for RuntimeConfig {
    fn names() -> impl Iterator<Item = &'static str> {
        [
            "worker_threads",
            "max_blocking_threads",
            "thread_stack_size",
            "thread_name",
            "cpu_affinity",
            "body_pool_bytes",
            "memory_limit",
        ]
        .into_iter()
    }

    fn set(&mut self, name: &str, text: &str) -> std::result::Result<bool, String> {
        match name {
            "worker_threads" => put(&mut self.worker_threads, number(text)),
            "max_blocking_threads" => put(&mut self.max_blocking_threads, number(text)),
            "thread_stack_size" => put(&mut self.thread_stack_size, number(text)),
            "thread_name" => put(&mut self.thread_name, Ok(text.to_owned())),
            "cpu_affinity" => put(&mut self.cpu_affinity, list(text).map(number).collect()),
            "body_pool_bytes" => put(&mut self.body_pool_bytes, number(text)),
            "memory_limit" => put(&mut self.memory_limit, number(text)),
            _ => Foreign::set(FOREIGN, name, text),
        }
    }
}

impl<'de> Deserialize<'de> for RuntimeConfig {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        options::deserialize(d)
    }
}

impl RuntimeConfig {
    /// The configuration of a JSON object. `InvalidConfig` names the option.
    pub fn from_json(json: &str) -> Result<Self> {
        let config = <Self as Options>::from_json(json)?;
        config.check()?;
        Ok(config)
    }

    /// This configuration over the environment.
    pub(crate) fn layered(self) -> Result<Self> {
        let environment = Environment::of_process()?.runtime;
        let config = self.or(environment);
        config.check()?;
        Ok(config)
    }

    fn or(self, other: Self) -> Self {
        Self {
            worker_threads: self.worker_threads.or(other.worker_threads),
            max_blocking_threads: self.max_blocking_threads.or(other.max_blocking_threads),
            thread_stack_size: self.thread_stack_size.or(other.thread_stack_size),
            thread_name: self.thread_name.or(other.thread_name),
            cpu_affinity: self.cpu_affinity.or(other.cpu_affinity),
            body_pool_bytes: self.body_pool_bytes.or(other.body_pool_bytes),
            memory_limit: self.memory_limit.or(other.memory_limit),
        }
    }

    /// `InvalidConfig` names the field.
    pub(super) fn check(&self) -> Result<()> {
        let bounds = [
            ("worker_threads", self.worker_threads, 1..=1024),
            (
                "max_blocking_threads",
                self.max_blocking_threads,
                1..=65_536,
            ),
            (
                "thread_stack_size",
                self.thread_stack_size,
                64 << 10..=1 << 30,
            ),
        ];
        for (field, value, bounds) in bounds {
            if value.is_some_and(|value| !bounds.contains(&value)) {
                let what = format!("must be {} to {}", bounds.start(), bounds.end());
                return Err(Error::invalid_config(field, what));
            }
        }
        if let Some(name) = &self.thread_name
            && !(matches!(name.len(), 1..=32) && name.bytes().all(|b| (0x20..0x7f).contains(&b)))
        {
            let what = "must be 1 to 32 printable ASCII characters";
            return Err(Error::invalid_config("thread_name", what));
        }
        if let Some(cores) = &self.cpu_affinity {
            check_cores(cores)?;
        }
        if self.memory_limit.is_some_and(|limit| limit > 0) && !cfg!(target_os = "linux") {
            let what = "the memory of the process can be measured on Linux only; leave it out";
            return Err(Error::invalid_config("memory_limit", what));
        }
        Ok(())
    }

    /// The threads. Of a configuration that is checked.
    pub(crate) fn build(&self) -> Result<tokio::runtime::Runtime> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        builder.worker_threads(self.worker_threads.unwrap_or_else(processors));
        if let Some(threads) = self.max_blocking_threads {
            builder.max_blocking_threads(threads);
        }
        if let Some(bytes) = self.thread_stack_size {
            builder.thread_stack_size(bytes);
        }
        let name = self
            .thread_name
            .as_deref()
            .unwrap_or("qrt-worker")
            .to_owned();
        let next = AtomicUsize::new(0);
        builder.thread_name_fn(move || format!("{name}-{}", next.fetch_add(1, Ordering::Relaxed)));
        if let Some(cores) = &self.cpu_affinity {
            builder.on_thread_start(pin_in_turn(cores.clone()));
        }
        builder.enable_all().build().map_err(|e| {
            Error::new(ErrorKind::Io, "the runtime's threads cannot be started").with_source(e)
        })
    }
}

fn check_cores(cores: &[usize]) -> Result<()> {
    let invalid = |what| Err(Error::invalid_config("cpu_affinity", what));
    if cores.is_empty() {
        return invalid("must name a processor; leave it out to pin no thread".to_owned());
    }
    let Some(known) = core_affinity::get_core_ids() else {
        return invalid("threads cannot be pinned on this system".to_owned());
    };
    let known: Vec<usize> = known.into_iter().map(|core| core.id).collect();
    match cores.iter().find(|core| !known.contains(core)) {
        Some(core) => invalid(format!(
            "this process may not use a processor {core}; it may use: {known:?}"
        )),
        None => Ok(()),
    }
}

/// Pins each thread that starts to the next core.
fn pin_in_turn(cores: Vec<usize>) -> impl Fn() + Send + Sync + 'static {
    let next = Arc::new(AtomicUsize::new(0));
    move || {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let id = cores[turn % cores.len()];
        if !core_affinity::set_for_current(CoreId { id }) {
            tracing::warn!(processor = id, "a thread could not be pinned");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::mpsc;

    fn field(config: RuntimeConfig) -> String {
        let error = config.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        error.field().unwrap().to_owned()
    }

    #[test]
    fn absurd_values_are_refused_by_name() {
        let none = RuntimeConfig::default;
        for threads in [0, 1025, usize::MAX] {
            let config = RuntimeConfig {
                worker_threads: Some(threads),
                ..none()
            };
            assert_eq!(field(config), "worker_threads");
        }
        for threads in [0, usize::MAX] {
            let config = RuntimeConfig {
                max_blocking_threads: Some(threads),
                ..none()
            };
            assert_eq!(field(config), "max_blocking_threads");
        }
        for bytes in [0, 65_535, (1 << 30) + 1] {
            let config = RuntimeConfig {
                thread_stack_size: Some(bytes),
                ..none()
            };
            assert_eq!(field(config), "thread_stack_size");
        }
        for name in ["", "a\0b", "grüße", &"x".repeat(33)] {
            let config = RuntimeConfig {
                thread_name: Some(name.to_owned()),
                ..none()
            };
            assert_eq!(field(config), "thread_name");
        }
        for cores in [vec![], vec![usize::MAX], vec![100_000]] {
            let config = RuntimeConfig {
                cpu_affinity: Some(cores),
                ..none()
            };
            assert_eq!(field(config), "cpu_affinity");
        }
    }

    #[test]
    fn json_names_every_field_and_refuses_others() {
        let json = r#"{"worker_threads":2,"max_blocking_threads":3,"thread_stack_size":1048576,"thread_name":"jobs","cpu_affinity":[0,1],"body_pool_bytes":0,"memory_limit":0}"#;
        let config: RuntimeConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.cpu_affinity, Some(vec![0, 1]));
        assert_eq!(serde_json::to_string(&config).unwrap(), json);
        let fine = r#"{"enable_io": true, "enable_time": true}"#;
        assert_eq!(
            RuntimeConfig::from_json(fine).unwrap(),
            RuntimeConfig::default()
        );
        let cases = [
            (r#"{"threads": 2}"#, "threads"),
            (r#"{"worker_threads": 0}"#, "worker_threads"),
            (r#"{"worker_threads": -1}"#, "worker_threads"),
            (r#"{"worker_threads": "two"}"#, "worker_threads"),
            (r#"{"cpu_affinity": [0, -1]}"#, "cpu_affinity"),
            (r#"{"cpu_affinity": []}"#, "cpu_affinity"),
            (r#"{"enable_io": false}"#, "enable_io"),
            (r#"{"enable_time": false}"#, "enable_time"),
        ];
        for (json, field) in cases {
            let error = RuntimeConfig::from_json(json).unwrap_err();
            assert_eq!(error.field(), Some(field), "{json}: {error}");
        }
    }

    #[test]
    fn code_goes_before_the_environment_for_each_field() {
        let code = RuntimeConfig {
            worker_threads: Some(1),
            ..RuntimeConfig::default()
        };
        let environment = RuntimeConfig {
            worker_threads: Some(9),
            thread_name: Some("env".to_owned()),
            ..RuntimeConfig::default()
        };
        let config = code.or(environment);
        assert_eq!(config.worker_threads, Some(1));
        assert_eq!(config.thread_name.as_deref(), Some("env"));
    }

    /// What each of the first `count` threads of a runtime says of itself.
    fn ask_threads<T: Send + 'static>(
        config: &RuntimeConfig,
        count: usize,
        ask: fn() -> T,
    ) -> Vec<T> {
        let runtime = config.build().unwrap();
        let all_here = Arc::new(std::sync::Barrier::new(count));
        let (answers, said) = mpsc::channel();
        for _ in 0..count {
            let (all_here, answers) = (all_here.clone(), answers.clone());
            runtime.spawn(async move {
                // Holds this thread until every other has a task of its own.
                all_here.wait();
                answers.send(ask()).unwrap();
            });
        }
        drop(answers);
        said.iter().collect()
    }

    #[test]
    fn threads_are_as_many_as_asked_and_have_their_names() {
        let config = RuntimeConfig {
            worker_threads: Some(3),
            ..RuntimeConfig::default()
        };
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        let names: BTreeSet<String> = ask_threads(&config, 3, name).into_iter().collect();
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["qrt-worker-0", "qrt-worker-1", "qrt-worker-2"]
        );
        let config = RuntimeConfig {
            worker_threads: Some(1),
            thread_name: Some("jobs".to_owned()),
            ..config
        };
        assert_eq!(ask_threads(&config, 1, name), ["jobs-0"]);
    }

    #[test]
    fn threads_stay_on_their_processors() {
        let cores = || -> Vec<usize> {
            let cores = core_affinity::get_core_ids().unwrap_or_default();
            cores.into_iter().map(|core| core.id).collect()
        };
        let mut asked = cores();
        asked.truncate(2);
        let config = RuntimeConfig {
            worker_threads: Some(2 * asked.len()),
            cpu_affinity: Some(asked.clone()),
            ..RuntimeConfig::default()
        };
        config.check().unwrap();
        let mut pinned = ask_threads(&config, 2 * asked.len(), cores);
        pinned.sort();
        let expected: Vec<Vec<usize>> = asked
            .iter()
            .flat_map(|core| [vec![*core], vec![*core]])
            .collect();
        assert_eq!(pinned, expected);
    }
}
