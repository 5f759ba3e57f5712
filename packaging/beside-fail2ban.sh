# Sourced, after lib.sh, by the runners in which Debian's own fail2ban works beside portero, each in a folder that is
# removed at the end: $work. What runs is killed there: fail2ban's server is $server, portero $daemon.

portero=${PORTERO:-$PWD/target/release/portero}
banctl=${BANCTL:-$PWD/target/release/banctl}
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 0; }
need_fail2ban
work=$(mktemp -d)
server= daemon=
# What still runs writes into the folder: it is waited for before that goes.
end() {
  local process
  for process in $server $daemon; do
    kill "$process" 2>/dev/null && wait "$process" || true
  done
  rm -rf "$work" "${unpacked:-$work}"
}
trap end EXIT
export PYTHONPATH=$fail2ban/usr/lib/python3/dist-packages TZ=UTC
python3 -c 'import fail2ban.server.database, fail2ban.client.fail2banregex' 2>/dev/null ||
  { echo "skipped: this python3 cannot run fail2ban"; exit 0; }

ask() { "$banctl" --socket "$work/portero.sock" "$@"; }
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

# Starts fail2ban on $work/mail.log with jail postfix, three failures ban for a quarter of an hour: its action, and
# further lines of the jail.
start_fail2ban() { # action, lines
  cp -r "$fail2ban/etc/fail2ban" "$work/etc"
  rm -f "$work"/etc/jail.d/*
  printf '[Definition]\n%s\n' "$1" >"$work/etc/action.d/note.conf"
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
$2
EOF
  failed_logins 203.0.113.1 1
  python3 "$fail2ban/usr/bin/fail2ban-server" -f -c "$work/etc" start >"$work/server.out" 2>&1 &
  server=$!
  wait_for "fail2ban answers" f2b ping
}
f2b() { python3 "$fail2ban/usr/bin/fail2ban-client" -c "$work/etc" "$@" 2>/dev/null; }
stop_fail2ban() {
  f2b stop >/dev/null
  wait "$server" || true
  server=
}
