#!/bin/sh
# archive_command of a PostgreSQL server: puts one file of its WAL into the archive. The server calls
# it in its data directory: wal_push PATH NAME. It ends with 0 when the file is safely there, with 1
# in every other case; the server then tries again. Written by Holdfast setup_archiving.ts.
set -u
umask 077
export LC_ALL=C

archive=@ARCHIVE@
claim=@CLAIM@
host=@HOST@
data_directory=@DATA_DIRECTORY@
segment_bytes=@SEGMENT_BYTES@
system_low=@SYSTEM_LOW@
system_high=@SYSTEM_HIGH@
level=@LEVEL@
PATH=@PATH@
export PATH

temporary=
compressor=

say() { printf 'wal_push: %s\n' "$*" >&2; }
fail() {
  say "$@"
  exit 1
}
clean_up() {
  [ -z "$compressor" ] || kill "$compressor" 2>/dev/null
  [ -z "$temporary" ] || rm -f "$temporary"
}
trap clean_up EXIT
trap 'exit 1' HUP INT QUIT TERM

# Whoever has claimed the archive may write. A clone of the server has the same system identifier.
check_claim() {
  found=
  IFS= read -r found <"$archive/claim.json" || [ -n "$found" ] ||
    fail "$archive/claim.json cannot be read: nobody has claimed this archive, or it is not mounted"
  [ "$found" = "$claim" ] ||
    fail "another server writes into this archive: $found. After a failover: setup_archiving.ts take-over"
  [ "$(uname -n)" = "$host" ] ||
    fail "this is $(uname -n), and the archive belongs to $host. After a failover: setup_archiving.ts take-over"
  here=$(pwd -P)
  [ "$here" = "$data_directory" ] ||
    fail "called in $here, and the archive belongs to $data_directory. After a move: setup_archiving.ts take-over"
}

# Compares the first page of a segment with its name and with the server that the archive is of.
check_header() {
  # shellcheck disable=SC2046 # ten numbers
  set -- "$1" "$2" $(od -A n -t u4 -N 40 "$1" 2>/dev/null)
  [ "$#" = 12 ] || fail "$2: $1 cannot be read, or is no segment of the WAL"
  timeline=$((0x$(printf %.8s "$2")))
  rest=${2#????????}
  log=$((0x$(printf %.8s "$rest")))
  rest=${rest#????????}
  segment=$((0x$(printf %.8s "$rest")))
  [ "$(($3 & 65535))" -ge 53248 ] || fail "$2: it does not begin with a page of the WAL"
  { [ "$9" = "$system_low" ] && [ "${10}" = "$system_high" ]; } ||
    fail "$2: it was written by another server (system identifier $((${10} * 4294967296 + $9)))"
  [ "${11}" = "$segment_bytes" ] || fail "$2: segments of ${11} bytes, not of $segment_bytes"
  [ "$4" = "$timeline" ] || fail "$2: it is of timeline $4"
  { [ "$6" = "$log" ] && [ "$5" = "$((segment * segment_bytes))" ]; } ||
    fail "$2: it begins at another position than its name says"
  bytes=$(wc -c <"$1") || fail "$2: $1 cannot be read"
  [ "$bytes" -eq "$segment_bytes" ] || fail "$2: it has $bytes bytes, not $segment_bytes"
}

# The same content again is success; anything else is never an overwrite.
compare_stored() {
  case $stored in
    *.zst) zstd --decompress --quiet --stdout "$stored" 2>/dev/null | cmp -s - "$1" ;;
    *) cmp -s "$stored" "$1" ;;
  esac || fail "$2: the archive holds other bytes under this name: $stored. Nothing was overwritten"
}

# A name for what is being written. What a killed run has left under such a name goes.
begin_file() {
  temporary=$folder/.$1.$$.tmp
  for left in "$folder/.$1."*.tmp; do [ ! -f "$left" ] || rm -f "$left"; done
}

# link FINAL: gives what was written its name, unless something has that name already.
link() {
  sync "$temporary" || fail "$temporary cannot be brought to the disk"
  ln "$temporary" "$1" 2>/dev/null || return 1
  rm -f "$temporary"
  temporary=
}

digest() {
  if command -v openssl >/dev/null; then
    set -- "$(openssl dgst -sha256 -r <"$1")"
  else
    set -- "$(sha256sum <"$1")"
  fi
  digest=${1%% *}
  [ "${#digest}" = 64 ]
}

store() {
  path=$1
  name=$2
  if [ -e "$stored" ]; then
    compare_stored "$path" "$name"
  else
    [ -d "$folder" ] || mkdir -p "$folder" || fail "$name: $folder cannot be made"
    begin_file "$name"
    case $stored in
      *.zst) zstd --compress "-$level" --quiet --stdout <"$path" >"$temporary" & ;;
      *) cat <"$path" >"$temporary" & ;;
    esac
    compressor=$!
    digest "$path" || fail "$name: its digest could not be computed"
    wait "$compressor" || fail "$name: it could not be written into $folder (is the disk full?)"
    compressor=
    if link "$stored"; then
      begin_file "$name.sha256"
      printf '%s  %s\n' "$digest" "$name" >"$temporary" || fail "$name: its digest could not be written"
      sync "$temporary" || fail "$name: its digest could not be brought to the disk"
      mv -f "$temporary" "$folder/$name.sha256" || fail "$name: its digest could not be written"
      temporary=
    else
      compare_stored "$path" "$name"
    fi
  fi
  sync "$folder" || fail "$name: $folder cannot be brought to the disk"
}

# What the server's own user can do here, proven by files that only it can have written.
self_test() {
  token=$1
  case $token in *[!A-Za-z0-9]* | '') fail 'usage: wal_push --self-test TOKEN' ;; esac
  path=$archive/.self-test-$token
  printf '%s\n' "$(uname -n)" "$(pwd -P)" "$(id -u)" >"$path" && sync "$path" ||
    fail "$path cannot be written by user $(id -un)"
  zstd --compress --quiet --stdout <"$path" >"$path.zst" || fail 'zstd does not run'
  digest "$path" || fail 'neither openssl nor sha256sum runs'
  ln "$path" "$path.link" || fail "$archive takes no hard links"
  rm -f "$path.zst" "$path.link"
}

main() {
  if [ "$#" = 2 ] && [ "$1" = --self-test ]; then
    self_test "$2"
    return
  fi
  [ "$#" = 2 ] || fail 'usage: wal_push PATH NAME, as archive_command calls it: wal_push %p %f'
  case $2 in *[!0-9A-Za-z.]* | '' | .*) fail "not a name of a file of the WAL: $2" ;; esac
  [ -f "$1" ] || fail "$2: there is no file $1"
  check_claim
  case $2 in
    ????????????????????????.????????.backup | ????????.history)
      folder=$archive
      stored=$folder/$2
      ;;
    ???????????????????????? | ????????????????????????.partial)
      case ${2%.partial} in *[!0-9A-F]*) fail "not a name of a segment: $2" ;; esac
      check_header "$1" "$2"
      folder=$archive/$(printf %.8s "$2")
      stored=$folder/$2.zst
      ;;
    *) fail "not a name of a file of the WAL: $2" ;;
  esac
  store "$1" "$2"
}

main "$@" || exit 1
exit 0
