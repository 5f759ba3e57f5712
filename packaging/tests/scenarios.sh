#!/usr/bin/env bash
# Whole days of a mail site, where their generator lies beside this checkout, through `banctl replay` with plain counting
# by address: what is cut off, denied and stopped must be what counting per address comes to by the generator's own
# account (BASELINE.md), scenario by scenario. That shows that reading, attribution and counting are faithful.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
scenarios=${PORTERO_SHARED:-../shared}/scenarios
[ -f "$scenarios/judge.py" ] || { echo "skipped: no $scenarios beside this checkout"; exit 0; }
banctl=${BANCTL:-$PWD/target/release/banctl}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 "$scenarios/gen.py" all --seed 3 --out "$work/days" >/dev/null

# Bans cover the ports that the generator's clients of a service come in by.
settings() {
  cat <<TOML
[defaults]
maxretry = 5
findtime = "$1"
bantime = "$2"
key = "ip"
ipv6_prefix = 128
[jails.cyrus]
port = ["imap", "imaps"]
[jails.postfix-sasl]
port = ["smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"]
[jails.dovecot]
port = ["pop3", "pop3s", "imap", "imaps", "submission", "submissions", "sieve"]
TOML
}

for setting in "10m 10m" "1d 1h"; do
  read -r findtime bantime <<<"$setting"
  days=$work/$findtime
  cp -r "$work/days" "$days"
  for portero_toml in "$days"/*/etc/portero.toml; do
    settings "$findtime" "$bantime" >>"$portero_toml"
  done
  # The judge says no to counting per address, by its goals; only its figures are wanted here.
  (cd "$scenarios" && python3 judge.py --json \
    --cmd "$banctl replay --config-dir {config} --timezone UTC --now {now} {logs} --json" "$days"/*) \
    >"$work/$findtime.json" || [ "$?" -eq 1 ]
  python3 packaging/tests/scenarios.py "5/$findtime/$bantime" "$scenarios/BASELINE.md" "$work/$findtime.json"
done
