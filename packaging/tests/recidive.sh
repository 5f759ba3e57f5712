#!/usr/bin/env bash
# The fail2ban.log that portero writes, read by fail2ban itself with its own recidive filter: it must find every ban,
# and no line of another kind. And Debian's recidive jail, imported, must become the engine's own.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
. packaging/beside-fail2ban.sh

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
bans() { [ "$(grep -c '\] Ban ' "$work/fail2ban.log" 2>/dev/null || true)" = "$1" ]; }
: >"$work/mail.log"
"$portero" --config "$work/portero/portero.toml" >"$work/portero.out" 2>&1 &
daemon=$!
wait_for "portero guards" ask ping
failed_logins 203.0.113.7 3
failed_logins 203.0.113.99 3
failed_logins 2001:db8::7 3
wait_for "2 bans are in the log" bans 2
ask unban 203.0.113.7 --jail postfix >/dev/null
failed_logins 203.0.113.7 3
wait_for "4 bans are in the log" bans 4 # the jail's, and recidive's
ask ban 198.51.100.7 --for 1h >/dev/null
wait_for "5 bans are in the log" bans 5
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
