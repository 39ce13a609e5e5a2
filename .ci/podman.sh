#!/bin/bash
# Podman's Docker-compatible socket for the tests, of a user who is not root and has one user id only.
# usage: podman.sh start DIR UID | stop DIR
# Installs Debian's podman where it is missing. Needs root. `start` prints the address.
set -euo pipefail
action=$1 dir=$(realpath -m "$2") uid=${3:-}

configure() {
  mkdir -p "$dir/home/.config/containers" "$dir/run"
  # No limits are raised and no cgroups asked of systemd: containers of a machine in a container may do neither.
  cat > "$dir/home/.config/containers/containers.conf" << C
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
C
  cat > "$dir/home/.config/containers/storage.conf" << C
[storage]
driver = "overlay"
runroot = "$dir/run/store"
graphroot = "$dir/home/store"
[storage.options.overlay]
ignore_chown_errors = "true"
C
  chown -R "$uid:$uid" "$dir"
}

launch() {
  cd /
  setsid setpriv --reuid="$uid" --regid="$uid" --clear-groups env -i "HOME=$dir/home" "XDG_RUNTIME_DIR=$dir/run" "PATH=$PATH" \
    podman system service --time=0 "unix://$dir/podman.sock" >> "$dir/log" 2>&1 < /dev/null &
  echo $! > "$dir/pid"
  for _ in $(seq 300); do curl -sf --unix-socket "$dir/podman.sock" http://podman/_ping > /dev/null 2>&1 && return; sleep 0.1; done
  tail -20 "$dir/log" >&2
  exit 1
}

case $action in
  start)
    if ! command -v podman > /dev/null; then
      "$(dirname "$0")/apt.sh" podman
    fi
    configure
    launch
    echo "unix://$dir/podman.sock"
    ;;
  stop)
    # The service is two processes of one group: the one that was started, and itself again in its user namespace.
    [ ! -e "$dir/pid" ] || kill -KILL -- "-$(cat "$dir/pid")" 2> /dev/null || true
    [ ! -e "$dir/run/libpod/tmp/pause.pid" ] || kill -KILL "$(cat "$dir/run/libpod/tmp/pause.pid")" 2> /dev/null || true
    rm -rf "$dir/home" "$dir/run"
    ;;
  *) sed -n 2,4p "$0" >&2; exit 2 ;;
esac
