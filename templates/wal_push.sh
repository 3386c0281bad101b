#!/bin/sh
# archive_command of a PostgreSQL server: puts one file of its WAL into the archive. The server
# calls it in its data directory: wal_push PATH NAME. It ends with 0 when the file is safely there,
# with 1 in every other case; the server then tries again. Written by Holdfast setup_archiving.ts.
# shellcheck disable=SC2016 # a $ in a name stays a $
# shellcheck disable=SC2015 # fail ends the run: A && B || fail says "unless both"
set -u
umask 077
export LC_ALL=C

archive=@ARCHIVE@
markers=@MARKERS@
claim=@CLAIM@
host=@HOST@
data_directory=@DATA_DIRECTORY@
segment_bytes=@SEGMENT_BYTES@
system_low=@SYSTEM_LOW@
system_high=@SYSTEM_HIGH@
level=@LEVEL@
suffix=@SUFFIX@
digest_tries=@DIGEST_TRIES@
export PATH=@PATH@

take_over='After a failover or a move, on the new server: setup_archiving.ts take-over'
data='' digest_file='' compressor='' marker='' whole=''

say() { printf 'wal_push: %s\n' "$*" >&2; }
fail() {
  say "$@"
  exit 1
}
# Whatever ends this run: the status is 0 or 1, and nothing stays that was being written.
clean_up() {
  status=$?
  trap '' HUP INT QUIT TERM
  [ -z "$compressor" ] || kill "$compressor" 2>/dev/null
  if [ -n "$data$digest_file$marker" ]; then
    wait
    rm -f "$data" "$digest_file" "$marker" "$whole"
  fi
  [ "$status" = 0 ] || exit 1
}
trap clean_up EXIT
trap 'exit 1' HUP INT QUIT TERM

# Whoever has claimed the archive may write. A clone of the server has the same system identifier.
check_claim() {
  found=
  IFS= read -r found 2>/dev/null <"$archive/claim.json" || [ -n "$found" ] ||
    fail "$archive/claim.json cannot be read: the archive is not mounted, or nobody has claimed it"
  [ "$found" = "$claim" ] ||
    fail "another server has claimed this archive: $found. $take_over"
}

# Whether this is the server that the claim is about: its host and its data directory.
check_place() {
  here=
  IFS= read -r here 2>/dev/null </proc/sys/kernel/hostname || here=$(uname -n)
  [ "$here" = "$host" ] || fail "this is $here, and the archive belongs to $host. $take_over"
  cd -P . && [ "$PWD" = "$data_directory" ] ||
    fail "called in $PWD, and the archive belongs to $data_directory. $take_over"
}

# Compares the first page of a segment with its name and with the server that the archive is of.
# check_header PATH NAME
check_header() {
  # shellcheck disable=SC2046 # ten numbers
  set -- "$1" "$2" $(od -A n -v -t u4 -N 40 "$1" 2>/dev/null)
  [ "$#" = 12 ] || fail "$2: $1 cannot be read, or is no segment of the WAL"
  [ "$(($3 & 65535))" -ge 53248 ] && [ "$(($3 >> 16 & 2))" = 2 ] ||
    fail "$2: it does not begin with a page of the WAL"
  [ "$9" = "$system_low" ] && [ "${10}" = "$system_high" ] ||
    fail "$2: another server wrote it (system identifier $((${10} * 4294967296 + $9)))"
  [ "${11}" = "$segment_bytes" ] || fail "$2: a segment of ${11} bytes, not of $segment_bytes"
  rest=${digits#????????}
  # The first segment of a timeline is a copy of its parent's up to the switch (XLogFileCopy): its
  # first page tells the older timeline.
  [ "$4" -ge 1 ] && [ "$4" -le "$((0x${digits%"$rest"}))" ] || fail "$2: it is of timeline $4"
  [ "$6" = "$((0x${rest%????????}))" ] &&
    [ "$5" = "$((0x${rest#????????} * segment_bytes))" ] ||
    fail "$2: it begins at another position than its name says"
}

# From stdin to stdout. Only those for whom it is can read it again: nobody here has a key.
encrypt() { @ENCRYPT@; }

# The same content again is success; anything else is never an overwrite. Of what is encrypted the
# digests tell: those of the plain and of the stored bytes. compare_stored PATH NAME
compare_stored() {
  away="move $stored away, and it is archived again"
  case $stored in
    *.zst)
      zstd --test --quiet "$stored" 2>/dev/null || fail "$2: the archive holds it damaged: $away"
      zstd --decompress --quiet --stdout "$stored" 2>/dev/null | cmp -s - "$1"
      ;;
    *.zst.*)
      { IFS= read -r plain_line && IFS= read -r stored_line; } <"$folder/$2.sha256" ||
        fail "$2: its digests in the archive are cut: $away"
      digest_of "$stored"
      [ "$digest  ${stored##*/}" = "$stored_line" ] ||
        fail "$2: the archive holds it damaged: $away"
      digest_of "$1"
      [ "$digest  $2" = "$plain_line" ]
      ;;
    *) cmp -s "$stored" "$1" ;;
  esac || fail "$2: the archive holds other bytes under this name: $stored. Nothing was overwritten"
}

