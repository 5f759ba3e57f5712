#!/usr/bin/env bash
# The fail2ban.log that portero writes, read by fail2ban itself with its own recidive filter: it must find every ban,
# and no line of another kind. And Debian's recidive jail, imported, must become the engine's own.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
portero=${PORTERO:-$PWD/target/release/portero}
banctl=${BANCTL:-$PWD/target/release/banctl}
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 0; }
need_fail2ban
work=$(mktemp -d)
daemon=
end() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  rm -rf "$work" "${unpacked:-$work}"
}
trap end EXIT
export PYTHONPATH=$fail2ban/usr/lib/python3/dist-packages TZ=UTC
python3 -c 'import fail2ban.client.fail2banregex' 2>/dev/null ||
  { echo "skipped: this python3 cannot run fail2ban"; exit 0; }

mkdir "$work/portero"
cat >"$work/portero/portero.toml" <<EOF
state_dir = "$work/state"
socket = "$work/portero.sock"
firewall = "log-only"
fail2ban_log = "$work/fail2ban.log"
ignoreip = ["203.0.113.99"]
[jails.recidive]
filter = "recidive"
maxretry = 2
[jails.postfix]
filter = "postfix-sasl"
logpath = ["$work/mail.log"]
maxretry = 3
ipv6_prefix = 128
bantime_increment = true
EOF
ask() { "$banctl" --socket "$work/portero.sock" "$@" >/dev/null 2>&1; }
until_true() {
  local tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { cat "$work/out" "$work/fail2ban.log" >&2; fail "waited too long for: $*"; }
    sleep 0.1
  done
}
failed_logins() { # address, how many
  for _ in $(seq "$2"); do
    printf '%s mail postfix/smtpd[123]: warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n' \
      "$(date '+%b %e %H:%M:%S')" "$1"
  done >>"$work/mail.log"
}
bans() { [ "$(grep -c '\] Ban ' "$work/fail2ban.log" 2>/dev/null || true)" = "$1" ]; }
: >"$work/mail.log"
"$portero" --config "$work/portero/portero.toml" >"$work/out" 2>&1 &
daemon=$!
until_true ask ping
failed_logins 203.0.113.7 3
failed_logins 203.0.113.99 3
failed_logins 2001:db8::7 3
until_true bans 2
ask unban 203.0.113.7 --jail postfix
failed_logins 203.0.113.7 3
until_true bans 4 # the jail's, and recidive's
ask ban 198.51.100.7 --for 1h
until_true bans 5
kill "$daemon" && wait "$daemon" || true
daemon=

python3 "$fail2ban/usr/bin/fail2ban-regex" -v --print-all-matched "$work/fail2ban.log" \
  "$fail2ban/etc/fail2ban/filter.d/recidive.conf" >"$work/answer" 2>&1 || { cat "$work/answer" >&2; fail "fail2ban-regex"; }
# Four bans that are not recidive's own.
grep -q ' 4 matched' "$work/answer" || { cat "$work/answer" "$work/fail2ban.log" >&2; fail "fail2ban does not find the four bans"; }
"$banctl" filter test --filter recidive --fail2ban-dir "$fail2ban/etc/fail2ban" --timezone UTC --log "$work/fail2ban.log" \
  --json >"$work/ours"
[ "$(grep -c '"host":"' "$work/ours")" = 4 ] || { cat "$work/ours" >&2; fail "banctl filter test does not find the four bans"; }

cp -r "$fail2ban/etc/fail2ban" "$work/etc"
rm -f "$work"/etc/jail.d/*
printf '[recidive]\nenabled = true\n' >"$work/etc/jail.local"
"$banctl" check --config "$work/portero/portero.toml" --fail2ban-dir "$work/etc" --json >"$work/check" ||
  { cat "$work/check" >&2; fail "check --fail2ban-dir"; }
sed -i '/^\[jails.recidive\]/,/^maxretry/d' "$work/portero/portero.toml"
"$banctl" check --config "$work/portero/portero.toml" --fail2ban-dir "$work/etc" >"$work/check" 2>&1 ||
  { cat "$work/check" >&2; fail "check --fail2ban-dir"; }
grep -q "counts the bans that portero's other jails make" "$work/check" ||
  { cat "$work/check" >&2; fail "Debian's recidive jail is not the engine's own"; }
echo "fail2ban's own recidive filter finds all 4 bans in the log that portero wrote; its jail is the engine's own"
