#!/bin/sh
# Restores the base backup that lies beside this file into an empty folder, with tar, PostgreSQL's
# own programs and no Holdfast. To know more: sh restore.sh --help
# shellcheck disable=SC2016 # a $ in a name stays a $
set -eu
umask 077
export LC_ALL=C

label=@LABEL@
chain=@CHAIN@
programs=@PROGRAMS@
major=@MAJOR@
created_at=@CREATED_AT@
server_version=@SERVER_VERSION@
tool_version=@TOOL_VERSION@
cluster_size=@CLUSTER_SIZE@
backup_size=@BACKUP_SIZE@
damaged_pages=@DAMAGED_PAGES@
saved_config=@SAVED_CONFIG@
# One line for each: its OID, and its name as JSON.
tablespaces=@TABLESPACES@
# Whom the backups are encrypted for, one in a line: public keys, or their fingerprints.
recipients=@RECIPIENTS@
identity=${HOLDFAST_IDENTITY-}
# decode FILE: its content comes in, what it holds goes out
decode() {
  case $1 in
    *.age) { age --decrypt --identity "$identity" || broken; } | decode "${1%.age}" ;;
    *.gpg) { gpg --batch --quiet --decrypt || broken; } | decode "${1%.gpg}" ;;
    *.zst) zstd --decompress --stdout --quiet ;;
    *.gz) gzip -dc ;;
    *) cat ;;
  esac
}

broken() { printf 'failed' >"$work/failed"; }

pgdata='' archive='' mapped='' work='' begun='' begun_tablespaces='' combine=''
nl='
'

usage() {
  cat <<END_OF_HELP
usage: sh restore.sh [--identity FILE] [--tablespace OID=FOLDER]... [--wal-archive FOLDER] PGDATA

Restores the base backup $label into PGDATA, a new or empty folder.

  cluster     PostgreSQL $server_version, $cluster_size in files
  backup      $backup_size, taken $created_at by Holdfast $tool_version
  needs       $chain

It checks every file against SHA256SUMS, unpacks the data directory, and switches archiving off, so
that the restored cluster never writes into the archive of the original. Nothing that exists is
changed. If anything fails, it removes what it has begun.

${recipients:+It is encrypted for:
$recipients

}  --identity FILE           what age decrypts with, where the backup is encrypted with age
  --tablespace OID=FOLDER   where a tablespace goes: a new or empty folder, an absolute path
  --wal-archive FOLDER      the folder with the archived WAL (incremental/<cluster>/wal): the
                            server replays all of it. Without it the cluster is as it was at the
                            end of the backup

Run it as the user that will run the server:

  sudo -u postgres sh restore.sh /var/lib/postgresql/$major/restored

It needs: tar, sha256sum (or shasum, or openssl)${programs:+, $programs}.

Exit statuses: 0 restored, 2 wrong usage, 3 failed, 4 damaged.
END_OF_HELP
  [ -z "$tablespaces" ] || printf '\nTablespaces (OID and name):\n%s\n' "$tablespaces"
}

say() { printf 'restore.sh: %s\n' "$*" >&2; }
fail() {
  status=$1
  shift
  say "$@"
  exit "$status"
}
have() { command -v "$1" >/dev/null 2>&1; }

# Removes what is in a folder, and leaves the folder.
empty_folder() {
  find "$1" -mindepth 1 -maxdepth 1 -exec rm -rf -- {} +
}

