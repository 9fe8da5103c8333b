//! The options of an `sqs:` URL that only this provider knows.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::duration;
use crate::error::{Error, Result};

/// Their names, in the order of their documentation.
pub(in crate::providers) const NAMES: &[&str] = &[
    "endpoint",
    "profile",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "role_arn",
    "role_session_name",
    "external_id",
    "fifo",
    "shards",
    "dead_letter_queue",
    "long_delay",
    "redrive",
    "polls",
    "timeout",
    "preset",
];

/// The most FIFO queues that a queue is spread over.
const MAX_SHARDS: u32 = 100;
/// The most polls of one receive at a time.
const MAX_POLLS: u32 = 100;

/// What the URL asks for. No `Debug`: it holds secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Options {
    pub(super) account: Account,
    /// `Some(true)`: every queue is a FIFO queue, `Some(false)`: none is; otherwise by its name.
    pub(super) fifo: Option<bool>,
    /// FIFO queues that each queue is spread over.
    pub(super) shards: u32,
    /// The dead-letter queue of queues that have no redrive policy.
    pub(super) dead_letter_queue: Option<String>,
    /// Delays beyond 15 minutes are made of several.
    pub(super) long_delay: bool,
    /// Redrives are message move tasks of SQS.
    pub(super) native_redrive: bool,
    /// Polls of one receive at a time, to fill it.
    pub(super) polls: u32,
    /// How long one request may take, beside its own wait.
    pub(super) timeout: Duration,
    /// How long messages are locked where no option says it.
    pub(super) lock: Option<Duration>,
    /// Created FIFO queues are of the high-throughput kind.
    pub(super) high_throughput: bool,
}

/// Which requests are made as whom: clients of the same account share an SDK client.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Account {
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) keys: Option<Keys>,
    pub(super) role: Option<Role>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session_name: Option<String>,
    pub(super) external_id: Option<String>,
}

impl Options {
    /// The options of a URL's region and query. `InvalidConfig` names the option.
    pub(super) fn read(region: Option<&str>, mut given: BTreeMap<String, String>) -> Result<Self> {
        let mut take = |name: &str| given.remove(name);
        let preset = Preset::read(take("preset"))?;
        let keys = match (
            take("access_key_id"),
            take("secret_access_key"),
            take("session_token"),
        ) {
            (Some(id), Some(secret), token) => Some(Keys { id, secret, token }),
            (None, None, None) => None,
            (None, ..) => return Err(missing("access_key_id", "secret_access_key")),
            (Some(_), None, _) => return Err(missing("secret_access_key", "access_key_id")),
        };
        let role = match (
            take("role_arn"),
            take("role_session_name"),
            take("external_id"),
        ) {
            (Some(arn), session_name, external_id) => Some(Role {
                arn,
                session_name,
                external_id,
            }),
            (None, None, None) => None,
            (None, ..) => return Err(missing("role_arn", "role_session_name and external_id")),
        };
        let options = Self {
            account: Account {
                region: region
                    .map(|region| check_region(region).map(|()| region.to_owned()))
                    .transpose()?,
                endpoint: take("endpoint").map(check_endpoint).transpose()?,
                profile: take("profile"),
                keys,
                role,
            },
            fifo: take("fifo")
                .map(|text| yes_or_no("fifo", &text))
                .transpose()?,
            shards: count("shards", take("shards"), MAX_SHARDS)?.unwrap_or(1),
            dead_letter_queue: take("dead_letter_queue"),
            long_delay: word("long_delay", take("long_delay"), "hop")?,
            native_redrive: word("redrive", take("redrive"), "native")?,
            polls: count("polls", take("polls"), MAX_POLLS)?.unwrap_or(preset.polls()),
            timeout: take("timeout")
                .map(|text| read_timeout(&text))
                .transpose()?
                .unwrap_or(TIMEOUT),
            lock: preset.lock(),
            high_throughput: preset == Preset::HighThroughput,
        };
        if options.shards > 1 && options.fifo != Some(true) {
            let what = "spread FIFO queues, so they need fifo=true";
            return Err(Error::invalid_config("shards", what));
        }
        if options.shards > 1 && options.native_redrive {
            let what = "moves all to one queue, not each session to its shard";
            return Err(Error::invalid_config("redrive", what));
        }
        Ok(options)
    }
}

/// How long a request may take by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Ready answers for common cases.
#[derive(Clone, Copy, PartialEq)]
enum Preset {
    None,
    /// Many polls at a time and long locks; FIFO queues of the high-throughput kind.
    HighThroughput,
    /// One poll at a time: no request that may come back empty while another one waits.
    Cost,
}

impl Preset {
    fn read(text: Option<String>) -> Result<Self> {
        match text.as_deref() {
            None => Ok(Self::None),
            Some("high_throughput") => Ok(Self::HighThroughput),
            Some("cost") => Ok(Self::Cost),
            Some(_) => Err(Error::invalid_config(
                "preset",
                "must be high_throughput or cost",
            )),
        }
    }

