#!/usr/bin/env bash
# fail2ban's own answers to recorded log lines, where they lie beside this checkout: every line must be judged as
# fail2ban judges it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
# Lines that agree in host, time, user, fields and number of attempts; never to fall below.
floor=1110
shared=${PORTERO_SHARED:-../shared}
[ -f "$shared/conformance/run.py" ] || { echo "skipped: no $shared/conformance beside this checkout"; exit 0; }
banctl=${BANCTL:-$PWD/target/release/banctl}
need_fail2ban
# --slow-lines adds the lines on which fail2ban itself finds no end: any answer will do, but one must come.
answer=$(CANDIDATE="$banctl" python3 "$shared/conformance/run.py" --fail2ban-dir "$fail2ban/etc/fail2ban" --level full \
  --slow-lines --show 5) || true
printf '%s\n' "$answer"
count=$(printf '%s\n' "$answer" | sed -n 's|^\([0-9]*\)/[0-9]* cases agree$|\1|p')
[ "${count:-0}" -ge "$floor" ] || fail "${count:-0} cases agree, $floor did before"
