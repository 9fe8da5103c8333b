//! Redrive by SQS's own message move task: all dead letters, without this library's part.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;

use super::remote::{DeadLetterQueue, attributes};
use super::work::Work;
use crate::dead_letter::{DeadLetterFilter, RedriveReport};
use crate::error::{Error, ErrorKind, Result};

/// How often a task is asked how far it is.
const PAUSE: Duration = Duration::from_millis(500);

impl Work {
    /// Lets SQS move all dead letters back, and waits until it has. No redrive is
    /// counted in their headers.
    pub(super) async fn move_all(
        &self,
        queue: &DeadLetterQueue,
        filter: &DeadLetterFilter,
        after: Option<u64>,
    ) -> Result<RedriveReport> {
        if *filter != DeadLetterFilter::all() || after.is_some() {
            let what = "redrive=native moves all dead letters, and cannot choose among them";
            return Err(Error::invalid_argument("filter", what));
        }
        let from = match &queue.arn {
            Some(arn) => arn.clone(),
            None => self.arn(&queue.url).await?,
        };
        // Without it SQS finds the way back only of what it moved itself.
        let to = self.arn(&self.remote(0).await?.url).await?;
        let sqs = &self.link.sqs;
        let start = || {
            let task = sqs.start_message_move_task().source_arn(&from);
            task.destination_arn(&to).send()
        };
        self.link.ask("StartMessageMoveTask", start).await?;
        loop {
            let list = || {
                sqs.list_message_move_tasks()
                    .source_arn(&from)
                    .max_results(1)
                    .send()
            };
            let tasks = self.link.ask("ListMessageMoveTasks", list).await?;
            let task = tasks.results.unwrap_or_default().into_iter().next();
            let Some(task) = task else {
                return Ok(RedriveReport::default());
            };
            match task.status.as_deref() {
                Some("RUNNING" | "CANCELLING") => tokio::time::sleep(PAUSE).await,
                Some("FAILED") => {
                    let why = task.failure_reason.unwrap_or_default();
                    let what = format!("the message move task failed: {why}");
                    return Err(Error::new(ErrorKind::Provider, what).with_code("FAILED"));
                }
                _ => {
                    let moved = task.approximate_number_of_messages_moved.max(0) as u64;
                    let report = RedriveReport {
                        matched: moved,
                        redriven: moved,
                        ..RedriveReport::default()
                    };
                    return Ok(report);
                }
            }
        }
    }

    async fn arn(&self, url: &str) -> Result<String> {
        let found = attributes(&self.link, url, &Attribute::QueueArn).await?;
        let no_arn = || Error::new(ErrorKind::Provider, "SQS does not say the queue's ARN");
        found.get(&Attribute::QueueArn).cloned().ok_or_else(no_arn)
    }
}
