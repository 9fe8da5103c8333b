//! Receives: polls are begun, waited for and filled up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::polls::Arrival;
use super::work::Work;
use crate::clock::Tick;
use crate::error::Result;
use crate::provider::Received;

/// Messages of one request.
pub(super) const BATCH: usize = 10;
/// The longest that SQS itself waits for a message.
const LONGEST_POLL: u64 = 20;
/// How long a receive with messages in hand waits for the rest it asked for.
const FILL: Duration = Duration::from_secs(1);
/// How long a look waits for a poll that nobody waits for any more: it may have just got what is
/// looked for.
const GRACE: Duration = Duration::from_millis(300);

/// How much longer than asked a receive may wait.
const TOLERANCE: Duration = Duration::from_millis(100);

/// What is asked of one poll.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Which queue of SQS.
    pub(super) part: usize,
    pub(super) most: usize,
    /// How long SQS waits for a message, in seconds.
    pub(super) wait: u64,
    /// In seconds.
    pub(super) lock: u32,
}

/// A receive while it runs. What it has not handed over when it goes away is put aside.
pub(super) struct Visit {
    work: Arc<Work>,
    lock: u32,
    sender: mpsc::UnboundedSender<Arrival>,
    receiver: mpsc::UnboundedReceiver<Arrival>,
    /// The polls it waits for, and of which queue of SQS each is.
    polls: Vec<(u64, usize)>,
    collected: Vec<Box<Received>>,
    /// The queues whose last poll gave all that was asked for.
    more: Vec<usize>,
}

impl Visit {
    pub(super) fn new(work: &Arc<Work>, lock: u32) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            work: work.clone(),
            lock,
            sender,
            receiver,
            polls: Vec::new(),
            collected: Vec::new(),
            more: Vec::new(),
        }
    }

    /// Waits for the first messages as long as asked, then takes what else is ready.
    pub(super) async fn gather(
        mut self,
        most: usize,
        wait: Duration,
        fits: impl Fn(&Received) -> bool,
    ) -> Result<Vec<Box<Received>>> {
        self.first(most, wait, fits).await?;
        let end = self.work.tasks.clock().now() + FILL;
        let mut width = 1;
        while self.collected.len() < most && !self.more.is_empty() {
            width = (width * 2).min(self.work.settings.polls as usize);
            if !self.fill(most, width, end).await {
                break;
            }
        }
        let rest = self.collected.split_off(self.collected.len().min(most));
        Ok(std::mem::replace(&mut self.collected, rest))
    }

    /// Waits until something is collected, or the wait is over.
    async fn first(
        &mut self,
        most: usize,
        wait: Duration,
        fits: impl Fn(&Received) -> bool,
    ) -> Result<()> {
        let work = self.work.clone();
        let (clock, desk) = (work.tasks.clock(), &work.shared.desk);
        let deadline = clock.now() + wait;
        let mut looked = false;
        loop {
            let arrived = desk.arrived();
            self.collected
                .extend(desk.take_aside(most, self.lock, &fits));
            if !self.collected.is_empty() {
                return Ok(());
            }
            if let Some(error) = desk.take_failure(clock.now()) {
                return Err(error);
            }
            let left = deadline.since(clock.now());
            if looked && left.is_zero() {
                return self.last_look(most, fits).await;
            }
            // Rounded up: a poll that SQS may wait longer with than is left stays behind then. The
            // answer to one that ends with the wait is waited for.
            let wait = left.as_secs_f64().ceil().min(LONGEST_POLL as f64) as u64;
            self.poll_all(most, wait);
            let over = Duration::from_secs(wait) > left + TOLERANCE;
            let end = if over { deadline } else { Tick::NEVER };
            tokio::select! {
                arrival = self.receiver.recv() => if let Some(arrival) = arrival {
                    self.take(arrival)?;
                },
                () = arrived => {}
                () = work.tasks.sleep_until(end), if over && !left.is_zero() => return Ok(()),
            }
            looked |= self.polls.is_empty();
        }
    }

    /// What a poll that nobody waits for has just brought.
    async fn last_look(&mut self, most: usize, fits: impl Fn(&Received) -> bool) -> Result<()> {
        let work = self.work.clone();
        let desk = &work.shared.desk;
        if desk.has_left() {
            let end = work.tasks.clock().now() + GRACE;
            tokio::select! {
                () = desk.arrived() => {}
                () = work.tasks.sleep_until(end) => {}
            }
            self.collected
                .extend(desk.take_aside(most, self.lock, fits));
        }
        Ok(())
    }

    /// Polls for what is missing without waiting. Answers whether there was time for it.
    async fn fill(&mut self, most: usize, width: usize, end: Tick) -> bool {
        let missing = (most - self.collected.len()).div_ceil(BATCH);
        let parts = std::mem::take(&mut self.more);
        let mut round = Vec::new();
        for part in parts.iter().cycle().take(width.min(missing)) {
            let left = most - self.collected.len() - round.len() * BATCH;
            round.push(self.poll(*part, left.min(BATCH), 0));
        }
        while self.polls.iter().any(|(poll, _)| round.contains(poll)) {
            tokio::select! {
                arrival = self.receiver.recv() => if let Some(arrival) = arrival {
                    // Messages are in hand: an error now is not theirs.
                    let _ = self.take(arrival);
                },
                () = self.work.tasks.sleep_until(end) => return false,
            }
        }
        true
    }

    /// Sees to it that there is a poll of each queue of SQS.
    fn poll_all(&mut self, most: usize, wait: u64) {
        for part in 0..self.work.shared.parts.len() {
            if !self.polls.iter().any(|(_, of)| *of == part) {
                self.poll(part, most.min(BATCH), wait);
            }
        }
    }

    /// Begins a poll, or takes over one that nobody waits for.
    fn poll(&mut self, part: usize, most: usize, wait: u64) -> u64 {
        let desk = &self.work.shared.desk;
        let adopted = (wait > 0).then(|| desk.adopt(part, self.lock, &self.sender));
        let poll = adopted.flatten().unwrap_or_else(|| {
            let poll = desk.begin(part, self.lock, &self.sender);
            let ask = Ask {
                part,
                most,
                wait,
                lock: self.lock,
            };
            self.work.begin_poll(poll, ask);
            poll
        });
        self.polls.push((poll, part));
        poll
    }

    fn take(&mut self, arrival: Arrival) -> Result<()> {
        let at = self
            .polls
            .iter()
            .position(|(poll, _)| *poll == arrival.poll);
        let part = at.map(|at| self.polls.swap_remove(at).1);
        let brought = arrival.brought?;
        self.collected.extend(brought.messages);
        self.more.extend(part.filter(|_| brought.full));
        Ok(())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let polls: Vec<u64> = self.polls.iter().map(|(poll, _)| *poll).collect();
        self.work.shared.desk.leave(&polls);
        let mut unread = std::mem::take(&mut self.collected);
        // Once they are left, nothing more comes into this channel.
        while let Ok(arrival) = self.receiver.try_recv() {
            unread.extend(
                arrival
                    .brought
                    .map(|brought| brought.messages)
                    .unwrap_or_default(),
            );
        }
        self.work.put_aside(unread, self.lock);
    }
}
