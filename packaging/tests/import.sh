#!/usr/bin/env bash
# The recorded fail2ban set-ups, where they lie beside this checkout: every setting must be read as fail2ban reads it.
# fail2ban's stock files come from Debian's package, which is unpacked and not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Settings that agree; never to fall below.
floor=1744
shared=${PORTERO_SHARED:-../shared}
[ -d "$shared/conformance/import" ] || { echo "skipped: no $shared/conformance beside this checkout"; exit 0; }
cases=$(cd "$shared/conformance/import" && pwd)
banctl=${BANCTL:-$PWD/target/release/banctl}
stock=${FAIL2BAN_STOCK:-}
if [ -z "$stock" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && chmod 755 . && apt-get download -q fail2ban >/dev/null 2>&1 && dpkg -x fail2ban_*.deb x) ||
    { echo "skipped: Debian's fail2ban package cannot be had here"; exit 0; }
  stock=$work/x/etc/fail2ban
fi
answer=$(CANDIDATE="$banctl" python3 "$cases/run_import.py" --stock "debian:$stock" --level full --show 5) || true
printf '%s\n' "$answer"
count=$(printf '%s\n' "$answer" | sed -n 's|^\([0-9]*\)/[0-9]* settings agree$|\1|p')
[ "${count:-0}" -ge "$floor" ] || { echo "import: ${count:-0} settings agree, $floor did before" >&2; exit 1; }
