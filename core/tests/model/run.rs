//! Does each operation to the engine and to the model, and compares.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use queue_runtime_core::dead_letter::REDRIVE_COUNT;
use queue_runtime_core::{
    DeadLetter, DeadLetterFilter, Delivery, Error, ErrorKind, Message, MessageId, MessageState,
    Queue, QueueOptions, ReceiveOptions, RedriveOptions, Session, SessionOptions, Settlement,
    Timestamp, Verb,
};

use crate::common::{Kit, body, now};
use crate::ops::{Op, Select, Send, Settle, Setup};
use crate::reference::{Answer, Model, NACK_REASON, Seen, State, dedup_name, millis, session_name};

type Checked<T = ()> = Result<T, TestCaseError>;

pub struct Run {
    kit: Kit,
    start: Timestamp,
    queue: Queue,
    fair: bool,
    model: Model,
    /// The deliveries as numbered by the model; `None` once their consumer crashed.
    hands: Vec<(Settlement, Option<Delivery>)>,
    /// The sessions as numbered by the model; `None` once closed or dropped.
    holders: Vec<Option<Session>>,
    ids: BTreeMap<u32, MessageId>,
}

impl Run {
    pub fn new(kit: Kit, setup: Setup) -> Self {
        let queue = kit.queue(QueueOptions {
            lock: Some(setup.lock),
            budget: Some(setup.budget),
            on_failure: Some(setup.on_failure),
            on_expiry: Some(setup.on_expiry),
            dedup_window: Some(setup.dedup_window),
            fair_groups: Some(setup.fair),
            ..QueueOptions::default()
        });
        Self {
            start: kit.clock.timestamp(kit.clock.now()),
            kit,
            queue,
            fair: setup.fair,
            model: Model::new(setup),
            hands: Vec::new(),
            holders: Vec::new(),
            ids: BTreeMap::new(),
        }
    }

    pub fn apply(&mut self, op: Op) -> Checked {
        self.apply_one(op)?;
        self.model.look_who_waits();
        Ok(())
    }

    fn apply_one(&mut self, op: Op) -> Checked {
        match op {
            Op::Send(batch) => self.send(&batch),
            Op::Receive { max, lock } => self.receive(max, lock),
            Op::Settle(batch) => self.settle(batch),
            Op::SettleLast(verb) => self.settle_last(verb),
            Op::Extend(which, lock) => self.extend(which, lock),
            Op::Crash => {
                self.hands.iter_mut().for_each(|(_, hand)| *hand = None);
                Ok(())
            }
            Op::Advance(by) => {
                self.advance(by);
                Ok(())
            }
            Op::AdvanceToDeadline(which, by) => {
                self.advance_to_deadline(which, by);
                Ok(())
            }
            Op::AcceptId(..) | Op::AcceptNext(_) if self.fair => {
                let accepted = now(self.queue.accept_session(SessionOptions::next()));
                let kind = accepted.err().map(|error| error.kind());
                prop_assert_eq!(kind, Some(ErrorKind::Unsupported));
                Ok(())
            }
            Op::AcceptId(session, lock) => self.accept_id(session, lock),
            Op::AcceptNext(prefer) => self.accept_next(&prefer),
            Op::SessionReceive(which, max) => self.session_receive(which, max),
            Op::Renew(which, lock) => self.renew(which, lock),
            Op::State(which, state) => self.state(which, state),
            Op::CloseSession(which) => self.close_session(which),
            Op::DropSession(which) => {
                if let Some(holder) = self.holder(which) {
                    self.holders[holder] = None;
                    self.model.let_go(holder);
                }
                Ok(())
            }
            Op::Redrive(select, max) => self.redrive(select, max),
            Op::Purge(select) => self.purge(select),
            Op::Look => self.look(),
        }
    }

    fn send(&mut self, batch: &[Send]) -> Checked {
        let mut messages = Vec::new();
        let mut expected = Vec::new();
        for send in batch {
            let number = self.model.next_number();
            let mut message = Message::new(number.to_string());
            if let Some(session) = send.session {
                message = message.session(session_name(session));
            }
            if let Some(delay) = send.delay {
                message = message.delay(delay);
            }
            if let Some(ttl) = send.ttl {
                message = message.ttl(ttl);
            }
            if let Some(dedup) = send.dedup {
                message = message.dedup_id(dedup_name(dedup));
            }
            if send.id {
                message = message.id(own_id(number).as_str());
            }
            messages.push(message);
            expected.push(self.model.send(send));
        }
        let results = match batch.len() {
            1 => vec![now(self.queue.send(messages.remove(0)))],
            _ => now(self.queue.send_many(messages))?,
        };
        prop_assert_eq!(results.len(), batch.len());
        for ((send, result), (number, duplicate)) in batch.iter().zip(results).zip(expected) {
            let result = result?;
            prop_assert_eq!(result.is_duplicate(), duplicate, "message {}", number);
            if duplicate {
                prop_assert_eq!(Some(&result.id), self.ids.get(&number));
                continue;
            }
            if send.id {
                prop_assert_eq!(result.id.to_string(), own_id(number));
            }
            let known = self.ids.values().any(|id| *id == result.id);
            prop_assert!(!known, "the id {} was given twice", result.id);
            self.ids.insert(number, result.id);
        }
        Ok(())
    }

