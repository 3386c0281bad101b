#!/bin/sh
# Starts a command of this folder on the Node that scripts/bootstrap.sh has brought. The first
# line of every command calls it by its physical path, so links, PATH and any current folder work.
set -eu

case $0 in
  */*) scripts=${0%/*} ;;
  *) scripts=. ;;
esac
modules=$scripts/../node_modules

if [ ! -x "$modules/.bin/node" ]; then
  printf 'error: Node 24 and the dependencies are not installed yet\n' >&2
  printf 'hint: type: sh "%s/bootstrap.sh"\n' "$scripts" >&2
  exit 2
fi

# Node keeps compiled code for the next start: a third of the processor time of most commands. The
# cache is code: it lies inside node_modules, where whoever can write can change the program anyway,
# and is used only by who may write there. For others, such as the server's own user, it lies in
# their home, where that is theirs and nobody else may write into it.
# What is covered by tests cannot be told of code that comes out of it.
if [ -n "${NODE_COMPILE_CACHE:-}${NODE_V8_COVERAGE:-}" ]; then
  :
elif [ -w "$modules" ]; then
  export NODE_COMPILE_CACHE="$modules/.cache/holdfast-node"
elif [ -w "${HOME:-}" ] &&
  [ -n "$(find "$HOME" -prune -user "$(id -u)" ! -perm -020 ! -perm -002 2>/dev/null)" ]; then
  export NODE_COMPILE_CACHE="$HOME/.cache/holdfast-node"
fi
# After "--" nothing is an option of Node: it would read our --env-file itself, and run what
# a NODE_OPTIONS in there names.
exec "$modules/.bin/node" -- "$@"
