//! The work of one slot at one session.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use super::{Pool, Seat, Turn, accept, accept_waiting};
use crate::clock::Tick;
use crate::consumer::gate::Pass;
use crate::consumer::keeper;
use crate::consumer::pump::{may_receive, stay_away, went_well};
use crate::consumer::shared::Shared;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::sessions::SessionHold;

/// What a slot does after a session.
pub(super) enum After {
    /// It holds this one, which was accepted already.
    Another(Arc<SessionHold>),
    Any,
    /// It lets others choose first.
    Others,
    Nothing,
}

/// Why a session is not worked at any more.
enum End {
    After(After),
    /// It had nothing more.
    Dry(After),
    Lost(Error),
    /// One of its deliveries is in nobody's hands, or in those of somebody who hangs.
    LetGo,
}

/// Holds a session until its turn is over.
pub(super) async fn work(
    shared: &Arc<Shared>,
    pool: &Pool,
    turn: Arc<Turn>,
    seat: &mut Seat,
) -> After {
    let counted = Counted::new(shared, pool, &turn);
    let mut lost = pin!(turn.keep(shared));
    let mut end = tokio::select! {
        biased;
        error = &mut lost => End::Lost(error),
        () = shared.stop.cancelled() => End::After(After::Nothing),
        end = receive_all(shared, pool, &turn) => end,
    };
    let rest = shared.take_back(&turn);
    if !matches!(end, End::Lost(_)) {
        let _ = shared.release(&rest).await;
    }
    drop(rest);
    if let End::After(after) | End::Dry(after) = &end {
        if matches!(after, After::Nothing) {
            seat.intake = None;
        }
        // What is in hand is still to be settled.
        tokio::select! {
            error = &mut lost => end = End::Lost(error),
            () = quiet(shared, &turn) => {}
        }
    }
    if let End::Lost(error) = &end {
        shared.lose(&turn);
        if !turn.pooled {
            shared.failure.send_replace(Some(error.clone()));
        }
    }
    if turn.pooled {
        pool.returned().await;
        if matches!(end, End::Dry(_)) {
            pool.before.remember(turn.id());
        }
        // One that was lost is nobody's any more.
        let _ = turn.hold().close().await;
    }
    drop(counted);
    match end {
        End::After(after) | End::Dry(after) => after,
        _ if turn.pooled => After::Any,
        _ => After::Nothing,
    }
}

/// A session of the pool is counted while it is held.
struct Counted<'a>(&'a Shared, &'a Pool, &'a Turn);

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared, pool: &'a Pool, turn: &'a Turn) -> Self {
        pool.held.send_modify(|held| *held += 1);
        if turn.pooled {
            shared.queue.metrics().session_accepted();
        }
        Self(shared, pool, turn)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Self(shared, pool, turn) = self;
        if turn.pooled {
            let held = shared.queue.clock().now().since(turn.begun);
            shared.queue.metrics().session_held(held);
        }
        pool.held.send_modify(|held| *held -= 1);
    }
}

/// Waits until nothing of the session is fetched or in hand, or it is to be let go.
async fn quiet(shared: &Shared, turn: &Turn) {
    loop {
        let mut room = pin!(shared.room.notified());
        room.as_mut().enable();
        if turn.is_let_go() || shared.is_quiet(turn) {
            return;
        }
        tokio::select! {
            // What was fetched may have gone back.
            () = room => {}
            () = turn.changed.notified() => {}
        }
    }
}