    fn receive(&mut self, max: u32, lock: Option<Duration>) -> Checked {
        let mut options = ReceiveOptions::new().max_messages(max).wait(Duration::ZERO);
        if let Some(lock) = lock {
            options = options.lock(lock);
        }
        let got = match (max, lock) {
            (1, None) => Vec::from_iter(now(self.queue.receive_one(Duration::ZERO))?),
            _ => now(self.queue.receive(&options))?,
        };
        let seen = self.seen(&got)?;
        let checked = self.model.received(max, lock, &seen);
        self.take_over(got, checked)
    }

    fn session_receive(&mut self, which: usize, max: u32) -> Checked {
        let Some(holder) = self.holder(which) else {
            return Ok(());
        };
        let session = self.holders[holder].as_ref().expect("it is in hand");
        let options = ReceiveOptions::new().max_messages(max).wait(Duration::ZERO);
        let got = now(session.receive(&options));
        match self.model.holding(holder) {
            Answer::Ok => {
                let got = got?;
                let seen = self.seen(&got)?;
                let checked = self.model.received_from(holder, max, &seen);
                self.take_over(got, checked)
            }
            lost => same_answer(&got.map(drop), &lost),
        }
    }

    fn seen(&self, got: &[Delivery]) -> Checked<Vec<Seen>> {
        let mut seen = Vec::new();
        for delivery in got {
            let number: u32 = body(delivery).parse().unwrap();
            prop_assert_eq!(Some(delivery.id()), self.ids.get(&number));
            prop_assert!(
                !self.model.acked.contains(&number),
                "{} came back after its ack",
                number
            );
            seen.push(Seen {
                number,
                attempt: delivery.attempt(),
            });
        }
        Ok(seen)
    }

    fn take_over(&mut self, got: Vec<Delivery>, checked: Result<(), String>) -> Checked {
        checked.map_err(TestCaseError::fail)?;
        for delivery in got {
            let settlement = delivery.settlement(Verb::Ack);
            self.hands.push((settlement, Some(delivery)));
        }
        Ok(())
    }

    /// Mostly a delivery that is alive; now and then any.
    fn hand(&self, which: usize) -> Option<usize> {
        let all = 0..self.hands.len();
        let live: Vec<usize> = all.filter(|h| self.model.is_live(*h)).collect();
        let (sometimes, which) = (which.is_multiple_of(4), which / 4);
        match (live.len(), self.hands.len()) {
            (_, 0) => None,
            (0, all) => Some(which % all),
            (_, all) if sometimes => Some(which % all),
            (some, _) => Some(live[which % some]),
        }
    }

    fn settle(&mut self, batch: Vec<(usize, Settle)>) -> Checked {
        let mut settlements = Vec::new();
        let mut expected = Vec::new();
        for (which, verb) in batch {
            let Some(hand) = self.hand(which) else {
                continue;
            };
            let mut settlement = self.hands[hand].0.clone();
            settlement.verb = to_verb(&verb);
            settlements.push(settlement);
            expected.push(self.model.settle(hand, &verb));
        }
        let results = now(self.queue.settle(settlements))?;
        prop_assert_eq!(results.len(), expected.len());
        for (result, expected) in results.iter().zip(&expected) {
            same_answer(result, expected)?;
        }
        Ok(())
    }

    fn settle_last(&mut self, verb: Settle) -> Checked {
        let in_hand = |(_, delivery): &(Settlement, Option<Delivery>)| delivery.is_some();
        let Some(hand) = self.hands.iter().rposition(in_hand) else {
            return Ok(());
        };
        let delivery = self.hands[hand].1.take().expect("it is in hand");
        let result = match &verb {
            Settle::Ack => now(delivery.ack()),
            Settle::Nack(delay) if delay.is_zero() => now(delivery.nack(Some(NACK_REASON))),
            Settle::Nack(delay) => now(delivery.nack_after(Some(NACK_REASON), *delay)),
            Settle::Release(delay) => now(delivery.release(*delay)),
            Settle::DeadLetter => now(delivery.dead_letter("bad", Some("very bad"))),
        };
        same_answer(&result, &self.model.settle(hand, &verb))?;
        prop_assert_eq!(delivery.is_settled(), result.is_ok());
        Ok(())
    }

