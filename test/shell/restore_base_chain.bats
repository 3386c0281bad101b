# restore.sh of an incremental base backup: what it asks of pg_combinebackup, and what it leaves
# behind when that fails. A stub stands in for the program, which only some servers have; the real
# one is in test/integration/base_chain.test.ts. Run under sh, or under HOLDFAST_TEST_SHELL.

bats_require_minimum_version 1.5.0

checkout=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
node="$checkout/node_modules/.bin/node"
shell=${HOLDFAST_TEST_SHELL:-sh}
whole=20261120T020000Z-base-k3f9
label=20261121T020000Z-incr-x7qa
# No machine has the programs of this version.
major=99

# shellcheck source=test/support/server_user.bash
source "$BATS_TEST_DIRNAME/../support/server_user.bash"

# make_backup LABEL CHAIN_JSON: a small data directory that no server would start, a tablespace
make_backup() {
  backup=$scratch/$1
  mkdir -p "$backup" "$scratch/tree/global" "$scratch/space/PG_99"
  printf 'control of %s' "$1" >"$scratch/tree/global/pg_control"
  printf '99\n' >"$scratch/tree/PG_VERSION"
  printf '{}' >"$scratch/tree/backup_manifest"
  tar -C "$scratch/tree" -cf - . | zstd --quiet >"$backup/base.tar.zst"
  printf 'rows' >"$scratch/space/PG_99/rows"
  tar -C "$scratch/space" -cf - . | zstd --quiet >"$backup/16389.tar.zst"
  printf '{}' >"$backup/backup_manifest"
  printf '{}' >"$backup/manifest.json"
  "$node" "$checkout/test/support/render_base_script.ts" "{ \"label\": \"$1\",
    \"chain\": $2, \"filters\": [{\"name\": \"zstd\"}],
    \"createdAt\": \"2026-11-21T02:00:00Z\", \"serverVersion\": \"99.1\", \"serverMajor\": $major,
    \"toolVersion\": \"0.1.0\", \"clusterBytes\": 8000000, \"backupBytes\": 1000,
    \"damagedPages\": 0, \"savedConfig\": [],
    \"tablespaces\": [{ \"oid\": 16389, \"name\": \"odd\" }] }" >"$backup/restore.sh"
  (cd "$backup" && sha256sum -- * >../sums && mv ../sums SHA256SUMS)
}

# make_program VERSION LINES: what pg_combinebackup does after it has put its inputs together
make_program() {
  cat >"$scratch/bin/pg_combinebackup" <<END_OF_PROGRAM
#!/bin/sh
if [ "\$1" = --version ]; then echo 'pg_combinebackup (PostgreSQL) $1'; exit 0; fi
printf '%s\\n' "\$@" >"\$ARGUMENTS"
for last in "\$@"; do
  case \$last in --output=*) output=\${last#--output=} ;; esac
done
cp -R "\$last" "\$output"
$2
END_OF_PROGRAM
  chmod 755 "$scratch/bin/pg_combinebackup"
}

setup() {
  scratch=$(mktemp -d /tmp/restore_chain.XXXXXX)
  place="$scratch/it's \$(touch x) a = \"place\""
  mkdir "$place" "$scratch/bin"
  make_backup "$whole" "[\"$whole\"]"
  make_backup "$label" "[\"$whole\", \"$label\"]"
  chmod -R a+rX "$scratch"
  if [ "$(id -u)" = 0 ]; then chown postgres "$place"; fi
  pgdata=$place/data
  cd "$place"
}

teardown() {
  cd /
  rm -rf "$scratch"
}

restore() {
  run as_server_user env "PATH=$scratch/bin:$PATH" "ARGUMENTS=$place/arguments" \
    "$shell" "$backup/restore.sh" --tablespace "16389=$place/space" "$pgdata"
}

@test "the whole one comes first, an = of a folder is kept, nothing else is left behind" {
  make_program 99.1 ''
  restore
  [ "$status" -eq 0 ]
  [ "$(cat "$pgdata/global/pg_control")" = "control of $label" ]
  work=$(sed -n 's/^--output=\(.*\)\/whole$/\1/p' arguments)
  [ "$(tail -n 2 arguments)" = "$(printf '%s\n' "$work/$whole" "$work/$label")" ]
  escaped=$(printf '%s' "$work/$label-16389=$place/space" | sed 's/=/\\=/g; s/16389\\=/16389=/')
  grep -q -x -F -e "--tablespace-mapping=$escaped" arguments
  [ "$(cat "$pgdata/tablespace_map")" = "16389 $place/space" ]
  rm arguments
  [ "$(ls)" = "$(printf 'data\nspace')" ]
}

@test "a program of another version is none" {
  make_program 98.4 ''
  restore
  [ "$status" -eq 3 ]
  [[ "$output" == *"no pg_combinebackup of PostgreSQL $major was found; nothing was changed"* ]]
  [ -z "$(ls)" ]
}

@test "when it fails everything is taken back" {
  make_program 99.1 'echo "pg_combinebackup: error: No space left on device" >&2; exit 1'
  restore
  [ "$status" -eq 3 ]
  [[ "$output" == *'No space left on device'*'pg_combinebackup failed'* ]]
  [ -z "$(ls data)" ]
  [ -z "$(ls space)" ]
  rm arguments
  [ "$(ls)" = "$(printf 'data\nspace')" ]
}

@test "killed behind it, the folder has no pg_control: no server starts on it" {
  make_program 99.1 'kill -KILL $PPID'
  restore
  [ "$status" -eq 137 ]
  [ ! -e "$pgdata/global/pg_control" ]
}

@test "what it builds upon has to be there, whole" {
  make_program 99.1 ''
  printf 'x' >>"$scratch/$whole/base.tar.zst"
  restore
  [ "$status" -eq 4 ]
  [[ "$output" == *"$whole/base.tar.zst is damaged"* ]]
  rm -r "${scratch:?}/$whole"
  restore
  [ "$status" -eq 4 ]
  [[ "$output" == *"SHA256SUMS is missing in"*"$whole"* ]]
  [ -z "$(ls)" ]
}
