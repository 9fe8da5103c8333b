//! The yardstick of the Node area: a function as most addons in Rust have them, which returns a
//! promise and resolves it from a thread of a tokio runtime.

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

/// Takes a body and gives it back, as a queue would that does nothing else.
#[napi]
pub async fn pass(body: Buffer) -> Buffer {
    body
}
