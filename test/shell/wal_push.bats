# wal_push, as archive_command calls it; run under sh, or under the shell that HOLDFAST_TEST_SHELL
# names.

bats_require_minimum_version 1.5.0

setup() {
  source "$BATS_TEST_DIRNAME/../support/wal_hooks.bash"
  make_places
  hook="$place/wal_push"
  render_push "$hook"
  printf '%s\n' "$(claim_line)" >"$archive/claim.json"
  stored="$archive/00000001/$first.zst"
}

# push PATH NAME
push() { run "$shell" "$hook" "$@"; }

# The plain bytes in the archive, and the digest beside them, are those of the file.
assert_stored() {
  zstd --decompress --quiet --stdout "$archive/00000001/$2.zst" | cmp - "$1"
  [ "$(cat "$archive/00000001/$2.sha256")" = "$(sha256sum <"$1" | cut -c 1-64)  $2" ]
}

assert_refused() {
  [ "$status" = 1 ]
  [[ $output == "wal_push: "*"$1"* ]]
  [ -z "$(find "$archive" -name "0*.zst" -o -name '*.sha256')" ]
  assert_nothing_unfinished
}

assert_nothing_unfinished() { wait_until no_unfinished; }
no_unfinished() { [ -z "$(unfinished)" ]; }

@test "a segment is stored compressed, with its digest beside it, for the owner alone" {
  make_segment "pg_wal/$first" "$first"
  push "pg_wal/$first" "$first"
  [ "$status" = 0 ]
  [ -z "$output" ]
  assert_stored "pg_wal/$first" "$first"
  assert_nothing_unfinished
  [ "$(stat -c %a "$stored")" = 600 ]
  [ "$(stat -c %a "$archive/00000001")" = 700 ]
  [ ! -e x ]
  # The path may be absolute too, and a second segment follows.
  make_segment "pg_wal/$second" "$second"
  push "$pgdata/pg_wal/$second" "$second"
  [ "$status" = 0 ]
  assert_stored "pg_wal/$second" "$second"
}

@test "segments of 1 MB and of 64 MB, with the names that such servers give them" {
  local name=00000002000000010000003F
  render_push "$hook" $((64 * megabyte))
  make_segment seg "$name" $((64 * megabyte))
  push seg "$name"
  [ "$status" = 0 ]
  zstd --decompress --quiet --stdout "$archive/00000002/$name.zst" | cmp - seg
  # A segment that ends its log of 4 GB by 1 MB segments.
  name=000000010000000A00000FFF
  render_push "$hook"
  make_segment seg "$name"
  push seg "$name"
  [ "$status" = 0 ]
  assert_stored seg "$name"
}

@test "history, backup and partial files" {
  printf '1\t0/3000000\tno recovery target specified\n' >00000002.history
  push 00000002.history 00000002.history
  [ "$status" = 0 ]
  cmp 00000002.history "$archive/00000002.history"
  (cd "$archive" && sha256sum --check --quiet 00000002.history.sha256)
  printf 'START WAL LOCATION: 0/2000028\n' >"$second.00000028.backup"
  push "$second.00000028.backup" "$second.00000028.backup"
  [ "$status" = 0 ]
  cmp "$second.00000028.backup" "$archive/$second.00000028.backup"
  make_segment "$third.partial" "$third"
  push "$third.partial" "$third.partial"
  [ "$status" = 0 ]
  zstd --decompress --quiet --stdout "$archive/00000001/$third.partial.zst" | cmp - "$third.partial"
  [ ! -e "$archive/00000001/$third.zst" ]
  # The same again is done; another history of the same timeline is refused.
  push 00000002.history 00000002.history
  [ "$status" = 0 ]
  printf '1\t0/4000000\tno recovery target specified\n' >00000002.history
  push 00000002.history 00000002.history
  [ "$status" = 1 ]
  [[ $output == *'holds other bytes'* ]]
}

