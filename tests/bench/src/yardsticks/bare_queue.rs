//! The floor: what a queue with locks, receipts and redelivery has to do at least, and nothing
//! more. One mutex, a deque, a slab of what is in flight, and a heap of its deadlines.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One allocation, shared between the queue, which keeps it for redelivery, and the receiver.
pub type Body = Arc<[u8]>;

const LOCK: Duration = Duration::from_secs(30);

/// A place in the slab, and the number of the delivery that is there.
#[derive(Clone, Copy)]
pub struct Receipt {
    slot: u32,
    delivery: u64,
}

/// A bounded queue. Messages in flight count as well.
pub struct BareQueue {
    state: Mutex<State>,
    bound: usize,
    has_message: Condvar,
    has_room: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Body>,
    in_flight: Vec<Option<(u64, Body)>>,
    free: Vec<u32>,
    deadlines: BinaryHeap<Reverse<(Instant, u32, u64)>>,
    deliveries: u64,
    held: usize,
    // Who waits and was not woken yet: to notify a condition variable costs a system call, even
    // when nobody waits at it.
    receivers: usize,
    senders: usize,
}

impl BareQueue {
    pub fn new(bound: usize) -> Self {
        Self {
            state: Mutex::default(),
            bound,
            has_message: Condvar::new(),
            has_room: Condvar::new(),
        }
    }

    pub fn send(&self, body: Body) {
        let mut state = self.room(1);
        state.ready.push_back(body);
        state.held += 1;
        self.sent(state);
    }

    pub fn send_many(&self, bodies: Vec<Body>) {
        let mut state = self.room(bodies.len());
        state.held += bodies.len();
        state.ready.extend(bodies);
        self.sent(state);
    }

    /// Waits for a message.
    pub fn receive(&self) -> (Receipt, Body) {
        let (mut state, now) = self.ready();
        state.deliver(now + LOCK)
    }

    /// Waits for a message, and takes what else is there.
    pub fn receive_many(&self, max: usize) -> Vec<(Receipt, Body)> {
        let (mut state, now) = self.ready();
        let count = max.min(state.ready.len());
        (0..count).map(|_| state.deliver(now + LOCK)).collect()
    }

    /// False when the receipt was used before, or its lock had run out.
    pub fn ack(&self, receipt: Receipt) -> bool {
        let mut state = self.lock();
        let was_held = state.end(receipt).is_some();
        state.turn_deadlines(None);
        self.acked(state);
        was_held
    }

    /// How many of the receipts were good.
    pub fn ack_many(&self, receipts: impl Iterator<Item = Receipt>) -> usize {
        let mut state = self.lock();
        let good = receipts.filter(|r| state.end(*r).is_some()).count();
        state.turn_deadlines(None);
        self.acked(state);
        good
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self, messages: usize) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.held + messages > self.bound {
            state.senders += 1;
            state = wait(&self.has_room, state);
        }
        state
    }

    fn sent(&self, mut state: MutexGuard<'_, State>) {
        let wake = state.receivers > 0;
        state.receivers -= usize::from(wake);
        drop(state);
        if wake {
            self.has_message.notify_one();
        }
    }

    fn ready(&self) -> (MutexGuard<'_, State>, Instant) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            state.turn_deadlines(Some(now));
            if !state.ready.is_empty() {
                return (state, now);
            }
            state.receivers += 1;
            state = wait(&self.has_message, state);
        }
    }

    fn acked(&self, mut state: MutexGuard<'_, State>) {
        let wake = state.senders > 0;
        state.senders -= usize::from(wake);
        drop(state);
        if wake {
            self.has_room.notify_one();
        }
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Moves the first ready message into flight; there is one.
    fn deliver(&mut self, deadline: Instant) -> (Receipt, Body) {
        let body = self.ready.pop_front().expect("a message is ready");
        self.deliveries += 1;
        let delivery = self.deliveries;
        let entry = Some((delivery, body.clone()));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.in_flight[slot as usize] = entry;
                slot
            }
            None => {
                self.in_flight.push(entry);
                (self.in_flight.len() - 1) as u32
            }
        };
        self.deadlines.push(Reverse((deadline, slot, delivery)));
        (Receipt { slot, delivery }, body)
    }

    /// Takes a message out for good, if the receipt is still good.
    fn end(&mut self, receipt: Receipt) -> Option<Body> {
        let entry = self.in_flight.get_mut(receipt.slot as usize)?;
        let (_, body) = entry.take_if(|(delivery, _)| *delivery == receipt.delivery)?;
        self.free.push(receipt.slot);
        self.held -= 1;
        Some(body)
    }

    /// Puts back what is overdue. Deadlines of what was acked leave when they are first in the
    /// heap, or all at once when they are more than the others.
    fn turn_deadlines(&mut self, now: Option<Instant>) {
        while let Some(Reverse((deadline, slot, delivery))) = self.deadlines.peek() {
            let entry = &mut self.in_flight[*slot as usize];
            if entry.as_ref().is_some_and(|(d, _)| d == delivery) {
                if now.is_none_or(|now| *deadline > now) {
                    break;
                }
                self.ready.extend(entry.take().map(|(_, body)| body));
                self.free.push(*slot);
            }
            self.deadlines.pop();
        }
        let in_flight = self.in_flight.len() - self.free.len();
        if self.deadlines.len() > 2 * in_flight + 64 {
            let slots = &self.in_flight;
            self.deadlines.retain(|Reverse((_, slot, delivery))| {
                let entry = slots[*slot as usize].as_ref();
                entry.is_some_and(|(d, _)| d == delivery)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_good_once() {
        let queue = BareQueue::new(10);
        queue.send(Body::from([1]));
        let (receipt, body) = queue.receive();
        assert_eq!(*body, [1]);
        assert!(queue.ack(receipt));
        assert!(!queue.ack(receipt));
        queue.send(Body::from([2]));
        let (_, body) = queue.receive();
        assert_eq!(*body, [2]);
        assert!(!queue.ack(receipt), "the slot is another delivery's now");
    }

    #[test]
    fn what_is_overdue_comes_back_and_its_receipt_is_void() {
        let queue = BareQueue::new(10);
        queue.send(Body::from([1]));
        let (receipt, _) = queue.receive();
        queue.lock().turn_deadlines(Some(Instant::now() + 2 * LOCK));
        assert!(!queue.ack(receipt));
        let (receipt, body) = queue.receive();
        assert_eq!(*body, [1]);
        assert!(queue.ack(receipt));
    }

    #[test]
    fn old_deadlines_do_not_pile_up_behind_one_that_is_held() {
        let queue = BareQueue::new(10);
        queue.send(Body::from([1]));
        let (held, _) = queue.receive();
        for _ in 0..10_000 {
            queue.send(Body::from([2]));
            assert!(queue.ack(queue.receive().0));
        }
        assert!(queue.lock().deadlines.len() < 100);
        assert!(queue.ack(held));
    }
}
