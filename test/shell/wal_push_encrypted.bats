# wal_push where WAL is encrypted by age or gpg: the hook has public keys alone. Run under sh, or
# under the shell that HOLDFAST_TEST_SHELL names.
# shellcheck disable=SC2154 # test/support/wal_hooks.bash sets them

bats_require_minimum_version 1.5.0

setup() {
  source "$BATS_TEST_DIRNAME/../support/wal_hooks.bash"
  make_places
  hook="$place/wal_push"
  printf '%s\n' "$(claim_line)" >"$archive/claim.json"
  stored="$archive/00000001/$first.zst"
  make_segment "pg_wal/$first" "$first"
}

# The keys of two who may restore; what the hook is rendered with.
use_age() {
  age-keygen --output "$place/one.key" 2>/dev/null
  age-keygen --output "$place/two.key" 2>/dev/null
  one=$(age-keygen -y "$place/one.key")
  two=$(age-keygen -y "$place/two.key")
  render_encrypted .zst.age age --encrypt --recipient "$one" --recipient "$two"
}

# render_encrypted SUFFIX COMMAND...
render_encrypted() {
  local suffix=$1 words='' word
  shift
  for word in "$@"; do words="$words${words:+, }$(json "$word")"; done
  render_push "$hook" "$megabyte" "$(claim_line)" ", \"digestTries\": 2,
    \"encryption\": { \"suffix\": \"$suffix\", \"command\": [$words] }"
}

push() { run "$shell" "$hook" "$@"; }

# The digests are of the plain and of the stored bytes; without a key the second is verified.
assert_digests() {
  [ "$(sed -n 1p "$archive/00000001/$1.sha256")" = "$(sha256sum <"pg_wal/$1" | cut -c 1-64)  $1" ]
  (cd "$archive/00000001" && sed -n 2p "$1.sha256" | sha256sum --check --quiet)
  [ "$(wc -l <"$archive/00000001/$1.sha256")" = 2 ]
}

@test "age: each of the recipients can decrypt a segment, the server cannot" {
  use_age
  push "pg_wal/$first" "$first"
  [ "$status" = 0 ]
  [ -z "$output" ]
  [ ! -e "$stored" ]
  for key in one two; do
    age --decrypt --identity "$place/$key.key" "$stored.age" |
      zstd --decompress --quiet --stdout | cmp - "pg_wal/$first"
  done
  assert_digests "$first"
  [ "$(stat -c %a "$stored.age")" = 600 ]
  wait_until no_unfinished
  # Histories are plain: nothing in them is anybody's data.
  printf '1\t0/3000000\tno recovery target specified\n' >00000002.history
  push 00000002.history 00000002.history
  [ "$status" = 0 ]
  cmp 00000002.history "$archive/00000002.history"
}
no_unfinished() { [ -z "$(unfinished)" ]; }

@test "gpg: a segment, with no more of the user's own settings than the key" {
  export GNUPGHOME="$place/gnupg"
  mkdir --mode=700 "$GNUPGHOME"
  gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key \
    'Holdfast test <wal@example.org>' rsa2048 encrypt never
  fingerprint=$(gpg --list-keys --with-colons | sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p' | head -n 1)
  render_encrypted .zst.gpg gpg --no-options --batch --quiet --homedir "$GNUPGHOME" \
    --no-autostart --trust-model always --compress-algo none --encrypt --recipient "$fingerprint" \
    --output -
  push "pg_wal/$first" "$first"
  [ "$status" = 0 ]
  gpg --batch --quiet --decrypt "$stored.gpg" | zstd --decompress --quiet --stdout |
    cmp - "pg_wal/$first"
  assert_digests "$first"
  gpgconf --kill all
}

@test "the same content again is no error, by its digest; other content is never an overwrite" {
  use_age
  push "pg_wal/$first" "$first"
  before=$(sha256sum <"$stored.age")
  push "pg_wal/$first" "$first"
  [ "$status" = 0 ]
  [ "$(sha256sum <"$stored.age")" = "$before" ]
  make_segment "pg_wal/$first" "$first" "$megabyte" "$system" another
  push "pg_wal/$first" "$first"
  [ "$status" = 1 ]
  [[ $output == *"other bytes under this name"* ]]
  [ "$(sha256sum <"$stored.age")" = "$before" ]
}

@test "a flipped byte in what is stored is found without a key" {
  use_age
  push "pg_wal/$first" "$first"
  poke "$stored.age" 1000 ff00ff
  push "pg_wal/$first" "$first"
  [ "$status" = 1 ]
  [[ $output == *"holds it damaged"*"move $stored.age away"* ]]
  mv "$stored.age" "$place/aside"
  push "pg_wal/$first" "$first"
  [ "$status" = 0 ]
  assert_digests "$first"
}

@test "what a killed run has left without digests was told to nobody: it is stored again" {
  use_age
  mkdir "$archive/00000001"
  printf 'half of something' >"$stored.age"
  push "pg_wal/$first" "$first"
  [ "$status" = 0 ]
  age --decrypt --identity "$place/one.key" "$stored.age" | zstd --decompress --quiet --stdout |
    cmp - "pg_wal/$first"
  assert_digests "$first"
}

@test "a segment that was stored before encryption was switched on stays as it is" {
  render_push "$hook"
  push "pg_wal/$first" "$first"
  use_age
  push "pg_wal/$first" "$first"
  [ "$status" = 0 ]
  [ -e "$stored" ] && [ ! -e "$stored.age" ]
  # And the other way round.
  make_segment "pg_wal/$second" "$second"
  push "pg_wal/$second" "$second"
  render_push "$hook"
  push "pg_wal/$second" "$second"
  [ "$status" = 0 ]
  [ ! -e "$archive/00000001/$second.zst" ]
}

@test "a program that fails stores nothing, and its words are told" {
  render_encrypted .zst.age age --encrypt --recipient age1nobody
  push "pg_wal/$first" "$first"
  [ "$status" = 1 ]
  [[ $output == *"it could not be encrypted"* ]]
  [[ $output == *age1nobody* ]]
  [ ! -e "$stored.age" ]
  wait_until no_unfinished
  # A cut segment is no segment, however well it is encrypted.
  use_age
  head -c 500000 "pg_wal/$first" >cut
  push cut "$first"
  [ "$status" = 1 ]
  [[ $output == *"has 500000 bytes"* ]]
  [ ! -e "$stored.age" ]
}

@test "the self-test encrypts too" {
  use_age
  run "$shell" "$hook" --self-test abc
  [ "$status" = 0 ]
  render_encrypted .zst.age age --encrypt --recipient age1nobody
  run "$shell" "$hook" --self-test abd
  [ "$status" = 1 ]
  [[ $output == *"nothing can be encrypted for the recipients that are set"* ]]
}
