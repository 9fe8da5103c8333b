//! What a verb came to, written for JavaScript. `src/replies.ts` is the other side.

use std::any::Any;

use queue_runtime_bindings::{
    Batch, DeadLetterGroup, DeadLetterStatistics, DeadLetters, Delivery, Details, DrainReport,
    MessageView, Peeked, RedriveReport, Rejected, SendResults, SettleResults, Statistics, Status,
    Value, WriteBehindMetrics,
};

use crate::link::Link;
use crate::memory::{Page, WORD};
use crate::verbs::{producer, write_behind};

/// An answer, or why there is none.
pub type Reply = Result<Answer, Details>;

/// What a verb gave.
pub enum Answer {
    Nothing,
    Number(f64),
    Text(String),
    SomeText(Option<String>),
    Value(Value),
    /// The number of a session, or none that has work.
    Session(Option<usize>),
    /// The number of a batch to write, or none any more.
    WriteBatch(Option<usize>),
    Rejected(Rejected),
    WriteBehindMetrics(WriteBehindMetrics),
    /// The operations that have ended.
    Ended,
}

pub fn write(answer: &Answer, link: &mut Link, page: &mut Page<'_>) {
    match answer {
        Answer::Nothing => {}
        Answer::Number(number) => page.number(*number),
        Answer::Text(text) => page.text(text),
        Answer::SomeText(text) => page.some_text(text.as_deref()),
        Answer::Value(value) => write_value(value, link, page),
        Answer::Session(None) => page.none(),
        Answer::Session(Some(slot)) => {
            page.index(*slot);
            page.text(link.sessions[*slot].id());
        }
        Answer::WriteBatch(None) => page.none(),
        Answer::WriteBatch(Some(slot)) => {
            write_behind::write_batch(*slot, &link.write_batches[*slot], page);
        }
        Answer::Rejected(rejected) => write_behind::write_rejected(rejected, page),
        Answer::WriteBehindMetrics(metrics) => write_behind::write_metrics(metrics, page),
        Answer::Ended => link.write_ended(page),
    }
}

fn write_value(value: &Value, link: &mut Link, page: &mut Page<'_>) {
    match value {
        Value::Unit(()) => {}
        Value::Count(count) => page.number(*count as f64),
        Value::Batch(batch) => write_batch(batch, link, page),
        Value::SendResults(results) => write_sent(results, page),
        Value::SettleResults(results) => write_settled(results, page),
        Value::Peeked(peeked) => write_peeked(peeked, page),
        Value::DeadLetters(letters) => write_dead_letters(letters, page),
        Value::DeadLetterStatistics(counted) => write_dead_letters_counted(counted, page),
        Value::RedriveReport(report) => write_redriven(report, page),
        Value::DrainReport(report) => write_drained(report, page),
        Value::Statistics(statistics) => write_statistics(statistics, page),
        Value::Buffer(None) => page.none(),
        Value::Buffer(Some(buffer)) => page.bytes(buffer.bytes()),
        Value::CloseReport(report) => write_behind::write_close_report(report, page),
        Value::ProducerReport(report) => producer::write_report(report, page),
        Value::Client(_) | Value::Session(_) | Value::WriteBehind(_) | Value::WriteBatch(_) => {
            unreachable!("these are numbers by now")
        }
    }
}

/// The deliveries, each under a number of the link's, if there is room for all.
fn write_batch(batch: &Batch, link: &mut Link, page: &mut Page<'_>) {
    page.index(batch.len());
    let mut at = page.at();
    for delivery in batch.iter() {
        page.index(0);
        write_delivery(&delivery, page);
    }
    if page.holds_all() {
        for delivery in batch.iter() {
            page.set(at, link.deliveries.insert(delivery) as f64);
            // Where its message ends, as `write_message` says.
            at = page.get(at + HEAD_WORDS * WORD) as usize;
        }
    }
}

/// Words of a delivery before its message.
const HEAD_WORDS: usize = 5;

fn write_delivery(delivery: &Delivery, page: &mut Page<'_>) {
    page.number(f64::from(delivery.attempt()));
    page.number(delivery.sequence() as f64);
    page.number(delivery.enqueued_at() as f64);
    page.number(delivery.locked_until() as f64);
    write_message(delivery.message(), delivery.id(), page);
}

/// Where it ends, so that who looks for what comes after need not read it; then what is looked at
/// most comes first.
pub fn write_message(message: MessageView<'_>, id: &str, page: &mut Page<'_>) {
    let start = page.at();
    page.index(0);
    page.bytes(message.body());
    page.text(id);
    page.some_text(message.session());
    page.some_text(message.correlation_id());
    page.some_text(message.content_type());
    page.some_text(message.dedup_id());
    page.some_number(message.ttl_ms());
    let headers = message.headers();
    page.index(headers.len());
    for (name, value) in headers {
        page.text(name);
        page.text(value);
    }
    page.set(start, page.at() as f64);
}

