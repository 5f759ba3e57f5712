#!/usr/bin/env bash
# The whole stock jail.conf of Debian's fail2ban with every jail switched on: the commands that fail2ban-client -d prints,
# field by field, are those that portero reads there.
set -euo pipefail
cd "$(dirname "$0")/../.."
. packaging/lib.sh
release=${PORTERO_BIN:-$PWD/target/release}
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 0; }
need_fail2ban
work=$(mktemp -d)
trap 'rm -rf "$work" ${unpacked:+"$unpacked"}' EXIT
cp -r "$fail2ban/etc/fail2ban" "$work/f2b"
rm -f "$work/f2b/jail.d/"*
# Each jail on, with a log that is there.
touch "$work/a.log"
sed -n 's/^\[\([^]]*\)\].*/\1/p' "$work/f2b/jail.conf" | grep -vx 'INCLUDES\|DEFAULT' |
  while read -r jail; do printf '[%s]\nenabled = true\nbackend = polling\nlogpath = %s/a.log\n' "$jail" "$work"; done \
    >"$work/f2b/jail.local"
ln -s "$release/banctl" "$work/fail2ban-client"
export LC_ALL=C.UTF-8 PYTHONWARNINGS=ignore
theirs() {
  PYTHONPATH=$fail2ban/usr/lib/python3/dist-packages python3 "$fail2ban/usr/bin/fail2ban-client" -c "$work/f2b" -d
}
theirs >"$work/theirs" 2>"$work/err" || { cat "$work/err"; echo "skipped: this Python cannot run fail2ban-client"; exit 0; }
"$work/fail2ban-client" -c "$work/f2b" -d >"$work/ours"
python3 - "$work/theirs" "$work/ours" <<'PY'
import ast, sys

def commands(path):
    """What each command sets, by jail and option: a list, since some options are set more than once."""
    found = {}
    for line in open(path, encoding='utf-8'):
        if not line.startswith('['):
            continue
        words = ast.literal_eval(line)
        # The properties of an action are independent of each other; regexes are tried in their order.
        order = sorted if words[0] == 'multi-set' and words[2] == 'action' else list
        # Up to fail2ban 1.0 a jail's own blocktype was not taken for IPv6; later ones take it, and so does portero.
        if words[1] == 'pass2allow-ftp' and order is sorted:
            words[4] = [pair for pair in words[4] if pair[0] != 'blocktype?family=inet6']
        words = [tuple(order(map(str, w))) if isinstance(w, list) else w for w in words]
        found.setdefault(tuple(map(str, words[:3])), []).append(tuple(words[3:]))
    return found

theirs, ours = commands(sys.argv[1]), commands(sys.argv[2])
wrong = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
for key in wrong[:10]:
    print('differs:', *key, '\n  fail2ban:', theirs.get(key), '\n  portero: ', ours.get(key), file=sys.stderr)
jails = {key[1] for key in theirs if key[0] == 'add'}
fields = sum(len(values) for values in theirs.values())
print(f'{len(jails)} jails, {fields} commands of fail2ban-client -d, {len(wrong)} differ')
sys.exit(bool(wrong) or len(jails) < 60)
PY
