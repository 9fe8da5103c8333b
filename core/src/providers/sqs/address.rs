//! How a queue is named: by its name, its URL or its ARN.

use std::sync::Arc;

use crate::error::{Error, Result};

/// The ending that SQS asks of the names of FIFO queues.
pub(super) const FIFO: &str = ".fifo";
/// The longest name of a queue, in bytes, its ending included.
const MAX_NAME_BYTES: usize = 80;

/// Where one queue of SQS is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    /// Its name in SQS.
    pub(super) name: Arc<str>,
    /// Its URL, if it was given by that.
    pub(super) url: Option<String>,
    /// The account it belongs to, if another one than the caller's.
    pub(super) owner: Option<String>,
}

impl Address {
    /// Reads a name, a URL or an ARN. `fifo` says of which kind the queue must be; the ending of a
    /// plain name is added. `InvalidArgument` names the `name`.
    pub(super) fn read(text: &str, fifo: Option<bool>) -> Result<Self> {
        let invalid = |what: &str| Error::invalid_argument("name", what.to_owned());
        let (name, url, owner) = if text.starts_with("https://") || text.starts_with("http://") {
            let url = url::Url::parse(text).map_err(|_| invalid("is not a whole URL"))?;
            let name = url.path_segments().and_then(|mut parts| parts.next_back());
            (
                name.unwrap_or_default().to_owned(),
                Some(text.to_owned()),
                None,
            )
        } else if let Some(rest) = text.strip_prefix("arn:") {
            let parts: Vec<&str> = rest.split(':').collect();
            let [_, "sqs", _, owner, name] = parts[..] else {
                return Err(invalid(
                    "is not an ARN like arn:aws:sqs:eu-west-1:123456789012:orders",
                ));
            };
            (name.to_owned(), None, Some(owner.to_owned()))
        } else {
            let ending = if fifo == Some(true) && !text.is_empty() && !text.ends_with(FIFO) {
                FIFO
            } else {
                ""
            };
            (format!("{text}{ending}"), None, None)
        };
        check_name(&name)?;
        if fifo.is_some_and(|fifo| fifo != name.ends_with(FIFO)) {
            return Err(invalid(
                "is of the other kind than fifo= says: FIFO queues end in .fifo",
            ));
        }
        Ok(Self {
            name: name.into(),
            url,
            owner,
        })
    }

    /// The queues that this one is spread over, named by their numbers.
    pub(super) fn shards(self, count: u32) -> Result<Vec<Self>> {
        if count == 1 {
            return Ok(vec![self]);
        }
        if self.url.is_some() {
            let what = "is a URL, which is of one queue alone; a queue in shards is given by name";
            return Err(Error::invalid_argument("name", what));
        }
        let base = self.name.trim_end_matches(FIFO);
        let shard = |number| {
            let name = format!("{base}-{number}{FIFO}");
            check_name(&name)?;
            Ok(Self {
                name: name.into(),
                url: None,
                owner: self.owner.clone(),
            })
        };
        (0..count).map(shard).collect()
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO)
    }

    /// The name of a queue that belongs to this one, of the same kind.
    pub(super) fn beside(&self, ending: &str) -> String {
        match self.name.strip_suffix(FIFO) {
            Some(base) => format!("{base}{ending}{FIFO}"),
            None => format!("{}{ending}", self.name),
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    let base = name.strip_suffix(FIFO).unwrap_or(name);
    let what = if base.is_empty() {
        "must not be empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!("has {} bytes, the limit is {MAX_NAME_BYTES}", name.len())
    } else if !base
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        format!("{name:?} must be of ASCII letters, digits, '-' and '_' only, and may end in .fifo")
    } else {
        return Ok(());
    };
    Err(Error::invalid_argument("name", what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, fifo: Option<bool>) -> Address {
        Address::read(text, fifo).unwrap()
    }

    #[test]
    fn a_queue_is_named_in_three_ways() {
        let by_name = read("orders", None);
        assert_eq!((&*by_name.name, by_name.is_fifo()), ("orders", false));
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo";
        let by_url = read(url, None);
        assert_eq!(
            (&*by_url.name, by_url.url.as_deref()),
            ("orders.fifo", Some(url))
        );
        let by_arn = read("arn:aws:sqs:eu-west-1:123456789012:orders", Some(false));
        assert_eq!(
            (&*by_arn.name, by_arn.owner.as_deref()),
            ("orders", Some("123456789012"))
        );
    }

    #[test]
    fn the_ending_is_added_where_every_queue_is_fifo() {
        assert_eq!(&*read("orders", Some(true)).name, "orders.fifo");
        assert_eq!(&*read("orders.fifo", Some(true)).name, "orders.fifo");
        assert_eq!(read("orders", Some(true)).beside("-dlq"), "orders-dlq.fifo");
        assert_eq!(read("orders", None).beside("-dlq"), "orders-dlq");
    }

    #[test]
    fn shards_are_numbered() {
        let shards = read("orders", Some(true)).shards(2).unwrap();
        let names: Vec<&str> = shards.iter().map(|shard| &*shard.name).collect();
        assert_eq!(names, ["orders-0.fifo", "orders-1.fifo"]);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "x".repeat(81);
        let cases = [
            ("", None),
            ("", Some(true)),
            (".fifo", None),
            ("a b", None),
            ("a.b", None),
            ("ä", None),
            (long.as_str(), None),
            ("https://host", None),
            ("arn:aws:sns:eu-west-1:1:orders", None),
            ("orders.fifo", Some(false)),
            ("https://host/1/orders", Some(true)),
        ];
        for (text, fifo) in cases {
            let error = Address::read(text, fifo).unwrap_err();
            assert_eq!(error.field(), Some("name"), "{text}");
        }
    }
}
