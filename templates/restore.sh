#!/bin/sh
# Restores the backup that lies beside this file into a new database, with PostgreSQL's own
# programs and no Holdfast. To know more: sh restore.sh --help
# shellcheck disable=SC2016 # a $ in a name stays a $
set -eu
umask 077
export LC_ALL=C PGCLIENTENCODING=UTF8 PGAPPNAME=restore.sh

label=@LABEL@
database=@DATABASE@
dump=@DUMP_FILE@
globals=@GLOBALS_FILE@
programs=@PROGRAMS@
major_min=@DUMP_MAJOR@
created_at=@CREATED_AT@
server_version=@SERVER_VERSION@
tool_version=@TOOL_VERSION@
database_size=@DATABASE_SIZE@
dump_size=@DUMP_SIZE@
encryption=@ENCRYPTION@
# One in a line: the public keys, or their fingerprints.
recipients=@RECIPIENTS@
decode_dump() { @DECODE_DUMP@; }
decode_globals() { @DECODE_GLOBALS@; }

work="restore_sh_$$__restoring_$(date -u +%Y%m%dT%H%M%SZ)"
maintenance=postgres
identity=${HOLDFAST_IDENTITY-}
created='' restorer='' tmp='' bin='' newest=''

case $encryption in
  age) how_to_decrypt='--identity FILE' ;;
  *) how_to_decrypt='' ;;
esac

usage() {
  cat <<END_OF_HELP
usage: sh restore.sh${encryption:+ $how_to_decrypt} [NAME]

Restores the backup $label into a database NAME that does not exist yet
(without NAME: $database).

  database    $database ($database_size)
  dump        $dump ($dump_size), taken $created_at
  server      PostgreSQL $server_version
  made by     Holdfast $tool_version, pg_dump $major_min

${encryption:+It is encrypted with $encryption for:
$recipients
}
It checks every file against SHA256SUMS, creates the roles that are missing (roles that exist are
left alone), restores into a database with another name and gives it its name at the end. If
anything fails, it drops what it has begun. Nothing that exists is changed.

It needs: sha256sum (or shasum, or openssl), awk, mkfifo, mktemp${programs:+, $programs},
and psql with pg_restore $major_min or newer, on the PATH or where packages install them.

libpq's variables say where, as for psql: PGHOST (a host, or the folder of a socket), PGPORT,
PGUSER, PGPASSFILE or ~/.pgpass, PGSSLMODE. It asks for no password. Run it as a superuser:

  sudo -u postgres sh restore.sh
  PGHOST=db2 PGUSER=postgres sh restore.sh mastertrade_copy

Exit statuses: 0 restored, 2 wrong usage or the database exists, 3 failed, 4 damaged, 8 the server
cannot be reached.
END_OF_HELP
}

say() { printf 'restore.sh: %s\n' "$*" >&2; }
fail() {
  status=$1
  shift
  say "$@"
  exit "$status"
}
have() { command -v "$1" >/dev/null 2>&1; }

# Runs the SQL on its stdin in the database $1. :"target" and :"work" are quoted by psql.
sql() {
  "$bin/psql" --no-psqlrc --no-password --quiet --no-align --tuples-only \
    --set=ON_ERROR_STOP=1 --set=target="$name" --set=work="$work" --dbname="$1"
}

cleanup() {
  status=$?
  trap '' HUP INT TERM
  trap - EXIT
  if [ -n "$restorer" ]; then
    kill "$restorer" 2>/dev/null || :
    wait "$restorer" 2>/dev/null || :
  fi
  if [ -n "$created" ]; then
    printf '%s \\gexec\n' "$drop_subscriptions" | sql "$work" >/dev/null 2>&1 || :
    if printf 'DROP DATABASE IF EXISTS :"work" WITH (FORCE);\n' | sql "$maintenance" >&2; then
      say "dropped the unfinished database $work; nothing else was changed, except that roles" \
        'that were missing may have been created'
    else
      say "the unfinished database $work could not be dropped: drop it when the server answers"
    fi
  fi
  [ -z "$tmp" ] || rm -rf -- "$tmp"
  exit "$status"
}

digest() {
  if have sha256sum; then
    sha256sum <"$1"
  elif have shasum; then
    shasum --algorithm 256 <"$1"
  else
    openssl dgst -sha256 -r <"$1"
  fi | cut -c 1-64
}

