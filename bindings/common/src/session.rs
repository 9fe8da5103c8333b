//! Sessions: ordered groups with one holder at a time.

use std::time::Duration;

use queue_runtime::*;

use crate::abi::{Handle, NOBODY, lend, text};
use crate::error::Result;
use crate::op::{Started, start};
use crate::runtime::some_ms;
use crate::{Batch, Buffer, ReceiveOptions};

/// A held session. Dropping it lets it go in the background.
pub struct Session(pub(crate) Handle<qrt_session_t>);

impl Session {
    /// The id.
    pub fn id(&self) -> &str {
        // SAFETY: it lives as long as the session.
        unsafe { text(qrt_session_id(self.0.get())) }
    }

    /// When its lock ends, in milliseconds since 1970 UTC.
    pub fn locked_until(&self) -> i64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_session_locked_until(self.0.get()) }
    }

    /// Receives its messages, in order.
    pub fn receive(&self, options: &ReceiveOptions) -> Result<Started<Batch>> {
        let options = options.lend();
        // SAFETY: the handle is owned, the options live for the length of the call.
        start(|place, op, error| unsafe {
            let options = &raw const options;
            qrt_session_receive(self.0.get(), options, NOBODY, place, op, error)
        })
    }

    /// Keeps it, and all its deliveries, for so long from now, or for its lock time.
    pub fn renew(&self, lock: Option<Duration>) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe {
            qrt_session_renew(self.0.get(), some_ms(lock), NOBODY, op, error)
        })
    }

    /// The bytes kept with it, across holders.
    pub fn state(&self) -> Result<Started<Option<Buffer>>> {
        // SAFETY: the handle is owned.
        start(|place, op, error| unsafe {
            qrt_session_state(self.0.get(), NOBODY, place, op, error)
        })
    }

    /// Keeps these bytes with it; none removes them.
    pub fn set_state(&self, state: Option<&[u8]>) -> Result<Started<()>> {
        let state = state.map(lend);
        let state = state.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the handle is owned, the bytes live for the length of the call.
        start(|_, op, error| unsafe {
            qrt_session_set_state(self.0.get(), state, NOBODY, op, error)
        })
    }

    /// Lets it go.
    pub fn close(&self) -> Result<Started<()>> {
        // SAFETY: the handle is owned.
        start(|_, op, error| unsafe { qrt_session_close(self.0.get(), NOBODY, op, error) })
    }
}
