#!/usr/bin/env bash
# Fuzzing for FUZZ_SECONDS (60): hostile text in what services write, and arbitrary bytes, through every shipped
# filter. With cargo-fuzz, which is fetched once if it is missing; without it, or without a C++ compiler, the
# seeded generator alone for the same time.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
seconds=${FUZZ_SECONDS:-60}

seeded() {
  echo "$1: running the seeded generator for $seconds s instead of the fuzzer"
  seed=${PORTERO_FUZZ_SEED:-$(date +%s%N)}
  PORTERO_FUZZ_SEED=$seed PORTERO_FUZZ_SECONDS=$seconds cargo test -q --test tests hostile:: -- --nocapture
}

if ! command -v c++ >/dev/null 2>&1; then
  seeded "no C++ compiler, which libFuzzer needs"
  exit
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "cargo-fuzz is not here: installing it with cargo install cargo-fuzz --locked"
  if ! cargo install -q cargo-fuzz --locked; then
    seeded "cargo-fuzz cannot be installed"
    exit
  fi
fi
# No sanitizer: stable toolchains have none, and no unsafe code is fuzzed.
if ! cargo fuzz build --sanitizer none; then
  seeded "the fuzz targets cannot be built"
  exit
fi
# A third of the time for bytes that are no line at all. A line is at most 64 KiB long; a case's bytes are choices.
log=$(mktemp "${TMPDIR:-/tmp}/portero-fuzz.XXXXXX")
trap 'rm -f "$log"' EXIT
fuzz() {
  echo "fuzzing $1 for $2 s"
  if ! cargo fuzz run "$1" --sanitizer none -- -max_total_time="$2" -max_len="$3" -timeout=20 >"$log" 2>&1; then
    grep -v '^#' "$log" >&2
    fail "$1 found the fault above; its input lies under fuzz/artifacts/$1"
  fi
  tail -n 1 "$log"
}
fuzz hostile_lines $((seconds - seconds / 3)) 4096
fuzz any_line $((seconds / 3 + 1)) 65536
echo "fuzzing found nothing"