    fn extend(&mut self, which: usize, lock: Duration) -> Checked {
        let Some(hand) = self.hand(which) else {
            return Ok(());
        };
        let receipt = self.hands[hand].0.receipt.clone();
        let result = now(self.queue.extend(vec![receipt], lock))?.remove(0);
        same_answer(&result.map(drop), &self.model.extend(hand, lock))
    }

    fn advance(&mut self, by: Duration) {
        self.kit.advance(by);
        self.model.advance(millis(by));
    }

    fn advance_to_deadline(&mut self, which: usize, by: i8) {
        let deadlines = self.model.deadlines();
        if deadlines.is_empty() {
            return;
        }
        let at = deadlines[which % deadlines.len()] - self.model.now;
        self.advance(Duration::from_millis(
            at.saturating_add_signed(i64::from(by)),
        ));
    }

    fn accept_id(&mut self, session: u8, lock: Option<Duration>) -> Checked {
        let mut options = SessionOptions::id(session_name(session));
        if let Some(lock) = lock {
            options = options.lock(lock);
        }
        let accepted = now(self.queue.accept_session(options));
        let expected = self.model.accept_id(session, lock);
        match accepted {
            Ok(accepted) => {
                prop_assert_eq!(expected, Answer::Ok);
                let accepted = accepted.expect("a session asked for by its id is handed over");
                prop_assert_eq!(accepted.id(), session_name(session));
                self.holders.push(Some(accepted));
                Ok(())
            }
            Err(error) => same_answer(&Err(error), &expected),
        }
    }

    fn accept_next(&mut self, prefer: &[u8]) -> Checked {
        let mut options = SessionOptions::next().wait(Duration::ZERO);
        if !prefer.is_empty() {
            let names = prefer.iter().map(|session| session_name(*session).into());
            options = options.prefer(Some(Arc::new(names.collect())));
        }
        let accepted = now(self.queue.accept_session(options))?;
        let id = accepted.as_ref().map(|session| session.id());
        let checked = self.model.accepted_next(id, prefer);
        checked.map_err(TestCaseError::fail)?;
        self.holders.extend(accepted.map(Some));
        Ok(())
    }

    /// A session somebody has in his hands, whether he still holds it or not.
    fn holder(&self, which: usize) -> Option<usize> {
        let all = 0..self.holders.len();
        let in_hand: Vec<usize> = all.filter(|h| self.holders[*h].is_some()).collect();
        (!in_hand.is_empty()).then(|| in_hand[which % in_hand.len()])
    }

    fn renew(&mut self, which: usize, lock: Option<Duration>) -> Checked {
        let Some(holder) = self.holder(which) else {
            return Ok(());
        };
        let session = self.holders[holder].as_ref().expect("it is in hand");
        let result = now(session.renew_for(lock));
        same_answer(&result, &self.model.renew(holder, lock))
    }

    fn state(&mut self, which: usize, state: Option<u8>) -> Checked {
        let Some(holder) = self.holder(which) else {
            return Ok(());
        };
        let session = self.holders[holder].as_ref().expect("it is in hand");
        let before = now(session.state());
        let result = now(session.set_state(state.map(|byte| vec![byte].into())));
        let expected = self.model.holding(holder);
        same_answer(&result, &expected)?;
        if expected != Answer::Ok {
            return same_answer(&before.map(drop), &expected);
        }
        let id = self.model.holders[holder].session;
        let before = before?.map(|bytes| bytes[0]);
        prop_assert_eq!(before, self.model.states.get(&id).copied());
        match state {
            Some(byte) => self.model.states.insert(id, byte),
            None => self.model.states.remove(&id),
        };
        Ok(())
    }

    fn close_session(&mut self, which: usize) -> Checked {
        let Some(holder) = self.holder(which) else {
            return Ok(());
        };
        let session = self.holders[holder].take().expect("it is in hand");
        let result = now(session.close());
        same_answer(&result, &self.model.holding(holder))?;
        self.model.let_go(holder);
        Ok(())
    }

