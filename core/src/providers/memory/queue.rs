//! One queue of the engine as others use it: the state behind its lock, and those who wait.
//!
//! A verb takes the lock, brings the state up to the present, steps, and leaves; then it wakes
//! whom the step lets go on. Who finds nothing waits for such a wake, and looks again. While
//! anybody waits, one task sleeps until the next deadline of the state, so that what happens by
//! itself (a delay ends, a lock ends) wakes them too.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::Notify;

use super::state::{Sent, State, Wakes};
use crate::clock::Tick;
use crate::config::{OnFull, QueueDefinition};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, SendResult};
use crate::provider::{AcceptRequest, ReceiveRequest, Received, SessionLock};
use crate::providers::embedded::full;
use crate::runtime::Tasks;
use crate::sync::Mutex;

/// A queue of a store, shared by all who use it.
#[derive(Debug)]
pub(super) struct SharedQueue {
    pub(super) tasks: Tasks,
    guarded: Mutex<Guarded>,
    receivers: Notify,
    acceptors: Notify,
    senders: Notify,
    /// Tells the timer task of an earlier deadline. Shared, for that task must not keep the queue.
    timer: Arc<Notify>,
}

#[derive(Debug)]
struct Guarded {
    state: State,
    /// How many wait on each of the queue's own notifies.
    waiting: [u32; 4],
    /// How many of the receives that wait do so for messages of some groups alone: what wakes one of
    /// them may be for another one.
    choosy: u32,
    /// When the timer task wakes up; `None`: there is no such task.
    timer: Option<Tick>,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum For {
    Message = 0,
    Session = 1,
    Room = 2,
    /// On a notify of the session's holder.
    HeldSession = 3,
    /// A message, but not of every group.
    SomeMessage = 4,
}

impl For {
    /// Its place among the counts.
    fn index(self) -> usize {
        match self {
            Self::SomeMessage => Self::Message as usize,
            what => what as usize,
        }
    }
}

impl Guarded {
    /// Whom the step lets go on. While somebody is choosy, one message wakes all.
    fn take_wakes(&mut self) -> Wakes {
        let mut wakes = std::mem::take(&mut self.state.wakes);
        if self.choosy > 0 && wakes.receivers > 0 {
            wakes.receivers = u32::MAX;
        }
        wakes
    }

    fn wait(&mut self, what: For) {
        self.waiting[what.index()] += 1;
        self.choosy += u32::from(what == For::SomeMessage);
    }

    fn wait_no_more(&mut self, what: For) {
        self.waiting[what.index()] -= 1;
        self.choosy -= u32::from(what == For::SomeMessage);
    }
}

impl SharedQueue {
    pub(super) fn new(definition: QueueDefinition, tasks: Tasks) -> Arc<Self> {
        let clock = tasks.clock();
        let state = State::new(definition, clock.now(), clock.lag());
        Arc::new(Self {
            tasks,
            guarded: Mutex::new(Guarded {
                state,
                waiting: [0; 4],
                choosy: 0,
                timer: None,
            }),
            receivers: Notify::new(),
            acceptors: Notify::new(),
            senders: Notify::new(),
            timer: Arc::default(),
        })
    }

    /// One step at the present moment, give or take the clock's lag.
    #[inline]
    pub(super) fn step<T>(
        self: &Arc<Self>,
        step: impl FnOnce(&mut State, Tick) -> Result<T>,
    ) -> Result<T> {
        let now = self.tasks.clock().recent();
        self.step_at(now, |guarded| step(&mut guarded.state, now))
    }

    #[inline]
    fn step_at<T>(
        self: &Arc<Self>,
        now: Tick,
        step: impl FnOnce(&mut Guarded) -> Result<T>,
    ) -> Result<T> {
        let mut guarded = self.guarded.lock().map_err(|_| damaged())?;
        guarded.state.advance(now);
        let result = step(&mut guarded);
        if guarded.waiting == [0; 4] {
            guarded.state.wakes.forget();
            return result;
        }
        let wakes = guarded.take_wakes();
        let waiting = guarded.waiting;
        let timer = self.set_timer(&mut guarded);
        drop(guarded);
        self.wake(wakes, waiting);
        if timer {
            self.start_timer();
        }
        result
    }

