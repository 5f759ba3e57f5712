#!/usr/bin/env bash
# The labelled mail corpus, where it lies beside this checkout: every service must stay at 1.00.
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus=${PORTERO_SHARED:-../shared}/corpus/mail
[ -d "$corpus" ] || { echo "skipped: no $corpus beside this checkout"; exit 0; }
python3 "$corpus/run.py" --cmd "$PWD/target/release/banctl scan --filters all --log {log} --json" \
  --min-recall 1.0 --min-precision 1.0 --show 5
