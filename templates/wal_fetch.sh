#!/bin/sh
# restore_command of a PostgreSQL server: takes one file of the WAL out of the archive. The server
# calls it in its data directory: wal_fetch NAME PATH. It ends with 0 when the file is at PATH, with
# 1 when it is surely not in the archive, and with 126 or above when that cannot be told: with 1 the
# server takes it for the end of the WAL. A third argument names the unfinished segment with which
# this recovery ends: a file of the stream, or of the archive, within the folder of the cluster. A
# fourth names the last segment that the recovery needs to stop at its target: the server reads
# ahead of that, and what is wrong there is no more than the end of the WAL. `wal_fetch --end`
# (recovery_end_command) removes what was unpacked ahead. Written by Holdfast.
# shellcheck disable=SC2016 # a $ in a name stays a $
# shellcheck disable=SC2015 # give_up ends the run: A && B || give_up says "unless both"
set -u
umask 077
export LC_ALL=C

archive=@ARCHIVE@
system_identifier=@SYSTEM_IDENTIFIER@
system_low=@SYSTEM_LOW@
system_high=@SYSTEM_HIGH@
segment_bytes=@SEGMENT_BYTES@
ahead=@AHEAD@
jobs=@JOBS@
attempts=@ATTEMPTS@
gap_ends=@GAP_ENDS@
export PATH=@PATH@

cluster=${archive%/wal}
temporary='' unfinished='' last=''

say() { printf 'wal_fetch: %s\n' "$*" >&2; }
give_up() {
  say "$@"
  exit 200
}
# A status of ours is 0, 1, or 126 and above; the shell's own for a fault in it is 2.
clean_up() {
  status=$?
  [ -z "$temporary" ] || rm -f "$temporary"
  [ "$status" -le 1 ] || [ "$status" -ge 126 ] || exit 200
}
trap clean_up EXIT
# The server ends its recovery in order when it sees the status of the signal that it sent itself.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 131' QUIT
trap 'exit 143' TERM

# Whether the archive is there, and is that of this server.
is_mounted() {
  found=
  IFS= read -r found 2>/dev/null <"$archive/claim.json" || [ -n "$found" ] || return 1
  case $found in *"\"system_identifier\":\"$system_identifier\""*) ;; *) return 1 ;; esac
}

# Only what the system itself calls absent is absent: a dead mount or a closed folder is not.
is_absent() {
  is_mounted || return 1
  answer=$(ls -d "$1" 2>&1 >/dev/null) && return 1
  case $answer in *'No such file or directory'*) is_mounted ;; *) return 1 ;; esac
}

# The segment after the one with these 24 digits; digits of its own.
next_segment() {
  high=${1#????????}
  low=$((0x${high#????????} + 1))
  high=$((0x${high%????????}))
  if [ "$low" -ge "$((4294967296 / segment_bytes))" ]; then
    low=0
    high=$((high + 1))
  fi
  printf '%s%08X%08X' "${1%????????????????}" "$high" "$low"
}

# Whether a later segment of the same timeline is there, or that cannot be told: then the one that
# is missing is a gap, and not the end of the WAL. has_later NAME
has_later() {
  later=
  folder=$archive/${1%????????????????}
  ! is_absent "$folder" || return 1
  for file in "$folder"/????????????????????????.zst; do
    name=${file##*/}
    case ${name%.zst} in *[!0-9A-F]*) ;; *) later=${name%.zst} ;; esac
  done
  [ -n "$later" ] || { ! ls "$folder" >/dev/null 2>&1; return; }
  [ "$((0x${later#????????}))" -gt "$((0x${1#????????}))" ]
}

# Whether a file is the segment of this name. The first one of a timeline is a copy of its parent's
# up to the switch, so its first page may tell an older timeline. is_segment FILE NAME
is_segment() {
  # shellcheck disable=SC2046 # ten numbers, and the size
  set -- "$2" $(od -A n -v -t u4 -N 40 "$1" 2>/dev/null && wc -c <"$1")
  [ "$#" = 12 ] || return 1
  rest=${1#????????}
  [ "$(($2 & 65535))" -ge 53248 ] && [ "$8" = "$system_low" ] && [ "$9" = "$system_high" ] &&
    [ "${12}" = "$segment_bytes" ] && [ "$3" -ge 1 ] && [ "$3" -le "$((0x${1%"$rest"}))" ] &&
    [ "$5" = "$((0x${rest%????????}))" ] &&
    [ "$4" = "$((0x${rest#????????} * segment_bytes))" ]
}

# unpack NAME FILE: zstd tells a flipped bit and a cut end, the header a mistaken file.
unpack() {
  zstd --decompress --quiet --stdout "$archive/${1%????????????????}/$1.zst" 2>/dev/null >"$2" &&
    is_segment "$2" "$1"
}

# What stands for a segment that is not in the archive: that of the stream, which is complete and on
# its way into it, or the unfinished one that the recovery was told of. find_other NAME
find_other() {
  other=$cluster/stream/$1
  [ ! -e "$other" ] || return 0
  case $unfinished in
    */"$1.partial" | */"$1.partial.zst") other=$cluster/$unfinished ;;
    *) return 1 ;;
  esac
  [ -e "$other" ]
}

# take_other NAME FILE
take_other() {
  case $other in
    *.zst) zstd --decompress --quiet --stdout "$other" 2>/dev/null >"$2" ;;
    *) cat <"$other" 2>/dev/null >"$2" ;;
  esac && is_segment "$2" "$1"
}

