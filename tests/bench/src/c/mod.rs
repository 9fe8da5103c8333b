//! The C ABI, called from C: the loops are in `loops.c`.

mod callback;
mod one_thread;
mod pending;

use std::ffi::c_void;

use queue_runtime::qrt_queue_free;

use crate::Result;
use crate::report::Row;

const AREA: &str = "c";

/// Every row of the area.
pub fn rows() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    rows.extend(one_thread::rows()?);
    rows.push(callback::row()?);
    rows.push(pending::row()?);
    Ok(rows)
}

/// A loop of `loops.c`, which answers how many messages it moved.
type Loop = unsafe extern "C" fn(queue: *mut c_void, count: u64) -> u64;

unsafe extern "C" {
    fn c_open() -> *mut c_void;
}

/// A queue on a runtime of its own.
struct CQueue(*mut c_void);

// SAFETY: queues of the C ABI may be used from any thread.
unsafe impl Sync for CQueue {}

impl CQueue {
    fn open() -> Result<Self> {
        // SAFETY: it takes nothing.
        let queue = unsafe { c_open() };
        if queue.is_null() {
            return Err("the queue in C did not open".into());
        }
        Ok(Self(queue))
    }

    /// Runs a loop, which must move all.
    fn run(&self, run: Loop, count: u64) -> Result<()> {
        // SAFETY: the handle is good for the length of the call.
        match unsafe { run(self.0, count) } {
            moved if moved >= count => Ok(()),
            moved => Err(format!("the loop in C moved {moved} of {count}").into()),
        }
    }
}

impl Drop for CQueue {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { qrt_queue_free(self.0.cast()) }
    }
}
