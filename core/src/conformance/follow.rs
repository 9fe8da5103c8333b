//! Being the second process: the steps of every client but the first, taken as they are told.

use std::collections::HashMap;
use std::io::BufRead;
use std::time::Duration;

use super::orders::{Answer, Begin, Known, Names, Order};
use super::scenario::Scenario;
use super::step::{Started, Step};
use super::target::Store;
use super::world::{Checked, World};
use crate::clock::Clock;
use crate::message::MessageId;

/// Takes steps of a scenario as the standard input says, until that ends, in the store that is made
/// for a URL and a clock. Waits; not to be called on a thread of a tokio runtime.
///
/// # Errors
///
/// A text that says what was told and makes no sense.
pub fn follow(store: impl FnOnce(String, Clock) -> crate::Result<Store>) -> Result<(), String> {
    let mut lines = std::io::stdin().lock().lines();
    let mut order = || {
        let line = lines.next().transpose().map_err(|e| e.to_string())?;
        let order =
            line.map(|line| serde_json::from_str(&line).map_err(|e| format!("{line}: {e}")));
        order.transpose()
    };
    let Some(Order::Begin(begin)) = order()? else {
        return Err("a scenario has to begin first".to_owned());
    };
    let Begin {
        url,
        virtual_clock,
        now_ms,
        options,
    } = begin;
    let clock = if virtual_clock {
        Clock::new_virtual()
    } else {
        Clock::system()
    };
    let store = store(url, clock.clone()).map_err(|e| e.to_string())?;
    let scenario = Scenario::with_options(options)?;
    let mut world = World::in_store(store, Duration::ZERO, &scenario);
    if virtual_clock {
        pass(&clock, now_ms)?;
    }
    say(&world.answer(Ok(())))?;
    let mut started = Started::new();
    let runtime = world.store.runtime().clone();
    let work = async {
        while let Some(order) = order()? {
            let done = world.obey(order, &mut started).await;
            // What was let go, or is due, is done before the other process goes on.
            world.turn().await;
            say(&world.answer(done))?;
        }
        Ok(())
    };
    runtime.block_on(work).map_err(|e| e.to_string())?
}

fn say(answer: &Answer) -> Checked<()> {
    let answer = serde_json::to_string(answer).map_err(|e| e.to_string())?;
    println!("{answer}");
    Ok(())
}

fn pass(clock: &Clock, ms: u64) -> Checked<()> {
    let passed = clock.advance(Duration::from_millis(ms));
    passed.map_err(|e| e.to_string())
}

impl World<'_> {
    async fn obey(&mut self, order: Order, started: &mut Started) -> Checked<()> {
        match order {
            Order::Begin(_) => Err("the scenario has begun".to_owned()),
            Order::Take(take) => {
                let forget = take.forget;
                self.deliveries
                    .retain(|name, _| !forget.deliveries.contains(name));
                self.sessions
                    .retain(|name, _| !forget.sessions.contains(name));
                self.learn(take.known);
                self.take(&Step::read(take.step, started)?).await
            }
            Order::Advance(ms) => pass(self.store.runtime().clock(), ms),
        }
    }

    fn answer(&self, done: Checked<()>) -> Answer {
        Answer {
            error: done.err(),
            too_late: false,
            names: self.names(),
            known: self.known(),
        }
    }

    pub(super) fn names(&self) -> Names {
        fn keys<T, B: FromIterator<String>>(named: &HashMap<String, T>) -> B {
            named.keys().cloned().collect()
        }
        Names {
            deliveries: keys(&self.deliveries),
            sessions: keys(&self.sessions),
            consumers: keys(&self.consumers),
            background: keys(&self.background),
        }
    }

    pub(super) fn known(&self) -> Known {
        let text = |(body, id): (&String, &MessageId)| (body.clone(), id.to_string());
        // A step can only speak of bodies that are text.
        let cursor = |(body, cursor): (&Vec<u8>, &u64)| {
            let body = String::from_utf8(body.clone()).ok()?;
            Some((body, *cursor))
        };
        Known {
            ids: self.ids.iter().map(text).collect(),
            made: self.made.iter().map(MessageId::to_string).collect(),
            cursors: self.cursors.iter().filter_map(cursor).collect(),
        }
    }

    pub(super) fn learn(&mut self, known: Known) {
        let id = |id: String| MessageId::from(&*id);
        let ids = known.ids.into_iter();
        self.ids.extend(ids.map(|(body, text)| (body, id(text))));
        self.made.extend(known.made.into_iter().map(id));
        let cursors = known.cursors.into_iter();
        let cursors = cursors.map(|(body, cursor)| (body.into_bytes(), cursor));
        self.cursors.extend(cursors);
    }
}
