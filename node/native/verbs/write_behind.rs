//! Write-behind: entries in, batches out to a sink in JavaScript, and what comes of them.

use queue_runtime_bindings::{
    CloseReport, Entry, Flags, Rejected, RejectedEntry, Result, Status, WriteBatch, WriteBehind,
    WriteBehindMetrics,
};

use super::ended;
use crate::link::{Link, Outcome};
use crate::memory::{Page, Request};
use crate::reply::Answer;

/// Opens one: runtime, whether JavaScript writes its batches, options as JSON.
pub fn open(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let runtime = &link.runtimes[request.index()];
    let opened = match request.flag() {
        true => WriteBehind::open_asked(runtime, request.text()),
        false => WriteBehind::open(runtime, request.text()),
    };
    link.begin(opened, &[])
}

/// JavaScript lost it: what it accepted is still written.
pub fn forget(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    link.write_behinds.try_remove(request.index());
    ended(Answer::Nothing)
}

/// Accepts an entry: write-behind, whether to wait for room, the entry.
pub fn enqueue(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let write_behind = &link.write_behinds[request.index()];
    let wait = request.flag();
    let enqueued = write_behind.enqueue(entry(request), wait, Flags::None);
    link.begin(enqueued, &[])
}

/// Accepts entries: write-behind, how many, each entry.
pub fn enqueue_many(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let write_behind = &link.write_behinds[request.index()];
    let entries: Vec<Entry<'_>> = (0..request.index()).map(|_| entry(request)).collect();
    let enqueued = write_behind.enqueue_many(&entries, Flags::None);
    link.begin(enqueued, &[])
}

fn entry<'a>(request: &mut Request<'a>) -> Entry<'a> {
    Entry {
        body: request.bytes(),
        key: request.bytes(),
    }
}

pub fn flush(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let flushed = link.write_behinds[request.index()].flush();
    link.begin(flushed, &[])
}

/// Writes a queue's messages: write-behind, queue.
pub fn feed(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let write_behind = &link.write_behinds[request.index()];
    let fed = write_behind.feed(&link.queues[request.index()]);
    link.begin(fed, &[])
}

/// Asks for the next batch to write.
pub fn next(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let next = link.write_behinds[request.index()].next();
    link.begin(next, &[])
}

/// Ends a batch, of which all is written but these: batch, how many, and of each: which, the kind
/// of its error, and the text.
pub fn finish(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let Some(batch) = link.write_batches.try_remove(request.index()) else {
        return ended(Answer::Nothing);
    };
    for _ in 0..request.index() {
        let index = request.index();
        batch.refuse(index, status(request), request.text())?;
    }
    batch.finish()?;
    ended(Answer::Nothing)
}

/// Ends a batch, of which nothing is known to be written: batch, kind of the error, its text.
pub fn fail(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    if let Some(batch) = link.write_batches.try_remove(request.index()) {
        batch.fail(status(request), request.text())?;
    }
    ended(Answer::Nothing)
}

fn status(request: &mut Request<'_>) -> Status {
    Status::of(request.text()).expect("JavaScript knows the kinds of errors")
}

/// Ends it: write-behind, how long that may take.
pub fn close(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let closed = link.write_behinds[request.index()].close(request.duration());
    link.begin(closed, &[])
}

pub fn take_rejected(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let taken = link.write_behinds[request.index()].take_rejected()?;
    ended(Answer::Rejected(taken))
}

pub fn metrics(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let metrics = link.write_behinds[request.index()].metrics()?;
    ended(Answer::WriteBehindMetrics(metrics))
}

pub fn breaker_state(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let breaker = link.write_behinds[request.index()].breaker();
    ended(Answer::Text(breaker.name().to_owned()))
}

pub fn write_batch(slot: usize, batch: &WriteBatch, page: &mut Page<'_>) {
    page.index(slot);
    write_entries(batch.iter(), page);
}

pub fn write_close_report(report: &CloseReport, page: &mut Page<'_>) {
    write_entries(report.unwritten(), page);
    page.number(report.left_in_journal() as f64);
    write_all_rejected(report.rejected(), page);
}

pub fn write_rejected(rejected: &Rejected, page: &mut Page<'_>) {
    write_all_rejected(rejected.iter(), page);
}

pub fn write_metrics(metrics: &WriteBehindMetrics, page: &mut Page<'_>) {
    for count in [
        metrics.enqueued,
        metrics.persisted,
        metrics.failed,
        metrics.retries,
        metrics.batches,
        metrics.depth,
    ] {
        page.number(count as f64);
    }
    page.number(metrics.timestamp as f64);
}

fn write_entries<'a>(entries: impl ExactSizeIterator<Item = Entry<'a>>, page: &mut Page<'_>) {
    page.index(entries.len());
    for entry in entries {
        write_entry(entry, page);
    }
}

fn write_entry(entry: Entry<'_>, page: &mut Page<'_>) {
    page.bytes(entry.body);
    match entry.key {
        [] => page.none(),
        key => page.bytes(key),
    }
}

fn write_all_rejected<'a>(
    rejected: impl ExactSizeIterator<Item = RejectedEntry<'a>>,
    page: &mut Page<'_>,
) {
    page.index(rejected.len());
    for rejected in rejected {
        write_entry(rejected.entry, page);
        page.text(rejected.reason);
        page.text(rejected.description);
        page.number(f64::from(rejected.attempts));
        page.number(rejected.enqueued_at as f64);
    }
}
