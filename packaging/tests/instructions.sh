#!/usr/bin/env bash
# What a scan may cost, as instructions: they say the same on a busy machine as on a quiet one. Each ceiling is a tenth
# above what it took when it was set; a change that needs more raises it, and says why.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v valgrind >/dev/null 2>&1 || { echo "skipped: no valgrind here"; exit 0; }
grep -qw avx2 /proc/cpuinfo || { echo "skipped: the ceilings are of a processor with AVX2"; exit 0; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=packaging/bench python3 -c '
import sys, loggen
sys.stdout.writelines(loggen.lines(50000, 0.10))' >"$work/mail.log"

# ceiling NAME MILLIONS ARGUMENTS...: of banctl scan on the log.
ceiling() {
  local name=$1 most=$2 took
  shift 2
  took=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/banctl scan "$@" "$work/mail.log" 2>&1 >/dev/null |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p')
  [ -n "$took" ] || { echo "$name: valgrind counted nothing"; return 1; }
  took=$((took / 1000000))
  echo "$name: $took million instructions, at most $most"
  [ "$took" -le "$most" ]
}

failed=0
ceiling "50,000 lines, 10 % failures, 4 filters" 119 --filters postfix-sasl,dovecot,cyrus,sshd || failed=1
ceiling "the same, all shipped filters" 235 || failed=1
ceiling "the same, postfix-sasl" 46 --filters postfix-sasl || failed=1
exit $failed
