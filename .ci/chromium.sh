#!/usr/bin/env bash
# Install Debian's Chromium where it is missing.
set -euo pipefail
command -v chromium > /dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core > /dev/null