/// Receives the messages of a session until its turn is over.
async fn receive_all(shared: &Arc<Shared>, pool: &Pool, turn: &Arc<Turn>) -> End {
    let options = &shared.options;
    let until = options.session_max_time.map(|longest| turn.begun + longest);
    let mut left = options.session_max_messages.unwrap_or(u32::MAX);
    let mut failures = 0;
    // Since when it is known to have nothing.
    let mut dry = None;
    loop {
        if turn.is_let_go() {
            return End::LetGo;
        }
        let now = shared.queue.clock().now();
        if turn.pooled && (left == 0 || until.is_some_and(|until| until <= now)) {
            quiet(shared, turn).await;
            if turn.is_let_go() {
                continue;
            }
            pool.has_had_enough(turn.id(), shared.queue.clock().now());
            let another = accept_waiting(shared, pool).await;
            return End::After(another.map_or(After::Others, After::Another));
        }
        let mut room = pin!(shared.room.notified());
        room.as_mut().enable();
        let is_quiet = shared.is_quiet(turn);
        let want = shared.want_of(turn, *pool.held.borrow()).min(left as usize);
        if want == 0 {
            let idle = shared.queue.sleep_until(now + options.idle_session());
            tokio::select! {
                () = room => {}
                () = turn.changed.notified() => {}
                () = idle, if is_quiet && turn.pooled => return End::Dry(After::Any),
            }
            continue;
        }
        if !is_quiet {
            dry = None;
        }
        let wait = match (is_quiet, dry) {
            (true, None) => Duration::ZERO,
            _ => options.wait,
        };
        let received = tokio::select! {
            biased;
            received = receive(shared, turn, want, wait) => received,
            () = changed(shared, turn, is_quiet) => continue,
            () = room, if shared.fetches_on_demand() => continue,
            after = idle(shared, pool, turn, dry) => return End::Dry(after),
        };
        match received {
            Ok(0) if wait.is_zero() => {
                dry = Some(shared.queue.clock().now());
                if !turn.pooled {
                    pool.dry.send_replace(true);
                }
            }
            Ok(0) => {}
            Ok(count) => {
                dry = None;
                if options.session_max_messages.is_some() {
                    left = left.saturating_sub(count as u32);
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::SessionLockLost | ErrorKind::InvalidReceipt => return End::Lost(error),
                ErrorKind::Closed => {
                    shared.stop.cancel();
                    return End::After(After::Nothing);
                }
                _ => {
                    failures += 1;
                    stay_away(shared, error, failures).await;
                    continue;
                }
            },
        }
        failures = 0;
        went_well(shared);
    }
}

/// Waits for a change that a receive which waits must be given up for: the session may have nothing
/// more, or is to be let go.
async fn changed(shared: &Shared, turn: &Turn, was_quiet: bool) {
    loop {
        turn.changed.notified().await;
        if turn.is_let_go() || shared.is_quiet(turn) != was_quiet {
            return;
        }
    }
}

/// Waits until a session that has had nothing since then is to be let go: it was idle for long enough,
/// or another one waits for whom there is no slot.
async fn idle(shared: &Shared, pool: &Pool, turn: &Turn, since: Option<Tick>) -> After {
    let Some(since) = since.filter(|_| turn.pooled) else {
        return std::future::pending().await;
    };
    let another = async {
        let max = shared.options.max_sessions.unwrap_or(0) as usize;
        let mut held = pool.held.subscribe();
        let _ = held.wait_for(|held| *held >= max).await;
        accept(shared, pool).await
    };
    tokio::select! {
        Some(another) = another => After::Another(another),
        () = shared.queue.sleep_until(since + shared.options.idle_session()) => After::Any,
    }
}

/// Receives messages of a session into the buffer. Answers how many.
async fn receive(
    shared: &Arc<Shared>,
    turn: &Arc<Turn>,
    want: usize,
    wait: Duration,
) -> Result<usize> {
    let calling = loop {
        if let Some(calling) = may_receive(shared).await? {
            break calling;
        }
    };
    let failed = turn.failed();
    let mut pending = match shared.receive_of(turn, calling, want, wait).try_now() {
        Ok(received) => {
            return received.map(|deliveries| shared.take_in_of(turn, failed, deliveries));
        }
        Err(pending) => pending,
    };
    poll_fn(|context| {
        let failed = turn.failed();
        let polled = Pin::new(&mut pending).poll(context);
        polled.map_ok(|deliveries| shared.take_in_of(turn, failed, deliveries))
    })
    .await
}

impl Shared {
    /// As `want`, of one of so many sessions: each may have its share fetched ahead, and one at least.
    fn want_of(&self, turn: &Turn, sessions: usize) -> usize {
        let state = self.state();
        if state.stopped || state.buffer.bytes() >= self.options.prefetch_bytes {
            return 0;
        }
        let waiting = state.buffer.waiting_of(turn.id());
        let most = match state.gate.pass() {
            Pass::All => usize::MAX,
            Pass::Probe => usize::from(state.buffer.len() == 0),
            Pass::Nothing => 0,
        };
        let share = match self.prefetched(&state) {
            0 => usize::from(state.asking > state.buffer.len() && !state.buffer.has(turn.id())),
            ahead => ahead.div_ceil(sessions.max(1)),
        };
        share.saturating_sub(waiting).min(most)
    }

    /// Whether nothing of the session is fetched or in hand.
    fn is_quiet(&self, turn: &Turn) -> bool {
        !self.state().buffer.has(turn.id())
    }

    /// Takes in what was received of a session when so many of its messages had failed. Answers how
    /// many. What came too late goes back.
    fn take_in_of(&self, turn: &Turn, failed: u64, deliveries: Vec<Delivery>) -> usize {
        let count = deliveries.len();
        let now = self.queue.clock().now();
        if let Some(pool) = self.pool.as_ref().filter(|_| count > 0 && !turn.pooled) {
            pool.dry.send_replace(false);
        }
        let stale =
            |state: &_| turn.failed() != failed || turn.is_let_go() || self.is_unwanted(state);
        let late = self.put(deliveries, now, stale);
        self.give_back(late);
        count
    }

    /// Takes the messages of a session that nobody has begun out of the buffer.
    fn take_back(&self, turn: &Turn) -> Vec<Delivery> {
        self.state().buffer.give_up(turn.id()).into()
    }

    /// The session was lost: tells who works on what is in hand.
    fn lose(&self, turn: &Arc<Turn>) {
        let in_hand = self.state().hands_of(turn);
        for held in in_hand {
            keeper::lost(&held.kept, held.index as usize);
        }
    }
}