# digest_of FILE: its SHA-256, as $digest
digest_of() {
  if command -v openssl >/dev/null; then
    digest=$(openssl dgst -sha256 -r <"$1")
  else
    digest=$(sha256sum <"$1")
  fi
  digest=${digest%% *}
}

# compute_digest PATH NAME: of these bytes, as a line for sha256sum --check
compute_digest() {
  digest_of "$1"
  [ "${#digest}" = 64 ] || fail "$2: its digest could not be computed"
  printf '%s  %s\n' "$digest" "$2" >"$digest_file" ||
    fail "$2: its digest could not be written (is the disk full?)"
}

# Whether wal_ship.ts has stored this very file, in this very state. What it writes down is looked
# at and never trusted: anything else there, or nothing, says no, and the work is done here. While
# one of the two works on a file, the other waits for it, for a while. shipped PATH NAME
shipped() {
  word='' tries=0
  while [ -f "$markers/$2" ]; do
    read -r word facts 2>/dev/null <"$markers/$2" || return 1
    [ "$word" = working ] || break
    tries=$((tries + 1)) word=''
    [ "$tries" -le 200 ] && kill -0 "$facts" 2>/dev/null && sleep 0.01 || return 1
  done
  [ "$word" = stored ] && [ -e "$stored" ] && [ -e "$folder/$2.sha256" ] || return 1
  case $stored in *.zst*) [ "${facts%% *}" = "$segment_bytes" ] || return 1 ;; esac
  [ "$(stat --dereference --format='%s %d %i %.9Y %.9Z' "$1" 2>/dev/null)" = "$facts" ]
}

# Says to wal_ship.ts that this file is worked on here. announce NAME
announce() {
  # To write into a pipe that lies there would take for ever.
  [ ! -e "$markers/$1" ] || return 0
  set -C
  printf 'working %s\n' "$$" 2>/dev/null >"$markers/$1" && marker=$markers/$1
  set +C
}

# What killed runs have left of this file goes. It is written outside the timeline's folder, which
# has so many files that looking for a name in it takes time. begin NAME
begin() {
  if ! [ -d "$folder" ]; then
    mkdir -p "$folder" && sync "$archive" || fail "$1: $folder cannot be made"
  fi
  for left in "$archive/.$1."*.tmp; do
    writer=${left#"$archive/.$1."}
    [ ! -f "$left" ] || kill -0 "${writer%%.*}" 2>/dev/null || rm -f "$left"
  done
  digest_file=$archive/.$1.$$.sha256.tmp
}

# The digest beside a file that is there already, where a killed run has left none. settle PATH NAME
settle() {
  case $stored in *.zst.*) await_digest "$2" || return 1 ;; esac
  compare_stored "$1" "$2"
  if ! [ -e "$folder/$2.sha256" ]; then
    begin "$2"
    compute_digest "$1" "$2"
    sync "$digest_file" && mv -f "$digest_file" "$folder/$2.sha256" ||
      fail "$2: its digest could not be written"
    digest_file=
  fi
  sync "$folder" || fail "$2: $folder cannot be brought to the disk"
}

# Nobody here can read an encrypted segment, so without digests nobody knows what it is: whoever
# has stored it is about to write them, or was killed before anybody was told that it is safe. Then
# it is not there. await_digest NAME
await_digest() {
  tries=0
  until [ -s "$folder/$1.sha256" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt "$digest_tries" ]; then
      rm -f "$stored"
      return 1
    fi
    sleep 0.1
  done
}

