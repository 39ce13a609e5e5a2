#!/usr/bin/env bash
# Install Debian's Chromium where it is missing.
set -euo pipefail
command -v chromium > /dev/null && exit 0
"$(dirname "$0")/apt.sh" chromium fonts-dejavu-core
