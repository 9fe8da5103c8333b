//! What two processes say to each other that take the steps of one scenario: a line of JSON each.
//! `tests/conformance/README.md` describes it for the other languages.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use toml::Table;

/// What the process that follows is to do. It answers each with an [`Answer`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Order {
    Begin(Begin),
    Take(Take),
    /// So many milliseconds pass, on a virtual clock.
    Advance(u64),
}

/// The scenario begins. The first order, and given once.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// Where the store is.
    pub url: String,
    pub virtual_clock: bool,
    /// How much of a virtual clock's time has passed already.
    pub now_ms: u64,
    /// Options of every queue, as they stand in the file.
    pub options: Table,
}

/// A step is to be taken.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Take {
    /// As it stands in the file.
    pub step: Table,
    /// Names that are the other process's now.
    pub forget: Names,
    pub known: Known,
}

/// What came of an order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub error: Option<String>,
    /// A cancel came when all was done: the scenario has to begin anew.
    #[serde(default)]
    pub too_late: bool,
    /// All there are.
    pub names: Names,
    pub known: Known,
}

/// What later steps call by name.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    pub deliveries: BTreeSet<String>,
    pub sessions: BTreeSet<String>,
    /// Workers as well.
    pub consumers: BTreeSet<String>,
    /// Steps that were started.
    pub background: BTreeSet<String>,
}

/// What later steps of either process may speak of.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    /// Bodies of sent messages, and their ids.
    pub ids: Vec<(String, String)>,
    /// Ids that no sender chose.
    pub made: BTreeSet<String>,
    /// Bodies of what was listed, and where to go on after it.
    pub cursors: Vec<(String, u64)>,
}