# Unpacks segments into the spool, one after the other: those that nobody has begun.
unpack_all() {
  trap '' HUP
  trap - EXIT
  trap 'rm -f "$spool/$segment.tmp"; exit 0' INT QUIT TERM
  for segment in "$@"; do
    [ -d "$spool" ] || break
    [ ! -e "$spool/$segment" ] || continue
    (set -C && : >"$spool/$segment.tmp") 2>/dev/null || continue
    if unpack "$segment" "$spool/$segment.tmp"; then
      mv -f "$spool/$segment.tmp" "$spool/$segment" 2>/dev/null
    else
      rm -f "$spool/$segment.tmp"
      break
    fi
  done
}

# Takes away what lies in the spool and is not wanted next, and begins what is. look_ahead NAME
look_ahead() {
  trap '' HUP
  trap - EXIT
  trap 'exit 0' INT QUIT TERM
  wanted=' '
  segment=$1
  count=0
  while [ "$count" -lt "$ahead" ]; do
    segment=$(next_segment "$segment")
    [ -e "$archive/${segment%????????????????}/$segment.zst" ] || break
    wanted="$wanted$segment "
    count=$((count + 1))
  done
  for file in "$spool"/*; do
    name=${file##*/}
    case $wanted in *" ${name%.tmp} "*) ;; *) rm -f "$file" ;; esac
  done
  job=0
  while [ "$job" -lt "$jobs" ]; do
    mine=
    number=0
    for segment in $wanted; do
      [ "$((number % jobs))" != "$job" ] || mine="$mine $segment"
      number=$((number + 1))
    done
    # shellcheck disable=SC2086 # names of segments
    [ -z "$mine" ] || unpack_all $mine &
    job=$((job + 1))
  done
  wait
}

