#!/bin/sh
# Brings what Holdfast needs and the machine lacks: Node 24 and the npm dependencies into
# node_modules and, with --postgres, PostgreSQL's programs and zstd from the system's packages.
# Says what it installs before it does so; silent and fast when nothing is missing.
set -eu

usage() {
  cat <<'USAGE'
usage: sh scripts/bootstrap.sh [--postgres] [--dev]

  --postgres  also PostgreSQL's server and client programs and zstd, from the system's packages
  --dev       also what the tests need from npm; with --postgres also age and gpg
USAGE
}

say() { printf 'bootstrap: %s\n' "$*" >&2; }

# fail MESSAGE HINT: ends with status 2, as every command does when its surroundings are wrong.
fail() {
  printf 'bootstrap: error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 2
}

with_postgres=no
with_dev=no
for argument in "$@"; do
  case $argument in
    --postgres) with_postgres=yes ;;
    --dev) with_dev=yes ;;
    --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown argument $argument" 'use --postgres, --dev, both or neither' ;;
  esac
done

case $0 in
  */*) cd -P "${0%/*}/.." ;;
  *) cd -P .. ;;
esac
root=$(pwd -P)
modules=$root/node_modules
stamp=$modules/.holdfast-stamp

# The server's user must be able to run what root installs.
umask 022

# ---- Node 24 and the npm packages -----------------------------------------------------------

# The stamp is removed first and written last: a run that was killed half-way leaves none and is
# done again. It names the lock file and the platform that it stands for.
npm_stamp() { printf '%s %s' "$(cksum <package-lock.json)" "$(uname -sm)"; }

npm_is_done() {
  [ -r "$stamp" ] && [ -x "$modules/.bin/node" ] || return 1
  { read -r is_state && read -r is_set; } <"$stamp" || return 1
  [ "$is_state" = "$(npm_stamp)" ] || return 1
  [ "$with_dev" = no ] || [ "$is_set" = dev ]
}

# PATH without node_modules/.bin, which npm itself puts there for `npm test`: npm must not run on
# the very Node that it is about to replace.
system_path() {
  printf '%s' "$PATH" | tr ':' '\n' | grep -v '/node_modules/\.bin/*$' |
    grep -v '/node-gyp-bin/*$' | tr '\n' ':' | sed 's/:$//'
}

node_major() { "$1" --print 'process.versions.node.split(".")[0]' 2>/dev/null || printf 0; }

# npm links the binary of the package that carries Node; some versions of npm (Debian 12's) leave
# that out. Where there is no such package for this platform, or its binary does not start here
# (musl), the system's own Node serves if it is new enough.
provide_node() {
  mkdir -p "$modules/.bin"
  for package in "$modules"/node-*-*/bin/node; do
    [ -x "$package" ] || continue
    package=${package#"$modules"/}
    ln -sf "../$package" "$modules/.bin/node"
  done
  [ "$(node_major "$modules/.bin/node")" -lt 24 ] || return 0
  system_node=$(PATH=$(system_path) command -v node) || system_node=
  if [ -z "$system_node" ] || [ "$(node_major "$system_node")" -lt 24 ]; then
    fail "no Node 24 comes from npm for $(uname -sm), and the system's Node is older" \
      'install Node 24 or newer (Homebrew: brew install node) and run this again.'
  fi
  ln -sf "$system_node" "$modules/.bin/node"
}

provide_modules() {
  # A later run without --dev does not take away what an earlier one with --dev has brought.
  [ "$with_dev" = yes ] && npm_set=dev || npm_set=run
  PATH=$(system_path) command -v npm >/dev/null || fail 'npm is not installed' \
    'install Node with npm, of whatever age, from the packages of the system (Debian: npm).'
  npm_major=$(PATH=$(system_path) npm --version 2>/dev/null | cut -d. -f1)
  [ "${npm_major:-0}" -ge 7 ] || fail "npm ${npm_major:-} cannot read package-lock.json" \
    'bring npm 7 or newer (npm install --global npm@10) and run this again.'
  [ -w "$root" ] || fail "the folder $root cannot be written by $(id -un)" \
    'run this as the user that owns the folder.'
  say "installing Node 24 and the npm packages into $modules"
  [ "$npm_set" = dev ] && npm_choice=--include=dev || npm_choice=--omit=dev
  rm -f "$stamp"
  # No package's own script runs. The engine warnings speak of the old Node that only runs npm.
  PATH=$(system_path) npm ci "$npm_choice" --include=optional --ignore-scripts \
    --engine-strict=false --prefer-offline --no-audit --no-fund --no-progress --loglevel=error \
    >&2 </dev/null ||
    fail 'npm could not install the packages' \
      'read the lines above; the network, a proxy or a full disk are the usual reasons.'
  provide_node
  printf '%s\n%s\n' "$(npm_stamp)" "$npm_set" >"$stamp.new"
  mv "$stamp.new" "$stamp"
}