    fn redrive(&mut self, select: Select, max: Option<u64>) -> Checked {
        let (filter, mut numbers) = self.select(select)?;
        numbers.truncate(max.unwrap_or(u64::MAX) as usize);
        let dry_run = RedriveOptions {
            filter,
            max,
            dry_run: true,
            ..RedriveOptions::default()
        };
        let report = now(self.queue.redrive(dry_run.clone()))?;
        prop_assert_eq!(report.matched, numbers.len() as u64);
        prop_assert_eq!(report.redriven, 0);
        let report = now(self.queue.redrive(RedriveOptions {
            dry_run: false,
            ..dry_run
        }))?;
        prop_assert_eq!(report.matched, numbers.len() as u64);
        prop_assert_eq!(report.redriven, numbers.len() as u64);
        prop_assert_eq!(report.failed, vec![]);
        self.model.redrive(&numbers);
        Ok(())
    }

    fn purge(&mut self, select: Select) -> Checked {
        let (filter, numbers) = self.select(select)?;
        let purged = now(self.queue.purge_dead_letters(filter))?;
        prop_assert_eq!(purged, numbers.len() as u64);
        self.model.purge(&numbers);
        Ok(())
    }

    /// A filter and the dead letters it means, in the order of their death. Deaths of one moment
    /// have no order of their own: theirs is the engine's.
    fn select(&mut self, select: Select) -> Checked<(DeadLetterFilter, Vec<u32>)> {
        let letters = self.look_at_the_dead()?;
        let filter = match select {
            Select::All => DeadLetterFilter::all(),
            Select::Reason(reason) => DeadLetterFilter::reason(reason),
            Select::Session(session) => DeadLetterFilter {
                session: Some(session_name(session).into()),
                ..DeadLetterFilter::all()
            },
            Select::Id(which) if !letters.is_empty() => {
                DeadLetterFilter::ids([letters[which % letters.len()].id.clone()])
            }
            Select::Id(_) => DeadLetterFilter::ids(["nobody".into()]),
        };
        let meant = letters.iter().zip(&self.model.dead).filter(|(_, dead)| {
            let session = dead.message.session.map(session_name);
            let id = self.ids.get(&dead.message.number);
            (filter.ids.is_empty() || filter.ids.iter().any(|i| Some(i) == id))
                && filter.reason.as_deref().is_none_or(|r| r == dead.reason)
                && (filter.session.is_none() || filter.session.as_deref() == session.as_deref())
        });
        let numbers = meant.map(|(_, dead)| dead.message.number).collect();
        Ok((filter, numbers))
    }

    /// Compares the dead letters, and puts the model's into the engine's order.
    fn look_at_the_dead(&mut self) -> Checked<Vec<DeadLetter>> {
        let letters = now(self
            .queue
            .dead_letters(DeadLetterFilter::all(), None, 10_000))?;
        prop_assert_eq!(letters.len(), self.model.dead.len());
        let mut in_order = Vec::new();
        for letter in &letters {
            let number: u32 = std::str::from_utf8(letter.message.body())
                .unwrap()
                .parse()
                .unwrap();
            let dead = self.model.dead.iter();
            let Some(dead) = dead.into_iter().find(|d| d.message.number == number) else {
                return Err(TestCaseError::fail(format!("{number} is not dead")));
            };
            prop_assert_eq!(&*letter.reason, dead.reason);
            if dead.description.is_some() {
                prop_assert_eq!(letter.description.as_deref(), dead.description);
            }
            prop_assert_eq!(letter.attempts, dead.message.attempts);
            prop_assert_eq!(&*letter.source, "q");
            prop_assert_eq!(Some(&letter.id), self.ids.get(&number));
            let count = letter.message.properties().headers.get(REDRIVE_COUNT);
            let redriven = dead.message.redriven;
            let expected = (redriven > 0).then(|| redriven.to_string());
            prop_assert_eq!(count.map(|c| c.to_string()), expected);
            // What ends by itself is noticed when somebody looks.
            let died = letter.dead_lettered_at.0 - self.start.0;
            let between = dead.died..=self.model.now;
            prop_assert!(
                between.contains(&u64::try_from(died).unwrap()),
                "died at {}, not {:?}",
                died,
                between
            );
            in_order.push(dead.clone());
        }
        let sorted = letters.is_sorted_by_key(|letter| letter.dead_lettered_at);
        prop_assert!(sorted, "the dead are not in the order of their death");
        let numbered = letters.windows(2).all(|two| two[0].number < two[1].number);
        prop_assert!(numbered, "dead letters are listed by their numbers");
        self.model.dead = in_order;
        Ok(letters)
    }

