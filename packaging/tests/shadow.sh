#!/usr/bin/env bash
# fail2ban itself and portero --shadow on the same configuration and the same log: what both ban agrees, what fail2ban
# was told by hand is named, and so is what fail2ban alone was told to ignore. Then portero takes over in earnest.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
portero=${PORTERO:-$PWD/target/release/portero}
banctl=${BANCTL:-$PWD/target/release/banctl}
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 0; }
need_fail2ban
work=$(mktemp -d)
server= daemon=
end() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  rm -rf "$work" "${unpacked:-$work}"
}
trap end EXIT
export PYTHONPATH=$fail2ban/usr/lib/python3/dist-packages TZ=UTC
python3 -c 'import fail2ban.server.database' 2>/dev/null || { echo "skipped: this python3 cannot run fail2ban"; exit 0; }

wait_for() { # what, command...
  local what=$1 tries=0
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || { cat "$work"/*.out "$work/fail2ban.log" >&2; ask shadow >&2; fail "waited too long until $what"; }
    sleep 0.1
  done
}
failed_logins() { # address, how many
  for _ in $(seq "$2"); do
    printf '%s mail postfix/smtpd[123]: warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n' \
      "$(date '+%b %e %H:%M:%S')" "$1"
  done >>"$work/mail.log"
}

cp -r "$fail2ban/etc/fail2ban" "$work/etc"
rm -f "$work"/etc/jail.d/*
printf '[Definition]\nactionban = echo <ip> >>%s/acted\nactionunban =\n' "$work" >"$work/etc/action.d/note.conf"
cat >"$work/etc/fail2ban.local" <<EOF
[Definition]
logtarget = $work/fail2ban.log
socket = $work/fail2ban.sock
pidfile = $work/fail2ban.pid
dbfile = $work/fail2ban.sqlite3
EOF
cat >"$work/etc/jail.local" <<EOF
[DEFAULT]
backend = polling
action = note
findtime = 600
maxretry = 3
[postfix]
enabled = true
filter = postfix[mode=auth]
logpath = $work/mail.log
bantime = 900
EOF
failed_logins 203.0.113.1 1
f2b() { python3 "$fail2ban/usr/bin/fail2ban-client" -c "$work/etc" "$@" 2>/dev/null; }
python3 "$fail2ban/usr/bin/fail2ban-server" -f -c "$work/etc" start >"$work/server.out" 2>&1 &
server=$!
wait_for "fail2ban answers" f2b ping
mkdir "$work/portero"
printf 'state_dir = "%s/state"\nsocket = "%s/portero.sock"\n' "$work" "$work" >"$work/portero/portero.toml"
ask() { "$banctl" --socket "$work/portero.sock" "$@"; }
run() { "$portero" --config "$work/portero/portero.toml" --fail2ban-dir "$work/etc" "$@" >>"$work/portero.out" 2>&1 & daemon=$!; }
run --shadow
wait_for "portero is there" ask ping
f2b set postfix addignoreip 203.0.113.9 >/dev/null
failed_logins 203.0.113.7 3
failed_logins 203.0.113.8 3
failed_logins 203.0.113.9 3
f2b set postfix banip 198.51.100.9 >/dev/null
both() { [ "$(ask shadow --tolerance 5s --json | python3 -c 'import json, sys
r = json.load(sys.stdin); print(r["both"], r["undecided"], len(r["only_portero"]), len(r["only_fail2ban"]))')" = "2 0 1 1" ]; }
wait_for "two bans agree and one of each side does not" both
ask shadow --tolerance 5s >"$work/text"
for said in "203.0.113.9 by postfix" "fail2ban ignores it" "198.51.100.9 by postfix" "banned by hand" "SASL LOGIN"; do
  grep -q "$said" "$work/text" || { cat "$work/text" >&2; fail "banctl shadow does not say: $said"; }
done
# Only fail2ban ran its action: each client once.
[ "$(sort "$work/acted" | tr '\n' ' ')" = "198.51.100.9 203.0.113.7 203.0.113.8 " ] || { cat "$work/acted" >&2; fail "an action was run in shadow mode"; }
kill "$daemon" && wait "$daemon" || true
f2b stop >/dev/null
wait "$server" || true
server=

# In earnest, with fail2ban's bans and nothing of the shadow's.
run --firewall log-only --fail2ban-db "$work/fail2ban.sqlite3"
wait_for "portero guards" ask ping
bans=$(ask bans --json | python3 -c 'import json, sys
print(*sorted(ban["target"] + "/" + ban["origin"] for ban in map(json.loads, sys.stdin)))')
[ "$bans" = "198.51.100.9/import 203.0.113.7/import 203.0.113.8/import" ] || fail "bans after the change: $bans"
echo "beside a real fail2ban: two bans agree, one of each side is named; then its three bans are taken over"
