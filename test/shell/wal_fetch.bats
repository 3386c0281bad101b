# wal_fetch, as restore_command calls it; run under sh, or under the shell that HOLDFAST_TEST_SHELL
# names.

bats_require_minimum_version 1.5.0

setup() {
  source "$BATS_TEST_DIRNAME/../support/wal_hooks.bash"
  make_places
  hook="$place/wal_fetch"
  render_fetch "$hook"
  claim_line 'another host' /another/folder >"$archive/claim.json"
  target=pg_wal/RECOVERYXLOG
}

teardown() {
  # What is unpacked ahead is still being written when a test ends.
  rm -rf "$place" || rm -rf "$place"
}

# store NAME [SEGMENT_BYTES [SYSTEM_IDENTIFIER]]: as wal_push does
store() {
  make_segment "$place/$1" "$1" "${2:-$megabyte}" "${3:-$system}"
  mkdir -p "$archive/${1:0:8}"
  zstd --quiet --force -1 "$place/$1" -o "$archive/${1:0:8}/$1.zst"
}

fetch() { run "$shell" "$hook" "$@"; }

# The server that recovers runs: it unpacks ahead.
start_recovery() {
  printf '%s\n' "${1:-4711}" "$pgdata" "${2:-1790000000}" 5432 >postmaster.pid
  spool="pg_wal/.wal_fetch.${1:-4711}.${2:-1790000000}"
}

assert_fetched() {
  [ "$status" = 0 ]
  [ -z "$output" ]
  cmp "$place/$1" "$target"
  [ -z "$(find "$pgdata" -name '*.wal_fetch')" ]
  rm "$target"
}

# assert_given_up WORDS
assert_given_up() {
  [ "$status" -ge 126 ]
  # bash tells first that a program was ended by a signal.
  [[ $output == *"wal_fetch: "*"$1"* ]]
  [ ! -e "$target" ]
  [ -z "$(find "$pgdata" -name '*.wal_fetch')" ]
}

assert_absent() {
  [ "$status" = 1 ]
  [ -z "$output" ]
  [ ! -e "$target" ]
}

# What lies unpacked in the spool, whole or not, by name.
spooled() { (cd "$spool" && printf '%s\n' * | sort | tr '\n' ' '); }
is_spooled() { [ "$(spooled)" = "$1 " ]; }

@test "a segment comes as it was, also one of 64 MB" {
  store "$first"
  fetch "$first" "$target"
  assert_fetched "$first"
  fetch "$first" "$pgdata/$target"
  assert_fetched "$first"
  render_fetch "$hook" $((64 * megabyte))
  store 00000001000000020000003F $((64 * megabyte))
  fetch 00000001000000020000003F "$target"
  assert_fetched 00000001000000020000003F
  [ ! -e x ]
}

@test "histories and marks of backups come as they were" {
  printf '1\t0/3000000\tno recovery target specified\n' >"$place/00000002.history"
  cp "$place/00000002.history" "$archive/"
  (cd "$archive" && sha256sum 00000002.history >00000002.history.sha256)
  fetch 00000002.history "$target"
  assert_fetched 00000002.history
  # Without its digest it counts too; with another one it does not.
  rm "$archive/00000002.history.sha256"
  fetch 00000002.history "$target"
  assert_fetched 00000002.history
  (cd "$archive" && sha256sum claim.json >00000002.history.sha256)
  fetch 00000002.history "$target"
  assert_given_up 'damaged'
  printf 'START WAL LOCATION\n' >"$place/$first.00000028.backup"
  cp "$place/$first.00000028.backup" "$archive/"
  fetch "$first.00000028.backup" "$target"
  assert_fetched "$first.00000028.backup"
}

@test "1 says that the file is surely not in the archive" {
  fetch "$first" "$target"
  assert_absent
  fetch 00000002.history "$target"
  assert_absent
  store "$first"
  fetch "$second" "$target"
  assert_absent
}

