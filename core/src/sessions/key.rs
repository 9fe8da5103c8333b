//! Session keys: which session a message is of, by its headers.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::{self, Unexpected, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::message::{Headers, MAX_ID_BYTES};

/// What is escaped in a key: what cannot be in every provider's session ids, and what the escapes
/// and the hashed form begin with.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'~');
/// In a part of a composite, what stands between the parts as well.
const ESCAPED_PART: &AsciiSet = &ESCAPED.add(b'/');

/// Which session a message is of, as a pure function of its headers: the same headers give the same
/// session in every language, and in every version of this library.
///
/// ```
/// use queue_runtime_core::{Message, SessionKey, Timestamp};
///
/// let key = SessionKey::first_of([
///     SessionKey::field("customer").prefix("c-"),
///     SessionKey::composite(["tenant", "order"]),
/// ]);
/// let session = |message: Message| key.of(&message.properties().headers, Timestamp(0));
///
/// assert_eq!(session(Message::new("").header("customer", "42")).unwrap(), "c-42");
/// let order = Message::new("").header("tenant", "acme").header("order", "7/8");
/// assert_eq!(session(order).unwrap(), "acme/7%2F8");
/// // Without these headers it is of no session.
/// assert_eq!(session(Message::new("")), None);
/// ```
///
/// As text it is JSON: what is found, and of any but `"none"` what is done with it.
///
/// | text | the session |
/// |---|---|
/// | `{"field": "customer"}` | the header's value |
/// | `{"composite": ["tenant", "order"]}` | the values of all of them, with `/` between them |
/// | `{"first_of": [{"field": "customer"}, {"field": "order"}]}` | that of the first key that finds one |
/// | `"none"` | none |
/// | `{"field": "customer", "prefix": "c-"}` | begins with this text |
/// | `{"field": "customer", "per_hours": 6}` | another one every 6 hours: `-p` and their number since 1970 |
///
/// A header that is missing or empty gives no session; so does a composite that lacks one of its
/// headers. What is not printable ASCII in a value or prefix, and blanks, `%` and `~`, are written
/// as `%` and two digits of hexadecimal for each byte; in a composite `/` too, so that different
/// values give different sessions. What would have more than 128 bytes is `~` and its SHA-256 in
/// hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey {
    of: Source,
    prefix: String,
    per_hours: Option<NonZeroU32>,
}

/// Where a session is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    None,
    Field(String),
    Composite(Vec<String>),
    FirstOf(Vec<SessionKey>),
}

impl SessionKey {
    fn new(of: Source) -> Self {
        Self {
            of,
            prefix: String::new(),
            per_hours: None,
        }
    }

    /// The value of one header.
    pub fn field(name: impl Into<String>) -> Self {
        Self::new(Source::Field(name.into()))
    }

