//! What became of messages sent, and many settlements in one call.

use std::time::Duration;

use queue_runtime::*;

use crate::Delivery;
use crate::abi::{Handle, call, lend_text, make, text};
use crate::error::{Error, Result};
use crate::runtime::some_ms;

/// What became of messages sent: result i belongs to message i.
pub struct SendResults(pub(crate) Handle<qrt_send_results_t>);

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendResult<'a> {
    /// The id of the stored message; of the first one, if it was a duplicate.
    pub id: &'a str,
    /// Whether it was not stored, because one of the same dedup id was before it.
    pub is_duplicate: bool,
}

impl SendResults {
    /// How many results.
    pub fn len(&self) -> usize {
        // SAFETY: the handle is owned.
        unsafe { qrt_send_results_count(self.0.get()) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether message `index` is stored, without its id.
    pub fn check(&self, index: usize) -> Result<()> {
        let results = self.0.get();
        // SAFETY: the handle is owned, and the error is copied.
        unsafe {
            match qrt_send_results_status(results, index) {
                QRT_OK => Ok(()),
                _ => Err(Error::read(qrt_send_results_error(results, index))),
            }
        }
    }

    /// A result. `InvalidArgument` when there is none of this index.
    pub fn get(&self, index: usize) -> Result<SendResult<'_>> {
        let results = self.0.get();
        // SAFETY: the handle is owned, and what it lends lives as long.
        unsafe {
            match qrt_send_results_status(results, index) {
                QRT_OK => Ok(SendResult {
                    id: text(qrt_send_results_id(results, index)),
                    is_duplicate: qrt_send_results_is_duplicate(results, index) == 1,
                }),
                _ => Err(Error::read(qrt_send_results_error(results, index))),
            }
        }
    }
}

/// A list of deliveries and how each ends.
pub struct Settlements(pub(crate) Handle<qrt_settlements_t>);

impl Settlements {
    /// An empty list.
    pub fn new() -> Result<Self> {
        // SAFETY: the place is here.
        make(|place, error| unsafe { qrt_settlements_new(place, error) }).map(Self)
    }

    /// Adds: this delivery is done.
    pub fn ack(&mut self, delivery: &Delivery) -> Result<()> {
        // SAFETY: the handles are owned.
        call(|error| unsafe { qrt_settlements_ack(self.0.get(), delivery.get(), error) }).map(drop)
    }

    /// Adds: this attempt failed, as [`Delivery::nack`].
    pub fn nack(
        &mut self,
        delivery: &Delivery,
        reason: Option<&str>,
        delay: Option<Duration>,
    ) -> Result<()> {
        let reason = lend_text(reason);
        // SAFETY: the handles are owned, the text lives for the length of the call.
        call(|error| unsafe {
            let (list, delay) = (self.0.get(), some_ms(delay));
            qrt_settlements_nack(list, delivery.get(), reason, delay, error)
        })
        .map(drop)
    }

    /// Adds: given back unblamed, as [`Delivery::release`].
    pub fn release(&mut self, delivery: &Delivery, delay: Option<Duration>) -> Result<()> {
        // SAFETY: the handles are owned.
        call(|error| unsafe {
            qrt_settlements_release(self.0.get(), delivery.get(), some_ms(delay), error)
        })
        .map(drop)
    }

    /// Adds: to the dead-letter queue now.
    pub fn dead_letter(
        &mut self,
        delivery: &Delivery,
        reason: &str,
        description: Option<&str>,
    ) -> Result<()> {
        let (reason, description) = (lend_text(Some(reason)), lend_text(description));
        // SAFETY: the handles are owned, the texts live for the length of the call.
        call(|error| unsafe {
            let list = self.0.get();
            qrt_settlements_dead_letter(list, delivery.get(), reason, description, error)
        })
        .map(drop)
    }
}

/// What became of settlements: result i belongs to entry i.
pub struct SettleResults(pub(crate) Handle<qrt_settle_results_t>);

impl SettleResults {
    /// How many results.
    pub fn len(&self) -> usize {
        // SAFETY: the handle is owned.
        unsafe { qrt_settle_results_count(self.0.get()) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A result.
    pub fn get(&self, index: usize) -> Result<()> {
        let results = self.0.get();
        // SAFETY: the handle is owned, and the error is copied.
        unsafe {
            match qrt_settle_results_status(results, index) {
                QRT_OK => Ok(()),
                _ => Err(Error::read(qrt_settle_results_error(results, index))),
            }
        }
    }
}