    /// Never called with the lock held.
    fn wake(&self, wakes: Wakes, waiting: [u32; 4]) {
        let some = |notify: &Notify, wakes: u32, waiting: For, all: [u32; 4]| {
            for _ in 0..wakes.min(all[waiting.index()]) {
                notify.notify_one();
            }
        };
        some(&self.receivers, wakes.receivers, For::Message, waiting);
        some(&self.acceptors, wakes.acceptors, For::Session, waiting);
        some(&self.senders, wakes.senders, For::Room, waiting);
        for holder in wakes.holders {
            holder.notify_waiters();
        }
    }

    /// Notes when the timer task must wake up. Answers whether one must be started.
    fn set_timer(&self, guarded: &mut Guarded) -> bool {
        let Some(next) = guarded.state.next_deadline() else {
            return false;
        };
        match guarded.timer {
            Some(set) if set <= next => false,
            Some(_) => {
                guarded.timer = Some(next);
                self.timer.notify_one();
                false
            }
            None => {
                guarded.timer = Some(next);
                true
            }
        }
    }

    /// Starts the task that lets time pass while somebody waits. It ends when nobody does.
    fn start_timer(self: &Arc<Self>) {
        let queue = Arc::downgrade(self);
        let (tasks, moved) = (self.tasks.clone(), self.timer.clone());
        self.tasks.spawn(async move {
            while let Some(until) = queue.upgrade().and_then(|queue| queue.timer_turn()) {
                tokio::select! {
                    () = tasks.sleep_until(until) => {}
                    () = moved.notified() => {}
                }
            }
        });
    }

    /// Brings the state up to the present and wakes whom that lets go on. Answers when to come
    /// again; `None` when nobody waits or nothing will happen.
    fn timer_turn(&self) -> Option<Tick> {
        let now = self.tasks.clock().now();
        let mut guarded = self.guarded.lock().ok()?;
        guarded.state.advance(now);
        let wakes = guarded.take_wakes();
        let waiting = guarded.waiting;
        guarded.timer = match guarded.state.next_deadline() {
            Some(next) if waiting != [0; 4] => Some(next),
            _ => None,
        };
        let next = guarded.timer;
        drop(guarded);
        self.wake(wakes, waiting);
        next
    }

    // --- waiting verbs ------------------------------------------------------------------------

    /// Looks for messages until there are some or the wait is over.
    pub(super) async fn receive(
        self: Arc<Self>,
        request: ReceiveRequest,
    ) -> Result<Vec<Box<Received>>> {
        let deadline = self.tasks.clock().now() + request.wait;
        let look = |state: &mut State, now| {
            let received = state.receive(&request, now)?;
            Ok((!received.is_empty()).then_some(received))
        };
        let found = match &request.session {
            None => {
                let what = match request.without {
                    None => For::Message,
                    Some(_) => For::SomeMessage,
                };
                self.wait(&self.receivers, what, deadline, look).await?
            }
            Some(lock) => {
                let wake = self.step(|state, _| state.wake_of(lock))?;
                self.wait(&wake, For::HeldSession, deadline, look).await?
            }
        };
        Ok(found.unwrap_or_default())
    }

    /// Looks for a session with work until there is one or the wait is over.
    pub(super) async fn accept_next(
        self: Arc<Self>,
        request: AcceptRequest,
    ) -> Result<Option<SessionLock>> {
        let deadline = self.tasks.clock().now() + request.wait;
        let look = |state: &mut State, now| state.accept(&request, now);
        self.wait(&self.acceptors, For::Session, deadline, look)
            .await
    }

