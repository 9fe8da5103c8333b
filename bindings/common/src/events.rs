//! Ended operations, gathered for an event loop.

use std::ffi::c_void;

use queue_runtime::*;

use crate::abi::{Handle, call, make};
use crate::error::Result;
use crate::op::{Op, Output, take};
use crate::{Batch, Buffer, Client, DeadLetterStatistics, DeadLetters, DrainReport, Peeked};
use crate::{
    CloseReport, ProducerReport, SendResults, Session, SettleResults, Statistics, WriteBatch,
    WriteBehind,
};
use crate::{RedriveReport, Runtime};

/// Operations that have ended, in order. It is woken once for each change from empty to not empty.
pub struct Events(Handle<qrt_events_t>);

/// An ended operation.
pub struct Ended {
    /// The tag it was watched under.
    pub tag: u64,
    /// What it came to.
    pub result: Result<Value>,
}

macro_rules! values {
    ($($(#[$doc:meta])* $kind:ident($value:ty)),* $(,)?) => {
        /// The result of an operation, of any kind.
        pub enum Value {$(
            $(#[$doc])*
            $kind($value),
        )*}

        $(impl From<$value> for Value {
            fn from(value: $value) -> Self {
                Self::$kind(value)
            }
        })*

        /// The kinds of results.
        #[doc(hidden)]
        #[derive(Clone, Copy)]
        #[repr(u8)]
        pub enum Kind {$($kind),*}

        /// # Safety
        /// The handle is good, and its operation has ended.
        unsafe fn value(kind: u8, op: *mut qrt_op_t) -> Result<Option<Value>> {
            // SAFETY: passed on.
            unsafe {
                match kind {
                    $(kind if kind == Kind::$kind as u8 => {
                        Ok(take::<$value>(op)?.map(Value::$kind))
                    })*
                    _ => unreachable!("tags are made by `watch`"),
                }
            }
        }
    };
}

values!(
    /// Nothing but success.
    Unit(()),
    /// A number of things done.
    Count(u64),
    /// A client that was opened.
    Client(Client),
    /// Messages received.
    Batch(Batch),
    /// What became of messages sent.
    SendResults(SendResults),
    /// What became of settlements.
    SettleResults(SettleResults),
    /// Messages looked at.
    Peeked(Peeked),
    /// Dead letters listed.
    DeadLetters(DeadLetters),
    /// Dead letters counted.
    DeadLetterStatistics(DeadLetterStatistics),
    /// What a redrive did.
    RedriveReport(RedriveReport),
    /// What a drain did.
    DrainReport(DrainReport),
    /// Counts and ages.
    Statistics(Statistics),
    /// A session, or none that has work.
    Session(Option<Session>),
    /// Bytes, or none.
    Buffer(Option<Buffer>),
    /// A write-behind that was opened.
    WriteBehind(WriteBehind),
    /// A batch to be written, or none any more.
    WriteBatch(Option<WriteBatch>),
    /// What a close of a write-behind did.
    CloseReport(CloseReport),
    /// What a close of a producer did.
    ProducerReport(ProducerReport),
);

/// Above the caller's tag stands the kind of the result.
const KIND_SHIFT: u32 = 56;

impl Events {
    /// The largest tag.
    pub const MAX_TAG: u64 = (1 << KIND_SHIFT) - 1;

    /// An empty queue.
    pub fn new(runtime: &Runtime) -> Result<Self> {
        // SAFETY: the handle is owned, the places are here.
        make(|place, error| unsafe { qrt_events_new(runtime.0.get(), place, error) }).map(Self)
    }

    /// A file descriptor that is readable while the queue is not empty; `None` where there is
    /// none. The queue owns it: do not read or close it.
    pub fn fd(&self) -> Option<i32> {
        // SAFETY: the handle is owned.
        let fd = unsafe { qrt_events_fd(self.0.get()) };
        (fd >= 0).then_some(fd)
    }

    /// Sets what is called when the queue turns from empty to not empty, on a thread of the
    /// runtime: it should only wake its loop. It is dropped once it is replaced, or the queue
    /// gone, and its last call has returned.
    pub fn set_wake(&self, wake: impl Fn() + Send + Sync + 'static) -> Result<()> {
        type Wake = Box<dyn Fn() + Send + Sync>;
        unsafe extern "C" fn run(wake: *mut c_void) {
            // SAFETY: the pointer is that of the box below, until `free` has run. A panic must not
            // leave this function.
            let wake = unsafe { &*wake.cast::<Wake>() };
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wake));
        }
        unsafe extern "C" fn free(wake: *mut c_void) {
            // SAFETY: made below, and freed once.
            let wake = unsafe { Box::from_raw(wake.cast::<Wake>()) };
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(wake)));
        }
        let wake: Box<Wake> = Box::new(Box::new(wake));
        let wake = Box::into_raw(wake).cast();
        // SAFETY: the handle is owned; the functions fit the pointer; `free` runs also on failure.
        call(|error| unsafe {
            qrt_events_set_wake(self.0.get(), Some(run), wake, Some(free), error)
        })
        .map(drop)
    }

    /// Tells of the end of an operation under a tag of at most [`Events::MAX_TAG`]: at once, if it
    /// has ended. Its result comes with [`drain`](Events::drain); what was begun goes on when the
    /// operation is dropped, which is kept to cancel it by.
    pub fn watch<T: Output>(&self, op: &Op<T>, tag: u64) -> Result<()> {
        debug_assert!(tag <= Self::MAX_TAG);
        let tag = tag | u64::from(T::KIND as u8) << KIND_SHIFT;
        // SAFETY: the handles are owned.
        call(|error| unsafe { qrt_events_watch(self.0.get(), op.handle.get(), tag, error) })
            .map(drop)
    }

    /// Takes up to `max` ended operations with their results, oldest first. One thread at a time.
    pub fn drain(&self, max: usize) -> Vec<Ended> {
        let ended = |(event, op)| Self::ended(&event, &op);
        self.drain_events(max).into_iter().map(ended).collect()
    }

    /// Takes the tags of up to `max` ended operations, oldest first, and leaves their results in
    /// them, for [`Op::take`]. One thread at a time.
    pub fn drain_tags(&self, max: usize) -> Vec<u64> {
        let tag = |(event, _): (qrt_event_t, _)| event.tag & Self::MAX_TAG;
        self.drain_events(max).into_iter().map(tag).collect()
    }

    fn drain_events(&self, max: usize) -> Vec<(qrt_event_t, Handle<qrt_op_t>)> {
        let none = qrt_event_t {
            tag: 0,
            op: std::ptr::null_mut(),
        };
        let mut events = vec![none; max];
        // SAFETY: the handle is owned, and there are `max` places.
        let count = unsafe { qrt_events_drain(self.0.get(), events.as_mut_ptr(), max) };
        events.truncate(count);
        let owned = |event: qrt_event_t| {
            // SAFETY: the queue gives its operations to the caller.
            let op = unsafe { Handle::new(event.op) }.expect("an event has an operation");
            (event, op)
        };
        events.into_iter().map(owned).collect()
    }

    fn ended(event: &qrt_event_t, op: &Handle<qrt_op_t>) -> Ended {
        let kind = (event.tag >> KIND_SHIFT) as u8;
        // SAFETY: the handle is owned, and the operation has ended.
        let result = unsafe { value(kind, op.get()) };
        Ended {
            tag: event.tag & Self::MAX_TAG,
            result: result.map(|value| value.expect("an operation that has ended has a result")),
        }
    }
}
