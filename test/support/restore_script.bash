# Helpers of test/shell/restore.bats: two scratch servers, and backups made with stock programs.
# shellcheck disable=SC2154 # the test file sets the servers and their programs

checkout=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
node="$checkout/node_modules/.bin/node"
shell=${HOLDFAST_TEST_SHELL:-sh}
nl='
'

# postgres and initdb refuse to run as root.
as_server_user() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
  else
    "$@"
  fi
}

# start_server FOLDER: socket and data in FOLDER, nothing on the network.
start_server() {
  mkdir -p "$1"
  if [ "$(id -u)" = 0 ]; then chown postgres:postgres "$1"; fi
  (cd / && as_server_user "$pg_bin/initdb" --pgdata="$1/data" --username=postgres --auth=trust \
    --encoding=UTF8 --locale=C --no-sync >/dev/null)
  (cd / && as_server_user "$pg_bin/pg_ctl" --pgdata="$1/data" --wait --silent --log="$1/log" \
    --options="-c unix_socket_directories='$1' -c listen_addresses= -c fsync=off" start \
    >/dev/null 2>&1 3>&-)
}

stop_server() {
  (cd / && as_server_user "$pg_bin/pg_ctl" --pgdata="$1/data" --mode=immediate --silent stop)
}

# query SERVER DATABASE SQL
query() {
  psql_at "$1" "$2" --command="$3"
}

# psql_at SERVER DATABASE [ARGUMENT…]: whatever the database's own settings are
psql_at() {
  local server=$1 database=$2
  shift 2
  PGOPTIONS='-c default_transaction_read_only=off' "$pg_bin/psql" --no-psqlrc --quiet --no-align \
    --tuples-only --set=ON_ERROR_STOP=1 --host="$server" --username=postgres \
    --dbname="$database" "$@"
}

# The server without databases and roles of users.
clean_server() {
  local drop="SELECT format('ALTER DATABASE %I IS_TEMPLATE false', datname),
    format('DROP DATABASE %I WITH (FORCE)', datname)
    FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') \\gexec
    SELECT format('DROP OWNED BY %I', rolname), format('DROP ROLE %I', rolname)
    FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres' \\gexec"
  query "$1" postgres "SELECT datname FROM pg_database WHERE datname ~ 'mastertrade'" |
    while read -r name; do drop_subscriptions "$1" "$name"; done
  printf '%s\n' "$drop" | psql_at "$1" postgres >/dev/null
}

drop_subscriptions() {
  printf '%s\n' "SELECT format('DROP SUBSCRIPTION %I', subname) FROM pg_subscription \\gexec" |
    psql_at "$1" "$2" >/dev/null
}

compress() {
  case $1 in
    zstd) zstd --quiet ;;
    gzip) gzip ;;
    none) cat ;;
  esac
}

# facts FILTER [NAME_AS_JSON [PG_DUMP_MAJOR]]: what the renderer wants to know
facts() {
  local suffix='' filters='[]' name=${2:-'"mastertrade"'} major=${3:-$pg_major}
  case $1 in
    zstd) suffix=.zst filters='["zstd"]' ;;
    gzip) suffix=.gz filters='["gzip"]' ;;
  esac
  cat <<JSON
{ "label": "20261121T020000Z-daily-k3f9", "database": $name,
  "createdAt": "2026-11-21T02:00:00Z", "serverVersion": "$pg_major.1",
  "serverVersionNum": ${pg_major}0001, "dumpToolMajor": $major, "toolVersion": "0.1.0",
  "databaseBytes": 8000000,
  "dump": { "name": "database.dump$suffix", "filters": $filters, "bytesStored": 1000 },
  "globals": { "name": "globals.sql$suffix", "filters": $filters, "bytesStored": 100 },
  "properties": {
    "owner": "app",
    "acl": [
      { "grantee": "app", "grantor": "app", "privilege": "CREATE", "grantable": false },
      { "grantee": "app", "grantor": "app", "privilege": "CONNECT", "grantable": false },
      { "grantee": "readers", "grantor": "app", "privilege": "CONNECT", "grantable": true },
      { "grantee": "we\"ird; role\\ntwo", "grantor": "readers", "privilege": "CONNECT",
        "grantable": false },
      { "grantee": "gone", "grantor": "app", "privilege": "CONNECT", "grantable": false }
    ],
    "connection_limit": 7, "tablespace": "pg_default", "comment": "the \\\\ desk's\nEND_OF_SQL",
    "is_template": true, "encoding": "UTF8", "locale_provider": "libc", "collate": "C",
    "ctype": "C", "locale": null, "icu_rules": null,
    "settings": ["search_path=\"\$user\", \"Desk, one\"", "default_transaction_read_only=on"],
    "role_settings": [{ "role": "app", "settings": ["work_mem=5MB"] }],
    "security_labels": [{ "provider": "nobody", "label": "x" }] } }
JSON
}

sign() {
  (cd "$1" && rm -f SHA256SUMS && sha256sum -- * >"$BATS_TEST_TMPDIR/sums" &&
    mv "$BATS_TEST_TMPDIR/sums" SHA256SUMS)
}

# make_backup FOLDER [FILTER [NAME_AS_JSON [PG_DUMP_MAJOR]]]
make_backup() {
  local folder=$1 filter=${2:-zstd} suffix=.zst
  case $filter in gzip) suffix=.gz ;; none) suffix='' ;; esac
  mkdir -p "$folder"
  compress "$filter" <"$plain/dump" >"$folder/database.dump$suffix"
  compress "$filter" <"$plain/globals" >"$folder/globals.sql$suffix"
  printf '{}\n' >"$folder/manifest.json"
  "$node" "$checkout/test/support/render_restore_script.ts" \
    "$(facts "$filter" "${3:-}" "${4:-}")" >"$folder/restore.sh"
  sign "$folder"
}

# flip FILE: one bit of its middle byte
flip() {
  "$node" -e 'const fs = require("fs"); const b = fs.readFileSync(process.argv[1]);
    b[b.length >> 1] ^= 1; fs.writeFileSync(process.argv[1], b);' "$1"
}

# restore FOLDER [NAME]: into the target server
restore() {
  local folder=$1
  shift
  run env PGHOST="$target" PGUSER=postgres PGDATABASE=nonsense "$shell" "$folder/restore.sh" "$@"
}

target_databases() { query "$target" postgres 'SELECT datname FROM pg_database ORDER BY 1'; }
target_roles() { query "$target" postgres "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'"; }

assert_nothing_created() {
  [ "$(target_databases)" = "postgres${nl}template0${nl}template1" ]
  [ "$(target_roles)" = postgres ]
}