@test "the same content again is success, also where the first run was killed before its digest" {
  make_segment seg "$first"
  push seg "$first"
  local before
  before=$(stat -c '%i %Y' "$stored")
  push seg "$first"
  [ "$status" = 0 ]
  [ -z "$output" ]
  rm "$archive/00000001/$first.sha256"
  push seg "$first"
  [ "$status" = 0 ]
  assert_stored seg "$first"
  [ "$(stat -c '%i %Y' "$stored")" = "$before" ]
  assert_nothing_unfinished
}

@test "other content under the same name is refused loudly and never overwrites" {
  make_segment seg "$first"
  push seg "$first"
  local before
  before=$(sha256sum "$stored")
  make_segment other "$first" "$megabyte" "$system" 'another seed'
  push other "$first"
  [ "$status" = 1 ]
  [[ $output == *"holds other bytes under this name"*"Nothing was overwritten"* ]]
  [ "$(sha256sum "$stored")" = "$before" ]
  assert_stored seg "$first"
  # What is stored and cannot be read any more is told as damaged.
  truncate --size=-100 "$stored"
  push seg "$first"
  [ "$status" = 1 ]
  [[ $output == *'holds it damaged'* ]]
  poke "$stored" 0 00000000
  push seg "$first"
  [ "$status" = 1 ]
  [[ $output == *'holds it damaged'* ]]
  # Moved away, it is archived again.
  mv "$stored" "$place/damaged"
  push seg "$first"
  [ "$status" = 0 ]
  assert_stored seg "$first"
}