@test "without the archive, or with that of another server, nothing is said to be absent" {
  store "$first"
  rm "$archive/claim.json"
  fetch "$second" "$target"
  assert_given_up 'cannot be reached'
  printf '{"system_identifier":"%s","host":"h"}\n' "$other_system" >"$archive/claim.json"
  fetch "$second" "$target"
  assert_given_up 'archive of another server'
  rm -r "$archive"
  fetch "$second" "$target"
  assert_given_up 'cannot be reached'
  fetch 00000002.history "$target"
  assert_given_up 'cannot be read'
}

@test "a mount that comes back while it is tried again is found" {
  render_fetch "$hook" "$megabyte" ', "attempts": 120'
  store "$first"
  mv "$archive" "$place/away"
  (sleep 1 && mv "$place/away" "$archive") &
  fetch "$first" "$target"
  wait
  assert_fetched "$first"
}

@test "a damaged segment is neither absent nor taken" {
  store "$first"
  local stored="$archive/00000001/$first.zst" size
  size=$(stat -c %s "$stored")
  cp "$stored" "$place/good"
  poke "$stored" $((size / 2)) ff00ff
  fetch "$first" "$target"
  assert_given_up 'is damaged'
  cp "$place/good" "$stored"
  truncate --size=$((size - 1)) "$stored"
  fetch "$first" "$target"
  assert_given_up 'is damaged'
  : >"$stored"
  fetch "$first" "$target"
  assert_given_up 'is damaged'
  printf 'no zstd at all' >"$stored"
  fetch "$first" "$target"
  assert_given_up 'is damaged'
  rm "$stored"
  mkdir "$stored"
  fetch "$first" "$target"
  assert_given_up 'is damaged'
}

@test "a segment under the name of another one, or of another server, is not taken" {
  store "$first"
  mv "$archive/00000001/$first.zst" "$archive/00000001/$second.zst"
  fetch "$second" "$target"
  assert_given_up 'is damaged'
  store "$second" "$megabyte" "$other_system"
  fetch "$second" "$target"
  assert_given_up 'is damaged'
  store "$second" $((2 * megabyte))
  fetch "$second" "$target"
  assert_given_up 'is damaged'
}

@test "the first segment of a timeline, which begins as that of its parent, is taken" {
  store "$first"
  mkdir "$archive/00000002"
  mv "$archive/00000001/$first.zst" "$archive/00000002/000000020000000000000001.zst"
  fetch 000000020000000000000001 "$target"
  assert_fetched "$first"
}

@test "a gap is an error, since the server would open with data missing; unless it was told" {
  store "$first"
  store "$third"
  fetch "$second" "$target"
  assert_given_up 'a gap'
  render_fetch "$hook" "$megabyte" ', "gapEndsRecovery": true'
  fetch "$second" "$target"
  assert_absent
  # So is one of several: what matters is whether anything comes later.
  render_fetch "$hook"
  rm "$archive/00000001/$first.zst"
  fetch "$first" "$target"
  assert_given_up "$first is missing in the archive, and $third is there: a gap"
  touch "$archive/00000001/not-a-segment-of-the-WAL.zst"
  fetch 000000010000000000000FFF "$target"
  assert_absent
  # The last segment of a log of 4 GB is followed by the first one of the next.
  render_fetch "$hook"
  store 000000010000000500000000
  fetch 000000010000000400000FFF "$target"
  assert_given_up 'a gap'
}

