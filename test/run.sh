#!/bin/sh
# The whole test suite: vitest on this machine with coverage, bats under dash and bash, then the
# tests that need a container engine. The last line is `N passed, N failed`; the status is 0 only
# when something ran and nothing failed. Started by `npm test`, after scripts/bootstrap.sh.
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
child=

finish() {
  engine_stop
  rm -rf "$results"
}

interrupt() {
  trap '' INT TERM HUP
  if [ -n "$child" ] && kill -TERM "$child" 2>/dev/null; then wait "$child" || :; fi
  exit "$1"
}

trap finish EXIT
trap 'interrupt 130' INT
trap 'interrupt 143' TERM HUP

# Runs a program so that a signal to this shell is answered at once, and gives its status.
run() {
  "$@" &
  child=$!
  run_status=0
  wait "$child" || run_status=$?
  child=
  return "$run_status"
}

# tally TITLE PASSED FAILED
tally() {
  passed=$((passed + $2))
  failed=$((failed + $3))
  printf '  %-24s %s passed, %s failed\n' "$1" "$2" "$3" >>"$summary"
}

title() { printf '\n== %s\n' "$1"; }

# The passed and the failed of a report. A skipped test has not passed.
read_report() {
  # shellcheck disable=SC2016 # JavaScript
  node --print 'const r = JSON.parse(fs.readFileSync(process.argv[1]));
    `${r.numPassedTests} ${r.numTotalTests - r.numPassedTests}`' "$1" 2>/dev/null || printf '0 1'
}

line_coverage() {
  node --print 'JSON.parse(fs.readFileSync("coverage/coverage-summary.json")).total.lines.pct' \
    2>/dev/null || printf unknown
}

# run_vitest TITLE REPORT ARGUMENTS: a status that no failed test explains (too little covered, a
# file that cannot be loaded, an error outside of tests) counts as one failure.
run_vitest() {
  vitest_title=$1
  report=$results/$2.json
  shift 2
  title "$vitest_title"
  status=0
  run node node_modules/vitest/vitest.mjs run --configLoader native --reporter=default \
    --reporter=json --outputFile.json="$report" "$@" || status=$?
  read -r vitest_passed vitest_failed <<COUNTS
$(read_report "$report")
COUNTS
  if [ "$status" != 0 ] && [ "$vitest_failed" = 0 ]; then vitest_failed=1; fi
  tally "$vitest_title" "$vitest_passed" "$vitest_failed"
}

run_bats() {
  title "shell tests under $1"
  status=0
  run sh -c 'HOLDFAST_TEST_SHELL=$1 node_modules/bats/bin/bats --tap test/shell >"$2" 2>&1' \
    sh "$1" "$results/$1.tap" || status=$?
  cat "$results/$1.tap"
  bats_passed=$(grep -c '^ok [0-9]* [^#]*$' "$results/$1.tap" || :)
  bats_planned=$(sed -n 's/^1\.\.//p' "$results/$1.tap")
  bats_failed=$((${bats_planned:-1} - bats_passed))
  if [ "$status" != 0 ] && [ "$bats_failed" = 0 ]; then bats_failed=1; fi
  tally "shell tests under $1" "$bats_passed" "$bats_failed"
}

run_container() {
  printf '\n'
  left_out=
  if ! engine_start; then
    left_out='no container engine'
  elif ! sh test/lab/images.sh >"$results/images"; then
    left_out='the images cannot be built here'
  fi
  if [ -n "$left_out" ]; then
    printf '  container tests: left out, %s\n' "$left_out" | tee -a "$summary"
    if [ -n "${CI:-}" ]; then tally 'container tests' 0 1; fi
    return
  fi
  while IFS='=' read -r name image; do export "$name=$image"; done <"$results/images"
  run_vitest 'container tests' container --project container
  engine_stop
}

rm -rf coverage
run_vitest 'tests on this machine' host --project '!container' --coverage
printf '  %-24s %s %%\n' 'line coverage' "$(line_coverage)" >>"$summary"
for shell in dash bash; do
  if command -v "$shell" >/dev/null; then
    run_bats "$shell"
  else
    printf '  shell tests under %s: left out, it is not installed\n' "$shell" >>"$summary"
  fi
done
run_container

title summary
cat "$summary"
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
