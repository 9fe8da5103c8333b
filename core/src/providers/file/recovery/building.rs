//! From what the log says to an index.

use std::collections::HashMap;

use super::Spot;
use super::facts::{Facts, Found, FoundDeath};
use crate::config::QueueOptions;
use crate::error::Result;
use crate::providers::file::engine::append::remember;
use crate::providers::file::engine::step::Step;
use crate::providers::file::fault;
use crate::providers::file::index::layout::{Dedup, Message, NIL, Queue, Session, flag, standing};
use crate::providers::file::index::region::{Cell, Region};
use crate::providers::file::index::{list, pool};
use crate::providers::file::log::record::{MessageHead, NO_TIME};

/// Puts what the log says into the index.
pub(super) fn build(step: &mut Step<'_>, facts: Facts) -> Result<()> {
    let region = step.r;
    restore_nodes(region, &facts)?;
    let mut queues = HashMap::new();
    for queue in &facts.queues {
        let definition = QueueOptions::from_json(&queue.definition).and_then(|o| o.define())?;
        let id = step.add_queue(queue.number, queue.engine, &queue.name, &definition)?;
        remember(
            region,
            &region.node::<Queue>(id).record,
            queue.spot.0,
            queue.spot.1,
        );
        queues.insert(queue.number, id);
        region.commit();
    }
    // Sessions of which only their name is left are not made.
    let mut sessions = vec![NIL; facts.sessions.len()];
    let mut session_of = |step: &mut Step<'_>, number: u32| -> Result<u32> {
        let (queue, name) = &facts.sessions[number as usize];
        let Some(queue) = queues.get(queue) else {
            return Ok(NIL);
        };
        if sessions[number as usize] == NIL {
            sessions[number as usize] = step.find_or_add_session(*queue, name)?;
        }
        Ok(sessions[number as usize])
    };
    let mut living: Vec<&Found> = Vec::new();
    let mut dead: Vec<(&Found, &FoundDeath)> = Vec::new();
    for found in facts.messages.iter().flatten().flatten() {
        if !queues.contains_key(&found.head.queue) {
            continue;
        }
        match &found.death {
            None => living.push(found),
            Some(death) => dead.push((found, death)),
        }
    }
    living.sort_unstable_by_key(|found| (found.head.queue, found.head.sequence));
    dead.sort_unstable_by_key(|(_, death)| death.number);
    for (found, death) in dead {
        let session = match found.session {
            Some(number) => session_of(step, number)?,
            None => step.lane_of(queues[&found.head.queue], None)?,
        };
        step.restore_dead(
            queues[&found.head.queue],
            &found.head,
            found.spot,
            session,
            &Grave {
                number: death.number,
                at: death.at,
                first_delivered: death.first_delivered,
                attempts: death.attempts,
                spot: death.spot,
            },
        );
        region.commit();
    }
    for found in living {
        let session = match found.session {
            Some(number) => session_of(step, number)?,
            None => step.lane_of(queues[&found.head.queue], None)?,
        };
        step.restore_living(queues[&found.head.queue], &found.head, found.spot, session);
        region.commit();
    }
    for (number, (spot, bytes)) in &facts.states {
        let id = session_of(step, *number)?;
        if id == NIL {
            continue;
        }
        let session: &Session = region.node(id);
        remember(region, &session.state, spot.0, spot.1);
        region.set(&session.state_bytes, *bytes as u32);
        let queue: &Queue = region.node(session.queue.get());
        region.set(&queue.bytes, queue.bytes.get() + *bytes as u64);
        region.commit();
    }
    let mut dedups: Vec<_> = facts.dedups.iter().collect();
    dedups.sort_unstable_by_key(|(_, (end, _))| *end);
    for ((queue, id), (end, spot)) in dedups {
        let end = step.ground.time.tick_at(*end);
        if let Some(queue) = queues.get(queue)
            && end > step.now
        {
            let node = step.remember_dedup_id(*queue, id, end)?;
            remember(region, &region.node::<Dedup>(node).record, spot.0, spot.1);
            region.commit();
        }
    }
    Ok(())
}