verify() {
  [ -f "$folder/SHA256SUMS" ] || fail 4 "SHA256SUMS is missing in $folder; nothing was changed"
  listed=' '
  while read -r expected file; do
    file=${file#\*}
    case $file in '' | */*) fail 4 'SHA256SUMS is damaged; nothing was changed' ;; esac
    [ -f "$folder/$file" ] || fail 4 "$file is missing; nothing was changed"
    [ "$(digest "$folder/$file")" = "$expected" ] ||
      fail 4 "$file is damaged: it differs from SHA256SUMS; nothing was changed"
    listed="$listed$file "
  done <"$folder/SHA256SUMS"
  for file in restore.sh manifest.json "$dump" $globals; do
    case $listed in
      *" $file "*) ;;
      *) fail 4 "SHA256SUMS is damaged: it does not name $file; nothing was changed" ;;
    esac
  done
}

# The oldest pg_restore that reads this archive: a newer one sends settings of its own, which an
# older server does not know.
find_programs() {
  for program in awk cut mkfifo mktemp $programs; do
    have "$program" || fail 3 "$program is not installed; nothing was changed"
  done
  have sha256sum || have shasum || have openssl ||
    fail 3 'none of sha256sum, shasum and openssl is installed; nothing was changed'
  on_path=$(command -v pg_restore || :)
  best=''
  for folder_of in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
    /usr/local/opt/postgresql@*/bin "${on_path%/*}"; do
    if ! [ -x "$folder_of/pg_restore" ] || ! [ -x "$folder_of/psql" ]; then continue; fi
    major=$("$folder_of/pg_restore" --version 2>/dev/null) || continue
    major=${major#*PostgreSQL) } && major=${major%%[!0-9]*}
    [ -n "$major" ] || continue
    [ "$major" -le "${newest:-0}" ] || newest=$major
    if [ "$major" -ge "$major_min" ] && [ "$major" -lt "${best:-9999}" ]; then
      best=$major bin=$folder_of
    fi
  done
  [ -n "$bin" ] || fail 3 "no psql and pg_restore $major_min or newer were found" \
    "(newest: ${newest:-none}); install the package postgresql-client-$major_min"
}

# Makes psql's script of the missing roles out of pg_dumpall's, one statement at a time; with
# want=tablespaces, a query for the missing tablespaces. The server compares the names.
roles_filter() {
  cat <<'END_OF_AWK'
function name_at_front() {
  if (!match(rest, /^("([^"]|"")+"|[^" ;(]+)/)) return ""
  token = substr(rest, 1, RLENGTH)
  rest = substr(rest, RLENGTH + 1)
  return token
}
function literal(token) {
  if (token ~ /^"/) { token = substr(token, 2, length(token) - 2); gsub(/""/, "\"", token) }
  gsub(/\\/, "\\\\", token)
  gsub(/'/, "''", token)
  return "E'" token "'"
}
function front(prefix) {
  if (substr(rest, 1, length(prefix)) != prefix) return 0
  rest = substr(rest, length(prefix) + 1)
  return 1
}
function if_missing_before(role, condition) {
  print "SELECT " literal(role) " NOT IN (SELECT rolname::text FROM before)" condition
  print "AS run \\gset"
  print "\\if :run"
}
function own(role) { if_missing_before(role, ""); print sql ";"; print "\\endif" }
function membership(group, member,   at, tail) {
  tail = rest
  at = index(tail, " GRANTED BY ")
  if (at > 0) {
    rest = substr(tail, at + 12)
    if (!((group, name_at_front()) in admin))
      sql = substr(sql, 1, length(sql) - length(tail) + at - 1)
    tail = substr(tail, 1, at - 1)
  }
  if (tail ~ /ADMIN (OPTION|TRUE)/) admin[group, member] = 1
  if_missing_before(member, " AND EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = " \
    literal(group) ")")
  print sql ";"
  print "\\endif"
}
function statement(   group) {
  sub(/^[ \n]+/, "", sql)
  rest = sql
  if (want == "tablespaces") {
    if (front("CREATE TABLESPACE ")) print "UNION ALL SELECT " literal(name_at_front())
  } else if (front("CREATE ROLE ") || front("COMMENT ON ROLE ")) {
    own(name_at_front())
  } else if (front("ALTER ROLE ")) {
    group = name_at_front()
    if (rest !~ /^ IN DATABASE /) own(group)
  } else if (front("SECURITY LABEL FOR ")) {
    name_at_front()
    if (!front(" ON ROLE ")) return
    print "\\set ON_ERROR_STOP off"
    own(name_at_front())
    print "\\set ON_ERROR_STOP on"
  } else if (match(rest, /^GRANT [A-Z, ]+ ON PARAMETER [^ ]+ TO /)) {
    rest = substr(rest, RLENGTH + 1)
    own(name_at_front())
  } else if (front("GRANT ")) {
    group = name_at_front()
    if (front(" TO ")) membership(group, name_at_front())
  }
}
BEGIN {
  if (want == "tablespaces") {
    print "SELECT needed FROM (SELECT NULL::text AS needed"
  } else {
    print "CREATE TEMPORARY TABLE before AS SELECT rolname FROM pg_catalog.pg_roles;"
    print "BEGIN;\n\\set ON_ERROR_ROLLBACK on"
  }
}
inside == "" && sql ~ /^[ \n]*$/ && /^\\/ { next }
{
  line = $0
  while (line != "") {
    if (inside == "") found = match(line, /['";]|--/)
    else if (inside == "E") found = match(line, /\\.|''|'/)
    else found = index(line, inside)
    if (!found) { sql = sql line; break }
    mark = substr(line, found, 1)
    if (mark == "-") { sql = sql substr(line, 1, found - 1); break }
    if (inside == "E" && substr(line, found, RLENGTH) != "'") found += RLENGTH - 1
    else if (inside != "") inside = ""
    else if (mark == "'" && (sql substr(line, 1, found - 1)) ~ /[^A-Za-z0-9_$]E$/) inside = "E"
    else if (mark != ";") inside = mark
    if (inside == "" && mark == ";") {
      sql = sql substr(line, 1, found - 1)
      statement()
      sql = ""
    } else sql = sql substr(line, 1, found)
    line = substr(line, found + 1)
  }
  if (sql != "") sql = sql "\n"
}
END {
  if (inside != "" || sql !~ /^[ \n]*$/) exit 1
  if (want == "tablespaces") {
    print ") AS t WHERE needed NOT IN (SELECT spcname::text FROM pg_catalog.pg_tablespace);"
  } else {
    print "COMMIT;"
    print "SELECT 'restore.sh: created the role ' || pg_catalog.quote_ident(rolname)"
    print "FROM pg_catalog.pg_roles WHERE rolname NOT IN (SELECT rolname FROM before);"
  }
}
END_OF_AWK
}

create_roles() {
  text=$(decode_globals <"$folder/$globals") ||
    fail 4 "$globals $unreadable; nothing was changed"
  script=$(printf '%s\n' "$text" | awk -f "$tmp/roles.awk") ||
    fail 4 "$globals ends inside a statement; nothing was changed"
  printf '%s\n' "$script" | sql "$maintenance" >&2 ||
    fail 3 'the missing roles could not be created; nothing was changed'
  missing=$(printf '%s\n' "$text" | awk -v want=tablespaces -f "$tmp/roles.awk" |
    sql "$maintenance")
  [ -z "$missing" ] || say "warning: these tablespaces do not exist here, so everything goes into" \
    "the default one:" "$missing"
}

create_database() {
  sql "$maintenance" <<'END_OF_SQL'
@CREATE_SQL@
END_OF_SQL
}

# Owner, privileges, settings and the name, in one transaction that ends with $1. It is rehearsed
# on the empty database, so that what cannot be done is known before the data is loaded.
finish_database() {
  {
    printf 'BEGIN;\n\\set ON_ERROR_ROLLBACK on\n'
    properties
    printf '%s;\n' "$1"
  } | sql "$maintenance"
}

properties() {
  cat <<'END_OF_SQL'
@PROPERTIES_SQL@
END_OF_SQL
}

detach_subscriptions=@DETACH_SUBSCRIPTIONS@
drop_subscriptions=@DROP_SUBSCRIPTIONS@

# The data never lies on the disk unpacked. Both ends are waited for, and a signal is not kept
# waiting, since `wait` can be interrupted.
load() {
  mkfifo "$tmp/pipe"
  decode_dump >"$tmp/pipe" <"$folder/$dump" &
  decoder=$!
  set -- --exit-on-error --no-password --dbname="$work"
  [ -z "$missing" ] || set -- --no-tablespaces "$@"
  "$bin/pg_restore" "$@" <"$tmp/pipe" >&2 &
  restorer=$!
  wait "$restorer" || { ended=$? restorer='' && fail 3 "pg_restore failed (status $ended)"; }
  restorer=''
  wait "$decoder" || fail 4 "$dump $unreadable to its end (status $?)"
}

# What age decrypts with has to be there; whether a key is the right one, the first byte tells.
find_key() {
  [ "$encryption" = age ] || return 0
  [ -n "$identity" ] || fail 2 "the backup is encrypted with age: name the file with the private" \
    "key of one of its recipients: sh restore.sh --identity FILE; they are:" "$recipients"
  [ -r "$identity" ] || fail 2 "the identity $identity cannot be read"
}
check_key() {
  [ -n "$encryption" ] || return 0
  first=$(decode_dump <"$folder/$dump" 2>"$tmp/words" | dd bs=1 count=1 2>/dev/null | wc -c)
  [ "$first" -eq 1 ] ||
    fail 4 "$dump $unreadable; nothing was changed: $(cat "$tmp/words")"
}

unreadable='cannot be decompressed'
[ -z "$encryption" ] ||
  unreadable="cannot be decrypted (with $encryption, by the key at hand) or decompressed"

while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage && exit 0 ;;
    --identity)
      [ $# -ge 2 ] || fail 2 '--identity takes the file with the private key'
      identity=$2
      shift 2
      ;;
    --) shift && break ;;
    -*) fail 2 "unknown flag $1; sh restore.sh --help explains the usage" ;;
    *) break ;;
  esac
