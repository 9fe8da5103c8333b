//! The URL of a server, and connections to it.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;

use super::tls::Tls;
use crate::config::Address;
use crate::error::{Error, Result};

/// How long a connection may take, unless the URL says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that is gone without a word is missed after about this time.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// A pool of connections, at most this many. Connects to nothing yet.
pub(super) fn pool(url: &Address, connections: usize) -> Result<Pool> {
    let (url, tls) = split(url.reveal())?;
    let mut config: Config = url.parse().map_err(|e: tokio_postgres::Error| {
        // Of the parser's error only the cause: it names an option and quotes nothing.
        let cause = std::error::Error::source(&e).map(ToString::to_string);
        let what = "is not like postgres://user@host:5432/database?option=value";
        Error::invalid_config("sink", format!("{what}: {}", cause.unwrap_or_default()))
    })?;
    let (mode, connector) = tls.connector()?;
    config.ssl_mode(mode);
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(DEAD_AFTER);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_idle(DEAD_AFTER / 3);
        config.keepalives_interval(DEAD_AFTER / 3);
        config.keepalives_retries(2);
    }
    if config.get_application_name().is_none() {
        config.application_name("queue_runtime write-behind");
    }
    let recycling_method = RecyclingMethod::Fast;
    let manager = Manager::from_config(config, connector, ManagerConfig { recycling_method });
    Pool::builder(manager)
        .max_size(connections)
        .build()
        .map_err(|e| Error::invalid_config("sink", e.to_string()))
}

/// The URL without the options that tokio-postgres does not know, and those.
fn split(url: &str) -> Result<(String, Tls)> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), Tls::default()));
    };
    let mut tls = Tls::default();
    let (mut certificate, mut key) = (None, None);
    let mut rest = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let option = match name {
            "sslmode" => &mut tls.mode,
            "sslrootcert" => &mut tls.root,
            "sslcert" => &mut certificate,
            "sslkey" => &mut key,
            _ => {
                rest.push(pair);
                continue;
            }
        };
        *option = Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
    }
    tls.own = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(Error::invalid_config("sslkey", "is needed with sslcert")),
        (None, Some(_)) => return Err(Error::invalid_config("sslcert", "is needed with sslkey")),
    };
    Ok((format!("{base}?{}", rest.join("&")), tls))
}