/// A dead letter's end.
struct Grave {
    number: u64,
    at: i64,
    first_delivered: i64,
    attempts: u32,
    spot: Spot,
}

impl Step<'_> {
    fn restore(&mut self, queue: u32, head: &MessageHead, spot: Spot, session: u32) {
        let slot: &Message = self.r.node(head.slot);
        let tick = |wall| self.ground.time.tick_at(wall);
        slot.flags.put(head.flags & flag::YOUNG);
        slot.queue.put(queue);
        slot.session.put(session);
        slot.bytes.put(head.bytes);
        slot.holder.put(NIL);
        slot.attempts.put(head.attempts);
        slot.logged_attempts.put(head.attempts);
        slot.number.put(head.number);
        slot.sequence.put(head.sequence);
        slot.token.put(0);
        slot.enqueued.put(tick(head.enqueued));
        slot.first_delivered.put(tick(head.first_delivered));
        slot.expires.put(tick(head.expires));
        slot.due.put(tick(NO_TIME));
        slot.record.position.put(0);
        slot.death.position.put(0);
        remember(self.r, &slot.record, spot.0, spot.1);
    }

    fn restore_living(&mut self, queue: u32, head: &MessageHead, spot: Spot, session: u32) {
        let due = self.ground.time.tick_at(head.due);
        self.restore(queue, head, spot, session);
        let of: &Queue = self.r.node(queue);
        self.r
            .set(&of.bytes, of.bytes.get() + u64::from(head.bytes));
        list::push_back::<list::All>(self.r, &of.all, head.slot);
        if session != NIL {
            let live = &self.r.node::<Session>(session).live;
            self.r.set(live, live.get() + 1);
        }
        if head.flags & flag::LATE != 0 {
            self.set_late(head.slot);
        }
        if head.due == NO_TIME {
            self.make_ready(head.slot, standing::FRESH);
        } else {
            let given_back = head.flags & flag::GIVEN_BACK != 0;
            let blocks = head.flags & flag::BLOCKS != 0;
            self.hide(head.slot, due, given_back, blocks);
        }
    }

    fn restore_dead(
        &mut self,
        queue: u32,
        head: &MessageHead,
        spot: Spot,
        session: u32,
        grave: &Grave,
    ) {
        let tick = |wall| self.ground.time.tick_at(wall);
        let (died, first) = (tick(grave.at), tick(grave.first_delivered));
        self.restore(queue, head, spot, session);
        let slot: &Message = self.r.node(head.slot);
        slot.standing.put(standing::DEAD);
        slot.attempts.put(grave.attempts);
        slot.logged_attempts.put(grave.attempts);
        slot.death_number.put(grave.number);
        slot.died.put(died);
        slot.first_delivered.put(first);
        remember(self.r, &slot.death, grave.spot.0, grave.spot.1);
        let of: &Queue = self.r.node(queue);
        self.r.set(&of.dead, of.dead.get() + 1);
        self.r
            .set(&of.dead_bytes, of.dead_bytes.get() + u64::from(head.bytes));
        list::push_back::<list::Place>(self.r, &of.dead_list, head.slot);
        if session != NIL {
            let dead = &self.r.node::<Session>(session).dead;
            self.r.set(dead, dead.get() + 1);
        }
    }
}

/// Makes the nodes of the messages, at the numbers they had.
fn restore_nodes(region: &Region, facts: &Facts) -> Result<()> {
    let used: Vec<Vec<u32>> = facts
        .messages
        .iter()
        .map(|nodes| {
            let used = nodes
                .iter()
                .enumerate()
                .filter(|(_, found)| found.is_some());
            used.map(|(place, _)| place as u32).collect()
        })
        .collect();
    pool::restore::<Message>(region, &used).map_err(|e| fault::index_io("grow", e))
}
