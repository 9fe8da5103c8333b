//! A queue as it is in SQS: its URL, and what its attributes say of limits and dead letters.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::address::Address;
use super::call::Link;
use crate::error::{Error, ErrorKind, Result};

/// The largest message, body and attributes, and the largest batch.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// One queue of SQS, looked up at its first use.
pub(super) struct Part {
    pub(super) address: Address,
    /// The dead-letter queue by configuration, for a queue without a redrive policy.
    dead_letter_queue: Option<Address>,
    remote: OnceCell<Remote>,
}

/// What a look-up found.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) url: String,
    pub(super) max_bytes: usize,
    /// The queue's own visibility timeout; `None` where it may not be asked.
    pub(super) lock: Option<Duration>,
    /// After so many receives SQS itself moves a message to the dead-letter queue.
    pub(super) max_receives: Option<u32>,
    pub(super) dead_letters: Option<DeadLetterQueue>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct DeadLetterQueue {
    pub(super) name: String,
    pub(super) url: String,
    /// Its ARN, where the redrive policy says it.
    pub(super) arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    /// A number, which some write as a text.
    max_receive_count: serde_json::Value,
}

impl Part {
    pub(super) fn new(address: Address, dead_letter_queue: Option<Address>) -> Self {
        Self {
            address,
            dead_letter_queue,
            remote: OnceCell::new(),
        }
    }

    /// The dead-letter queue by configuration.
    pub(super) fn dead_letter_queue(&self) -> Option<&Address> {
        self.dead_letter_queue.as_ref()
    }

    /// The queue, if it was looked up.
    pub(super) fn known(&self) -> Option<&Remote> {
        self.remote.get()
    }

    /// The queue, looked up at the first call that succeeds.
    pub(super) async fn remote(&self, link: &Link) -> Result<&Remote> {
        self.remote.get_or_try_init(|| self.look_up(link)).await
    }

    async fn look_up(&self, link: &Link) -> Result<Remote> {
        let url = match &self.address.url {
            Some(url) => url.clone(),
            None => self.find(link).await?,
        };
        let attributes = match attributes(link, &url, &Attribute::All).await {
            Ok(attributes) => attributes,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                tracing::warn!(
                    queue = &*self.address.name,
                    "sqs:GetQueueAttributes is not allowed: messages of up to 1 MiB are sent, and \
                     the dead-letter queue is the one that the URL names"
                );
                HashMap::new()
            }
            Err(error) => return Err(error),
        };
        let number = |name: Attribute| attributes.get(&name).and_then(|text| text.parse().ok());
        let policy = attributes.get(&Attribute::RedrivePolicy);
        let policy: Option<RedrivePolicy> = policy.and_then(|json| serde_json::from_str(json).ok());
        let max_receives = policy
            .as_ref()
            .and_then(|policy| match &policy.max_receive_count {
                serde_json::Value::Number(count) => u32::try_from(count.as_u64()?).ok(),
                serde_json::Value::String(count) => count.parse().ok(),
                _ => None,
            });
        let dead_letters = match (policy, &self.dead_letter_queue) {
            (Some(policy), _) => Some(by_arn(&url, policy.dead_letter_target_arn)),
            (None, Some(address)) => Some(by_address(&url, address)),
            (None, None) => None,
        };
        Ok(Remote {
            max_bytes: number(Attribute::MaximumMessageSize)
                .map_or(MAX_BYTES, |bytes: u64| bytes as usize),
            lock: number(Attribute::VisibilityTimeout).map(Duration::from_secs),
            max_receives,
            dead_letters,
            url,
        })
    }

    async fn find(&self, link: &Link) -> Result<String> {
        let Address { name, owner, .. } = &self.address;
        let found = link.ask("GetQueueUrl", || {
            let request = link.sqs.get_queue_url().queue_name(&**name);
            request.set_queue_owner_aws_account_id(owner.clone()).send()
        });
        let found = found.await.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => {
                let what =
                    "the credentials do not allow sqs:GetQueueUrl; name the queue by its URL";
                Error::new(ErrorKind::PermissionDenied, what)
            }
            _ => error,
        })?;
        let missing = || {
            Error::new(
                ErrorKind::Provider,
                "SQS answered GetQueueUrl without a URL",
            )
        };
        found.queue_url.ok_or_else(missing)
    }
}

/// Attributes of a queue by their names.
pub(super) async fn attributes(
    link: &Link,
    url: &str,
    names: &Attribute,
) -> Result<HashMap<Attribute, String>> {
    let request = || {
        link.sqs
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(names.clone())
            .send()
    };
    let answer = link.ask("GetQueueAttributes", request).await?;
    Ok(answer.attributes.unwrap_or_default())
}

/// A dead-letter queue is in the account and region of its source, so its URL differs in the name.
fn by_arn(source: &str, arn: String) -> DeadLetterQueue {
    let name = arn.rsplit(':').next().unwrap_or_default().to_owned();
    DeadLetterQueue {
        url: beside(source, &name),
        name,
        arn: Some(arn),
    }
}

fn by_address(source: &str, address: &Address) -> DeadLetterQueue {
    let name = address.name.to_string();
    let url = address.url.clone().unwrap_or_else(|| beside(source, &name));
    DeadLetterQueue {
        name,
        url,
        arn: None,
    }
}

fn beside(url: &str, name: &str) -> String {
    match url.rsplit_once('/') {
        Some((before, _)) => format!("{before}/{name}"),
        None => name.to_owned(),
    }
}
