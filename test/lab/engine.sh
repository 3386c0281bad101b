#!/bin/sh
# A container engine for the tests, to be sourced: the one that already answers, or a dockerd of
# our own on a socket, a data root and a process of its own, which touches no network settings of
# the machine (containers run without a network or on the host's) and ends with the shell that
# started it, however that ends.

lab=${HOLDFAST_LAB_DIR:-/var/tmp/holdfast-lab}
engine_pid=
engine_dir=

engine_answers() { timeout 20 docker info >/dev/null 2>&1; }

# Nothing but this file starts a dockerd on this data root, and whoever holds the lock owns it: one
# that runs now was left by a run that was killed.
engine_stop_leftover() {
  leftover=$(cat "$lab/dockerd.pid" 2>/dev/null) || return 0
  if grep -q -a -F -e "--data-root=$lab/docker" "/proc/$leftover/cmdline" 2>/dev/null; then
    kill -TERM "$leftover" 2>/dev/null || :
    engine_await_end "$leftover"
  fi
  rm -f "$lab/dockerd.pid"
}

engine_await_end() {
  for _ in $(seq 300); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$1" 2>/dev/null || :
}

# Gives status 1 where there is no engine and none can be started. Exports DOCKER_HOST for its own.
engine_start() {
  command -v docker >/dev/null || return 1
  if engine_answers; then return 0; fi
  [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null || return 1

  mkdir -p "$lab"
  chmod 711 "$lab"
  exec 8>"$lab/lock"
  flock --timeout 3600 8 || return 1
  engine_stop_leftover
  engine_dir=$(mktemp -d /tmp/holdfast-engine.XXXXXX)
  setpriv --pdeathsig TERM dockerd --host="unix://$engine_dir/docker.sock" \
    --data-root="$lab/docker" --exec-root="$engine_dir/exec" --pidfile="$lab/dockerd.pid" \
    --bridge=none --iptables=false --ip-masq=false --log-level=warn \
    >"$lab/dockerd.log" 2>&1 </dev/null 8>&- &
  engine_pid=$!
  # The host must be named, or testcontainers asks for the bridge network that is not there.
  export DOCKER_HOST="unix://$engine_dir/docker.sock" TESTCONTAINERS_HOST_OVERRIDE=localhost
  for _ in $(seq 300); do
    if engine_answers; then return 0; fi
    kill -0 "$engine_pid" 2>/dev/null || break
    sleep 0.1
  done
  printf 'dockerd did not start; its last words:\n' >&2
  tail -n 20 "$lab/dockerd.log" >&2
  engine_stop
  return 1
}

# Ends the dockerd that engine_start has started, and nothing else.
engine_stop() {
  [ -n "$engine_pid" ] || return 0
  kill -TERM "$engine_pid" 2>/dev/null || :
  engine_await_end "$engine_pid"
  wait "$engine_pid" 2>/dev/null || :
  engine_pid=
  umount "$engine_dir"/exec/netns/* 2>/dev/null || :
  rm -rf "$engine_dir"
}
