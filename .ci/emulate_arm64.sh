#!/bin/bash
# Let this machine's kernel run aarch64 programs through qemu, containers included. Needs root; installs Debian's qemu.
set -euo pipefail
registered=/proc/sys/fs/binfmt_misc/qemu-aarch64
[ -e "$registered" ] && exit 0
if ! command -v qemu-aarch64-static > /dev/null; then
  "$(dirname "$0")/apt.sh" qemu-user-static binfmt-support
fi
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e "$registered" ] || update-binfmts --enable qemu-aarch64
[ -e "$registered" ]
