# restore.sh of a base backup: what it refuses, what it leaves behind. Real clusters are restored
# with it in test/integration/base_backup.test.ts; run under sh, or under HOLDFAST_TEST_SHELL.

bats_require_minimum_version 1.5.0

checkout=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
node="$checkout/node_modules/.bin/node"
shell=${HOLDFAST_TEST_SHELL:-sh}
label=20261121T020000Z-base-k3f9

# shellcheck source=test/support/server_user.bash
source "$BATS_TEST_DIRNAME/../support/server_user.bash"

# make_backup [TABLESPACES_JSON]: a small data directory that no server would start
make_backup() {
  backup=$scratch/$label
  rm -rf "$backup" "$scratch/tree"
  mkdir -p "$backup" "$scratch/tree/global" "$scratch/space/PG_15"
  printf 'control' >"$scratch/tree/global/pg_control"
  printf '15\n' >"$scratch/tree/PG_VERSION"
  printf '{}' >"$scratch/tree/backup_manifest"
  : >"$scratch/tree/tablespace_map"
  tar -C "$scratch/tree" -cf - . | zstd --quiet >"$backup/base.tar.zst"
  printf 'rows' >"$scratch/space/PG_15/rows"
  tar -C "$scratch/space" -cf - . | gzip >"$backup/16389.tar.gz"
  printf '{}' >"$backup/backup_manifest"
  printf '{}' >"$backup/manifest.json"
  "$node" "$checkout/test/support/render_base_script.ts" "{ \"label\": \"$label\",
    \"chain\": [\"$label\"], \"filters\": [{\"name\": \"zstd\"}, {\"name\": \"gzip\"}],
    \"createdAt\": \"2026-11-21T02:00:00Z\", \"serverVersion\": \"15.18\", \"serverMajor\": 15,
    \"toolVersion\": \"0.1.0\", \"clusterBytes\": 8000000, \"backupBytes\": 1000,
    \"damagedPages\": 0, \"savedConfig\": [], \"tablespaces\": ${1:-[]} }" >"$backup/restore.sh"
  sign
  chmod -R a+rX "$scratch"
}

sign() { (cd "$backup" && rm -f SHA256SUMS && sha256sum -- * >../sums && mv ../sums SHA256SUMS); }

setup() {
  scratch=$(mktemp -d /tmp/restore_base.XXXXXX)
  place="$scratch/it's \$(touch x) a \"place\""
  mkdir "$place"
  chmod 755 "$scratch" "$place"
  if [ "$(id -u)" = 0 ]; then chown postgres "$place"; fi
  pgdata=$place/data
  cd "$place"
}

teardown() {
  cd /
  rm -rf "$scratch"
}

# restore [ARGUMENT…]
restore() { run as_server_user "$shell" "$backup/restore.sh" "$@"; }

assert_refused() {
  [ "$status" -eq "$1" ]
  [[ "$output" == *"$2"* ]]
  [ ! -e "$pgdata" ] || [ -z "$(ls -A "$pgdata")" ]
}

@test "it unpacks, switches archiving off, and leaves nothing else behind" {
  make_backup
  restore "$pgdata"
  [ "$status" -eq 0 ]
  [ "$(cat "$pgdata/global/pg_control")" = control ]
  grep -q "^archive_mode = 'off'$" "$pgdata/postgresql.auto.conf"
  [ ! -e "$pgdata/recovery.signal" ]
  [ -f "$pgdata/postgresql.conf" ]
  [ "$(ls "$place")" = data ]
  [ "$(stat -c %a "$pgdata")" = 700 ]
}

@test "nothing that the original had decides the recovery, or leads to its own files" {
  make_backup
  printf "recovery_target_xid = '5'\n" >"$scratch/tree/postgresql.auto.conf"
  printf "%s\n" "data_directory = '/original'" "hba_file='/etc/pg_hba.conf'" 'port = 1' \
    >"$scratch/tree/postgresql.conf"
  tar -C "$scratch/tree" -cf - . | zstd --quiet --force -o "$backup/base.tar.zst"
  sign
  chmod -R a+rX "$scratch"
  restore "$pgdata"
  [ "$status" -eq 0 ]
  for setting in recovery_target_xid primary_conninfo synchronous_standby_names restore_command \
    promote_trigger_file; do
    [ "$(grep "^$setting " "$pgdata/postgresql.auto.conf" | tail -n 1)" = "$setting = ''" ]
  done
  [ "$(grep -v '^#' "$pgdata/postgresql.conf")" = 'port = 1' ]
  [ -f "$pgdata/pg_hba.conf" ]
}

