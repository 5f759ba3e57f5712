#!/usr/bin/env bash
# fail2ban itself bans, grows a bantime and stops; portero takes its database over: the same clients are shut out for
# the same time, counts go on, and the lines written in between are read. Debian's fail2ban runs from its unpacked
# package, in a folder of its own, with an action that does nothing.
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
    [ $tries -lt 600 ] || { cat "$work"/*.out "$work/fail2ban.log" >&2; fail "waited too long until $what"; }
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
printf '[Definition]\nactionban = true\nactionunban = true\n' >"$work/etc/action.d/nothing.conf"
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
action = nothing
findtime = 600
maxretry = 3
[postfix]
enabled = true
filter = postfix[mode=auth]
logpath = $work/mail.log
bantime = 900
bantime.increment = true
EOF
failed_logins 203.0.113.1 1
f2b() { python3 "$fail2ban/usr/bin/fail2ban-client" -c "$work/etc" "$@" 2>/dev/null; }
python3 "$fail2ban/usr/bin/fail2ban-server" -f -c "$work/etc" start >"$work/server.out" 2>&1 &
server=$!
wait_for "fail2ban answers" f2b ping
failed_logins 203.0.113.7 3
banned() { f2b get postfix banip | grep -q "$1"; }
wait_for "fail2ban bans" banned 203.0.113.7
f2b set postfix banip 2001:db8::7 192.0.2.0/24 198.51.100.9 >/dev/null
wait_for "fail2ban bans by hand" banned 198.51.100.9
wait_for "the ban is in its database" \
  python3 -c "import sqlite3; assert sqlite3.connect('$work/fail2ban.sqlite3').execute('select * from bips where ip = ?', ('198.51.100.9',)).fetchone()"
want=$(f2b get postfix banip | tr ' ' '\n' | sed '/^$/d' | sort | tr '\n' ' ')
f2b stop >/dev/null
wait "$server" || true
server=
# Nobody runs now.
failed_logins 203.0.113.8 3

mkdir "$work/portero"
cat >"$work/portero/portero.toml" <<EOF
state_dir = "$work/state"
socket = "$work/portero.sock"
firewall = "log-only"
[jails.postfix]
filter = "postfix-sasl"
logpath = ["$work/mail.log"]
maxretry = 3
bantime = "15m"
ipv6_prefix = 128
EOF
ask() { "$banctl" --socket "$work/portero.sock" "$@"; }
"$portero" --config "$work/portero/portero.toml" --fail2ban-db "$work/fail2ban.sqlite3" >"$work/portero.out" 2>&1 &
daemon=$!
wait_for "portero guards" ask ping
wait_for "the lines in between are read" ask status 203.0.113.8
ask bans --json >"$work/bans"
python3 - "$work/bans" "$want" <<'EOF'
import json, sys
bans = {ban["target"]: ban for ban in map(json.loads, open(sys.argv[1]))}
taken = {target for target, ban in bans.items() if ban["origin"] == "import"}
assert taken == set(sys.argv[2].split()), (taken, sys.argv[2])
assert bans["203.0.113.8"]["origin"] == "jail", bans
assert "203.0.113.1" not in bans
for target in taken:
    assert abs(bans[target]["until"] - bans[target]["since"] - 900) < 2, bans[target]
assert bans["203.0.113.7"]["failures"] == 3, bans
print(len(taken), "bans of a real fail2ban taken over, and", len(bans) - len(taken), "made of the lines in between")
EOF