@test "nonsense ends with 1 and writes nothing" {
  make_segment seg "$first"
  push
  assert_refused usage
  push seg
  assert_refused usage
  push seg "$first" more
  assert_refused usage
  push missing "$first"
  assert_refused 'no file'
  push pg_wal "$first"
  assert_refused 'no file'
  local name
  for name in '' . .. x "../$first" "${first}0" "${first%1}g" 0000000100000000000000\$\( -n \
    "$first.part" "$first.backup" "$first.0000002.backup" "$first.0000002x.backup" \
    "$first..0000028.backup" 0000000x.history 00000.02.history .history "00000001000000000000/../"; do
    push seg "$name"
    assert_refused 'not a name'
  done
}

@test "what does not fit the header of the segment is refused" {
  make_segment seg "$first"
  push seg "$second"
  assert_refused 'another position'
  push seg 000000010000000100000001
  assert_refused 'another position'
  make_segment seg 000000020000000000000001
  push seg "$first"
  assert_refused 'of timeline 2'
  make_segment seg "$first" "$megabyte" "$other_system"
  push seg "$first"
  assert_refused "another server wrote it (system identifier $other_system)"
  make_segment seg 000000010000000000000001 $((16 * megabyte))
  push seg "$first"
  assert_refused 'a segment of 16777216 bytes'
  make_segment seg "$first"
  poke seg 0 0000
  push seg "$first"
  assert_refused 'does not begin with a page'
  make_segment seg "$first"
  poke seg 2 0000
  push seg "$first"
  assert_refused 'does not begin with a page'
  make_segment seg "$first"
  truncate --size=-1 seg
  push seg "$first"
  assert_refused "has 1048575 bytes, not $megabyte"
  truncate --size=20 seg
  push seg "$first"
  assert_refused 'no segment of the WAL'
  : >seg
  push seg "$first"
  assert_refused 'no segment of the WAL'
  head -c "$megabyte" /dev/zero >seg
  push seg "$first"
  assert_refused 'does not begin with a page'
}

@test "the first segment of a timeline, which begins as that of its parent, is taken" {
  make_segment seg "$second"
  push seg 000000020000000000000002
  [ "$status" = 0 ]
  zstd --decompress --quiet --stdout "$archive/00000002/000000020000000000000002.zst" | cmp - seg
}

@test "without the claim, or with that of another, nothing is written" {
  make_segment seg "$first"
  rm "$archive/claim.json"
  push seg "$first"
  assert_refused 'not mounted, or nobody has claimed it'
  : >"$archive/claim.json"
  push seg "$first"
  assert_refused 'not mounted, or nobody has claimed it'
  printf '%s\n' "$(claim_line '' '' other)" >"$archive/claim.json"
  push seg "$first"
  assert_refused 'another server has claimed this archive'
  [[ $output == *'setup_archiving.ts take-over'* ]]
  claim_line >"$archive/claim.json"
  push seg "$first"
  [ "$status" = 0 ]
}

@test "another host, or another data directory, is refused: that is how a clone is kept out" {
  make_segment seg "$first"
  local theirs
  theirs=$(claim_line 'not this host')
  render_push "$hook" "$megabyte" "$theirs"
  printf '%s\n' "$theirs" >"$archive/claim.json"
  push seg "$first"
  assert_refused 'belongs to not this host'
  render_push "$hook"
  claim_line >"$archive/claim.json"
  mkdir "$place/clone"
  cp seg "$place/clone/"
  cd "$place/clone"
  push seg "$first"
  assert_refused "called in $(pwd -P)"
  # A link to the data directory is the data directory.
  ln -s "$pgdata" "$place/link"
  cd "$place/link"
  push seg "$first"
  [ "$status" = 0 ]
}

@test "a claim that moves while a segment is written keeps it out" {
  make_segment seg "$first"
  mkdir "$place/bin"
  # The program that compresses takes long enough for the claim to move.
  cat >"$place/bin/zstd" <<PROGRAM
#!/bin/sh
printf '%s\n' 'another' >'${archive//\'/\'\\\'\'}/claim.json'
exec $(command -v zstd) "\$@"
PROGRAM
  chmod 755 "$place/bin/zstd"
  PATH="$place/bin:$PATH" render_push "$hook"
  push seg "$first"
  assert_refused 'another server has claimed this archive'
}

@test "a disk that is full leaves neither a segment nor a part of one" {
  make_segment seg "$first"
  run "$shell" -c 'ulimit -f 100; exec "$0" "$@"' "$shell" "$hook" seg "$first"
  [ "$status" = 1 ]
  [ ! -e "$stored" ]
  assert_nothing_unfinished
  push seg "$first"
  [ "$status" = 0 ]
  assert_stored seg "$first"
}

@test "a folder that cannot be written is told" {
  make_segment seg "$first"
  : >"$archive/00000001"
  push seg "$first"
  [ "$status" = 1 ]
  [[ $output == *"$archive/00000001 cannot be made"* ]]
}

# A zstd that writes a part and then waits: the run is in the middle of its segment.
slow_zstd() {
  mkdir "$place/bin"
  cat >"$place/bin/zstd" <<'PROGRAM'
#!/bin/sh
head -c 1000
exec sleep 600
PROGRAM
  chmod 755 "$place/bin/zstd"
  PATH="$place/bin:$PATH" render_push "$place/slow"
}
has_part() { [ -n "$(find "$archive" -name '*.data.tmp' -size +0)" ]; }

@test "ended by a signal in the middle it ends with 1 and takes away what it has begun" {
  make_segment seg "$first"
  slow_zstd
  local signal
  for signal in TERM INT QUIT HUP; do
    "$node" "$checkout/test/support/signalled.ts" "$signal" "$archive" "$shell" "$place/slow" \
      seg "$first" >"$place/ended"
    [ "$(cat "$place/ended")" = 1 ]
    [ ! -e "$stored" ]
    no_unfinished
  done
  push seg "$first"
  [ "$status" = 0 ]
  assert_stored seg "$first"
}

@test "killed without a word it leaves nothing that looks like a segment, and the next run tidies" {
  make_segment seg "$first"
  slow_zstd
  run "$node" "$checkout/test/support/signalled.ts" -KILL "$archive" "$shell" "$place/slow" \
    seg "$first"
  [ ! -e "$stored" ]
  has_part
  push seg "$first"
  [ "$status" = 0 ]
  assert_stored seg "$first"
  assert_nothing_unfinished
}

@test "the self-test proves who runs it where, and takes no other word than a token" {
  run "$shell" "$hook" --self-test k3f9
  [ "$status" = 0 ]
  [ "$(cat "$archive/.self-test-k3f9")" = "$(uname -n)
$(id -un)
$pgdata" ]
  rm "$archive/.self-test-k3f9"
  no_unfinished
  run "$shell" "$hook" --self-test '../x'
  [ "$status" = 1 ]
  run "$shell" "$hook" --self-test ''
  [ "$status" = 1 ]
  rm -r "$archive"
  run "$shell" "$hook" --self-test k3f9
  [ "$status" = 1 ]
  [[ $output == *'may not write into'* ]]
}

# What wal_ship.ts leaves behind for a file that it has stored. mark NAME FILE
mark() {
  mkdir -p "$markers"
  printf 'stored %s\n' "$(stat --format='%s %d %i %.9Y %.9Z' "$2")" >"$markers/$1"
}
# A zstd that says when it is called.
telling_zstd() {
  mkdir "$place/bin"
  cat >"$place/bin/zstd" <<PROGRAM
#!/bin/sh
: >'${place//\'/\'\\\'\'}/called'
exec $(command -v zstd) "\$@"
PROGRAM
  chmod 755 "$place/bin/zstd"
  PATH="$place/bin:$PATH" render_push "$hook"
}
was_called() { [ -e "$place/called" ]; }

@test "what wal_ship.ts has stored is answered at once" {
  make_segment seg "$first"
  push seg "$first"
  telling_zstd
  mark "$first" seg
  push seg "$first"
  [ "$status" = 0 ]
  [ -z "$output" ]
  run ! was_called
  # A history file too, whatever its size.
  printf '1\t0/3000000\tnone\n' >00000002.history
  push 00000002.history 00000002.history
  mark 00000002.history 00000002.history
  push 00000002.history 00000002.history
  [ "$status" = 0 ]
  # Whoever has the claim is looked at all the same.
  claim_line '' '' other >"$archive/claim.json"
  push seg "$first"
  [ "$status" = 1 ]
  [[ $output == *'another server has claimed'* ]]
}

@test "a marker of another file, or of another state of it, is not believed" {
  make_segment seg "$first"
  push seg "$first"
  telling_zstd
  mark "$first" seg
  local line
  line=$(cat "$markers/$first")
  # The same bytes in another file; then other bytes in the same file, which has the same size.
  cp seg other
  push other "$first"
  [ "$status" = 0 ]
  was_called
  poke seg 5000 '00ff00ff'
  push seg "$first"
  [ "$status" = 1 ]
  [[ $output == *'holds other bytes'* ]]
  # Also where somebody sets the time back.
  touch --date="@$(printf '%s' "$line" | cut -d ' ' -f 5)" seg
  push seg "$first"
  [ "$status" = 1 ]
  [[ $output == *'holds other bytes'* ]]
  # A recycled one, under its new name: the marker of the old one says nothing of it.
  make_segment next "$second"
  mv seg old
  mv next seg
  push seg "$first"
  [ "$status" = 1 ]
  push seg "$second"
  [ "$status" = 0 ]
  assert_stored seg "$second"
}

@test "a marker counts for nothing while the archive lacks the segment or its digest" {
  make_segment seg "$first"
  mark "$first" seg
  push seg "$first"
  [ "$status" = 0 ]
  assert_stored seg "$first"
  rm "$archive/00000001/$first.sha256"
  mark "$first" seg
  push seg "$first"
  [ "$status" = 0 ]
  assert_stored seg "$first"
  # Nor does that of a segment of another size than the server's.
  make_segment large "$first" $((2 * megabyte))
  mark "$first" large
  push large "$first"
  [ "$status" = 1 ]
  [[ $output == *'a segment of 2097152 bytes'* ]]
}

@test "nonsense among the markers, or none that can be read, changes nothing" {
  make_segment seg "$first"
  mkdir -p "$markers"
  local nonsense
  for nonsense in '' 'stored' 'stored ' 'stored 1' "stored \$(touch x)" 'working' 'working 0x' \
    'working -' "working $(printf '9%.0s' {1..30})" '*' "$(head -c 5000 /dev/zero | tr '\0' x)"; do
    rm -rf "$archive/00000001"
    printf '%s\n' "$nonsense" >"$markers/$first"
    push seg "$first"
    [ "$status" = 0 ]
    [ -z "$output" ]
    assert_stored seg "$first"
  done
  [ ! -e x ]
  for nonsense in mkdir mkfifo 'ln -s /dev/zero' 'ln -s nowhere'; do
    rm -rf "$archive/00000001" "$markers/$first"
    $nonsense "$markers/$first"
    push seg "$first"
    [ "$status" = 0 ]
    assert_stored seg "$first"
  done
  rm -rf "$archive/00000001" "$markers"
  : >"$markers"
  push seg "$first"
  [ "$status" = 0 ]
  [ -z "$output" ]
  assert_stored seg "$first"
}

@test "while wal_ship.ts works on a segment it is waited for, but no longer than it lives" {
  make_segment seg "$first"
  push seg "$first"
  telling_zstd
  mkdir -p "$markers"
  sleep 30 3>&- &
  local worker=$!
  printf 'working %s\n' "$worker" >"$markers/$first"
  # It finishes in the middle.
  (
    sleep 0.3
    mark "$first.new" seg
    mv "$markers/$first.new" "$markers/$first"
  ) 3>&- &
  push seg "$first"
  [ "$status" = 0 ]
  run ! was_called
  # It is killed in the middle.
  rm -rf "$archive/00000001"
  printf 'working %s\n' "$worker" >"$markers/$first"
  (
    sleep 0.3
    kill "$worker"
  ) 3>&- &
  push seg "$first"
  [ "$status" = 0 ]
  was_called
  assert_stored seg "$first"
}

@test "one that never ends is waited for, but not for ever" {
  make_segment seg "$first"
  mkdir -p "$markers"
  sleep 30 3>&- &
  local worker=$!
  printf 'working %s\n' "$worker" >"$markers/$first"
  push seg "$first"
  kill "$worker"
  [ "$status" = 0 ]
  assert_stored seg "$first"
}

@test "wal_ship.ts is told what is worked on here, and for how long" {
  make_segment seg "$first"
  mkdir -p "$markers" "$place/bin"
  cat >"$place/bin/zstd" <<PROGRAM
#!/bin/sh
cp '${markers//\'/\'\\\'\'}/$first' '${place//\'/\'\\\'\'}/told'
exec $(command -v zstd) "\$@"
PROGRAM
  chmod 755 "$place/bin/zstd"
  PATH="$place/bin:$PATH" render_push "$hook"
  push seg "$first"
  [ "$status" = 0 ]
  [[ $(cat "$place/told") == 'working '[0-9]* ]]
  wait_until [ ! -e "$markers/$first" ]
  # Also when it fails, and when it is ended.
  truncate --size=-1 seg
  push seg "$second"
  [ "$status" = 1 ]
  [ -z "$(ls -A "$markers")" ]
  make_segment seg "$second"
  rm -r "$place/bin"
  slow_zstd
  "$node" "$checkout/test/support/signalled.ts" TERM "$archive" "$shell" "$place/slow" \
    seg "$second" >"$place/ended"
  [ "$(cat "$place/ended")" = 1 ]
  [ -z "$(ls -A "$markers")" ]
}

@test "rendered it is clean under shellcheck, whatever stands in the values" {
  command -v shellcheck >/dev/null || return 0
  shellcheck "$hook"
  render_push "$hook" "$megabyte" "$(claim_line "h'\$(x)\`y\`" '/a "b" \ c')"
  shellcheck "$hook"
}