# A spool belongs to one run of the server: after a crash of the machine nothing in it counts.
find_spool() {
  spool=
  { IFS= read -r pid && IFS= read -r _ && IFS= read -r since; } 2>/dev/null <postmaster.pid ||
    return 0
  case $pid$since in *[!0-9]* | '') return 0 ;; esac
  case $1 in */*) place=${1%/*} ;; *) place=. ;; esac
  spool=$place/.wal_fetch.$pid.$since
  [ -d "$spool" ] || {
    remove_spools "$place"
    mkdir "$spool" 2>/dev/null || spool=
  }
}

# What is being unpacked meanwhile may still appear in one: again, then.
remove_spools() {
  for left in "$1"/.wal_fetch.*; do
    rm -rf "$left" 2>/dev/null || rm -rf "$left"
  done
}

# Whether the recovery stops at its target before a segment. is_behind NAME
is_behind() { [ -n "$last" ] && [ "$((0x${1#????????}))" -gt "$((0x${last#????????}))" ]; }

# fetch_segment NAME PATH
fetch_segment() {
  find_spool "$2"
  if [ -n "$spool" ] && [ -e "$spool/$1" ] && mv -f "$spool/$1" "$2" 2>/dev/null; then
    look_ahead "$1" >/dev/null 2>&1 </dev/null &
    return 0
  fi
  stored=$archive/${1%????????????????}/$1.zst
  later=
  attempt=1
  while :; do
    temporary=$2.wal_fetch
    if [ -e "$stored" ] && unpack "$1" "$temporary"; then
      mv -f "$temporary" "$2" || give_up "$1: $2 cannot be written"
      temporary=
      [ -z "$spool" ] || look_ahead "$1" >/dev/null 2>&1 </dev/null &
      return 0
    fi
    ! is_behind "$1" || exit 1
    if ! [ -e "$stored" ] && find_other "$1"; then
      if take_other "$1" "$temporary"; then
        mv -f "$temporary" "$2" || give_up "$1: $2 cannot be written"
        temporary=
        return 0
      fi
    elif is_absent "$stored"; then
      [ "$gap_ends" = no ] && has_later "$1" || exit 1
    fi
    [ "$attempt" -lt "$attempts" ] || break
    attempt=$((attempt + 1))
    [ -z "$spool" ] || remove_spools "${spool%/*}"
    spool=
    sleep 1
  done
  is_mounted || give_up "$1: $archive cannot be reached, or is the archive of another server"
  [ -z "$later" ] || ! is_absent "$stored" ||
    give_up "$1 is missing in the archive, and $later is there: a gap"
  give_up "$1: $stored cannot be read or is damaged, or $2 cannot be written"
}

# The history of a timeline, or the mark of a base backup. fetch_file NAME PATH
fetch_file() {
  stored=$archive/$1
  attempt=1
  while ! copy_file "$stored" "$2"; do
    ! is_absent "$stored" || exit 1
    [ "$attempt" -lt "$attempts" ] ||
      give_up "$1: $stored cannot be read or is damaged, or $2 cannot be written"
    attempt=$((attempt + 1))
    sleep 1
  done
}

# Copies a file if it is as it was when it was stored. copy_file STORED PATH
copy_file() {
  [ -e "$1" ] || return 1
  temporary=$2.wal_fetch
  cat 2>/dev/null <"$1" >"$temporary" || return 1
  expected=
  if IFS= read -r expected 2>/dev/null <"$1.sha256"; then
    if command -v openssl >/dev/null; then
      digest=$(openssl dgst -sha256 -r <"$temporary")
    else
      digest=$(sha256sum <"$temporary")
    fi
    [ "${digest%% *}" = "${expected%% *}" ] || return 1
  fi
  mv -f "$temporary" "$2" || return 1
  temporary=
}

main() {
  if [ "$#" = 1 ] && [ "$1" = --end ]; then
    remove_spools pg_wal
    return
  fi
  [ "$#" -ge 2 ] && [ "$#" -le 4 ] ||
    give_up 'usage: wal_fetch NAME PATH, as restore_command calls it: wal_fetch %f %p'
  unfinished=${3:-}
  last=${4:-}
  case $last in
    '' | ????????????????????????) ;;
    *) last=- ;;
  esac
  case $last in *[!0-9A-F]*) give_up "not a name of a segment of the WAL: ${4:-}" ;; esac
  [ -n "$2" ] || give_up "$1: no path to put it"
  case $1 in
    ????????????????????????)
      case $1 in *[!0-9A-F]*) give_up "not a name of a file of the WAL: $1" ;; esac
      fetch_segment "$1" "$2"
      ;;
    ????????.history | ????????????????????????.????????.backup)
      case ${1%.*} in *[!0-9A-F.]*) give_up "not a name of a file of the WAL: $1" ;; esac
      fetch_file "$1" "$2"
      ;;
    *) give_up "not a name of a file of the WAL: $1" ;;
  esac
}

main "$@"
