#!/usr/bin/env bash
# An SSH server of the tests' own on 127.0.0.1, also for files: who has DIR/home for a home gets in as the caller, to the
# Docker at ADDRESS.
# usage: ssh_server.sh DIR ADDRESS. Prints the port; kill $(cat DIR/pid) ends it. Installs Debian's sshd where it is missing.
set -euo pipefail
dir=$(realpath -m "$1") address=$2
if [ ! -x /usr/sbin/sshd ]; then
  "$(dirname "$0")/apt.sh" openssh-server
fi
port=22220
while ss -ltnH "sport = :$port" | grep -q .; do port=$((port + 1)); done
keys=$dir/home/.ssh
mkdir -p "$keys" && chmod 0700 "$keys"
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f "$dir/host" && ssh-keygen -q -t ed25519 -N '' -f "$keys/id_ed25519"
echo "environment=\"DOCKER_HOST=$address\" $(cat "$keys/id_ed25519.pub")" > "$dir/authorized"
echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$dir/host.pub")" > "$keys/known_hosts"
/usr/sbin/sshd -f /dev/null -E "$dir/log" -o ListenAddress=127.0.0.1 -o Port=$port -o HostKey="$dir/host" -o PidFile="$dir/pid" \
  -o AuthorizedKeysFile="$dir/authorized" -o PermitUserEnvironment=yes -o PermitRootLogin=yes -o StrictModes=no -o UsePAM=no \
  -o Subsystem="sftp internal-sftp"
echo $port
