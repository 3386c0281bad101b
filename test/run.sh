#!/bin/sh
# The whole test suite: vitest on this machine with coverage, the stores last, whose servers run in
# containers; beside it bats under dash and bats under bash; then the tests that run in containers
# themselves. The images are built while the first tests run.
# The last line is `N passed, N failed`; the status is 0 only when something ran and nothing failed.
# Started by `npm test`, after scripts/bootstrap.sh.
set -eu

cd "$(dirname "$0")/.."
PATH=$PWD/node_modules/.bin:$PATH
export PATH TESTCONTAINERS_RYUK_DISABLED=true

# shellcheck source=test/lab/engine.sh
. test/lab/engine.sh

results=$(mktemp -d)
summary=$results/summary
passed=0
failed=0
children=

finish() {
  engine_stop
  rm -rf "$results"
}

interrupt() {
  trap '' INT TERM HUP
  for child in $children; do kill -TERM "$child" 2>/dev/null || :; done
  for child in $children; do wait "$child" || :; done
  exit "$1"
}

trap finish EXIT
trap 'interrupt 130' INT
trap 'interrupt 143' TERM HUP

# Starts a program; a signal to this shell is answered at once, and handed on to it.
# start COMMAND…: its process is $started
start() {
  "$@" &
  started=$!
  children="$children $started"
}

# Waits for what was started, and gives its status. finished PROCESS
finished() {
  finished_status=0
  wait "$1" || finished_status=$?
  remaining=
  for child in $children; do
    if [ "$child" != "$1" ]; then remaining="$remaining $child"; fi
  done
  children=$remaining
  return "$finished_status"
}

# tally TITLE PASSED FAILED
tally() {
  passed=$((passed + $2))
  failed=$((failed + $3))
  printf '  %-24s %s passed, %s failed\n' "$1" "$2" "$3" >>"$summary"
}

title() { printf '\n== %s\n' "$1"; }

# The passed and the failed of a report.
read_report() { node test/summary.ts counts "$1" 2>/dev/null || printf '0 1'; }

# start_vitest REPORT ARGUMENTS
start_vitest() {
  report=$results/$1.json
  shift
  start node node_modules/vitest/vitest.mjs run --configLoader native --reporter=default \
    --reporter=json --outputFile.json="$report" "$@"
}

# end_vitest TITLE REPORT PROCESS: a status that no failed test explains (too little covered, a file
# that cannot be loaded, an error outside of tests) counts as one failure.
end_vitest() {
  status=0
  finished "$3" || status=$?
  read -r vitest_passed vitest_failed <<COUNTS
$(read_report "$results/$2.json")
COUNTS
  unexplained=
  if [ "$status" != 0 ] && [ "$vitest_failed" = 0 ]; then
    vitest_failed=1
    unexplained="    its status was $status: too little is covered, or an error outside of the tests"
  fi
  tally "$1" "$vitest_passed" "$vitest_failed"
  if [ -n "$unexplained" ]; then printf '%s\n' "$unexplained" >>"$summary"; fi
}

# start_bats SHELL
start_bats() {
  # shellcheck disable=SC2016 # of the other shell
  start sh -c 'HOLDFAST_TEST_SHELL=$1 exec node_modules/bats/bin/bats --tap test/shell >"$2" 2>&1' \
    sh "$1" "$results/$1.tap"
}

# end_bats SHELL PROCESS
end_bats() {
  status=0
  finished "$2" || status=$?
  title "shell tests under $1"
  cat "$results/$1.tap"
  bats_passed=$(grep -c '^ok [0-9]* [^#]*$' "$results/$1.tap" || :)
  bats_planned=$(sed -n 's/^1\.\.//p' "$results/$1.tap")
  bats_failed=$((${bats_planned:-1} - bats_passed))
  if [ "$status" != 0 ] && [ "$bats_failed" = 0 ]; then bats_failed=1; fi
  tally "shell tests under $1" "$bats_passed" "$bats_failed"
}

# leave_out TITLE REASON
leave_out() {
  printf '  %s: left out, %s\n' "$1" "$2" | tee -a "$summary"
  if [ -n "${CI:-}" ]; then tally "$1" 0 1; fi
}

# Puts the list of the images in place when it is whole, or an empty one when there is none.
build_images() {
  sh test/lab/images.sh >"$results/images.part" 2>"$results/images.log" &
  building=$!
  trap 'kill -TERM "$building" 2>/dev/null || :' TERM
  status=0
  wait "$building" || status=$?
  if [ "$status" != 0 ]; then : >"$results/images.part"; fi
  mv "$results/images.part" "$results/images"
  return "$status"
}

# Begins to build the images, which takes minutes where they are not there yet. The tests of stores
# wait for them. reason is why there are none then.
begin_images() {
  images=
  reason='no container engine'
  if ! engine_start; then return 0; fi
  reason='the images need root and debootstrap'
  if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then return 0; fi
  start build_images
  images=$started
  export HOLDFAST_IMAGES_FILE="$results/images"
}

# The tests on this machine; without images those of stores are left out.
start_host() {
  if [ -n "$images" ]; then
    start_vitest host --project '!container' --coverage
  else
    leave_out 'tests of stores' "$reason"
    start_vitest host --project '!container' --project '!stores' --coverage
  fi
}

# container is the process of the container tests then; nothing where they are left out.
start_container() {
  container=
  if [ -z "$images" ]; then
    leave_out 'container tests' "$reason"
  elif ! finished "$images"; then
    cat "$results/images.log"
    leave_out 'container tests' 'the images cannot be built here'
  else
    while IFS='=' read -r name image; do export "$name=$image"; done <"$results/images"
    start_vitest container --project container
    container=$started
  fi
}

# Shells wait a lot: beside the first tests they fill what those leave of the processors.
start_shells() {
  dash='' bash=''
  for shell in dash bash; do
    if command -v "$shell" >/dev/null; then
      start_bats "$shell"
      eval "$shell=$started"
    else
      printf '  shell tests under %s: left out, it is not installed\n' "$shell" >>"$summary"
    fi
  done
}

rm -rf coverage
begin_images
title 'tests on this machine, and beside them shell tests'
start_shells
start_host
end_vitest 'tests on this machine' host "$started"
printf '  %-24s %s\n' 'line coverage' "$(node test/summary.ts coverage)" >>"$summary"
if [ -n "$dash" ]; then end_bats dash "$dash"; fi
if [ -n "$bash" ]; then end_bats bash "$bash"; fi

title 'container tests'
start_container
if [ -n "$container" ]; then end_vitest 'container tests' container "$container"; fi

title summary
cat "$summary"
# Named at the very end: of a long output often the end alone is kept.
if [ "$failed" != 0 ]; then node test/summary.ts failures "$results"; fi
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
