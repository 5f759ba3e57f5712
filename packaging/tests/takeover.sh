#!/usr/bin/env bash
# fail2ban itself bans, grows a bantime and stops; portero takes its database over: the same clients are shut out for
# the same time, counts go on, and the lines written in between are read. Debian's fail2ban runs from its unpacked
# package, in a folder of its own, with an action that does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
. packaging/beside-fail2ban.sh

start_fail2ban $'actionban = true\nactionunban = true' "bantime.increment = true"
failed_logins 203.0.113.7 3
banned() { f2b get postfix banip | grep -q "$1"; }
wait_for "fail2ban bans" banned 203.0.113.7
f2b set postfix banip 2001:db8::7 192.0.2.0/24 198.51.100.9 >/dev/null
wait_for "fail2ban bans by hand" banned 198.51.100.9
wait_for "the ban is in its database" \
  python3 -c "import sqlite3; assert sqlite3.connect('$work/fail2ban.sqlite3').execute('select * from bips where ip = ?', ('198.51.100.9',)).fetchone()"
want=$(f2b get postfix banip | tr ' ' '\n' | sed '/^$/d' | sort | tr '\n' ' ')
stop_fail2ban
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
