//! The URL of a client: which engine and where, and options.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};
use url::Url;

use super::client::Layer;
use super::options::{Options, unknown};
use crate::error::{Error, Result};

/// Stands for what must not be shown.
const HIDDEN: &str = "***";

/// A URL as it was given. Shown without its secrets: user and password, and the values of
/// options that only the provider knows.
#[derive(Clone, Default, PartialEq)]
pub struct Address(String);

/// Where a provider is, and what it alone is asked.
#[derive(Clone, PartialEq)]
pub(crate) struct Endpoint {
    /// The whole URL, for its host, port and user.
    pub(crate) url: Url,
    /// What stands between scheme and options, without the host, decoded: `name` of
    /// `memory:name`, `/path` of `file:///path`.
    pub(crate) path: String,
    /// Options that only the provider knows, decoded.
    pub(crate) options: BTreeMap<String, String>,
}

impl Address {
    pub(super) fn new(url: String) -> Self {
        Self(url)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The whole text, with its secrets.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What stands before the first colon.
    pub(crate) fn scheme(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// Splits the endpoint from the options. `own` gives the options that a scheme's provider
    /// alone knows. `InvalidConfig` names the option at fault, or `url`.
    pub(super) fn parse(
        &self,
        own: impl FnOnce(&str) -> Result<&'static [&'static str]>,
    ) -> Result<(Endpoint, Layer)> {
        let invalid = |what| Error::invalid_config("url", what);
        let url = Url::parse(&self.0).map_err(|e| {
            invalid(format!(
                "is not a URL like \"memory:\" or \"memory:name\": {e}"
            ))
        })?;
        if url.fragment().is_some() {
            let what = "has a part after \"#\", which means nothing here; write %23 for a \"#\"";
            return Err(invalid(what.to_owned()));
        }
        let own = own(url.scheme())?;
        let path = decode(url.path()).map_err(invalid)?;
        let mut options = BTreeMap::new();
        let mut layer = Layer::default();
        for (name, value) in pairs(&url) {
            let name = name.map_err(invalid)?;
            let value = value.map_err(|what| Error::invalid_config(name.clone(), what))?;
            if own.contains(&name.as_str()) {
                if options.insert(name.clone(), value).is_some() {
                    return Err(Error::invalid_config(name, "is given more than once"));
                }
            } else if !layer
                .set(&name, &value)
                .map_err(|what| Error::invalid_config(name.clone(), what))?
            {
                return Err(unknown(name, Layer::names().chain(own.iter().copied())));
            }
        }
        Ok((Endpoint { url, path, options }, layer))
    }
}

impl Endpoint {
    /// The engine on disk in place of the one in memory. `InvalidConfig` when it is another one.
    pub(super) fn persisted(self, path: &str) -> Result<Self> {
        let invalid = |what: &str| Error::invalid_config("persistence_path", what.to_owned());
        if self.url.scheme() != "memory" {
            return Err(invalid(
                "is of queues in memory; a file: URL says where it is by itself",
            ));
        }
        if !path.starts_with('/') {
            return Err(invalid(
                "must be the whole path of a folder, beginning with \"/\"",
            ));
        }
        let url = Url::from_file_path(path).map_err(|()| invalid("is not a path"))?;
        Ok(Self {
            path: path.to_owned(),
            url,
            options: BTreeMap::new(),
        })
    }
}

type Decoded = std::result::Result<String, String>;

/// The names and values after the `?`.
fn pairs(url: &Url) -> impl Iterator<Item = (Decoded, Decoded)> {
    let query = url.query().unwrap_or_default();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            // A plus is a space here, as in every form on the web.
            let read = |part: &str| decode(&part.replace('+', " "));
            match pair.split_once('=') {
                Some((name, value)) => (read(name), read(value)),
                None => (read(pair), Err("has no value; write name=value".to_owned())),
            }
        })
}

fn decode(text: &str) -> Decoded {
    let bytes = percent_decode_str(text);
    match bytes.decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("holds percent-encoded bytes that are not UTF-8".to_owned()),
    }
}

/// What may be shown of a URL.
fn show(url: &Url, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}:", url.scheme())?;
    if url.has_authority() {
        f.write_str("//")?;
        if !url.username().is_empty() || url.password().is_some() {
            write!(f, "{HIDDEN}@")?;
        }
        f.write_str(url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
    }
    match url.path().rsplit_once('@') {
        // Somebody left the slashes before a user and password out.
        Some((_, rest)) if url.cannot_be_a_base() => write!(f, "{HIDDEN}@{rest}")?,
        _ => f.write_str(url.path())?,
    }
    for (i, (name, value)) in pairs(url).enumerate() {
        let name = name.unwrap_or_else(|_| HIDDEN.to_owned());
        let ours = Layer::names().any(|known| known == name);
        let value = value.ok().filter(|_| ours);
        let value = value.unwrap_or_else(|| HIDDEN.to_owned());
        write!(f, "{}{name}={value}", if i == 0 { "?" } else { "&" })?;
    }
    Ok(())
}

impl From<&str> for Address {
    fn from(url: &str) -> Self {
        Self::new(url.to_owned())
    }
}

