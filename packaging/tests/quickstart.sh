#!/usr/bin/env bash
# The quickstart as a newcomer runs it.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 0; }
packaging/quickstart
