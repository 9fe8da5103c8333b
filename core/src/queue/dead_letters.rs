//! The verbs of a queue about its dead letters.

use super::{MAX_RECEIVE, Queue, same};
use crate::capability::Capability;
use crate::dead_letter::{
    DeadLetter, DeadLetterFilter, DeadLetterStatistics, RedriveOptions, RedriveReport, Tally, pause,
};
use crate::error::Result;
use crate::provider::ProviderQueue;

/// Dead letters held at a time while all are counted.
const PAGE: u32 = 1000;

impl Queue {
    /// Lists up to `max` dead letters, oldest first, from after a number on.
    pub async fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Result<Vec<DeadLetter>> {
        self.require("dead_letters", Capability::DeadLetterList)?;
        let max = max.min(MAX_RECEIVE);
        let ask = |provider: &dyn ProviderQueue| provider.dead_letters(filter, after, max);
        self.ask("dead_letters", ask, same).await
    }

    /// Counts dead letters by their reason, their source and their age. They are listed for it, 1,000
    /// at a time and with their bodies, so its cost grows with them; it takes nothing. Those that die
    /// while it goes on may be left out. `Unsupported` without the capability `dead_letter_list`.
    pub async fn dead_letter_statistics(
        &self,
        filter: DeadLetterFilter,
    ) -> Result<DeadLetterStatistics> {
        const OPERATION: &str = "dead_letter_statistics";
        self.require(OPERATION, Capability::DeadLetterList)?;
        let now = self.clock().timestamp(self.clock().now());
        let mut tally = Tally::new(now);
        let mut after = None;
        loop {
            let filter = filter.clone();
            let ask = |provider: &dyn ProviderQueue| provider.dead_letters(filter, after, PAGE);
            let page = self.ask(OPERATION, ask, same).await?;
            page.iter().for_each(|letter| tally.add(letter));
            let is_full = page.len() >= PAGE as usize;
            // What dies meanwhile comes last: it ends also where they die as fast as they are counted.
            match page
                .last()
                .filter(|last| is_full && last.dead_lettered_at <= now)
            {
                Some(last) => after = Some(last.number),
                None => return Ok(tally.statistics()),
            }
        }
    }

    /// Sends dead letters back, oldest first: their budget is whole again, and the header
    /// `qrt-redrive-count` counts. Stopped in the middle, nothing is lost: go on after `last`.
    pub async fn redrive(&self, options: RedriveOptions) -> Result<RedriveReport> {
        self.require("redrive", Capability::Redrive)?;
        let mut report = RedriveReport {
            last: options.after,
            ..RedriveReport::default()
        };
        // What dies again meanwhile is not sent back twice.
        let mut left = options.max.unwrap_or(u64::MAX);
        if self.0.capabilities.has(Capability::Statistics) {
            left = left.min(self.statistics().await?.dead);
        }
        let step = if options.per_second.is_some() {
            1
        } else {
            1000
        };
        while left > 0 {
            let max = left.min(step) as u32;
            let filter = options.filter.clone();
            let done = if options.dry_run {
                self.dry_redrive(filter, report.last, max).await?
            } else {
                let last = report.last;
                let ask = |provider: &dyn ProviderQueue| provider.redrive(filter, last, max);
                self.ask("redrive", ask, same).await?
            };
            let looked_at_more = done.last.is_some() && done.last != report.last;
            left -= done.matched.min(left);
            report.matched += done.matched;
            report.redriven += done.redriven;
            report.failed.extend(done.failed);
            report.last = done.last.or(report.last);
            if done.matched == 0 && !looked_at_more {
                break;
            }
            if let Some(rate) = options.per_second.filter(|_| left > 0 && done.matched > 0) {
                self.0.client.sleep(pause(rate)).await;
            }
        }
        Ok(report)
    }

    async fn dry_redrive(
        &self,
        filter: DeadLetterFilter,
        after: Option<u64>,
        max: u32,
    ) -> Result<RedriveReport> {
        let letters = self.dead_letters(filter, after, max).await?;
        Ok(RedriveReport {
            matched: letters.len() as u64,
            last: letters.last().map(|letter| letter.number),
            ..RedriveReport::default()
        })
    }

    /// Deletes dead letters for good. Answers how many.
    pub async fn purge_dead_letters(&self, filter: DeadLetterFilter) -> Result<u64> {
        self.require("purge_dead_letters", Capability::Purge)?;
        let ask = |provider: &dyn ProviderQueue| provider.purge_dead_letters(filter);
        self.ask("purge_dead_letters", ask, same).await
    }
}