@test "what is wrong behind the last segment that is needed is the end of the WAL" {
  store "$first"
  store "$second"
  head -c 500 "$archive/00000001/$second.zst" >"$place/cut"
  mv "$place/cut" "$archive/00000001/$second.zst"
  fetch "$first" "$target" '' "$first"
  assert_fetched "$first"
  fetch "$second" "$target" '' "$first"
  assert_absent
  fetch "$second" "$target" '' "$second"
  assert_given_up damaged
  # Also of another timeline, and a gap.
  store "$third"
  rm "$archive/00000001/$second.zst"
  fetch "$second" "$target" '' "00000007${first#????????}"
  assert_absent
  fetch "$second" "$target" '' "$second"
  assert_given_up 'a gap'
  fetch "$third" "$target" '' "$first"
  assert_fetched "$third"
  fetch "$first" "$target" '' "$first.partial"
  assert_given_up 'not a name'
}

@test "nonsense is never taken for an answer" {
  local name
  fetch
  assert_given_up usage
  fetch "$first"
  assert_given_up usage
  fetch "$first" ''
  assert_given_up 'no path'
  for name in '' . .. x "../$first" "$first.partial" "$first.zst" claim.json 0000000x.history; do
    fetch "$name" "$target"
    assert_given_up 'not a name'
  done
  store "$first"
  fetch "$first" no/such/folder/RECOVERYXLOG
  assert_given_up 'cannot be written'
}

@test "a disk that is full leaves nothing under the name that the server asked for" {
  store "$first"
  run "$shell" -c 'ulimit -f 100; exec "$0" "$@"' "$shell" "$hook" "$first" "$target"
  assert_given_up 'cannot be written'
}

@test "ended by the server's signal it says so and leaves no half file" {
  store "$first"
  mkdir "$place/bin"
  printf '#!/bin/sh\nprintf part\nexec sleep 600\n' >"$place/bin/zstd"
  chmod 755 "$place/bin/zstd"
  PATH="$place/bin:$PATH" render_fetch "$place/slow"
  run --separate-stderr "$node" "$checkout/test/support/signalled.ts" -TERM "$pgdata" "$shell" \
    "$place/slow" "$first" "$target"
  [ "$output" = 143 ]
  [ ! -e "$target" ]
  [ -z "$(find "$pgdata" -name '*.wal_fetch')" ]
}

