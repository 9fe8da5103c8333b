//! Two threads that wake each other in turn: what a wake-up costs on this machine.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::measure::median;

/// Half a round trip between two threads at a condition variable, p50 in microseconds.
pub fn half_round_trip(rounds: usize) -> f64 {
    let table = Table::default();
    thread::scope(|scope| {
        scope.spawn(|| (0..rounds).for_each(|_| table.play(Turn::Pong, Turn::Ping)));
        let times = (0..rounds).map(|_| {
            let start = Instant::now();
            table.pass(Turn::Pong);
            table.await_turn(Turn::Ping);
            start.elapsed().as_secs_f64() * 1e6 / 2.0
        });
        median(times.collect())
    })
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Turn {
    #[default]
    Ping,
    Pong,
}

#[derive(Default)]
struct Table {
    turn: Mutex<Turn>,
    changed: Condvar,
}

impl Table {
    fn play(&self, mine: Turn, next: Turn) {
        self.await_turn(mine);
        self.pass(next);
    }

    fn pass(&self, next: Turn) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.changed.notify_one();
    }

    fn await_turn(&self, mine: Turn) {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = self.changed.wait_while(turn, |turn| *turn != mine);
        drop(turn.unwrap_or_else(PoisonError::into_inner));
    }
}
