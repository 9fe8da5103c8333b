//! Values to bytes and back. Bytes stay the base: a codec only adds a view.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A way to write values as bytes.
pub trait Codec {
    /// The media type of what it writes.
    const CONTENT_TYPE: &'static str;

    /// The bytes of a value; `InvalidMessage` when it has none.
    fn encode(value: &impl Serialize) -> Result<Bytes>;

    /// The value of these bytes; `InvalidMessage` when they are not one.
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T>;
}

fn failed(what: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid_message("body", format!("{what}: {source}")).with_source(source)
}

/// JSON (RFC 8259), by `serde_json`.
#[derive(Clone, Copy, Debug)]
pub enum Json {}

impl Codec for Json {
    const CONTENT_TYPE: &'static str = "application/json";

    fn encode(value: &impl Serialize) -> Result<Bytes> {
        serde_json::to_vec(value)
            .map(Bytes::from)
            .map_err(|e| failed("cannot be written as JSON", e))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|e| failed("is not the expected JSON", e))
    }
}

/// bincode 2 with its standard configuration: compact, for Rust on both sides.
#[derive(Clone, Copy, Debug)]
pub enum Bincode {}

impl Codec for Bincode {
    const CONTENT_TYPE: &'static str = "application/x-bincode";

    fn encode(value: &impl Serialize) -> Result<Bytes> {
        bincode::serde::encode_to_vec(value, bincode::config::standard())
            .map(Bytes::from)
            .map_err(|e| failed("cannot be written as bincode", e))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
        let (value, read) = bincode::serde::decode_from_slice(bytes, bincode::config::standard())
            .map_err(|e| failed("is not the expected bincode", e))?;
        if read == bytes.len() {
            Ok(value)
        } else {
            let rest = bytes.len() - read;
            Err(Error::invalid_message(
                "body",
                format!("is not the expected bincode: {rest} bytes are left over"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_both_ways() {
        let value = (7u32, "grüße".to_owned(), vec![1.5f64]);
        let json = Json::encode(&value).unwrap();
        assert_eq!(
            Json::decode::<(u32, String, Vec<f64>)>(&json).unwrap(),
            value
        );
        let binary = Bincode::encode(&value).unwrap();
        assert_eq!(
            Bincode::decode::<(u32, String, Vec<f64>)>(&binary).unwrap(),
            value
        );
    }

    #[test]
    fn wrong_bytes_are_an_error_that_names_the_body() {
        assert_eq!(Json::decode::<u32>(b"{").unwrap_err().field(), Some("body"));
        assert_eq!(
            Bincode::decode::<String>(b"\xff").unwrap_err().field(),
            Some("body")
        );
        assert_eq!(
            Bincode::decode::<u8>(b"\x01\x02").unwrap_err().field(),
            Some("body")
        );
    }
}
