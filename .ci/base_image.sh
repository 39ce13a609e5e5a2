#!/bin/bash
# base_image.sh ARCH OUT.tar: a Debian root with Python, unpacked from packages. No maintainer script runs, so it works for
# every architecture, without emulation. Uses the package sources and certificates that this machine has.
set -euo pipefail
arch=$1 out=$2
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mmdebstrap --quiet --variant=extract --architectures="$arch" \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --include=base-files,base-passwd,bash,dash,coreutils,grep,sed,tar,gzip,findutils,libc-bin,python3,python3-venv,python3-pip-whl,python3-setuptools-whl,libstdc++6,libgomp1,netbase,tzdata \
  --extract-hook='mkdir -p "$1/etc/ssl/certs" && cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"' \
  --extract-hook='cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"; cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"' \
  --extract-hook='mkdir -p "$1/proc" "$1/sys" "$1/tmp" "$1/root" "$1/run"; chmod 1777 "$1/tmp"' \
  "$release" "$out" < /dev/null
