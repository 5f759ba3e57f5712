#!/usr/bin/env bash
# fail2ban itself and portero --shadow on the same configuration and the same log: what both ban agrees, what fail2ban
# was told by hand is named, and so is what fail2ban alone was told to ignore. Then portero takes over in earnest.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
. packaging/beside-fail2ban.sh

start_fail2ban "actionban = echo <ip> >>$work/acted"$'\nactionunban =' ""
mkdir "$work/portero"
printf 'state_dir = "%s/state"\nsocket = "%s/portero.sock"\n' "$work" "$work" >"$work/portero/portero.toml"
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
stop_fail2ban

# In earnest, with fail2ban's bans and nothing of the shadow's.
run --firewall log-only --fail2ban-db "$work/fail2ban.sqlite3"
wait_for "portero guards" ask ping
bans=$(ask bans --json | python3 -c 'import json, sys
print(*sorted(ban["target"] + "/" + ban["origin"] for ban in map(json.loads, sys.stdin)))')
[ "$bans" = "198.51.100.9/import 203.0.113.7/import 203.0.113.8/import" ] || fail "bans after the change: $bans"
echo "beside a real fail2ban: two bans agree, one of each side is named; then its three bans are taken over"
