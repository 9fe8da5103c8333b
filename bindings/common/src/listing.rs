//! What is seen of a queue without taking anything from it, and what is done to its dead letters.

use queue_runtime::*;

use crate::abi::{Handle, lend_text, some_ms, some_text, text};
use crate::message::MessageView;

/// Messages that were looked at, not taken.
pub struct Peeked(pub(crate) Handle<qrt_peeked_t>);

/// A message that was looked at.
#[derive(Clone, Copy)]
pub struct PeekedMessage<'a> {
    /// The message.
    pub message: MessageView<'a>,
    /// Its id.
    pub id: &'a str,
    /// How it stands.
    pub state: State,
    /// Its place in the order of the queue: the cursor of a listing.
    pub sequence: u64,
    /// Attempts made so far.
    pub attempts: u32,
    /// When it was sent, in milliseconds since 1970 UTC.
    pub enqueued_at: i64,
}

/// How a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be received.
    Ready,
    /// Not yet to be received.
    Delayed,
    /// In somebody's hands.
    InFlight,
}

impl State {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Delayed => "delayed",
            Self::InFlight => "in_flight",
        }
    }
}

impl Peeked {
    /// The messages, in the order of their sending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PeekedMessage<'_>> {
        let peeked = self.0.get();
        // SAFETY: the handle is owned, and what it lends lives as long.
        let count = unsafe { qrt_peeked_count(peeked) };
        (0..count).map(move |index| unsafe {
            // SAFETY: as above.
            PeekedMessage {
                message: MessageView::new(qrt_peeked_message(peeked, index)),
                id: text(qrt_peeked_id(peeked, index)),
                state: match qrt_peeked_state(peeked, index) {
                    QRT_STATE_DELAYED => State::Delayed,
                    QRT_STATE_IN_FLIGHT => State::InFlight,
                    _ => State::Ready,
                },
                sequence: qrt_peeked_sequence(peeked, index),
                attempts: qrt_peeked_attempts(peeked, index),
                enqueued_at: qrt_peeked_enqueued_at(peeked, index),
            }
        })
    }
}

/// Dead letters of a listing.
pub struct DeadLetters(pub(crate) Handle<qrt_dead_letters_t>);

/// A message that was given up.
#[derive(Clone, Copy)]
pub struct DeadLetter<'a> {
    /// The message.
    pub message: MessageView<'a>,
    /// Its id.
    pub id: &'a str,
    /// Why it was given up, in a word.
    pub reason: &'a str,
    /// Why, at length.
    pub description: Option<&'a str>,
    /// Attempts made.
    pub attempts: u32,
    /// The queue it was sent to.
    pub source: &'a str,
    /// The cursor of a listing.
    pub number: u64,
    /// When it was sent, in milliseconds since 1970 UTC.
    pub enqueued_at: i64,
    /// When it was first received, in milliseconds since 1970 UTC.
    pub first_delivered_at: Option<i64>,
    /// When it was given up, in milliseconds since 1970 UTC.
    pub dead_lettered_at: i64,
}

impl DeadLetters {
    /// The dead letters, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = DeadLetter<'_>> {
        let letters = self.0.get();
        // SAFETY: the handle is owned, and what it lends lives as long.
        let count = unsafe { qrt_dead_letters_count(letters) };
        (0..count).map(move |index| unsafe {
            // SAFETY: as above.
            DeadLetter {
                message: MessageView::new(qrt_dead_letters_message(letters, index)),
                id: text(qrt_dead_letters_id(letters, index)),
                reason: text(qrt_dead_letters_reason(letters, index)),
                description: some_text(qrt_dead_letters_description(letters, index)),
                attempts: qrt_dead_letters_attempts(letters, index),
                source: text(qrt_dead_letters_source(letters, index)),
                number: qrt_dead_letters_number(letters, index),
                enqueued_at: qrt_dead_letters_enqueued_at(letters, index),
                first_delivered_at: some_ms(qrt_dead_letters_first_delivered_at(letters, index)),
                dead_lettered_at: qrt_dead_letters_dead_lettered_at(letters, index),
            }
        })
    }
}

