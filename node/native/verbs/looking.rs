//! What is seen of a queue, and what is done to its dead letters.

use queue_runtime_bindings::{Filter, RedriveOptions, Result};

use crate::link::{Link, Outcome};
use crate::memory::Request;

/// Queue, after which message, how many at most.
pub fn peek(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let peeked = queue.peek(request.number() as u64, request.number() as u32);
    link.begin(peeked, &[])
}

pub fn statistics(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let statistics = link.queues[request.index()].statistics();
    link.begin(statistics, &[])
}

/// Queue, which message, if one.
pub fn explain(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let explained = link.queues[request.index()].explain(request.some_text());
    link.begin(explained, &[])
}

/// Queue, which, after which number, how many at most.
pub fn dead_letters(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let filter = filter(request);
    let letters = queue.dead_letters(&filter, request.number() as u64, request.number() as u32);
    link.begin(letters, &[])
}

/// Queue, which.
pub fn dead_letter_statistics(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let counted = queue.dead_letter_statistics(&filter(request));
    link.begin(counted, &[])
}

/// Queue, which, how many at most, after which number, how many a second, whether only to count.
pub fn redrive(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let filter = filter(request);
    let options = RedriveOptions {
        max: request.number() as u64,
        after: request.number() as u64,
        per_second: request.number() as u32,
        dry_run: request.flag(),
    };
    let redriven = queue.redrive(&filter, &options);
    link.begin(redriven, &[])
}

/// Queue, which.
pub fn purge(link: &mut Link, request: &mut Request<'_>) -> Result<Outcome> {
    let queue = &link.queues[request.index()];
    let purged = queue.purge_dead_letters(&filter(request));
    link.begin(purged, &[])
}

fn filter(request: &mut Request<'_>) -> Filter {
    Filter {
        ids: (0..request.index())
            .map(|_| request.text().to_owned())
            .collect(),
        reason: request.some_text().map(str::to_owned),
        session: request.some_text().map(str::to_owned),
        header: request
            .some_text()
            .map(|name| (name.to_owned(), request.text().to_owned())),
        since: request.some_moment(),
        until: request.some_moment(),
    }
}