    /// Compares everything that can be looked at.
    pub fn look(&mut self) -> Checked {
        self.look_at_the_dead()?;
        self.look_at_the_messages()?;
        self.look_at_the_statistics()
    }

    fn look_at_the_messages(&self) -> Checked {
        let peeked = now(self.queue.peek(None, 10_000))?;
        let sorted = peeked
            .windows(2)
            .all(|two| two[0].sequence < two[1].sequence);
        prop_assert!(sorted, "messages are shown in their order");
        let mut got = BTreeMap::new();
        let mut order = Vec::new();
        for one in &peeked {
            let number: u32 = std::str::from_utf8(one.message.body())
                .unwrap()
                .parse()
                .unwrap();
            got.insert(number, (one.state, one.attempts));
            order.push(number);
        }
        let expected: BTreeMap<_, _> = self
            .model
            .messages
            .iter()
            .map(|m| (m.number, (shown(&m.state), m.attempts)))
            .collect();
        prop_assert_eq!(got, expected);
        let placed: Vec<u32> = self.model.placed().iter().map(|m| m.number).collect();
        order.retain(|number| placed.contains(number));
        prop_assert_eq!(order, placed);
        Ok(())
    }

    fn look_at_the_statistics(&self) -> Checked {
        let got = now(self.queue.statistics())?;
        let messages = &self.model.messages;
        let count = |state| messages.iter().filter(|m| shown(&m.state) == state).count() as u64;
        prop_assert_eq!(got.ready, count(MessageState::Ready));
        prop_assert_eq!(got.in_flight, count(MessageState::InFlight));
        prop_assert_eq!(got.delayed, count(MessageState::Delayed));
        prop_assert_eq!(got.dead, self.model.dead.len() as u64);
        let bytes: usize = messages.iter().map(|m| m.bytes()).sum();
        prop_assert_eq!(got.bytes, (bytes + self.model.states.len()) as u64);
        let oldest = messages.iter().map(|m| self.model.now - m.sent).max();
        prop_assert_eq!(got.oldest_age.map(millis), oldest);
        prop_assert_eq!(got.sessions, self.model.sessions().len() as u64);
        Ok(())
    }

    /// Works off everything that is left, and accounts for every message that was ever stored.
    pub fn finish(mut self) -> Checked {
        self.look()?;
        for holder in 0..self.holders.len() {
            if self.holders[holder].take().is_some() {
                self.model.let_go(holder);
            }
        }
        loop {
            self.purge(Select::All)?;
            if self.model.messages.is_empty() {
                break;
            }
            self.receive(10, None)?;
            let live = (0..self.hands.len()).filter(|h| self.model.is_live(*h));
            let acks: Vec<usize> = live.collect();
            if acks.is_empty() {
                let coming = !self.model.deadlines().is_empty();
                prop_assert!(coming, "{:?} never come", self.model.messages);
                self.advance_to_deadline(0, 0);
            }
            for hand in acks {
                let result = now(self.queue.settle(vec![self.hands[hand].0.clone()]))?.remove(0);
                same_answer(&result, &self.model.settle(hand, &Settle::Ack))?;
            }
        }
        self.look()?;
        let model = &self.model;
        let ends = [&model.acked, &model.expired, &model.purged];
        for number in 0..model.next_number() {
            let ended = ends.iter().filter(|end| end.contains(&number)).count();
            prop_assert_eq!(ended, 1, "message {} ended {} times", number, ended);
        }
        Ok(())
    }
}

fn own_id(number: u32) -> String {
    format!("own-{number}")
}

fn shown(state: &State) -> MessageState {
    match state {
        State::Ready => MessageState::Ready,
        State::Scheduled(_) | State::Away { .. } => MessageState::Delayed,
        State::InFlight(_) => MessageState::InFlight,
    }
}

fn to_verb(settle: &Settle) -> Verb {
    match *settle {
        Settle::Ack => Verb::Ack,
        Settle::Nack(delay) => Verb::Nack {
            reason: Some(NACK_REASON.into()),
            delay: Some(delay),
        },
        Settle::Release(delay) => Verb::Release { delay },
        Settle::DeadLetter => Verb::DeadLetter {
            reason: "bad".into(),
            description: Some("very bad".into()),
        },
    }
}

fn same_answer(got: &Result<(), Error>, expected: &Answer) -> Checked {
    match (got, expected) {
        (Ok(()), Answer::Ok) => Ok(()),
        (Err(error), Answer::Error(kinds)) if kinds.contains(&error.kind()) => Ok(()),
        _ => Err(TestCaseError::fail(format!(
            "answered {got:?}, expected {expected:?}"
        ))),
    }
}