fn write_sent(results: &SendResults, page: &mut Page<'_>) {
    page.index(results.len());
    for index in 0..results.len() {
        match results.get(index) {
            Ok(sent) => {
                page.index(1 + usize::from(sent.is_duplicate));
                page.text(sent.id);
            }
            Err(error) => {
                page.index(0);
                write_error(&error, page);
            }
        }
    }
}

fn write_settled(results: &SettleResults, page: &mut Page<'_>) {
    page.index(results.len());
    for index in 0..results.len() {
        match results.get(index) {
            Ok(()) => page.index(1),
            Err(error) => {
                page.index(0);
                write_error(&error, page);
            }
        }
    }
}

fn write_peeked(peeked: &Peeked, page: &mut Page<'_>) {
    let messages = peeked.iter();
    page.index(messages.len());
    for peeked in messages {
        page.text(peeked.state.name());
        page.number(peeked.sequence as f64);
        page.number(f64::from(peeked.attempts));
        page.number(peeked.enqueued_at as f64);
        write_message(peeked.message, peeked.id, page);
    }
}

fn write_dead_letters(letters: &DeadLetters, page: &mut Page<'_>) {
    let letters = letters.iter();
    page.index(letters.len());
    for letter in letters {
        page.text(letter.reason);
        page.some_text(letter.description);
        page.text(letter.source);
        page.number(letter.number as f64);
        page.number(f64::from(letter.attempts));
        page.number(letter.enqueued_at as f64);
        page.some_number(letter.first_delivered_at);
        page.number(letter.dead_lettered_at as f64);
        write_message(letter.message, letter.id, page);
    }
}

fn write_dead_letters_counted(counted: &DeadLetterStatistics, page: &mut Page<'_>) {
    page.number(counted.count() as f64);
    page.number(counted.bytes() as f64);
    page.some_number(counted.oldest());
    page.some_number(counted.newest());
    write_groups(counted.by_reason(), page);
    write_groups(counted.by_source(), page);
    let ages = counted.by_age();
    page.index(ages.len());
    for (up_to, count) in ages {
        page.some_number(up_to);
        page.number(count as f64);
    }
}

fn write_groups<'a>(
    groups: impl ExactSizeIterator<Item = DeadLetterGroup<'a>>,
    page: &mut Page<'_>,
) {
    page.index(groups.len());
    for group in groups {
        page.text(group.name);
        page.number(group.count as f64);
        page.number(group.oldest as f64);
        page.number(group.newest as f64);
    }
}

fn write_redriven(report: &RedriveReport, page: &mut Page<'_>) {
    page.number(report.matched() as f64);
    page.number(report.redriven() as f64);
    page.number(report.last() as f64);
    let failed = report.failed();
    page.index(failed.len());
    for (id, reason) in failed {
        page.text(id);
        page.text(reason);
    }
}

fn write_drained(report: &DrainReport, page: &mut Page<'_>) {
    for count in [report.finished(), report.released(), report.abandoned()] {
        page.number(count as f64);
    }
}

fn write_statistics(statistics: &Statistics, page: &mut Page<'_>) {
    for count in [
        statistics.ready(),
        statistics.in_flight(),
        statistics.delayed(),
        statistics.depth(),
        statistics.dead(),
        statistics.bytes(),
        statistics.sessions(),
    ] {
        page.number(count as f64);
    }
    page.some_number(statistics.oldest_age_ms());
}

pub fn write_error(error: &Details, page: &mut Page<'_>) {
    page.text(error.status.name());
    page.text(&error.message);
    page.some_text(error.code.as_deref());
    page.some_text(error.queue.as_deref());
    page.some_text(error.operation.as_deref());
    page.some_text(error.field.as_deref());
    page.some_text(error.capability.as_deref());
    page.index(usize::from(error.retryable));
    page.some_number(error.retry_after_ms);
    page.some_number(error.until);
    page.some_number(error.size.map(|(size, _)| size as i64));
    page.some_number(error.size.map(|(_, limit)| limit as i64));
}

/// That an operation was given up.
pub fn cancelled() -> Details {
    error(Status::CANCELLED, "the operation was cancelled".to_owned())
}

/// A bug of this library, caught before it could end the process.
pub fn panicked(panic: &(dyn Any + Send)) -> Details {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    error(Status::PANIC, format!("a bug in queue_runtime: {said}"))
}

fn error(status: Status, message: String) -> Details {
    Details {
        status,
        message,
        code: None,
        queue: None,
        operation: None,
        field: None,
        capability: None,
        retryable: false,
        retry_after_ms: None,
        until: None,
        size: None,
    }
}