    /// Stores messages one after the other, waiting for room where there is none.
    pub(super) async fn send_rest(
        self: Arc<Self>,
        mut results: Vec<Result<SendResult>>,
        mut rest: Vec<Message>,
    ) -> Result<Vec<Result<SendResult>>> {
        rest.reverse();
        while !rest.is_empty() {
            let look = |state: &mut State, now| {
                let precise = self.tasks.clock().now();
                let before = results.len();
                while let Some(message) = rest.pop() {
                    match state.send(message, precise, now) {
                        Sent::Done(result) => results.push(Ok(result)),
                        Sent::Full(message) => {
                            rest.push(message);
                            break;
                        }
                    }
                }
                Ok((results.len() > before).then_some(()))
            };
            self.wait(&self.senders, For::Room, Tick::NEVER, look)
                .await?;
        }
        Ok(results)
    }

    /// Looks, and looks again after each wake, until something is found or time is up. A future
    /// that is dropped has taken nothing, and hands on a wake it did not use.
    async fn wait<T>(
        self: &Arc<Self>,
        notify: &Notify,
        what: For,
        deadline: Tick,
        mut look: impl FnMut(&mut State, Tick) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let clock = self.tasks.clock();
        let mut timeout = pin!(self.until(deadline));
        loop {
            let mut woken = pin!(notify.notified());
            // From here on no wake is missed: the look comes after.
            woken.as_mut().enable();
            let now = clock.recent();
            let found = self.step_at(now, |guarded| {
                let found = look(&mut guarded.state, now)?;
                if found.is_none() {
                    guarded.wait(what);
                }
                Ok(found)
            })?;
            if found.is_some() {
                return Ok(found);
            }
            let waiting = Waiting { queue: self, what };
            tokio::select! {
                biased;
                () = woken => {}
                () = &mut timeout => {
                    drop(waiting);
                    let now = clock.now();
                    return self.step_at(now, |guarded| look(&mut guarded.state, now));
                }
            }
        }
    }

    fn until(&self, deadline: Tick) -> impl Future<Output = ()> + Send + use<> {
        let tasks = self.tasks.clone();
        async move {
            if deadline == Tick::NEVER {
                std::future::pending::<()>().await;
            }
            // A sleep is cut at a year; go on until it is really over.
            while tasks.clock().now() < deadline {
                tasks.sleep_until(deadline).await;
            }
        }
    }

    // --- send ---------------------------------------------------------------------------------

    /// Stores a message, if there is room for it.
    #[inline]
    pub(super) fn send_one_now(
        self: &Arc<Self>,
        message: Message,
        on_full: OnFull,
    ) -> Result<Sent> {
        let timed = message.properties.is_some();
        let precise = timed.then(|| self.tasks.clock().now());
        self.step(
            |state, now| match state.send(message, precise.unwrap_or(now), now) {
                Sent::Full(_) if on_full == OnFull::Error => Err(full(&state.definition)),
                sent => Ok(sent),
            },
        )
    }

    /// Stores what there is room for; answers the results and the messages that must wait.
    pub(super) fn send_now(
        self: &Arc<Self>,
        messages: Vec<Message>,
        on_full: OnFull,
    ) -> Result<(Vec<Result<SendResult>>, Vec<Message>)> {
        let clock = self.tasks.clock();
        let timed = |m: &Message| m.properties.is_some();
        let precise = messages.iter().any(timed).then(|| clock.now());
        self.step(|state, now| {
            let precise = precise.unwrap_or(now);
            let mut results = Vec::with_capacity(messages.len());
            let mut messages = messages.into_iter();
            while let Some(message) = messages.next() {
                match state.send(message, precise, now) {
                    Sent::Done(result) => results.push(Ok(result)),
                    Sent::Full(_) if on_full == OnFull::Error => {
                        results.push(Err(full(&state.definition)))
                    }
                    Sent::Full(message) => {
                        let rest = std::iter::once(message).chain(messages).collect();
                        return Ok((results, rest));
                    }
                }
            }
            Ok((results, Vec::new()))
        })
    }
}

/// Counts somebody as waiting for as long as it lives.
struct Waiting<'a> {
    queue: &'a SharedQueue,
    what: For,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut guarded = crate::sync::lock(&self.queue.guarded);
        guarded.wait_no_more(self.what);
    }
}

#[cold]
fn damaged() -> Error {
    Error::new(
        ErrorKind::Panic,
        "an earlier panic left this queue in an unknown state; please report it",
    )
}
