# scripts/run_job.sh, as cron calls it; run under sh, or under the shell that HOLDFAST_TEST_SHELL
# names.

bats_require_minimum_version 1.5.0

setup() {
  place="$(mktemp -d)/it's 5% \$HOME"
  mkdir -p "$place/scripts" "$place/repository"
  cp "$BATS_TEST_DIRNAME/../../scripts/run_job.sh" "$place/scripts"
  # The command tells what it was given.
  cat >"$place/scripts/run_node.sh" <<'END'
#!/bin/sh
printf '<%s>\n' "$@"
printf 'PATH %s\n' "$PATH"
printf 'told\n' >&2
exit 3
END
  chmod +x "$place/scripts/run_node.sh"
  log="$place/repository/logs/cron.log"
  shell=${HOLDFAST_TEST_SHELL:-sh}
}

teardown() { rm -rf "$(dirname "$place")"; }

# As cron does it: next to no environment, and a folder that is none of ours.
job() {
  cd /
  run env -i HOME=/ LOGNAME=me SHELL=/bin/sh PATH=/usr/bin:/bin \
    "$shell" "$place/scripts/run_job.sh" "$@"
}

@test "what a job prints goes into the log, and its status is that of the command" {
  job --log "$log" --log-mb 1 backup_full.ts --type daily --job daily "a b"
  [ "$status" -eq 3 ]
  [ "$output" = '' ]
  grep -E '^[0-9]{4}(-[0-9]{2}){2}T[0-9:]{8}Z backup_full.ts --type daily --job daily a b$' "$log"
  [ "$(sed 1d "$log")" = "<$place/scripts/backup_full.ts>
<--type>
<daily>
<--job>
<daily>
<a b>
PATH /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
told" ]
  [ "$(stat -c %a "$log")" = 600 ]
  [ "$(stat -c %a "$place/repository/logs")" = 700 ]
}

@test "folders of programs come first in PATH" {
  job --path '/opt/pg 17/bin:/opt/zstd' --log "$log" --log-mb 1 backup_full.ts
  grep -q '^PATH /opt/pg 17/bin:/opt/zstd:/usr/local/sbin:' "$log"
}

@test "the log goes on, until it is too large" {
  job --log "$log" --log-mb 1 backup_full.ts
  job --log "$log" --log-mb 1 monitor_backups.ts
  [ "$(grep -c '^told$' "$log")" -eq 2 ]
  [ ! -e "$log.1" ]
  head -c 1000000 /dev/zero >>"$log"
  job --log "$log" --log-mb 1 monitor_backups.ts
  [ "$(grep -c '^told$' "$log")" -eq 1 ]
  [ "$(wc -c <"$log.1")" -gt 1000000 ]
}

@test "a repository that is not there is not made, and cron hears of it" {
  rmdir "$place/repository"
  job --log "$log" --log-mb 1 backup_full.ts
  [ "$status" -eq 3 ]
  [ ! -e "$place/repository" ]
  [[ $output == *'told'* ]]
}

@test "a log that cannot be written keeps no job from running" {
  mkdir -p "$log"
  job --log "$log" --log-mb 1 backup_full.ts
  [ "$status" -eq 3 ]
  [[ $output == *'told'* ]]
}

@test "without a command it says what it wants" {
  job --log "$log" --log-mb 1
  [ "$status" -eq 2 ]
  [[ $output == 'usage: '* ]]
}
