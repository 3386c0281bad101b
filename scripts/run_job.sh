#!/bin/sh
# Runs a command of this folder as a job of a crontab, which gives next to no environment and mails
# what is printed: here PATH is a sane one, and what is printed goes into a log.
#
#   run_job.sh [--path FOLDERS] --log FILE --log-mb MEGABYTES COMMAND [ARGUMENT…]
set -eu
umask 077

folders=
log=
log_mb=100
while :; do
  case ${1:-} in
    --path) folders=$2: ;;
    --log) log=$2 ;;
    --log-mb) log_mb=$2 ;;
    *) break ;;
  esac
  shift 2
done
if [ "$#" = 0 ] || [ -z "$log" ]; then
  printf 'usage: run_job.sh [--path FOLDERS] --log FILE --log-mb MB COMMAND [ARGUMENT…]\n' >&2
  exit 2
fi
command=$1
shift

PATH=$folders/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
scripts=$(dirname "$0")

# The folder of the repository is not made here: where it is missing a disk is not mounted, and the
# job itself has to say so. What it prints then goes where cron sends it.
logs=$(dirname "$log")
[ -d "$logs" ] || mkdir "$logs" 2>/dev/null || :
if [ -f "$log" ] && [ "$(wc -c <"$log")" -ge "$((log_mb * 1000000))" ]; then
  mv -f "$log" "$log.1" 2>/dev/null || :
fi
if { printf '' >>"$log"; } 2>/dev/null; then
  exec >>"$log" 2>&1
fi
printf '%s %s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$command" "$*"
exec "$scripts/run_node.sh" "$scripts/$command" "$@"
