#!/bin/bash
# A Docker daemon of our own for the tests: own data, own socket, own bridge; no other daemon is touched.
# usage: docker_daemon.sh start|stop|restart|kill DIR
# Installs Debian's docker.io where dockerd is missing. Needs root. `start` prints the daemon's address.
# It listens on DIR/docker.sock and, for clients with the certificate in DIR/tls, on a TCP port that DIR/port names.
# DOCKERD_ROOT=ROOT takes dockerd and containerd from there (see newer_engine.sh), with CDI specifications of DIR/cdi.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
action=$1 dir=$(realpath -m "$2")
newer=${DOCKERD_ROOT:-}

packages() { # what Debian calls the programs that are missing
  local wanted=()
  command -v dockerd > /dev/null || wanted+=(docker.io)
  command -v mmdebstrap > /dev/null || wanted+=(mmdebstrap)
  command -v ip > /dev/null || wanted+=(iproute2)
  command -v curl > /dev/null || wanted+=(curl)
  command -v openssl > /dev/null || wanted+=(openssl)
  [ ${#wanted[@]} = 0 ] && return
  "$here/apt.sh" "${wanted[@]}"
}

bridge() { # a bridge of its own: "bridge": "none" would delete the docker0 of another daemon
  local name
  name=pm$(echo "$dir" | cksum | cut -c1-6)
  ip link show "$name" > /dev/null 2>&1 || { ip link add "$name" type bridge; ip link set "$name" up; }
  ip -4 addr show "$name" | grep -q inet || ip addr add "$(address)/24" dev "$name"
  echo "$name"
}

address() { echo "10.231.$((0x$(echo "$dir" | md5sum | cut -c1-2))).1"; }

certificates() { # an authority, the daemon's certificate and a client's, as `docker` wants them
  local tls=$dir/tls
  [ ! -e "$tls/cert.pem" ] || return 0
  mkdir -p "$tls" && chmod 0700 "$tls"
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout "$tls/ca-key.pem" -out "$tls/ca.pem"
  local name file
  for name in server client; do
    file=$([ $name = server ] && echo server || echo cert)
    openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout "$tls/$name-key.pem" -out "$tls/$name.csr"
    openssl x509 -req -in "$tls/$name.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca-key.pem" -CAcreateserial -days 2 \
      -extfile <(echo "subjectAltName=IP:127.0.0.1,IP:$(address)") -out "$tls/$file.pem"
  done
  mv "$tls/client-key.pem" "$tls/key.pem"
}

free_port() { # the first that nobody listens on
  local port=23760
  while ss -ltnH "sport = :$port" | grep -q .; do port=$((port + 1)); done
  echo "$port"
}

configure() {
  mkdir -p "$dir/cdi" "$dir/stub/log"
  cp "$here"/stub/nvidia-container-runtime "$here"/stub/nvidia-container-runtime-hook "$dir/stub/"
  chmod 0755 "$dir"/stub/nvidia-*
  local cdi=
  [ -z "$newer" ] || cdi='"features": {"cdi": true}, "cdi-spec-dirs": ["'$dir/cdi'"],'
  cp "$here"/stub/cdi.json "$dir/cdi/"
  certificates 2> /dev/null
  local name port
  name=$(bridge) port=$(free_port)
  echo "$port" > "$dir/port"
  cat > "$dir/daemon.json" << J
{$cdi "data-root": "$dir/data", "exec-root": "$dir/exec", "pidfile": "$dir/pid", "bridge": "$name",
 "hosts": ["unix://$dir/docker.sock", "tcp://127.0.0.1:$port", "tcp://$(address):$port"],
 "tlsverify": true, "tlscacert": "$dir/tls/ca.pem", "tlscert": "$dir/tls/server.pem", "tlskey": "$dir/tls/server-key.pem",
 "iptables": false, "ip6tables": false, "log-level": "warn", "shutdown-timeout": 5,
 "runtimes": {"nvidia": {"path": "$dir/stub/nvidia-container-runtime"}}}
J
}

answers() { curl -sf --unix-socket "$dir/docker.sock" http://docker/_ping > /dev/null 2>&1; }

launch() { # the hook on dockerd's PATH is what makes the engine offer device requests
  STUB_LOG="$dir/stub/log" PATH="$dir/stub:${newer:+$newer/usr/sbin:$newer/usr/bin:}$PATH" setsid dockerd --config-file "$dir/daemon.json" >> "$dir/log" 2>&1 < /dev/null &
  for _ in $(seq 300); do answers && break; sleep 0.1; done
  answers || { tail -20 "$dir/log" >&2; exit 1; }
}

end() { # $1: signal
  local pid
  pid=$(cat "$dir/pid" 2> /dev/null) || return 0
  kill "-$1" "$pid" 2> /dev/null || true
  for _ in $(seq 200); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
  kill -KILL "$pid" 2> /dev/null || true
  rm -f "$dir/pid"
}

clean() { # what a daemon leaves mounted and on the bridge
  local point name
  while read -r point; do umount -l "$point" 2> /dev/null || true; done < <(grep -o " $dir/[^ ]*" /proc/mounts | sort -r)
  name=$(sed -n 's/.*"bridge": "\([^"]*\)".*/\1/p' "$dir/daemon.json" 2> /dev/null) || true
  [ -z "$name" ] || ip link del "$name" 2> /dev/null || true
  rm -rf "$dir/data" "$dir/exec" "$dir/docker.sock"
}

case $action in
  start) packages; mkdir -p "$dir"; answers || { configure; launch; }; echo "unix://$dir/docker.sock" ;;
  restart) end TERM; launch ;;
  kill) end TERM ;;
  stop) end TERM; clean ;;
  *) sed -n 2,4p "$0" >&2; exit 2 ;;
esac