# Compresses and, at the same time, looks at the header and computes the digest; zstd holds the size
# against the one that is pledged. The hard link is the commit: of two who race, one finds the name
# taken. store PATH NAME
store() {
  announce "$2"
  begin "$2"
  data=$archive/.$2.$$.data.tmp
  case $stored in
    *.zst)
      zstd --compress "-$level" --single-thread --stream-size="$segment_bytes" --quiet --stdout \
        <"$1" 2>/dev/null >"$data" &
      compressor=$!
      check_header "$1" "$2"
      ;;
    *.zst.*)
      whole=$archive/.$2.$$.whole.tmp
      {
        zstd --compress "-$level" --single-thread --stream-size="$segment_bytes" --quiet --stdout \
          <"$1" 2>/dev/null && : >"$whole"
      } | @ENCRYPT@ 2>/dev/null >"$data" &
      compressor=$!
      check_header "$1" "$2"
      ;;
    *)
      cat <"$1" 2>/dev/null >"$data" &
      compressor=$!
      ;;
  esac
  compute_digest "$1" "$2"
  wait "$compressor" || explain "$1" "$2"
  compressor=
  case $stored in
    *.zst.*)
      [ -e "$whole" ] || explain "$1" "$2"
      rm -f "$whole"
      digest_of "$data"
      [ "${#digest}" = 64 ] && printf '%s  %s\n' "$digest" "${stored##*/}" >>"$digest_file" ||
        fail "$2: its digest could not be written (is the disk full?)"
      ;;
  esac
  sync "$data" "$digest_file" || fail "$2: $folder cannot be brought to the disk"
  check_claim
  if ln "$data" "$stored" 2>/dev/null; then
    mv -f "$digest_file" "$folder/$2.sha256" && sync "$folder" ||
      fail "$2: $folder cannot be brought to the disk"
    rm -f "$data" "$marker" >/dev/null 2>&1 &
    data='' digest_file='' marker=''
  else
    [ -e "$stored" ] || fail "$2: $stored could not be made"
    settle "$1" "$2" || fail "$2: it was left without digests: it is archived again"
  fi
}

# Why the compressor has failed. explain PATH NAME
explain() {
  compressor=
  bytes=$(wc -c <"$1")
  case $stored in
    *.zst*) [ "$bytes" = "$segment_bytes" ] || fail "$2: $1 has $bytes bytes, not $segment_bytes" ;;
  esac
  case $stored in
    *.zst.*) printf x | encrypt >/dev/null || fail "$2: it could not be encrypted" ;;
  esac
  fail "$2: it could not be written into $folder (is the disk full?)"
}

# What the server's own user can do here. The answer lies in the archive: that it appears there
# proves that the server and whoever asked see the same one. --self-test TOKEN
self_test() {
  case $1 in *[!A-Za-z0-9]* | '') fail 'usage: wal_push --self-test TOKEN' ;; esac
  data=$archive/.self-test-$1.tmp
  digest_file=$archive/.self-test-$1.zst.tmp
  cd -P . || fail 'the current folder cannot be entered'
  printf '%s\n' "$(uname -n)" "$(id -un 2>/dev/null || id -u)" "$PWD" >"$data" ||
    fail "$(id) may not write into $archive"
  zstd --compress "-$level" --quiet --stdout <"$data" >"$digest_file" || fail 'zstd does not run'
  zstd --decompress --quiet --stdout <"$digest_file" | cmp -s - "$data" || fail 'cmp does not run'
  encrypt <"$data" >/dev/null || fail "nothing can be encrypted for the recipients that are set"
  [ "$(od -A n -v -t u4 -N 4 "$data" | wc -c)" -gt 0 ] || fail 'od does not run'
  compute_digest "$data" self-test
  sync "$data" "$archive" || fail "$archive cannot be brought to the disk"
  ln "$data" "$archive/.self-test-$1" || fail "$archive takes no hard links"
}

main() {
  if [ "$#" = 2 ] && [ "$1" = --self-test ]; then
    self_test "$2"
    return
  fi
  [ "$#" = 2 ] || fail 'usage: wal_push PATH NAME, as archive_command calls it: wal_push %p %f'
  [ -f "$1" ] || fail "$2: there is no file $1"
  case $2 in
    ???????????????????????? | ????????????????????????.partial)
      digits=${2%.partial}
      folder=$archive/${digits%????????????????}
      stored=$folder/$2$suffix
      for form in .zst .zst.age .zst.gpg; do
        [ ! -e "$folder/$2$form" ] || stored=$folder/$2$form
      done
      ;;
    ????????.history | ????????????????????????.????????.backup)
      digits=${2%.history}
      digits=${digits%.backup}
      digits=${digits%.*}${digits#????????????????????????.}
      folder=$archive
      stored=$folder/$2
      ;;
    *) digits=- ;;
  esac
  case $digits in *[!0-9A-F]*) fail "not a name of a file of the WAL: $2" ;; esac
  check_claim
  check_place
  if shipped "$1" "$2"; then
    return
  elif [ -e "$stored" ]; then
    case $stored in *.zst*) check_header "$1" "$2" ;; esac
    settle "$1" "$2" && return
    stored=$folder/$2$suffix
  fi
  store "$1" "$2"
}

main "$@"
