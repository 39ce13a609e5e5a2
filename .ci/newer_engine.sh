#!/bin/bash
# newer_engine.sh DIR: unpack Docker Engine, Compose and Buildx of Debian's next release into DIR; nothing is installed on the machine.
# docker_daemon.sh starts them with DOCKERD_ROOT=DIR/root. runc stays the machine's own: the newer one wants a newer libc.
set -euo pipefail
dir=$(realpath -m "$1") release=${2:-trixie}
mkdir -p "$dir"/apt/{lists/partial,cache/archives/partial} "$dir"/{debs,root}
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
[ -n "$mirror" ] || { apt-get update -qq; mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1); }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" > "$dir/apt/sources.list"
: > "$dir/apt/status"
options=(-o "Dir::Etc::sourcelist=$dir/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$dir/apt/lists"
  -o "Dir::Cache=$dir/apt/cache" -o "Dir::State::status=$dir/apt/status" -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=root)
apt-get update -qq "${options[@]}"
(cd "$dir/debs" && apt-get download -qq docker.io containerd docker-compose docker-buildx "${options[@]}")
for package in "$dir"/debs/*.deb; do dpkg -x "$package" "$dir/root"; done
rm -rf "$dir/debs" "$dir/apt" "$dir"/root/usr/{bin,sbin}/runc
