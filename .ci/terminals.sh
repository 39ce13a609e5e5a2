#!/usr/bin/env bash
# Install what tests of terminals and shells use where it is missing: tmux, script, zsh, fish and groff, of Debian.
set -euo pipefail
missing=()
for program in tmux script zsh fish groff; do command -v "$program" > /dev/null || missing+=("$program"); done
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "tests of terminals are left out: only root can install ${missing[*]}" >&2; exit 0; }
"$(dirname "$0")/apt.sh" "${missing[@]/script/bsdutils}"
