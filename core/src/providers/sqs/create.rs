//! Creating a queue, by an explicit call: with a dead-letter queue and a redrive policy.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;

use super::envelope::Kind;
use super::remote::attributes;
use super::work::{Work, seconds};
use crate::error::{Error, ErrorKind, Result};

/// Ends the name of a dead-letter queue that nobody named.
const DEAD: &str = "-dlq";
/// How long dead letters are kept: as long as SQS can, in seconds.
const DEAD_RETENTION: u32 = 14 * 24 * 60 * 60;

impl Work {
    /// Creates the queue, or each of its shards, and its dead-letter queue. `AlreadyExists` if it
    /// is there.
    pub(super) async fn create(&self) -> Result<()> {
        for part in &self.shared.parts {
            match part.remote(&self.link).await {
                Err(error) if error.kind() == ErrorKind::QueueNotFound => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    let what = "there is a queue of this name already";
                    return Err(Error::new(ErrorKind::AlreadyExists, what));
                }
            }
        }
        let first = &self.shared.parts[0].address;
        let base = match self.shared.parts.len() {
            1 => first.clone(),
            _ => super::address::Address::read(&self.source, Some(true))?,
        };
        let dead = match self.shared.parts[0].dead_letter_queue() {
            Some(address) => address.name.to_string(),
            None => base.beside(DEAD),
        };
        let retention = (
            Attribute::MessageRetentionPeriod,
            DEAD_RETENTION.to_string(),
        );
        let dead_url = self.create_one(&dead, HashMap::from([retention])).await?;
        let dead = attributes(&self.link, &dead_url, &Attribute::QueueArn).await?;
        let no_arn = || {
            Error::new(
                ErrorKind::Provider,
                "SQS does not say the dead-letter queue's ARN",
            )
        };
        let dead_arn = dead.get(&Attribute::QueueArn).ok_or_else(no_arn)?;
        // Ours comes first. SQS's limit is for messages that other clients receive again and again.
        let budget = self.definition.budget;
        let receives = budget
            .saturating_mul(2)
            .max(budget.saturating_add(10))
            .min(1000);
        let policy = serde_json::json!({
            "deadLetterTargetArn": dead_arn,
            "maxReceiveCount": receives.to_string(),
        });
        for part in &self.shared.parts {
            let lock = seconds(self.definition.lock).to_string();
            let mut attributes = HashMap::from([
                (Attribute::VisibilityTimeout, lock),
                (Attribute::RedrivePolicy, policy.to_string()),
            ]);
            if self.settings.high_throughput && self.shared.kind == Kind::Fifo {
                attributes.insert(Attribute::DeduplicationScope, "messageGroup".to_owned());
                attributes.insert(
                    Attribute::FifoThroughputLimit,
                    "perMessageGroupId".to_owned(),
                );
            }
            self.create_one(&part.address.name, attributes).await?;
        }
        Ok(())
    }

    async fn create_one(
        &self,
        name: &str,
        mut attributes: HashMap<Attribute, String>,
    ) -> Result<String> {
        if self.shared.kind == Kind::Fifo {
            attributes.insert(Attribute::FifoQueue, "true".to_owned());
        }
        let request = || {
            let request = self.link.sqs.create_queue().queue_name(name);
            request.set_attributes(Some(attributes.clone())).send()
        };
        let created = self.link.ask("CreateQueue", request).await?;
        let no_url = || Error::new(ErrorKind::Provider, "SQS created a queue without a URL");
        created.queue_url.ok_or_else(no_url)
    }
}
