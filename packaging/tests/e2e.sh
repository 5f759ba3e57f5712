#!/usr/bin/env bash
# Real mail servers under attack in namespaces, where the rig lies beside this checkout: every attacker is shut
# out and no honest user is touched.
set -euo pipefail
cd "$(dirname "$0")/../.."
rig=${PORTERO_SHARED:-../shared}/rig
[ -x "$rig/mailhost.sh" ] || { echo "skipped: no $rig beside this checkout"; exit 0; }
[ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 0; }
work=$(mktemp -d "${TMPDIR:-/tmp}/portero-e2e.XXXXXX")
trap 'rm -rf "$work"' EXIT
bin=$PWD/target/release
for profile in postfix-cyrus postfix-dovecot; do
  printf '\n%s\n' "$profile"
  cat > "$work/hook" <<EOF
set -e
etc=\$RIG_OUT/etc
rm -rf "\$etc" "\$RIG_OUT/portero"; mkdir -p "\$etc"
cat > "\$etc/portero.toml" <<TOML
state_dir = "\$RIG_OUT/portero"
socket = "\$RIG_OUT/control.sock"
table_owner = "off"
[defaults]
bantime = "10m"
[jails.postfix-sasl]
enabled = true
filter = "postfix-sasl"
logpath = ["\$RIG_LOGS/mail.log"]
port = ["smtp", "submission", "submissions"]
[jails.cyrus]
enabled = true
filter = "cyrus"
logpath = ["\$RIG_LOGS/mail.log"]
port = ["imap", "imaps", "pop3", "pop3s"]
[jails.dovecot]
enabled = true
filter = "dovecot"
logpath = ["\$RIG_LOGS/mail.log"]
port = ["imap", "imaps", "pop3", "pop3s"]
[jails.sshd]
enabled = true
filter = "sshd"
logpath = ["\$RIG_LOGS/auth.log"]
port = ["ssh"]
[jails.nginx-auth]
enabled = true
filter = "nginx-auth"
logpath = ["\$RIG_LOGS/nginx-error.log"]
port = ["http", "https"]
TOML
sed -i 's/^port = .*/port = "all"/' "\$etc/portero.toml"
export TZ=UTC
exec "$bin/portero" --config "\$etc/portero.toml"
EOF
  "$rig/mailhost.sh" e2e --profile "$profile" --out "$work/$profile" \
    --hook "bash $work/hook" --ready "$bin/banctl --socket $work/$profile/control.sock ping" \
    --post "$bin/banctl --socket $work/$profile/control.sock status" -- --duration 30 --v6net || {
    tail -40 "$work/$profile/hook.log"
    exit 1
  }
  cat "$work/$profile/post.log"
done
