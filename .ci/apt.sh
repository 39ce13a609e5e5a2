#!/usr/bin/env bash
# Installs Debian packages: apt.sh PACKAGE...   Whoever calls it meanwhile waits.
set -euo pipefail
exec 9> "${TMPDIR:-/tmp}/prepare-models-apt.lock"
flock 9
apt-get update -qq > /dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" > /dev/null
