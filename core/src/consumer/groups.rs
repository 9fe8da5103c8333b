//! Fair groups with a maximum of deliveries in hand: what is fetched then, so that a group at its
//! maximum keeps no room from the others.

use std::collections::HashSet;
use std::sync::Arc;

use super::gate::Pass;
use super::options::ConsumerOptions;
use super::shared::{Shared, State};
use crate::capability::Capability;
use crate::error::Result;
use crate::queue::Queue;

/// Groups of which a receive is to bring nothing.
pub(super) type Without = Option<Arc<HashSet<Arc<str>>>>;

/// A maximum needs a queue that has groups.
pub(super) fn check(queue: &Queue, options: &ConsumerOptions) -> Result<()> {
    match options.most_of_group() {
        Some(_) => queue.check_capability(Capability::FairGroups),
        None => Ok(()),
    }
}

impl Shared {
    /// How many messages are to be received now, with somebody who is about to ask for more. What
    /// cannot be handed out, since its group is at its maximum, counts apart and has as much room as
    /// what can.
    pub(super) fn want_of_groups(&self, state: &State, asking: usize) -> usize {
        let most = self.options.prefetch_bytes;
        let (ready_bytes, bytes) = (state.buffer.ready_bytes(), state.buffer.bytes());
        if state.stopped || ready_bytes >= most || bytes >= most.saturating_mul(2) {
            return 0;
        }
        let most = match state.gate.pass() {
            Pass::All => usize::MAX,
            Pass::Probe => 1,
            Pass::Nothing => return 0,
        };
        let (asked, ahead) = (state.asked(asking), self.prefetched(state));
        let ready = state.buffer.ready();
        let wanted = (asked + ahead).min(most).saturating_sub(ready);
        let all = asked.max(ahead).max(1);
        let room = all.saturating_sub(state.buffer.len() - ready);
        if self.local {
            // One message is of a group that has room: the others are left out.
            let urgent = asked > 0 && ready == 0;
            wanted.min(room.max(usize::from(urgent)))
        } else if room < all.div_ceil(2) {
            // Receives of one message each would cost more than they are worth.
            0
        } else {
            wanted.min(room)
        }
    }

    /// Groups of which no more is wanted, where the provider can leave them out.
    pub(super) fn without(&self) -> Without {
        if self.limited && self.local {
            self.state().buffer.full_groups()
        } else {
            None
        }
    }
}