/// Which dead letters are meant; every field that is set must match.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// With one of these ids; empty: any.
    pub ids: Vec<String>,
    /// With this reason.
    pub reason: Option<String>,
    /// Of this session.
    pub session: Option<String>,
    /// With this header and value.
    pub header: Option<(String, String)>,
    /// Given up at this moment or later, in milliseconds since 1970 UTC.
    pub since: Option<i64>,
    /// Given up before this moment, in milliseconds since 1970 UTC.
    pub until: Option<i64>,
}

impl Filter {
    pub(crate) fn lend<T>(&self, call: impl FnOnce(*const qrt_dead_letter_filter_t) -> T) -> T {
        let ids: Vec<_> = self.ids.iter().map(|id| lend_text(Some(id))).collect();
        let header = self.header.as_ref();
        let filter = qrt_dead_letter_filter_t {
            struct_size: size_of::<qrt_dead_letter_filter_t>(),
            ids: ids.as_ptr(),
            ids_count: ids.len(),
            reason: lend_text(self.reason.as_deref()),
            session: lend_text(self.session.as_deref()),
            header_name: lend_text(header.map(|(name, _)| &**name)),
            header_value: lend_text(header.map(|(_, value)| &**value)),
            since: self.since.unwrap_or(-1),
            until: self.until.unwrap_or(-1),
        };
        call(&raw const filter)
    }
}

/// How dead letters are sent back.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedriveOptions {
    /// At most this many; 0: all.
    pub max: u64,
    /// Go on after this number; 0: from the first.
    pub after: u64,
    /// At most this many a second; 0: as fast as it goes.
    pub per_second: u32,
    /// Only count what would be sent back.
    pub dry_run: bool,
}

impl RedriveOptions {
    pub(crate) fn lend(&self) -> qrt_redrive_options_t {
        qrt_redrive_options_t {
            struct_size: size_of::<qrt_redrive_options_t>(),
            max: self.max,
            after: self.after,
            per_second: self.per_second,
            dry_run: u32::from(self.dry_run),
        }
    }
}

/// What a redrive did.
pub struct RedriveReport(pub(crate) Handle<qrt_redrive_report_t>);

impl RedriveReport {
    /// How many matched.
    pub fn matched(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_redrive_report_matched(self.0.get()) }
    }

    /// How many are back in the queue.
    pub fn redriven(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_redrive_report_redriven(self.0.get()) }
    }

    /// Where to go on; 0 when none was looked at.
    pub fn last(&self) -> u64 {
        // SAFETY: the handle is owned.
        unsafe { qrt_redrive_report_last(self.0.get()) }
    }

    /// Ids of those that could not be sent back and stay, and why.
    pub fn failed(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let report = self.0.get();
        // SAFETY: the handle is owned, and what it lends lives as long.
        let count = unsafe { qrt_redrive_report_failed_count(report) };
        (0..count).map(move |index| unsafe {
            // SAFETY: as above.
            (
                text(qrt_redrive_report_failed_id(report, index)),
                text(qrt_redrive_report_failed_reason(report, index)),
            )
        })
    }
}

/// Counts and ages of a queue at one moment.
pub struct Statistics(pub(crate) Handle<qrt_statistics_t>);

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $function:ident),* $(,)?) => {
        impl Statistics {$(
            $(#[$doc])*
            pub fn $name(&self) -> u64 {
                // SAFETY: the handle is owned.
                unsafe { $function(self.0.get()) }
            }
        )*}
    };
}

counts!(
    /// Messages to be received now.
    ready: qrt_statistics_ready,
    /// Messages in somebody's hands.
    in_flight: qrt_statistics_in_flight,
    /// Messages that appear later.
    delayed: qrt_statistics_delayed,
    /// All messages but the dead letters.
    depth: qrt_statistics_depth,
    /// Dead letters.
    dead: qrt_statistics_dead,
    /// Bytes of all messages but the dead letters.
    bytes: qrt_statistics_bytes,
    /// Sessions that have messages, a holder or a state.
    sessions: qrt_statistics_sessions,
);

impl Statistics {
    /// Age of the oldest message that is not a dead letter, in milliseconds.
    pub fn oldest_age_ms(&self) -> Option<i64> {
        // SAFETY: the handle is owned.
        some_ms(unsafe { qrt_statistics_oldest_age_ms(self.0.get()) })
    }
}