@test "a folder that is not empty is not touched" {
  make_backup
  mkdir "$pgdata"
  printf 'mine' >"$pgdata/file"
  restore "$pgdata"
  [ "$status" -eq 2 ]
  [ "$(ls "$pgdata")" = file ]
  restore
  [ "$status" -eq 2 ]
  restore --unknown "$pgdata"
  [ "$status" -eq 2 ]
  restore ''
  [ "$status" -eq 2 ]
}

@test "every damaged or missing file is found before anything is changed" {
  for file in base.tar.zst backup_manifest manifest.json restore.sh; do
    make_backup
    printf 'x' >>"$backup/$file"
    restore "$pgdata"
    assert_refused 4 "$file is damaged"
  done
  make_backup
  rm "$backup/backup_manifest"
  restore "$pgdata"
  assert_refused 4 'backup_manifest is missing'
  make_backup
  rm "$backup/SHA256SUMS"
  restore "$pgdata"
  assert_refused 4 'SHA256SUMS is missing'
}

@test "an archive that cannot be unpacked is no restored cluster, whatever its digest says" {
  make_backup
  head -c 100 "$backup/base.tar.zst" >"$backup/cut" && mv "$backup/cut" "$backup/base.tar.zst"
  sign
  chmod a+r "$backup/"*
  restore "$pgdata"
  [ "$status" -ne 0 ]
  [[ "$output" == *'removed what was unpacked'* ]]
  [ -z "$(ls -A "$pgdata")" ]
  [ "$(ls "$place")" = data ]
}

@test "a tablespace goes where it is told, and nowhere without being told" {
  make_backup '[{ "oid": 16389, "name": "it'"'"'s $(touch x)" }]'
  restore "$pgdata"
  assert_refused 2 'say where the tablespace 16389 goes'
  restore --tablespace "16389=relative" "$pgdata"
  assert_refused 2 'absolute path'
  restore --tablespace "4711=$place/space" "$pgdata"
  assert_refused 2 'has no tablespace 4711'
  restore --tablespace "16389=$place/a \\ space" "$pgdata"
  [ "$status" -eq 0 ]
  [ "$(cat "$place/a \\ space/PG_15/rows")" = rows ]
  [ "$(cat "$pgdata/tablespace_map")" = "16389 $(printf '%s' "$place" | sed 's/\\/\\\\/g')/a \\\\ space" ]
  [ "$(ls "$place" | wc -l)" -eq 2 ]
  [ ! -e x ]
}

@test "the folder of a tablespace that is not empty is not touched" {
  make_backup '[{ "oid": 16389, "name": "fast" }]'
  mkdir "$place/taken"
  printf 'mine' >"$place/taken/file"
  restore --tablespace "16389=$place/taken" "$pgdata"
  assert_refused 2 'is not empty'
  [ "$(cat "$place/taken/file")" = mine ]
}

@test "with an archive it recovers by a command of its own: 0, 1 and 200" {
  make_backup
  archive="$place/it's \$(touch x) the archive"
  mkdir -p "$archive/00000001"
  restore --wal-archive "$archive" "$pgdata"
  assert_refused 2 'is no archive of WAL'
  printf '{}' >"$archive/claim.json"
  printf 'segment' | zstd --quiet >"$archive/00000001/000000010000000000000002.zst"
  printf 'cut' >"$archive/00000001/000000010000000000000003.zst"
  printf 'history' >"$archive/00000002.history"
  restore --wal-archive "$archive" "$pgdata"
  [ "$status" -eq 0 ]
  [ -f "$pgdata/recovery.signal" ]
  grep -q "^restore_command = 'sh ./wal_fetch.sh %f %p'$" "$pgdata/postgresql.auto.conf"
  cd "$pgdata"
  chmod a+rx "$pgdata"
  sh ./wal_fetch.sh 000000010000000000000002 "$scratch/out"
  [ "$(cat "$scratch/out")" = segment ]
  sh ./wal_fetch.sh 00000002.history "$scratch/out"
  [ "$(cat "$scratch/out")" = history ]
  run sh ./wal_fetch.sh 000000010000000000000004 "$scratch/out"
  [ "$status" -eq 1 ]
  run sh ./wal_fetch.sh 000000010000000000000003 "$scratch/out"
  [ "$status" -eq 200 ]
  rm "$archive/claim.json"
  run sh ./wal_fetch.sh 000000010000000000000004 "$scratch/out"
  [ "$status" -eq 200 ]
  [ ! -e x ]
}

@test "root is told to be somebody else" {
  make_backup
  mkdir "$scratch/bin"
  printf '#!/bin/sh\necho 0\n' >"$scratch/bin/id"
  chmod -R a+rx "$scratch/bin"
  PATH="$scratch/bin:$PATH" run "$shell" "$backup/restore.sh" "$pgdata"
  assert_refused 2 'no server runs as root'
}
