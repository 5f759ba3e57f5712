# Sourced by the scripts beside it.

# cargo is often installed for one user only and not on root's PATH.
command -v cargo >/dev/null 2>&1 || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Debian's fail2ban package, unpacked and not installed: the folder that holds its etc/ and usr/ is in $fail2ban.
# FAIL2BAN_ROOT names one that is unpacked already. Where the package cannot be had, the script ends as skipped.
need_fail2ban() {
  fail2ban=${FAIL2BAN_ROOT:-}
  [ -z "$fail2ban" ] || return 0
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  chmod 755 "$unpacked"
  (cd "$unpacked" && apt-get download -q fail2ban >/dev/null 2>&1 && dpkg -x fail2ban_*.deb x) ||
    { echo "skipped: Debian's fail2ban package cannot be had here"; exit 0; }
  fail2ban=$unpacked/x
}
