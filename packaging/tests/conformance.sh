#!/usr/bin/env bash
# fail2ban's own answers to recorded log lines, where they lie beside this checkout: every line must be judged as
# fail2ban judges it. Its stock filters come from Debian's package, which is unpacked and not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Lines that agree in host, time, user, fields and number of attempts; never to fall below.
floor=1110
shared=${PORTERO_SHARED:-../shared}
[ -f "$shared/conformance/run.py" ] || { echo "skipped: no $shared/conformance beside this checkout"; exit 0; }
banctl=${BANCTL:-$PWD/target/release/banctl}
"$banctl" filter test --help 2>/dev/null | grep -q fail2ban-dir ||
  { echo "skipped: this banctl has no filter test --fail2ban-dir"; exit 0; }
stock=${FAIL2BAN_STOCK:-}
if [ -z "$stock" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && chmod 755 . && apt-get download -q fail2ban >/dev/null 2>&1 && dpkg -x fail2ban_*.deb x) ||
    { echo "skipped: Debian's fail2ban package cannot be had here"; exit 0; }
  stock=$work/x/etc/fail2ban
fi
# --slow-lines adds the lines on which fail2ban itself finds no end: any answer will do, but one must come.
answer=$(CANDIDATE="$banctl" python3 "$shared/conformance/run.py" --fail2ban-dir "$stock" --level full --slow-lines \
  --show 5) || true
printf '%s\n' "$answer"
count=$(printf '%s\n' "$answer" | sed -n 's|^\([0-9]*\)/[0-9]* cases agree$|\1|p')
[ "${count:-0}" -ge "$floor" ] || { echo "conformance: ${count:-0} cases agree, $floor did before" >&2; exit 1; }