cleanup() {
  status=$?
  trap '' HUP INT TERM
  trap - EXIT
  [ -z "$work" ] || rm -rf -- "$work"
  if [ "$status" -ne 0 ]; then
    if [ -n "$begun" ]; then
      empty_folder "$pgdata" || :
      say "removed what was unpacked into $pgdata"
    fi
    printf '%s' "$begun_tablespaces" | while read -r folder_of; do
      empty_folder "$folder_of" || :
    done
  fi
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

# verify FOLDER: every file of a backup against its SHA256SUMS
verify() {
  [ -f "$1/SHA256SUMS" ] || fail 4 "SHA256SUMS is missing in $1; nothing was changed"
  listed=' '
  while read -r expected file; do
    file=${file#\*}
    case $file in '' | */*) fail 4 "$1/SHA256SUMS is damaged; nothing was changed" ;; esac
    [ -f "$1/$file" ] || fail 4 "$1/$file is missing; nothing was changed"
    [ "$(digest "$1/$file")" = "$expected" ] ||
      fail 4 "$1/$file is damaged: it differs from SHA256SUMS; nothing was changed"
    listed="$listed$file "
  done <"$1/SHA256SUMS"
  for file in manifest.json "$(basename -- "$(list_of "$1")")" restore.sh; do
    case $listed in
      *" $file "*) ;;
      *) fail 4 "$1/SHA256SUMS is damaged: it does not name $file; nothing was changed" ;;
    esac
  done
}

# list_of FOLDER: PostgreSQL's own list of the files in a backup, encrypted or not
list_of() {
  for suffix in .age .gpg; do
    if [ -f "$1/backup_manifest$suffix" ]; then
      printf '%s' "$1/backup_manifest$suffix"
      return
    fi
  done
  printf '%s' "$1/backup_manifest"
}

# archive_of FOLDER STEM: the file that holds an archive, compressed or not
archive_of() {
  for suffix in .zst .zst.age .zst.gpg .gz .gz.age .gz.gpg .age .gpg ''; do
    if [ -f "$1/$2.tar$suffix" ]; then
      printf '%s' "$1/$2.tar$suffix"
      return
    fi
  done
  fail 4 "there is no $2.tar in $1"
}

# unpack FILE FOLDER: both ends of the pipe have to succeed
unpack() {
  rm -f -- "$work/failed"
  # shellcheck disable=SC2094 # `decode` looks at the name only
  { decode "$1" <"$1" || broken; } |
    tar --extract --no-same-owner --preserve-permissions --file=- --directory="$2" ||
    { [ -f "$work/failed" ] || fail 3 "tar could not unpack $1"; }
  [ ! -f "$work/failed" ] || fail 4 "$1 could not be $readable to its end"
}

# unpack_backup FOLDER PGDATA: without its tablespaces
unpack_backup() {
  unpack "$(archive_of "$1" base)" "$2"
  if [ ! -f "$2/backup_manifest" ]; then
    listed_in=$(list_of "$1")
    # shellcheck disable=SC2094 # `decode` looks at the name only
    decode "$listed_in" <"$listed_in" >"$2/backup_manifest"
    [ ! -f "$work/failed" ] || fail 4 "$listed_in could not be $readable to its end"
  fi
  [ -f "$2/global/pg_control" ] || fail 4 "there is no global/pg_control in the backup in $1"
}

# is_free FOLDER: new or empty
is_free() {
  if [ ! -e "$1" ] && [ ! -h "$1" ]; then return 0; fi
  [ -d "$1" ] && [ -z "$(ls -A -- "$1")" ]
}

folder_of_tablespace() {
  printf '%s' "$mapped" | while read -r mapped_oid mapped_folder; do
    if [ "$mapped_oid" = "$1" ]; then printf '%s' "$mapped_folder"; fi
  done
}

each_tablespace() {
  printf '%s\n' "$tablespaces" | while read -r oid _; do
    if [ -n "$oid" ]; then printf '%s\n' "$oid"; fi
  done
}

take_mapping() {
  oid=${1%%=*} to=${1#*=}
  case $oid in
    '' | *[!0-9]*) fail 2 "--tablespace takes OID=FOLDER, not $1" ;;
  esac
  case $to in
    *"$nl"*) fail 2 'the folder of a tablespace has a newline in its name' ;;
    /*) ;;
    *) fail 2 "the folder of a tablespace is an absolute path, not $to" ;;
  esac
  case "$nl$(each_tablespace)$nl" in
    *"$nl$oid$nl"*) ;;
    *) fail 2 "the backup has no tablespace $oid; sh restore.sh --help names them" ;;
  esac
  mapped="$mapped$oid $to$nl"
}

check_tablespaces() {
  for oid in $(each_tablespace); do
    to=$(folder_of_tablespace "$oid")
    [ -n "$to" ] || fail 2 "say where the tablespace $oid goes: --tablespace $oid=FOLDER" \
      "(sh restore.sh --help tells its name)"
    is_free "$to" || fail 2 "$to is not empty"
  done
}

find_programs() {
  for program in tar cut find $programs; do
    have "$program" || fail 3 "$program is not installed; nothing was changed"
  done
  have sha256sum || have shasum || have openssl ||
    fail 3 'none of sha256sum, shasum and openssl is installed; nothing was changed'
  [ "$chain" != "$label" ] || return 0
  on_path=$(command -v pg_combinebackup || :)
  for candidate in "/usr/lib/postgresql/$major/bin/pg_combinebackup" \
    "/usr/pgsql-$major/bin/pg_combinebackup" "$on_path"; do
    if [ -z "$candidate" ] || [ ! -x "$candidate" ]; then continue; fi
    version=$("$candidate" --version 2>/dev/null) || continue
    version=${version#*PostgreSQL) } && version=${version%%[!0-9]*}
    if [ "$version" = "$major" ]; then combine=$candidate; fi
  done
  [ -n "$combine" ] ||
    fail 3 "no pg_combinebackup of PostgreSQL $major was found; nothing was changed"
}

# The tablespaces before the data directory: without its pg_control no server starts.
restore_whole() {
  for oid in $(each_tablespace); do
    unpack "$(archive_of "$folder" "$oid")" "$(folder_of_tablespace "$oid")"
  done
  unpack_backup "$folder" "$pgdata"
}

# All backups that this one builds upon are unpacked beside PGDATA and put together.
restore_chain() {
  set --
  for link in $chain; do
    mkdir -- "$work/$link"
    unpack_backup "$folder/../$link" "$work/$link"
    for oid in $(each_tablespace); do
      [ -d "$work/$link/pg_tblspc" ] || mkdir -- "$work/$link/pg_tblspc"
      if ls "$folder/../$link/$oid.tar"* >/dev/null 2>&1; then
        mkdir -- "$work/$link-$oid"
        unpack "$(archive_of "$folder/../$link" "$oid")" "$work/$link-$oid"
        ln -s -- "$work/$link-$oid" "$work/$link/pg_tblspc/$oid"
      fi
    done
    rm -f -- "$work/$link/tablespace_map"
    set -- "$@" "$work/$link"
  done
  for oid in $(each_tablespace); do
    from=$(printf '%s\n' "$work/$label-$oid" | escape_mapping)
    to=$(folder_of_tablespace "$oid" | escape_mapping)
    set -- "--tablespace-mapping=$from=$to" "$@"
  done
  "$combine" --no-sync --output="$work/whole" "$@" >&2 || fail 3 'pg_combinebackup failed'
  # Without its pg_control no server starts: it goes last.
  mv -- "$work/whole/global/pg_control" "$work/pg_control"
  find "$work/whole" -mindepth 1 -maxdepth 1 \
    -exec sh -c 'to=$1 && shift && mv -- "$@" "$to/"' sh "$pgdata" {} + ||
    fail 3 "what was put together could not be moved into $pgdata"
  mv -- "$work/pg_control" "$pgdata/global/pg_control"
}

# In a mapping of two folders a = that belongs to one of them has a backslash before it.
escape_mapping() { sed 's/=/\\=/g'; }

# Where the tablespaces are: the server makes the links by this file (backslashes are doubled).
write_tablespace_map() {
  for oid in $(each_tablespace); do
    printf '%s %s\n' "$oid" "$(folder_of_tablespace "$oid" | sed 's/\\/\\\\/g')"
  done >"$work/tablespace_map"
  cat "$work/tablespace_map" >"$pgdata/tablespace_map"
}

# One word in single quotes
quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

# Stock programs alone: 1 says that a file is surely not there, 200 that it cannot be had now.
write_wal_fetch() {
  {
    printf '%s\n' '#!/bin/sh' '# restore_command: sh ./wal_fetch.sh %f %p' 'set -eu'
    printf 'archive=%s\n' "$(quote "$archive")"
    printf 'identity=%s\n' "$(quote "$identity")"
    cat <<'END_OF_SCRIPT'
[ -r "$archive/claim.json" ] || exit 200
case $1 in
  *.history) file=$archive/$1 ;;
  *.backup) file=$archive/$1 ;;
  *)
    file=$archive/${1%????????????????}/$1.zst
    for suffix in .age .gpg; do [ ! -e "$file$suffix" ] || file=$file$suffix; done
    ;;
esac
[ -e "$file" ] || exit 1
unpack() { zstd --decompress --stdout --quiet; }
case $file in
  *.age) age --decrypt --identity "$identity" <"$file" | unpack >"$2" || exit 200 ;;
  *.gpg) gpg --batch --quiet --decrypt <"$file" | unpack >"$2" || exit 200 ;;
  *.zst) zstd --decompress --stdout --quiet <"$file" >"$2" || exit 200 ;;
  *) cat "$file" >"$2" || exit 200 ;;
esac
END_OF_SCRIPT
  } >"$pgdata/wal_fetch.sh"
}

# What an earlier recovery or a standby has left would decide about this one: it would end at the
# wrong moment, follow the original's primary, or wait for a standby with every commit.
write_settings() {
  printf '\n# Written by restore.sh of the backup %s.\n' "$label"
  printf "archive_mode = 'off'\n"
  for setting in recovery_target recovery_target_name recovery_target_time recovery_target_xid \
    recovery_target_lsn restore_command recovery_end_command archive_cleanup_command \
    primary_conninfo primary_slot_name synchronous_standby_names; do
    printf "%s = ''\n" "$setting"
  done
  printf "recovery_target_timeline = 'latest'\nrecovery_min_apply_delay = '0'\n"
  [ "$major" -ge 16 ] || printf "promote_trigger_file = ''\n"
  [ -z "$archive" ] || printf "restore_command = 'sh ./wal_fetch.sh %%f %%p'\n"
}

# What names the original's files leads a server to them, and not to what was restored.
take_places_out() {
  for place in data_directory hba_file ident_file external_pid_file; do
    set -- "$@" -e "s/^[[:space:]]*${place}[[:space:]=]/# restore.sh: &/"
  done
  sed "$@" <"$pgdata/postgresql.conf" >"$work/postgresql.conf"
  cat "$work/postgresql.conf" >"$pgdata/postgresql.conf"
}

configure() {
  # No server starts in a folder that others can read.
  chmod 700 "$pgdata"
  write_settings >>"$pgdata/postgresql.auto.conf"
  rm -f -- "$pgdata/standby.signal" "$pgdata/recovery.signal"
  if [ -n "$archive" ]; then
    write_wal_fetch
    : >"$pgdata/recovery.signal"
  fi
  # Where the original has its configuration elsewhere, a server starts with this much.
  if [ -f "$pgdata/postgresql.conf" ]; then
    take_places_out
  else
    printf '# Written by restore.sh: the defaults, and no standby queries.\nhot_standby = off\n' \
      >"$pgdata/postgresql.conf"
  fi
  [ -f "$pgdata/pg_hba.conf" ] || printf 'local all all peer\n' >"$pgdata/pg_hba.conf"
  [ -f "$pgdata/pg_ident.conf" ] || : >"$pgdata/pg_ident.conf"
}

while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage && exit 0 ;;
    --identity)
      [ $# -ge 2 ] || fail 2 '--identity takes the file with the private key'
      identity=$2
      shift 2
      ;;
    --tablespace)
      [ $# -ge 2 ] || fail 2 '--tablespace takes OID=FOLDER'
      take_mapping "$2"
      shift 2
      ;;
    --wal-archive)
      [ $# -ge 2 ] || fail 2 '--wal-archive takes a folder'
      archive=$2
      shift 2
      ;;
    --) shift && break ;;
    -*) fail 2 "unknown flag $1; sh restore.sh --help explains the usage" ;;
    *) break ;;
  esac
done
[ $# -eq 1 ] || fail 2 'name the folder to restore into; sh restore.sh --help explains the usage'
[ -n "$1" ] || fail 2 'the name of the folder is empty'
case $1 in /*) pgdata=$1 ;; *) pgdata=$(pwd)/$1 ;; esac
[ "$(id -u)" -ne 0 ] || fail 2 'no server runs as root: run this as the user that will run it,' \
  'for example with sudo -u postgres'
self=$(readlink -f -- "$0" && printf x)
folder=${self%/*}
if [ -n "$archive" ]; then
  [ -r "$archive/claim.json" ] || fail 2 "$archive is no archive of WAL: it has no claim.json"
  archive=$(cd -- "$archive" && pwd -P && printf x)
  archive=${archive%"${nl}x"}
  have zstd || fail 3 'zstd is not installed; nothing was changed'
fi
case " $programs " in
  *' age '*)
    [ -n "$identity" ] || fail 2 'the backup is encrypted with age: name the file with the' \
      'private key of one of its recipients: sh restore.sh --identity FILE PGDATA; they are:' \
      "$recipients"
    ;;
esac
if [ -n "$identity" ]; then
  [ -r "$identity" ] || fail 2 "the identity $identity cannot be read"
  case $identity in /*) ;; *) identity=$(pwd)/$identity ;; esac
fi
readable=decompressed
[ -z "$recipients" ] || readable='decrypted by the key at hand, or decompressed,'
is_free "$pgdata" || fail 2 "$pgdata is not empty and was not touched: name a new or empty folder"
check_tablespaces
find_programs
for link in $chain; do
  say "checking the files of $link"
  verify "$folder/../$link"
done

trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p -- "$pgdata"
begun=yes
chmod 700 "$pgdata"
work=$(mktemp -d "$pgdata.restoring.XXXXXX")
for oid in $(each_tablespace); do
  to=$(folder_of_tablespace "$oid")
  mkdir -p -- "$to"
  chmod 700 "$to"
  begun_tablespaces="$begun_tablespaces$to$nl"
done
say "unpacking $label into $pgdata"
if [ "$chain" = "$label" ]; then restore_whole; else restore_chain; fi
[ -z "$tablespaces" ] || write_tablespace_map
configure
sync
begun='' begun_tablespaces=''
say "restored into $pgdata; archiving is switched off in its postgresql.auto.conf"
[ -z "$saved_config" ] || say "the configuration that lay elsewhere is saved in $folder:" \
  "$saved_config; it names the original's folders, so look at it before you use it"
[ "$damaged_pages" = 0 ] || say "warning: the server told of $damaged_pages damaged pages when" \
  'this backup was taken; an older backup may have them whole'
