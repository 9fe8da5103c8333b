//! The SDK's client: region, credentials, TLS and timeouts. One for each account of a runtime, so
//! that connections are used again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Credentials, SharedHttpClient, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::Provider as Tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::sync::Mutex;

use super::options::Account;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Runtime;

/// How long it may take to open a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take to find out region and credentials.
const LOOK_UP: Duration = Duration::from_secs(15);

/// The SDK clients of a runtime.
pub(super) struct Clients {
    http: SharedHttpClient,
    clients: Mutex<HashMap<Account, aws_sdk_sqs::Client>>,
}

impl Clients {
    /// Those of this runtime.
    pub(super) fn of(runtime: &Runtime) -> Arc<Self> {
        runtime.share("sqs:clients", || Self {
            http: aws_smithy_http_client::Builder::new()
                .tls_provider(Tls::Rustls(CryptoMode::Ring))
                .pool_idle_timeout(Duration::from_secs(60))
                .build_https(),
            clients: Mutex::default(),
        })
    }

    /// The client of this account, made at its first use. Asks the network at most for the region,
    /// where nothing else says it.
    pub(super) async fn client(&self, account: &Account) -> Result<aws_sdk_sqs::Client> {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(account) {
            return Ok(client.clone());
        }
        let made = tokio::time::timeout(LOOK_UP, self.make(account)).await;
        let client = made.map_err(|_| {
            let what = "no region came within 15 s; name it, like sqs://eu-west-1";
            Error::new(ErrorKind::Timeout, what)
        })??;
        clients.insert(account.clone(), client.clone());
        Ok(client)
    }

    async fn make(&self, account: &Account) -> Result<aws_sdk_sqs::Client> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(self.http.clone())
            // Retries and the limits of time are this library's own, in one budget.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = &account.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &account.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(keys) = &account.keys {
            let (id, secret, token) = (&*keys.id, &*keys.secret, keys.token.clone());
            loader = loader.credentials_provider(Credentials::new(id, secret, token, None, "url"));
        }
        let config = loader.load().await;
        if config.region().is_none() {
            let what =
                "name the region, like sqs://eu-west-1, or set AWS_REGION or a profile's region";
            return Err(Error::invalid_config("url", what));
        }
        let mut sqs = aws_sdk_sqs::config::Builder::from(&config);
        if let Some(endpoint) = &account.endpoint {
            sqs = sqs.endpoint_url(endpoint);
        }
        if let Some(role) = &account.role {
            let mut provider = AssumeRoleProvider::builder(&role.arn)
                .session_name(role.session_name.as_deref().unwrap_or("queue_runtime"));
            if let Some(id) = &role.external_id {
                provider = provider.external_id(id);
            }
            sqs = sqs.credentials_provider(provider.configure(&config).build().await);
        }
        Ok(aws_sdk_sqs::Client::from_conf(sqs.build()))
    }
}
