# Sourced by the other scripts, which run from the top of the repository.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# rustup puts its tools here; a shell that was open before does not know it yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

# Results are looked for in target/, wherever the caller's own builds go.
unset CARGO_TARGET_DIR

# The one profile and feature set. Whatever is built with these is built once.
BUILD=(--release --locked --workspace --features queue-runtime-core/conformance)
export BUILD