@test "a server that recovers finds the next segments unpacked" {
  local log number
  start_recovery
  for number in 1 2 3 4 5 6 7 8 9 A B; do store "00000001000000000000000$number"; done
  fetch "$first" "$target"
  assert_fetched "$first"
  local eight
  eight=$(printf '00000001000000000000000%s ' 2 3 4 5 6 7 8 9)
  wait_until is_spooled "${eight% }"
  # It is taken from there: the archive is not read for it.
  printf 'damaged' >"$archive/00000001/$second.zst"
  fetch "$second" "$target"
  assert_fetched "$second"
  wait_until is_spooled "$(printf '%s' "${eight#* }" 00000001000000000000000A)"
  for number in 3 4 5 6 7 8 9 A B; do
    fetch "00000001000000000000000$number" "$target"
    assert_fetched "00000001000000000000000$number"
  done
  fetch 00000001000000000000000C "$target"
  assert_absent
  "$shell" "$hook" --end
  [ -z "$(find pg_wal -name '.wal_fetch*')" ]
}

@test "what is damaged ahead is not unpacked, and told when the server asks for it" {
  start_recovery
  store "$first"
  store "$second"
  store "$third"
  poke "$archive/00000001/$third.zst" 1000 ff00ff
  fetch "$first" "$target"
  assert_fetched "$first"
  wait_until is_spooled "$second"
  fetch "$second" "$target"
  assert_fetched "$second"
  fetch "$third" "$target"
  assert_given_up 'is damaged'
}

@test "on another timeline what was unpacked for the old one goes" {
  start_recovery
  local name
  for name in "$first" "$second" "$third" 000000020000000000000002 000000020000000000000003; do
    store "$name"
  done
  fetch "$first" "$target"
  assert_fetched "$first"
  wait_until is_spooled "$second $third"
  fetch 000000020000000000000002 "$target"
  assert_fetched 000000020000000000000002
  wait_until is_spooled 000000020000000000000003
  fetch 000000020000000000000003 "$target"
  assert_fetched 000000020000000000000003
  # A question about a timeline that is not there changes nothing.
  fetch 00000003.history "$target"
  assert_absent
}

@test "what another run of the server has left unpacked is not taken, and goes" {
  start_recovery 4711 1790000000
  store "$first"
  store "$second"
  fetch "$first" "$target"
  assert_fetched "$first"
  wait_until is_spooled "$second"
  printf 'half' >"$spool/$second"
  start_recovery 4711 1790000001
  fetch "$second" "$target"
  assert_fetched "$second"
  [ ! -e pg_wal/.wal_fetch.4711.1790000000 ]
}

@test "without a server that runs nothing is unpacked ahead" {
  store "$first"
  store "$second"
  fetch "$first" "$target"
  assert_fetched "$first"
  printf 'nonsense\n' >postmaster.pid
  fetch "$first" "$target"
  assert_fetched "$first"
  [ -z "$(find pg_wal -name '.wal_fetch*')" ]
}

@test "what a killed run has begun to unpack is never taken for a segment" {
  start_recovery
  store "$first"
  store "$second"
  mkdir "$spool"
  printf 'half' >"$spool/$second.tmp"
  fetch "$first" "$target"
  assert_fetched "$first"
  fetch "$second" "$target"
  assert_fetched "$second"
}

@test "with large segments less is unpacked ahead" {
  start_recovery
  render_fetch "$hook" $((64 * megabyte))
  local number
  for number in 1 2 3 4 5 6; do store "00000001000000000000000$number" $((64 * megabyte)); done
  fetch "$first" "$target"
  assert_fetched "$first"
  wait_until is_spooled "$(printf '00000001000000000000000%s ' 2 3 4 5 | sed 's/ $//')"
}

@test "rendered it is clean under shellcheck, whatever stands in the values" {
  command -v shellcheck >/dev/null || return 0
  shellcheck "$hook"
}

# stream NAME FILE: what pg_receivewal has written
stream() {
  mkdir -p "$place/stream"
  make_segment "$place/$1" "$1"
  cp "$place/$1" "$place/stream/$2"
}

@test "a segment that is complete in the stream is taken from there, and from the archive if it has it" {
  stream "$first" "$first"
  fetch "$first" "$target"
  assert_fetched "$first"
  store "$first"
  printf x >"$place/stream/$first"
  fetch "$first" "$target"
  assert_fetched "$first"
}

@test "an unfinished segment is taken only by a recovery that was told to end with it" {
  stream "$second" "$second.partial"
  store "$first"
  fetch "$second" "$target"
  assert_absent
  fetch "$first" "$target" "stream/$second.partial"
  assert_fetched "$first"
  fetch "$second" "$target" "stream/$second.partial"
  assert_fetched "$second"
  fetch "$third" "$target" "stream/$second.partial"
  assert_absent
}

@test "an unfinished segment that was completed meanwhile is taken as it is now" {
  stream "$second" "$second"
  fetch "$second" "$target" "stream/$second.partial"
  assert_fetched "$second"
  rm "$place/stream/$second"
  store "$second"
  fetch "$second" "$target" "stream/$second.partial"
  assert_fetched "$second"
}

@test "the unfinished segment of an ended timeline is taken out of the archive" {
  stream "$second" "$second.partial"
  mkdir -p "$archive/00000001"
  zstd --quiet -1 "$place/$second" -o "$archive/00000001/$second.partial.zst"
  rm "$place/stream/$second.partial"
  fetch "$second" "$target" "wal/00000001/$second.partial.zst"
  assert_fetched "$second"
}

@test "a file of the stream that is not that segment ends the recovery in order" {
  stream "$third" "$second.partial"
  fetch "$second" "$target" "stream/$second.partial"
  assert_given_up damaged
  : >"$place/stream/$second.partial"
  fetch "$second" "$target" "stream/$second.partial"
  assert_given_up damaged
}
