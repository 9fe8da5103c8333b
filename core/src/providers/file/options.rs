//! What only this engine is asked, in the URL.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::duration;
use crate::error::{Error, Result};

/// The options of a `file:` URL beside those of queues.
pub(crate) const NAMES: &[&str] = &["durability", "max_store_bytes", "segment_bytes", "repair"];

const DEFAULT_SEGMENT_BYTES: u64 = 32 << 20;
const LEAST_SEGMENT_BYTES: u64 = 64 << 10;
const MOST_SEGMENT_BYTES: u64 = 1 << 30;
const DEFAULT_MAX_STORE_BYTES: u64 = 64 << 30;

/// When what was acknowledged is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Before it is acknowledged.
    Commit,
    /// At most so long afterwards.
    Interval(Duration),
    /// When the operating system likes.
    Os,
}

/// The options of a store as a client gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileOptions {
    pub(super) durability: Durability,
    /// Bytes the store may take on the disk.
    pub(super) max_store_bytes: u64,
    /// The size of a new store's segments.
    pub(super) segment_bytes: u64,
    /// Go on with what can be read of a damaged log.
    pub(super) repair: bool,
}

impl FileOptions {
    pub(super) fn read(options: &BTreeMap<String, String>) -> Result<Self> {
        let bytes = |name: &'static str, default| match options.get(name) {
            None => Ok(default),
            Some(text) => text.trim().parse().map_err(|_| {
                Error::invalid_config(name, format!("{text:?} is not a whole number of bytes"))
            }),
        };
        let segment_bytes = bytes("segment_bytes", DEFAULT_SEGMENT_BYTES)?;
        let range = LEAST_SEGMENT_BYTES..=MOST_SEGMENT_BYTES;
        if !range.contains(&segment_bytes) || !segment_bytes.is_multiple_of(4096) {
            let what = "must be a multiple of 4096 between 65536 and 1073741824";
            return Err(Error::invalid_config("segment_bytes", what));
        }
        Ok(Self {
            durability: durability(options.get("durability"))?,
            max_store_bytes: bytes("max_store_bytes", DEFAULT_MAX_STORE_BYTES)?,
            segment_bytes,
            repair: match options.get("repair").map(|text| text.trim()) {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return Err(Error::invalid_config("repair", "must be true or false")),
            },
        })
    }
}

fn durability(text: Option<&String>) -> Result<Durability> {
    let what = "must be commit, os, or interval(TIME) like interval(50ms)";
    let invalid = || Error::invalid_config("durability", what);
    match text.map(|text| text.trim()) {
        None | Some("commit") => Ok(Durability::Commit),
        Some("os") => Ok(Durability::Os),
        Some(text) => {
            let inside = text
                .strip_prefix("interval(")
                .and_then(|rest| rest.strip_suffix(')'))
                .or_else(|| text.strip_prefix("interval:"));
            let interval = duration::parse(inside.ok_or_else(invalid)?).map_err(|_| invalid())?;
            let range = Duration::from_millis(1)..=Duration::from_secs(60);
            if !range.contains(&interval) {
                let what = "the interval must be between 1 ms and 1 min";
                return Err(Error::invalid_config("durability", what));
            }
            Ok(Durability::Interval(interval))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<FileOptions> {
        FileOptions::read(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn options_are_read_and_wrong_ones_are_named() {
        let default = FileOptions::read(&BTreeMap::new()).unwrap();
        assert_eq!(default.durability, Durability::Commit);
        let interval = |ms| Durability::Interval(Duration::from_millis(ms));
        for (text, durability) in [
            ("commit", Durability::Commit),
            ("os", Durability::Os),
            ("interval(50ms)", interval(50)),
            ("interval:2s", interval(2000)),
        ] {
            assert_eq!(read("durability", text).unwrap().durability, durability);
        }
        for (name, value) in [
            ("durability", "never"),
            ("durability", "interval(50)"),
            ("durability", "interval(0s)"),
            ("segment_bytes", "1"),
            ("segment_bytes", "65537"),
            ("max_store_bytes", "-1"),
            ("repair", "yes"),
        ] {
            assert_eq!(
                read(name, value).unwrap_err().field(),
                Some(name),
                "{value}"
            );
        }
    }
}