impl From<String> for Address {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(&self.0) {
            Ok(url) => show(&url, f),
            Err(_) if self.is_empty() => Ok(()),
            Err(_) => f.write_str(HIDDEN),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.url, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::capability::Capability;
    use std::time::Duration;

    fn parse(url: &str) -> Result<(Endpoint, Layer)> {
        Address::new(url.to_owned()).parse(|scheme| match scheme {
            "memory" => Ok(&[]),
            "amqp" => Ok(&["vhost", "token"]),
            _ => Err(Error::invalid_config("url", "no such scheme")),
        })
    }

    /// The field a refused URL's error names.
    fn refused(url: &str) -> String {
        let error = parse(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
        error.field().unwrap().to_owned()
    }

    #[test]
    fn the_parts_of_a_url_are_found_and_decoded() {
        let cases = [
            ("memory:", ""),
            ("memory:orders", "orders"),
            ("MEMORY:orders?", "orders"),
            ("memory:gr%C3%BC%C3%9Fe", "grüße"),
            ("amqp://host:5672/a%20b?vhost=x%26y&token=a+b", "/a b"),
        ];
        for (url, path) in cases {
            assert_eq!(parse(url).unwrap().0.path, path, "{url}");
        }
        let (endpoint, _) = parse(cases[4].0).unwrap();
        assert_eq!(endpoint.url.host_str(), Some("host"));
        assert_eq!(endpoint.url.port(), Some(5672));
        assert_eq!(endpoint.options["vhost"], "x&y");
        assert_eq!(endpoint.options["token"], "a b");
    }

    #[test]
    fn options_are_read_by_their_names() {
        let url = "memory:?lock=10s&budget=3&on_failure=skip&require=sessions,delay\
                   &retry=exponential:1s,2,1h+30m,jitter&max_queue_size=7";
        let (_, layer) = parse(url).unwrap();
        assert_eq!(layer.queue.lock, Some(Duration::from_secs(10)));
        assert_eq!(layer.queue.budget, Some(3));
        assert_eq!(layer.queue.max_messages, Some(7));
        assert_eq!(
            layer.queue.retry.unwrap().to_string(),
            "exponential:1s,2,1h 30m,jitter"
        );
        let required = Some(vec![Capability::Sessions, Capability::Delay]);
        assert_eq!(layer.require, required);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "url"),
            ("memory", "url"),
            ("://", "url"),
            ("nats:", "url"),
            ("memory:name#part", "url"),
            ("memory:%ff", "url"),
            ("memory:?%ff=1", "url"),
            ("memory:?lokc=1s", "lokc"),
            ("memory:?vhost=x", "vhost"),
            ("memory:?lock", "lock"),
            ("memory:?lock=", "lock"),
            ("memory:?lock=5", "lock"),
            ("memory:?lock=-5s", "lock"),
            ("memory:?lock=99999999999999999999s", "lock"),
            ("memory:?lock=%ff", "lock"),
            ("memory:?lock=1s&lock=1s", "lock"),
            ("memory:?max_messages=1&max_queue_size=1", "max_queue_size"),
            ("amqp://h/?vhost=a&vhost=b", "vhost"),
            ("memory:?budget=-1", "budget"),
            ("memory:?budget=4294967296", "budget"),
            ("memory:?budget=three", "budget"),
            ("memory:?on_failure=explode", "on_failure"),
            ("memory:?retry=sometimes", "retry"),
            ("memory:?require=sessions,magic", "require"),
            ("memory:?require=", "require"),
        ];
        for (url, field) in cases {
            assert_eq!(refused(url), field, "{url}");
        }
    }

    #[test]
    fn an_unknown_option_lists_the_known_ones() {
        let error = parse("amqp://h/?lokc=1s").unwrap_err().to_string();
        for known in ["lock", "require", "vhost"] {
            assert!(error.contains(known), "{error}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let urls = [
            "amqp://user:hunter2@host:5672/q?token=hunter2&lock=1s",
            "amqp://hunter2@host/",
            "amqp:user:hunter2@host/",
            "amqp://h/?tokn=hunter2",
            "amqp://h/?hunter2",
            "amqp://h/#hunter2",
            "amqp://user:hunter2@host:999999/",
            "hunter2",
        ];
        for url in urls.map(str::to_owned) {
            let address = Address::new(url.clone());
            let json = serde_json::to_string(&address).unwrap();
            let shown = match parse(&url) {
                Ok((endpoint, _)) => format!("{address} {address:?} {json} {endpoint:?}"),
                Err(error) => format!("{address} {address:?} {json} {}", error.message()),
            };
            let shown = shown.replace("?hunter2=", "");
            assert!(!shown.contains("hunter2"), "{url}: {shown}");
        }
        let shown = Address::new("amqp://u:p@host:1/q?token=x&lock=1s".to_owned()).to_string();
        assert_eq!(shown, "amqp://***@host:1/q?token=***&lock=1s");
        assert_eq!(
            Address::new("memory:a?budget=3".to_owned()).to_string(),
            "memory:a?budget=3"
        );
    }
}
