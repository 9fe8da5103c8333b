//! `memory:` the in-memory engine.
use super::*;

pub(super) fn open(_runtime: &Runtime, _config: &ClientConfig) -> Result<Arc<dyn Provider>> {
    Err(Error::unsupported(crate::Capability::Create))
}
