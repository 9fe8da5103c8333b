//! What is enqueued.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use crate::codec::{Codec, Json};
use crate::error::Result;

/// One thing to be written: a JSON object for a table, any bytes for a callback. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    body: Bytes,
    key: Option<Bytes>,
}

impl Entry {
    /// An entry of these bytes. `Bytes` and `'static` data are not copied.
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { body, key: None }
    }

    /// An entry of this value as JSON. `InvalidMessage` when it has none.
    pub fn json(value: &impl Serialize) -> Result<Self> {
        Ok(Self::new(Json::encode(value)?))
    }

    /// Entries of one key keep their order, and the last of them stands for all in a batch. For
    /// callbacks: a table finds the key in the entry.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The bytes as they were given.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub(super) fn into_body(self) -> Bytes {
        self.body
    }

    /// The key that was given, if any.
    pub fn get_key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// Bytes of body and key, as counted against bounds.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.key.as_ref().map_or(0, Bytes::len)
    }
}

impl fmt::Debug for Entry {
    /// Shows sizes, never the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("body_bytes", &self.body.len())
            .field("key_bytes", &self.key.as_ref().map(Bytes::len))
            .finish()
    }
}

impl<T: Into<Bytes>> From<T> for Entry {
    fn from(body: T) -> Self {
        Self::new(body)
    }
}
