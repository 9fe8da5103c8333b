# Sourced by the other scripts, which run from the top of the repository.
# shellcheck shell=bash disable=SC2034

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# rustup puts its tools here; a shell that was open before does not know it yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

# Results are looked for in target/, wherever the caller's own builds go.
unset CARGO_TARGET_DIR

# The one profile and feature set. Whatever is built with these is built once.
BUILD=(--release --locked --workspace --features queue-runtime-core/conformance)
export BUILD

# Installs the npm packages that a folder's lock file names, if they are not there.
npm_install() {
  [[ $1/node_modules -nt $1/package-lock.json ]] && return
  (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  touch "$1/node_modules"
}

# Runs a conformance runner beside the servers it also runs the scenarios against.
beside_servers() {
  cargo build --quiet "${BUILD[@]}"
  timeout 600 target/release/services ministack localstack -- "$@"
}

# Runs the scenarios of two processes with one of another language beside Rust's: that language, and
# the command that follows, which is started in core/. One line a scenario.
beside_rust() {
  QRT_CONFORMANCE_BESIDE="$*" cargo test "${BUILD[@]}" --test conformance | sed -E -u \
    -e "s/^test (.*[^ ]) +\.\.\. ok$/ok - rust+$1::\1/" \
    -e "s/^test (.*[^ ]) +\.\.\. FAILED$/not ok - rust+$1::\1/"
}

# What the checking scripts print: "ok - NAME" or "not ok - NAME" for each, and `exit $failed` at
# their end.
failed=0
check() {
  local name=$1
  shift
  if "$@"; then
    echo "ok - $name"
  else
    echo "not ok - $name"
    failed=1
  fi
}

# For a program that prints such lines itself; one more when it ends badly.
run_checks() {
  local name=$1
  shift
  "$@" && return
  echo "not ok - $name ended with status $?"
  failed=1
}
