//! Looking at a queue without taking from it, and its dead letters: listing, sending back, deleting.
//!
//! What messages say is read from the log outside of the lock. One whose record was moved meanwhile
//! is read again, where it is then.

use std::sync::Arc;

use super::engine::Letter;
use super::fetch;
use super::index::layout::NEVER;
use super::log::record::Death;
use super::view::{Done, Look, View, id_of};
use crate::dead_letter::{DeadLetter, DeadLetterFilter, RedriveReport, reason};
use crate::error::Result;
use crate::message::Message;
use crate::providers::embedded::counted;
use crate::queue::{Outlook, Peeked};

/// Dead letters and messages that are looked at in one step.
const PAGE: usize = 1000;

/// Why a message is dead: reason and description.
type Why = (Arc<str>, Option<Arc<str>>);

impl View {
    /// Gives dead letters that match, oldest first, from after a number on, to `each`, page by
    /// page, until `max` of them were given. Answers the number of the last one looked at.
    pub(super) fn each_letter(
        &self,
        filter: &DeadLetterFilter,
        mut after: Option<u64>,
        max: usize,
        mut each: impl FnMut(Vec<(Letter, Option<Message>, DeadLetter)>) -> Result<()>,
    ) -> Result<()> {
        let mut left = max;
        while left > 0 {
            let (letters, _) = self.step(|step, queue| Ok(step.letters(queue, after, PAGE)))?;
            let Some(last) = letters.last() else { break };
            after = Some(last.death_number);
            let mut page = self.read_letters(letters)?;
            page.retain(|(_, _, letter)| filter.matches(letter));
            page.truncate(left);
            left -= page.len();
            each(page)?;
        }
        Ok(())
    }

    /// What dead letters say. One whose message cannot be read has an empty body.
    pub(super) fn read_letters(
        &self,
        letters: Vec<Letter>,
    ) -> Result<Vec<(Letter, Option<Message>, DeadLetter)>> {
        let time = &self.store.ground.time;
        let wanted: Vec<_> = letters
            .iter()
            .map(|l| (l.slot, l.number, l.record))
            .collect();
        let messages = self.read_messages(&wanted)?;
        let why = self.read_reasons(&letters)?;
        let mut read = Vec::with_capacity(letters.len());
        for ((letter, message), why) in letters.into_iter().zip(messages).zip(why) {
            // One that was sent back or deleted meanwhile is none any more.
            let (message, why) = match (message, why) {
                (Look::Gone, _) | (_, Look::Gone) => continue,
                (message, why) => (message.read(), why.read()),
            };
            let shown = message.clone().unwrap_or_default();
            let (reason, description) = why.unwrap_or_else(|| (reason::UNREADABLE.into(), None));
            let mut dead = DeadLetter::new(
                id_of(&shown, letter.engine, letter.number),
                shown,
                reason,
                letter.attempts,
                self.name.clone(),
                letter.death_number,
                time.timestamp(letter.enqueued),
                time.timestamp(letter.died),
            );
            dead.description = description;
            dead.first_delivered_at =
                (letter.first_delivered != NEVER).then(|| time.timestamp(letter.first_delivered));
            read.push((letter, message, dead));
        }
        Ok(read)
    }

    fn read_reasons(&self, letters: &[Letter]) -> Result<Vec<Look<Why>>> {
        let why = |death: &Death<'_>| {
            let description: Option<Arc<str>> = death.description.map(Into::into);
            (Arc::<str>::from(death.reason), description)
        };
        let spots: Vec<_> = letters.iter().map(|l| l.death).collect();
        let read = self.store.ground.read_deaths(&spots, why);
        let read = letters.iter().zip(read);
        read.map(|(letter, read)| match read {
            Some(read) => Ok(Look::Read(read)),
            None => self.read_moved(
                (letter.slot, letter.number),
                |slot| &slot.death,
                |bytes| fetch::death_in(bytes, why),
            ),
        })
        .collect()
    }

    pub(super) fn redrive(
        &self,
        filter: &DeadLetterFilter,
        after: Option<u64>,
        max: usize,
    ) -> Done<RedriveReport> {
        let mut report = RedriveReport::default();
        let mut position = None;
        self.each_letter(filter, after, max, |page| {
            let (steps, until) = self.step(|step, _| {
                let mut ends = Vec::with_capacity(page.len());
                for (letter, message, _) in &page {
                    let room = message.as_ref().map_or(0, Message::bytes);
                    if !step.has_room_for_more() || step.batch.len() + room > step.max_frame() / 2 {
                        step.keep()?;
                    }
                    ends.push(match message {
                        Some(message) => step.revive(letter, &counted(message)),
                        None => Some(false),
                    });
                }
                Ok(ends)
            })?;
            position = position.max(until);
            for (end, (_, message, letter)) in steps.into_iter().zip(page) {
                report.last = Some(letter.number);
                let Some(redriven) = end else { continue };
                report.matched += 1;
                report.redriven += u64::from(redriven);
                if !redriven {
                    let why = match message {
                        Some(_) => "the queue is full",
                        None => "its record in the log cannot be read",
                    };
                    report.failed.push((letter.id, why.into()));
                }
            }
            Ok(())
        })?;
        Ok((report, position))
    }

    pub(super) fn purge(&self, filter: &DeadLetterFilter) -> Done<u64> {
        let (mut count, mut position) = (0, None);
        self.each_letter(filter, None, usize::MAX, |page| {
            let (purged, until) = self.step(|step, _| {
                step.settles = true;
                let mut purged = 0;
                for (letter, _, _) in &page {
                    if !step.has_room_for_more() {
                        step.keep()?;
                    }
                    purged += u64::from(step.purge(letter));
                }
                Ok(purged)
            })?;
            count += purged;
            position = position.max(until);
            Ok(())
        })?;
        Ok((count, position))
    }

    pub(super) fn peek(&self, mut after: Option<u64>, max: usize) -> Result<Vec<Peeked>> {
        let time = &self.store.ground.time;
        let mut peeked = Vec::new();
        while peeked.len() < max {
            let page = PAGE.min(max - peeked.len());
            let (shown, _) = self.step(|step, queue| Ok(step.peek(queue, after, page)))?;
            let Some(last) = shown.last() else { break };
            let is_last = shown.len() < page;
            after = Some(last.sequence);
            let wanted: Vec<_> = shown.iter().map(|s| (s.slot, s.number, s.record)).collect();
            let messages = self.read_messages(&wanted)?;
            for (shown, message) in shown.into_iter().zip(messages) {
                // One that cannot be read will be set apart when its turn comes.
                let Some(message) = message.read() else {
                    continue;
                };
                let mut seen = Peeked::new(
                    id_of(&message, shown.engine, shown.number),
                    message,
                    shown.state,
                    shown.sequence,
                    shown.attempts,
                    time.timestamp(shown.enqueued),
                );
                let at = |tick| (tick != NEVER).then(|| time.timestamp(tick));
                seen.outlook = Outlook {
                    until: at(shown.until),
                    expires_at: at(shown.expires),
                    blocks: shown.blocks,
                    unbegun: shown.unbegun,
                    session_held_until: at(shown.held_until),
                };
                peeked.push(seen);
            }
            if is_last {
                break;
            }
        }
        Ok(peeked)
    }
}
