# restore.sh, as it lies beside a backup, against a real server; run under sh, or under the shell
# that HOLDFAST_TEST_SHELL names.

bats_require_minimum_version 1.5.0

find_server() {
  local bin
  for bin in ${HOLDFAST_TEST_PG_BIN:-/usr/lib/postgresql/*/bin}; do
    if [ -x "$bin/initdb" ] && [ -x "$bin/pg_restore" ]; then pg_bin=$bin; fi
  done
  pg_major=$("$pg_bin/pg_restore" --version)
  pg_major=${pg_major#*PostgreSQL) }
  pg_major=${pg_major%%[!0-9]*}
}

setup_file() {
  source "$BATS_TEST_DIRNAME/../support/restore_script.bash"
  find_server
  scratch=$(mktemp -d /tmp/restore_sh.XXXXXX)
  chmod 755 "$scratch"
  origin=$scratch/origin target=$scratch/target plain=$scratch/plain
  export pg_bin pg_major scratch origin target plain
  mkdir "$plain"
  start_server "$origin"
  start_server "$target"
  query "$origin" postgres 'CREATE DATABASE mastertrade'
  query "$origin" mastertrade "
    CREATE ROLE app LOGIN PASSWORD 'origin' CONNECTION LIMIT 3;
    ALTER ROLE app SET search_path = 'it''s', 'semi;colon', 'back\\slash', public;
    CREATE ROLE readers NOLOGIN;
    COMMENT ON ROLE readers IS E'they; read\n-- only\\\\ \n\\! touch x';
    CREATE ROLE \"we\"\"ird; role${nl}two\" LOGIN;
    CREATE ROLE \"\$(touch x) ' -- \\\\\" LOGIN;
    GRANT readers TO app WITH ADMIN OPTION;
    GRANT readers TO \"we\"\"ird; role${nl}two\";
    GRANT readers TO \"\$(touch x) ' -- \\\\\";
    CREATE TABLE trade (id int PRIMARY KEY, note text);
    INSERT INTO trade SELECT n, repeat('x', n % 50) FROM generate_series(1, 5000) AS n;
    ALTER TABLE trade OWNER TO app;
    CREATE SUBSCRIPTION desk CONNECTION 'host=/nowhere dbname=x' PUBLICATION p
      WITH (connect = false, slot_name = 'theirs');
    CREATE MATERIALIZED VIEW slow AS
      SELECT pg_sleep(CASE WHEN current_setting('application_name') = 'slow' THEN 300 ELSE 0 END)
        ::text AS slept;"
  "$pg_bin/pg_dump" --host="$origin" --username=postgres --format=custom --compress=0 \
    --file="$plain/dump" mastertrade
  "$pg_bin/pg_dumpall" --host="$origin" --username=postgres --globals-only --file="$plain/globals"
}

teardown_file() {
  source "$BATS_TEST_DIRNAME/../support/restore_script.bash"
  stop_server "$origin"
  stop_server "$target"
  rm -rf "$scratch"
}

setup() {
  source "$BATS_TEST_DIRNAME/../support/restore_script.bash"
  cd "$BATS_TEST_TMPDIR"
  backup=$BATS_TEST_TMPDIR/backup
}

teardown() {
  clean_server "$target"
  [ ! -e "$BATS_TEST_TMPDIR/x" ]
}

@test "in an empty cluster everything comes back under the database's own name" {
  make_backup "$backup"
  restore "$backup"
  echo "$output"
  [ "$status" = 0 ]
  [[ $output == *'created the role app'* ]]
  [[ $output == *'warning: without the role "gone", the privilege is left out'* ]]
  [ "$(query "$target" mastertrade 'SELECT count(*), sum(id) FROM public.trade')" = '5000|12502500' ]
  [ "$(query "$target" mastertrade 'SELECT subenabled, subslotname FROM pg_subscription')" = 'f|' ]
  [ "$(query "$target" postgres "SELECT pg_get_userbyid(datdba), datconnlimit, datistemplate,
    shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'mastertrade'")" = \
    "app|7|t|the \\ desk's${nl}END_OF_SQL" ]
  [ "$(query "$target" postgres "SELECT datacl FROM pg_database WHERE datname = 'mastertrade'")" = \
    "{app=Cc/app,readers=c*/app,\"\\\"we\\\"\\\"ird; role${nl}two\\\"=c/readers\"}" ]
  [ "$(query "$target" postgres "SELECT setconfig FROM pg_db_role_setting AS s
    JOIN pg_database AS d ON d.oid = setdatabase WHERE setrole = 0")" = \
    '{"search_path=\"$user\", \"Desk, one\"",default_transaction_read_only=on}' ]
  [ "$(query "$target" postgres "SELECT setrole::regrole, setconfig FROM pg_db_role_setting
    WHERE setdatabase <> 0 AND setrole <> 0")" = 'app|{work_mem=5MB}' ]
}

