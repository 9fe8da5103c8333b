//! `sqs:` beside AWS's own clients making the same calls by hand, against the same server.
//!
//! The server is the ceiling of all, so what counts is the time of our processor per message.

mod languages;
mod requests;
mod rust;

use queue_runtime_services::Service;

use crate::Result;
use crate::report::Row;

const AREA: &str = "sqs";

/// Every row of the area.
pub fn rows() -> Result<Vec<Row>> {
    let server = Service::start("ministack")?;
    let mut rows = rust::rows(&server)?;
    rows.extend(languages::rows(&server)?);
    rows.extend(requests::rows(&server)?);
    Ok(rows)
}