    /// The values of several headers, of which none may be missing.
    pub fn composite<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(Source::Composite(
            names.into_iter().map(Into::into).collect(),
        ))
    }

    /// What the first of these finds that finds anything. Give them prefixes, or what is found in
    /// one header and what is found in another may be the same session.
    pub fn first_of(keys: impl IntoIterator<Item = Self>) -> Self {
        Self::new(Source::FirstOf(keys.into_iter().collect()))
    }

    /// No session: nothing is in order.
    pub fn none() -> Self {
        Self::new(Source::None)
    }

    /// Begins every session with this text, in place of one said before.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Begins another session every so many hours, counted from 1970 UTC, so that a message that
    /// blocks its session does not block it for ever. Order holds within each. `InvalidConfig` for 0.
    pub fn per_hours(mut self, hours: u32) -> Result<Self> {
        self.per_hours = Some(at_least_one(hours).map_err(invalid)?);
        Ok(self)
    }

    /// The session of a message with these headers at this moment, which counts with
    /// [`per_hours`](Self::per_hours) alone; `None` when it is of none.
    pub fn of(&self, headers: &Headers, now: Timestamp) -> Option<String> {
        let key = self.whole(headers, now)?;
        if key.len() <= MAX_ID_BYTES {
            return Some(key);
        }
        let mut hashed = String::from("~");
        for byte in Sha256::digest(key.as_bytes()) {
            hashed += &format!("{byte:02x}");
        }
        Some(hashed)
    }

    /// The session, however long.
    fn whole(&self, headers: &Headers, now: Timestamp) -> Option<String> {
        let value = |name: &String| headers.get(name.as_str()).filter(|value| !value.is_empty());
        let found = match &self.of {
            Source::None => None,
            Source::Field(name) => Some(escaped(value(name)?, ESCAPED)),
            Source::Composite(names) => {
                let part = |name| Some(escaped(value(name)?, ESCAPED_PART));
                let parts: Option<Vec<String>> = names.iter().map(part).collect();
                parts.filter(|parts| !parts.is_empty()).map(|p| p.join("/"))
            }
            Source::FirstOf(keys) => keys.iter().find_map(|key| key.whole(headers, now)),
        };
        let key = escaped(&self.prefix, ESCAPED) + &found?;
        Some(match self.per_hours {
            None => key,
            Some(hours) => {
                let span = i64::from(hours.get()) * 60 * 60 * 1000;
                format!("{key}-p{}", now.0.div_euclid(span))
            }
        })
    }
}

fn escaped(text: &str, set: &'static AsciiSet) -> String {
    utf8_percent_encode(text, set).to_string()
}

fn at_least_one(hours: u32) -> std::result::Result<NonZeroU32, &'static str> {
    NonZeroU32::new(hours).ok_or("per_hours must be at least 1")
}

fn invalid(what: impl fmt::Display) -> Error {
    Error::invalid_config("session_key", what.to_string())
}

impl fmt::Display for SessionKey {
    /// The text it is read from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for SessionKey {
    type Err = Error;

    /// Reads what [`Display`](fmt::Display) writes. `InvalidConfig` says what is wrong.
    fn from_str(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(invalid)
    }
}

/// A key as it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    composite: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_of: Option<Vec<SessionKey>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_hours: Option<u32>,
}

impl Written {
    fn read(self) -> std::result::Result<SessionKey, &'static str> {
        let of = match (self.field, self.composite, self.first_of) {
            (Some(name), None, None) => Source::Field(name),
            (None, Some(names), None) => Source::Composite(names),
            (None, None, Some(keys)) => Source::FirstOf(keys),
            _ => return Err("a key has one of field, composite and first_of"),
        };
        match &of {
            Source::Field(name) if name.is_empty() => return Err("field names no header"),
            Source::Composite(names) if names.is_empty() || names.iter().any(String::is_empty) => {
                return Err("composite must name one header at least, and none by an empty name");
            }
            Source::FirstOf(keys) if keys.is_empty() => {
                return Err("first_of must have one key at least");
            }
            _ => {}
        }
        Ok(SessionKey {
            of,
            prefix: self.prefix,
            per_hours: self.per_hours.map(at_least_one).transpose()?,
        })
    }
}

impl Serialize for SessionKey {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let mut written = Written {
            prefix: self.prefix.clone(),
            per_hours: self.per_hours.map(NonZeroU32::get),
            ..Written::default()
        };
        match self.of.clone() {
            Source::None => return s.serialize_str("none"),
            Source::Field(name) => written.field = Some(name),
            Source::Composite(names) => written.composite = Some(names),
            Source::FirstOf(keys) => written.first_of = Some(keys),
        }
        written.serialize(s)
    }
}

impl<'de> Deserialize<'de> for SessionKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        d.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> de::Visitor<'de> for Reading {
    type Value = SessionKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"none\", or an object with field, composite or first_of")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> std::result::Result<SessionKey, E> {
        match word {
            "none" => Ok(SessionKey::none()),
            word => Err(E::invalid_value(Unexpected::Str(word), &self)),
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> std::result::Result<SessionKey, A::Error> {
        let written = Written::deserialize(MapAccessDeserializer::new(map))?;
        written.read().map_err(de::Error::custom)
    }
}
