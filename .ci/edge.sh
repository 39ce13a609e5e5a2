#!/usr/bin/env bash
# edge.sh DIR: what tests of an edge device use, of Debian: systemd-nspawn, and cloud-init unpacked into DIR, where nothing
# of it ever starts. Needs root where something is missing.
set -euo pipefail
dir=$1
[ -x "$(command -v systemd-nspawn)" ] && [ -d "$dir/cloudinit" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "only root can install systemd-container" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq > /dev/null
command -v systemd-nspawn > /dev/null || apt-get install -y -qq --no-install-recommends systemd-container > /dev/null
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
chmod 0755 "$work" && (cd "$work" && apt-get download -qq cloud-init > /dev/null && dpkg-deb -x cloud-init_*.deb root)
mkdir -p "$dir" && cp -r "$work/root/usr/lib/python3/dist-packages/cloudinit" "$dir/"
