#!/bin/sh
# Builds the images of the container tests from Debian's own packages, where they are not there
# yet, and prints one line NAME=IMAGE for each. No registry is needed: debootstrap makes a root,
# `docker import` takes it. What the images are made of is all in this file, so that its digest
# (with the mirror) is their tag. Needs root, debootstrap and an engine (engine.sh).
set -eu

lab=${HOLDFAST_LAB_DIR:-/var/tmp/holdfast-lab}

# The mirror that this machine takes its own Debian packages from.
find_mirror() {
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    [ -r "$file" ] || continue
    sed -n -E -e 's/^URIs: *([^ ]+).*/\1/p' \
      -e 's/^deb +(\[[^]]*\] +)?([^ ]*debian[^ ]*) .* main.*/\2/p' "$file" | head -n 1
  done | grep -v -e -security | head -n 1
}

mirror=$(find_mirror)
if [ -z "$mirror" ] || [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
  printf 'the images need root, debootstrap and a Debian package source\n' >&2
  exit 1
fi
key=$({ cat "$0" && printf '%s' "$mirror"; } | sha256sum | cut -c 1-12)

# Where debootstrap cannot resolve packages that others provide, apt does it afterwards. Like
# debootstrap it takes a signed list of packages of any age: a mirror may stand still for a while.
install_packages() {
  # shellcheck disable=SC2086 # a list of plain words
  DEBIAN_FRONTEND=noninteractive chroot "$1" sh -c '
    apt-get update --quiet=2 --option=Acquire::Check-Valid-Until=false &&
    apt-get install --yes --quiet=2 --no-install-recommends \
      --option=Dpkg::Options::=--force-unsafe-io "$@"' sh $2 </dev/null
}

# make_root ROOT SUITE PACKAGES MORE_PACKAGES CACHE: a folder for packages that nobody else uses now
make_root() {
  # A newer suite than this machine's has no script of its own here; all of them equal sid's.
  debootstrap --variant=minbase --include="$3" --cache-dir="$5" \
    "$2" "$1" "$mirror" /usr/share/debootstrap/scripts/sid || return 1
  if [ -n "$4" ]; then install_packages "$1" "$4"; fi
}

# make_image NAME SUITE PACKAGES MORE_PACKAGES: a minimal Debian of SUITE, with the packages that
# debootstrap brings (by commas) and those that apt brings (by spaces), as NAME:$key.
make_image() {
  image=$1:$key
  if docker image inspect "$image" >/dev/null 2>&1; then return 0; fi
  printf 'building the image %s from %s\n' "$image" "$2" >&2
  mkdir -p "$lab/packages/$1"
  root=$(mktemp -d "$lab/root.XXXXXX")
  chmod 755 "$root"
  if ! make_root "$root" "$2" "$3" "$4" "$lab/packages/$1" >"$lab/$1.log" 2>&1; then
    tail -n 20 "$lab/$1.log" >&2
    rm -rf "$root"
    return 1
  fi
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/lib/postgresql/*/main \
    "$root"/etc/postgresql/*/main
  tar -C "$root" -c . | docker import - "$image" >/dev/null
  rm -rf "$root"
  # Images that an older state of this file has made.
  docker image ls --quiet --filter "reference=$1" --filter "before=$image" |
    xargs --no-run-if-empty docker image rm --force >/dev/null
}

make_image holdfast-lab-postgres18 forky \
  postgresql-18,zstd,gzip,procps,age,gpg,gpg-agent,openssh-client '' &
postgres18=$!
make_image holdfast-lab-s3 forky procps 'python3-moto python3-flask-cors radosgw' &
s3=$!
# A server as users have it: systemd as the first process, cron, PostgreSQL, and promtool.
make_image holdfast-lab-server bookworm \
  systemd,systemd-sysv,dbus,procps,cron,zstd,postgresql-15,ca-certificates prometheus &
server=$!
status=0
make_image holdfast-lab-fresh bookworm ca-certificates,procps 'nodejs npm' || status=$?
wait "$postgres18" || status=$?
wait "$s3" || status=$?
wait "$server" || status=$?
[ "$status" = 0 ] || exit "$status"

printf 'HOLDFAST_IMAGE_POSTGRES18=holdfast-lab-postgres18:%s\n' "$key"
printf 'HOLDFAST_IMAGE_S3=holdfast-lab-s3:%s\n' "$key"
printf 'HOLDFAST_IMAGE_SERVER=holdfast-lab-server:%s\n' "$key"
printf 'HOLDFAST_IMAGE_FRESH=holdfast-lab-fresh:%s\n' "$key"