@test "the roles are those of the origin, with their passwords, settings and members" {
  make_backup "$backup"
  restore "$backup"
  [ "$status" = 0 ]
  for sql in \
    'SELECT rolname, rolcanlogin, rolconnlimit, rolpassword FROM pg_authid ORDER BY 1' \
    "SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_authid ORDER BY 1" \
    'SELECT rolname, rolconfig FROM pg_roles ORDER BY 1' \
    'SELECT roleid::regrole::text, member::regrole::text, admin_option FROM pg_auth_members
     ORDER BY 1, 2'; do
    [ "$(query "$origin" postgres "$sql")" = "$(query "$target" postgres "$sql")" ]
  done
}

@test "a role that exists keeps its password and attributes, a missing one is created" {
  query "$target" postgres "CREATE ROLE app LOGIN CREATEDB PASSWORD 'rotated since'"
  before=$(query "$target" postgres "SELECT * FROM pg_authid WHERE rolname = 'app'")
  make_backup "$backup"
  restore "$backup"
  [ "$status" = 0 ]
  [[ $output != *'created the role app'* ]]
  [ "$(query "$target" postgres "SELECT * FROM pg_authid WHERE rolname = 'app'")" = "$before" ]
  [ "$(query "$target" postgres "SELECT rolconfig FROM pg_roles WHERE rolname = 'app'")" = '' ]
  members=$(query "$target" postgres "SELECT count(*) FROM pg_auth_members
    WHERE roleid = 'readers'::regrole AND member <> 'app'::regrole")
  [ "$members" = 2 ]
  [ "$(query "$target" postgres "SELECT count(*) FROM pg_auth_members
    WHERE member = 'app'::regrole")" = 0 ]
}

@test "any name works as the new one and is never executed" {
  make_backup "$backup"
  long=mastertrade$(printf '%052d' 0)
  [ "${#long}" = 63 ]
  for name in "mastertrade 'q' \"d\" \$(touch x) \`touch x\` \\ ; :target %s é" \
    "mastertrade${nl}END_OF_SQL${nl}" "$long" 'host=x dbname=mastertrade'; do
    restore "$backup" "$name"
    [ "$status" = 0 ]
    query "$target" postgres "SELECT datname FROM pg_database WHERE datname ~ 'mastertrade'" \
      >"$BATS_TEST_TMPDIR/names"
    [ "$(cat "$BATS_TEST_TMPDIR/names"; printf .)" = "$name$nl." ]
    printf '%s\n' "ALTER DATABASE :\"name\" IS_TEMPLATE false;" \
      "ALTER DATABASE :\"name\" RENAME TO mastertrade;" |
      psql_at "$target" postgres --set=name="$name"
    clean_server "$target"
  done
}

@test "a database whose own name is hard comes back under it" {
  make_backup "$backup" zstd '"mastertrade \"q\" '"'s"' $(touch x)\nEND_OF_SQL"'
  restore "$backup"
  [ "$status" = 0 ]
  [ "$(query "$target" postgres "SELECT datname FROM pg_database WHERE datname ~ 'master'")" = \
    "mastertrade \"q\" 's \$(touch x)${nl}END_OF_SQL" ]
  printf '%s\n' "SELECT format('ALTER DATABASE %I IS_TEMPLATE false', datname),
    format('ALTER DATABASE %I RENAME TO mastertrade', datname)
    FROM pg_database WHERE datname ~ 'master' \\gexec" |
    psql_at "$target" postgres
}

@test "a database that exists is refused and untouched" {
  query "$target" postgres 'CREATE DATABASE mastertrade'
  query "$target" mastertrade 'CREATE TABLE mine ()'
  make_backup "$backup"
  restore "$backup"
  [ "$status" = 2 ]
  [[ $output == *'the database mastertrade exists already and was not touched'* ]]
  [ "$(query "$target" mastertrade 'SELECT relname FROM pg_stat_user_tables')" = mine ]
  [ "$(target_roles)" = postgres ]
}

@test "a flipped bit in any file is found before anything is created" {
  for file in database.dump.zst globals.sql.zst manifest.json SHA256SUMS; do
    rm -rf "$backup"
    make_backup "$backup"
    flip "$backup/$file"
    restore "$backup"
    [ "$status" = 4 ]
    [[ $output == *"nothing was changed"* ]]
    assert_nothing_created
  done
}

@test "a missing file and a cut SHA256SUMS are found" {
  make_backup "$backup"
  head --lines=2 "$backup/SHA256SUMS" >"$backup/cut"
  mv "$backup/cut" "$backup/SHA256SUMS"
  restore "$backup"
  [ "$status" = 4 ]
  [[ $output == *'SHA256SUMS is damaged'* ]]
  rm "$backup/database.dump.zst"
  restore "$backup"
  [ "$status" = 4 ]
  [[ $output == *'database.dump.zst is missing'* ]]
  assert_nothing_created
}

@test "roles that were cut before they were signed create nothing" {
  make_backup "$backup"
  head --bytes=700 "$plain/globals" | zstd --quiet >"$backup/globals.sql.zst"
  sign "$backup"
  restore "$backup"
  [ "$status" = 4 ]
  [[ $output == *'globals.sql.zst ends inside a statement'* ]]
  assert_nothing_created
}

@test "a dump that breaks off takes the unfinished database with it" {
  make_backup "$backup"
  head --bytes=60000 "$plain/dump" | zstd --quiet >"$backup/database.dump.zst"
  sign "$backup"
  restore "$backup"
  [ "$status" = 3 ]
  [[ $output == *'pg_restore failed'* && $output == *'dropped the unfinished database'* ]]
  [ "$(target_databases)" = "postgres${nl}template0${nl}template1" ]
}

@test "a compressed stream that breaks off is a failure too" {
  make_backup "$backup"
  zstd --quiet <"$plain/dump" >"$BATS_TEST_TMPDIR/whole"
  size=$(wc -c <"$BATS_TEST_TMPDIR/whole")
  head --bytes=$((size - 2)) "$BATS_TEST_TMPDIR/whole" >"$backup/database.dump.zst"
  sign "$backup"
  restore "$backup"
  [ "$status" != 0 ]
  [[ $output == *'dropped the unfinished database'* ]]
  [ "$(target_databases)" = "postgres${nl}template0${nl}template1" ]
}

@test "event triggers of the backup neither fire nor get lost" {
  query "$origin" postgres 'CREATE DATABASE noisy'
  query "$origin" noisy "
    CREATE MATERIALIZED VIEW sums AS SELECT 1 AS one;
    CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql
      AS 'BEGIN RAISE EXCEPTION ''no DDL here''; END';
    CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION refuse();"
  make_backup "$backup"
  "$pg_bin/pg_dump" --host="$origin" --username=postgres --format=custom noisy |
    zstd --quiet >"$backup/database.dump.zst"
  sign "$backup"
  restore "$backup"
  echo "$output"
  [ "$status" = 0 ]
  [ "$(query "$target" mastertrade 'SELECT one, evtenabled FROM public.sums, pg_event_trigger')" = \
    '1|O' ]
}

# Starts a restore and waits until the server is busy with its slow statement.
start_slow_restore() {
  sed 's/PGAPPNAME=restore.sh/PGAPPNAME=slow/' "$backup/restore.sh" >"$backup/slow"
  mv "$backup/slow" "$backup/restore.sh"
  sign "$backup"
  PGHOST=$target PGUSER=postgres "$shell" "$backup/restore.sh" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
  restoring=$!
  for _ in $(seq 300); do
    if [ -n "$(query "$target" postgres \
      "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")" ]; then return 0; fi
    sleep 0.1
  done
  cat "$BATS_TEST_TMPDIR/out"
  return 1
}

@test "a signal ends the restore at once and the database is dropped" {
  make_backup "$backup"
  start_slow_restore
  kill -TERM "$restoring"
  wait "$restoring" || status=$?
  [ "$status" = 143 ]
  grep 'dropped the unfinished database' "$BATS_TEST_TMPDIR/out"
  [ "$(target_databases)" = "postgres${nl}template0${nl}template1" ]
}

@test "a pg_restore that is killed takes the unfinished database with it" {
  make_backup "$backup"
  start_slow_restore
  kill -KILL "$(pgrep --parent "$restoring" --full pg_restore)"
  wait "$restoring" || status=$?
  [ "$status" = 3 ]
  grep 'pg_restore failed (status 137)' "$BATS_TEST_TMPDIR/out"
  [ "$(target_databases)" = "postgres${nl}template0${nl}template1" ]
}

@test "gzip and no compression work as well, from another folder and through a link" {
  for filter in gzip none; do
    folder="$BATS_TEST_TMPDIR/a 'b' \$(touch x)${nl}$filter$nl"
    make_backup "$folder" "$filter"
    mkdir -p "$BATS_TEST_TMPDIR/links"
    ln -sf "$folder/restore.sh" "$BATS_TEST_TMPDIR/links/restore.sh"
    cd "$BATS_TEST_TMPDIR/links"
    run env PGHOST="$target" PGUSER=postgres "$shell" restore.sh
    [ "$status" = 0 ]
    [ "$(query "$target" mastertrade 'SELECT count(*) FROM public.trade')" = 5000 ]
    clean_server "$target"
  done
}

@test "a missing decompressor and a pg_restore that is too old are named" {
  make_backup "$backup"
  mkdir bin
  for program in awk cat cut date mkfifo mktemp readlink rm sha256sum wc; do
    ln -s "$(command -v "$program")" "bin/$program"
  done
  run env PATH="$BATS_TEST_TMPDIR/bin" PGHOST="$target" "$(command -v "$shell")" "$backup/restore.sh"
  [ "$status" = 3 ]
  [[ $output == *'zstd is not installed; nothing was changed'* ]]
  make_backup "$backup" zstd '"mastertrade"' 99
  restore "$backup"
  [ "$status" = 3 ]
  [[ $output == *'no psql and pg_restore 99 or newer were found'*'postgresql-client-99'* ]]
  assert_nothing_created
}

@test "other programs for the digests do as well" {
  make_backup "$backup"
  mkdir bin
  for program in awk cat cut date mkfifo mktemp openssl readlink rm wc zstd; do
    ln -s "$(command -v "$program")" "bin/$program"
  done
  PATH="$BATS_TEST_TMPDIR/bin" run -0 "$(command -v env)" PGHOST="$target" PGUSER=postgres \
    "$(command -v "$shell")" "$backup/restore.sh"
}

@test "it explains itself and refuses what it does not know" {
  make_backup "$backup"
  for flag in --help -h; do
    restore "$backup" "$flag"
    [ "$status" = 0 ]
    [[ $output == *'usage: sh restore.sh [NAME]'*'20261121T020000Z-daily-k3f9'*PGHOST* ]]
  done
  restore "$backup" --force
  [ "$status" = 2 ]
  [[ $output == *'unknown flag --force'* ]]
  restore "$backup" a b
  [ "$status" = 2 ]
  restore "$backup" ''
  [ "$status" = 2 ]
  restore "$backup" "$(printf '%064d' 0)"
  [ "$status" = 2 ]
  [[ $output == *'longer than 63 bytes'* ]]
  assert_nothing_created
}

@test "a server that cannot be reached is said in its own words" {
  make_backup "$backup"
  run env PGHOST="$BATS_TEST_TMPDIR" PGUSER=postgres "$shell" "$backup/restore.sh"
  [ "$status" = 8 ]
  [[ $output == *'the server cannot be reached'* ]]
}
