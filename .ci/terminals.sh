#!/usr/bin/env bash
# Install Debian's tmux, and script for what a terminal gets, where they are missing.
set -euo pipefail
command -v tmux > /dev/null && command -v script > /dev/null && exit 0
[ "$(id -u)" = 0 ] || { echo "tests of screens are left out: tmux is missing, and only root can install it" >&2; exit 0; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends tmux bsdutils > /dev/null
