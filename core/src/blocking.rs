//! Whether the calling thread may wait for a disk.
//!
//! A verb that has to wait for a flush is pending, and a thread of the engine's own leads the flush,
//! so that no event loop waits for a disk. Whoever has nothing else to do meanwhile says so, and
//! leads it on the spot: that is quicker by a change of threads there and back.

use std::cell::Cell;

thread_local! {
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
}

/// Runs something whose verbs may wait for a disk, on this thread: what they wrote is there when
/// they return, and so is their answer. Not for a thread that others wait for, like an event loop's.
///
/// ```
/// # fn example(orders: &queue_runtime_core::Queue) {
/// use queue_runtime_core::{Message, blocking};
///
/// let mut sending = blocking(|| orders.start_send(vec![Message::new("two lattes")]));
/// # }
/// ```
pub fn blocking<T>(verbs: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALLOWED.set(self.0);
        }
    }
    let _restore = Restore(ALLOWED.replace(true));
    verbs()
}

/// Whether the calling thread may wait for a disk.
#[cfg_attr(not(feature = "file"), allow(dead_code))]
pub(crate) fn is_allowed() -> bool {
    ALLOWED.get()
}
