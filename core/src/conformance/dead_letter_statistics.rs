//! The step that counts dead letters: its arguments, and what came of it beside what must.

use serde::Deserialize;

use super::arguments::{Filter, OptionalSpan, Span, True};
use super::check::{Context, check_value};
use crate::dead_letter::{DeadLetterGroup, DeadLetterStatistics};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    #[serde(rename = "dead_letter_statistics")]
    _verb: True,
    #[serde(default, rename = "where")]
    pub filter: Filter,
    pub expect: Option<Counted>,
}

/// What is checked; the rest may be anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counted {
    count: Option<u64>,
    bytes: Option<u64>,
    oldest: Option<OptionalSpan>,
    newest: Option<OptionalSpan>,
    by_reason: Option<Vec<Group>>,
    by_source: Option<Vec<Group>>,
    /// The five counts.
    by_age: Option<Vec<u64>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    count: u64,
    oldest: Option<Span>,
    newest: Option<Span>,
}

pub(super) fn check_counted(
    wanted: &Counted,
    got: &DeadLetterStatistics,
    context: &Context<'_>,
) -> Result<(), String> {
    let moment = |at: OptionalSpan| at.0.map(|at| context.moment(Span(at)));
    check_value("count", wanted.count, got.count)?;
    check_value("bytes", wanted.bytes, got.bytes)?;
    check_value("oldest", wanted.oldest.map(moment), got.oldest)?;
    check_value("newest", wanted.newest.map(moment), got.newest)?;
    if let Some(wanted) = &wanted.by_reason {
        check_groups("by_reason", wanted, &got.by_reason, str::to_owned, context)?;
    }
    if let Some(wanted) = &wanted.by_source {
        let queue = |name: &str| context.store.queue_name(name);
        check_groups("by_source", wanted, &got.by_source, queue, context)?;
    }
    let by_age = got.by_age.iter().map(|age| age.count).collect();
    check_value("by_age", wanted.by_age.clone(), by_age)
}

/// Whether the groups are these, in this order; `named` is what a name of the file stands for.
fn check_groups(
    list: &str,
    wanted: &[Group],
    got: &[DeadLetterGroup],
    named: impl Fn(&str) -> String,
    context: &Context<'_>,
) -> Result<(), String> {
    let expected: Vec<_> = wanted.iter().map(|g| (named(&g.name), g.count)).collect();
    let came = got.iter().map(|g| (g.name.to_string(), g.count)).collect();
    check_value(list, Some(expected), came)?;
    for (wanted, got) in wanted.iter().zip(got) {
        let at = |span: Option<Span>| span.map(|span| context.moment(span));
        let placed = |what: &str| format!("{what} of {list} {:?}", wanted.name);
        check_value(&placed("oldest"), at(wanted.oldest), got.oldest)?;
        check_value(&placed("newest"), at(wanted.newest), got.newest)?;
    }
    Ok(())
}