done
[ $# -le 1 ] || fail 2 'more than one name was given; sh restore.sh --help explains the usage'
name=${1-$database}
[ -n "$name" ] || fail 2 'the name is empty'
[ "$(printf '%s' "$name" | wc -c)" -le 63 ] || fail 2 'the name is longer than 63 bytes'
self=$(readlink -f -- "$0" && printf x)
folder=${self%/*}
missing=''

find_programs
find_key
say "checking the files of $label"
verify
if ! printf 'SELECT;\n' | sql "$maintenance" >/dev/null 2>&1; then
  maintenance=template1
  printf 'SELECT;\n' | sql "$maintenance" >/dev/null ||
    fail 8 'the server cannot be reached: PGHOST, PGPORT and PGUSER say where it is'
fi
query="SELECT 1 FROM pg_catalog.pg_database WHERE datname IN (:'target', :'work');"
exists=$(printf '%s\n' "$query" | sql "$maintenance")
[ -z "$exists" ] ||
  fail 2 "the database $name exists already and was not touched: give another name"

trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
tmp=$(mktemp -d)
roles_filter >"$tmp/roles.awk"
if [ -n "$globals" ]; then
  create_roles
else
  check_key
fi
created=yes
create_database >&2 || fail 3 'the database could not be created'
finish_database ROLLBACK >/dev/null ||
  fail 3 'the owner, privileges or settings of the database could not be restored'
# Event triggers fire from the moment they are there; what they log or refuse is no part of the
# backup. Only a superuser can restore one.
query="SELECT CASE WHEN NOT rolsuper THEN ''
    WHEN pg_catalog.current_setting('server_version_num')::int >= 170000
      THEN '-c event_triggers=off'
    ELSE '-c session_replication_role=replica' END
  FROM pg_catalog.pg_roles WHERE rolname = current_user;"
quiet=$(printf '%s\n' "$query" | sql "$maintenance")
export PGOPTIONS="${PGOPTIONS-} $quiet"
say 'restoring; this takes a while'
load
printf '%s \\gexec\nANALYZE;\n' "$detach_subscriptions" | sql "$work" >&2 ||
  fail 3 'the restored database could not be analyzed'
finish_database COMMIT >&2 || fail 3 'the database could not be finished'
created=''
say "restored the database $name"