    fn lock(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::HighThroughput => Some(Duration::from_secs(300)),
            Self::Cost => Some(Duration::from_secs(30)),
        }
    }

    fn polls(self) -> u32 {
        match self {
            Self::None => 4,
            Self::HighThroughput => 10,
            Self::Cost => 1,
        }
    }
}

fn missing(name: &'static str, beside: &str) -> Error {
    Error::invalid_config(name, format!("is needed beside {beside}"))
}

fn check_region(region: &str) -> Result<()> {
    let sound = region
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if sound {
        return Ok(());
    }
    let what = "names a region, like sqs://eu-west-1; another server is given by endpoint=";
    Err(Error::invalid_config("url", what))
}

/// TLS is off only where somebody asked for it by name.
fn check_endpoint(text: String) -> Result<String> {
    match url::Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text),
        _ => Err(Error::invalid_config(
            "endpoint",
            "must be a URL of https, or of http for a server without TLS",
        )),
    }
}

fn yes_or_no(name: &'static str, text: &str) -> Result<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid_config(name, "must be true or false")),
    }
}

/// Whether the one word was given that this option knows.
fn word(name: &'static str, text: Option<String>, known: &'static str) -> Result<bool> {
    match text.as_deref() {
        None => Ok(false),
        Some(text) if text == known => Ok(true),
        Some(_) => Err(Error::invalid_config(
            name,
            format!("must be {known}, or not be given"),
        )),
    }
}

fn count(name: &'static str, text: Option<String>, most: u32) -> Result<Option<u32>> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(Some(count)),
        _ => Err(Error::invalid_config(
            name,
            format!("must be between 1 and {most}"),
        )),
    }
}

fn read_timeout(text: &str) -> Result<Duration> {
    let timeout = duration::parse(text).map_err(|what| Error::invalid_config("timeout", what))?;
    if (Duration::from_millis(100)..=Duration::from_secs(600)).contains(&timeout) {
        return Ok(timeout);
    }
    Err(Error::invalid_config(
        "timeout",
        "must be between 100 ms and 10 minutes",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(region: Option<&str>, given: &[(&str, &str)]) -> Result<Options> {
        let given = given
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Options::read(region, given.collect())
    }

    #[test]
    fn every_option_is_read() {
        let options = read(
            Some("eu-west-1"),
            &[
                ("endpoint", "http://127.0.0.1:4566"),
                ("access_key_id", "id"),
                ("secret_access_key", "secret"),
                ("session_token", "token"),
                ("role_arn", "arn:aws:iam::1:role/r"),
                ("external_id", "x"),
                ("fifo", "true"),
                ("dead_letter_queue", "dead"),
                ("long_delay", "hop"),
                ("redrive", "native"),
                ("timeout", "3s"),
                ("preset", "high_throughput"),
            ],
        )
        .unwrap();
        assert_eq!(options.account.region.as_deref(), Some("eu-west-1"));
        assert_eq!(
            options.account.keys.unwrap().token.as_deref(),
            Some("token")
        );
        assert_eq!(
            options.account.role.unwrap().external_id.as_deref(),
            Some("x")
        );
        assert_eq!(options.fifo, Some(true));
        assert_eq!((options.shards, options.polls), (1, 10));
        assert_eq!(options.timeout, Duration::from_secs(3));
        assert!(options.long_delay && options.native_redrive && options.high_throughput);
        let sharded = read(None, &[("fifo", "true"), ("shards", "4")]).unwrap();
        assert_eq!(sharded.shards, 4);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("endpoint", "127.0.0.1:4566")], "endpoint"),
            (&[("endpoint", "ftp://h")], "endpoint"),
            (&[("access_key_id", "id")], "secret_access_key"),
            (&[("secret_access_key", "s")], "access_key_id"),
            (&[("session_token", "t")], "access_key_id"),
            (&[("external_id", "x")], "role_arn"),
            (&[("fifo", "yes")], "fifo"),
            (&[("shards", "2")], "shards"),
            (&[("shards", "0"), ("fifo", "true")], "shards"),
            (&[("shards", "101"), ("fifo", "true")], "shards"),
            (
                &[("shards", "2"), ("fifo", "true"), ("redrive", "native")],
                "redrive",
            ),
            (&[("long_delay", "yes")], "long_delay"),
            (&[("redrive", "ours")], "redrive"),
            (&[("polls", "many")], "polls"),
            (&[("timeout", "1ms")], "timeout"),
            (&[("timeout", "soon")], "timeout"),
            (&[("preset", "fast")], "preset"),
        ];
        for (given, field) in cases {
            let error = read(None, given).err().unwrap();
            assert_eq!(error.field(), Some(*field), "{given:?}");
        }
        assert_eq!(
            read(Some("localhost:1"), &[]).err().unwrap().field(),
            Some("url")
        );
    }
}