# Two runs at once (two terminals) must not empty the folder under each other. The kernel frees
# the lock when its holder dies; without flock (macOS) there is none.
if ! npm_is_done; then
  if command -v flock >/dev/null && [ -w "$root" ]; then
    exec 9<"$root/package.json"
    flock 9
  fi
  npm_is_done || provide_modules
fi

# ---- PostgreSQL's programs, zstd and what the tests encrypt with -----------------------------

# Debian and PGDG, RHEL, Alpine, Homebrew, source builds.
has_postgres() {
  for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql*/ \
    /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin /usr/local/pgsql/bin; do
    [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && [ -x "$bin/pg_dump" ] && return 0
  done
  command -v initdb >/dev/null && command -v postgres >/dev/null && command -v pg_dump >/dev/null
}

# A backup needs them only where it is encrypted; the tests always do.
has_encryption() {
  [ "$with_dev" = no ] || { command -v age >/dev/null && command -v gpg >/dev/null; }
}

# Runs a command as root: directly, or through sudo, which may ask on a terminal only.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif [ -t 0 ]; then
    sudo -- "$@"
  else
    sudo --non-interactive -- "$@"
  fi
}

# Debian's server package would create a cluster, start it and start it again at every boot.
# Nobody asked for a server here, so a drop-in tells the package not to, for as long as our own
# installation takes: the administrator's file, the services and later installations stay as they
# are. (policy-rc.d would only put off the start, and holds back other packages' services too.)
dropin_dir=/etc/postgresql-common/createcluster.d
dropin=$dropin_dir/holdfast-bootstrap.conf

remove_dropin() {
  as_root rm -f "$dropin"
  as_root rmdir "$dropin_dir" 2>/dev/null || :
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 \
    --no-install-recommends --option=Dpkg::Use-Pty=0 --option=DPkg::Lock::Timeout=300 \
    "$@" >>"$apt_log" 2>&1 </dev/null
}

# The machine's lists may be absent (containers) or too old to name files that still exist.
apt_install_fresh() {
  if ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 && apt_install "$@"; then
    return 0
  fi
  as_root apt-get update --quiet=2 >>"$apt_log" 2>&1 </dev/null && apt_install "$@"
}

install_apt() {
  trap 'remove_dropin' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  as_root mkdir -p "$dropin_dir"
  printf 'create_main_cluster = false\n' | as_root tee "$dropin" >/dev/null
  # dpkg's hundred lines are of interest only when something went wrong.
  apt_log=$(mktemp)
  apt_status=0
  apt_install_fresh "$@" || apt_status=$?
  [ "$apt_status" = 0 ] || tail -n 30 "$apt_log" >&2
  rm -f "$apt_log"
  remove_dropin
  trap - EXIT INT TERM HUP
  return "$apt_status"
}

provide_postgres() {
  packages=
  has_postgres || packages=postgres
  command -v zstd >/dev/null || packages="$packages zstd"
  has_encryption || packages="$packages age gnupg"
  # shellcheck disable=SC2086 # a list of plain words
  set -- $packages
  for manager in apt-get dnf yum apk brew none; do
    command -v "$manager" >/dev/null && break
  done
  missing=
  for package in "$@"; do
    case $manager:$package in
      apt-get:postgres) missing="$missing postgresql postgresql-client" ;;
      dnf:postgres | yum:postgres)
        missing="$missing postgresql-server postgresql postgresql-contrib" ;;
      apk:postgres) missing="$missing postgresql postgresql-client postgresql-contrib" ;;
      brew:postgres) missing="$missing postgresql@18" ;;
      dnf:gnupg | yum:gnupg) missing="$missing gnupg2" ;;
      *) missing="$missing $package" ;;
    esac
  done
  # shellcheck disable=SC2086 # a list of plain words
  set -- $missing
  case $manager in
    apt-get) command="apt-get install $*" ;;
    apk) command="apk add $*" ;;
    none) fail "missing:$missing" 'install PostgreSQL (server and client programs) and zstd.' ;;
    *) command="$manager install $*" ;;
  esac
  if [ "$manager" != brew ] && [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    fail "missing:$missing" "as root, type: $command"
  fi
  say "installing the system packages$missing ($command)"
  case $manager in
    apt-get) install_apt "$@" ;;
    dnf | yum) as_root "$manager" install --assumeyes --quiet "$@" >&2 </dev/null ;;
    apk) as_root apk add --quiet "$@" >&2 </dev/null ;;
    brew) brew install --quiet "$@" >&2 </dev/null ;;
  esac || fail "could not install:$missing" "as root, type: $command"
}

if [ "$with_postgres" = yes ]; then
  if ! has_postgres || ! command -v zstd >/dev/null || ! has_encryption; then
    provide_postgres
  fi
fi
