#!/usr/bin/env bash
# The recorded fail2ban set-ups, where they lie beside this checkout: every setting must be read as fail2ban reads it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
# Settings that agree; never to fall below.
floor=1744
shared=${PORTERO_SHARED:-../shared}
[ -d "$shared/conformance/import" ] || { echo "skipped: no $shared/conformance beside this checkout"; exit 0; }
cases=$(cd "$shared/conformance/import" && pwd)
banctl=${BANCTL:-$PWD/target/release/banctl}
need_fail2ban
answer=$(CANDIDATE="$banctl" python3 "$cases/run_import.py" --stock "debian:$fail2ban/etc/fail2ban" --level full \
  --show 5) || true
printf '%s\n' "$answer"
count=$(printf '%s\n' "$answer" | sed -n 's|^\([0-9]*\)/[0-9]* settings agree$|\1|p')
[ "${count:-0}" -ge "$floor" ] || fail "${count:-0} settings agree, $floor did before"
