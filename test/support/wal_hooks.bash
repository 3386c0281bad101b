# Support for wal_push.bats and wal_fetch.bats: an archive, a data directory, and files that look
# like segments of the WAL.
# shellcheck disable=SC2034,SC2154 # the test files use and set them

checkout=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
node="$checkout/node_modules/.bin/node"
shell=${HOLDFAST_TEST_SHELL:-sh}
# The number that pg_control_system() tells of a server, and that of another one.
system=7423456789012345678
other_system=7423456789012345679
megabyte=1048576
first=000000010000000000000001
second=000000010000000000000002
third=000000010000000000000003

# A path that a shell would read as something else.
make_places() {
  place="$BATS_TEST_TMPDIR/it's \$(touch x) \"%f\" @PATH@"
  archive="$place/wal"
  pgdata="$place/data"
  markers="$place/state/it's"
  mkdir -p "$archive" "$pgdata/pg_wal"
  cd "$pgdata" || exit
  pgdata=$(pwd -P)
}

# json TEXT: as one JSON string
json() { "$node" --print 'JSON.stringify(process.argv[1])' -- "$1"; }

# claim_line [HOST [DATA_DIRECTORY [ID]]]
# shellcheck disable=SC2120 # each of them has its default
claim_line() {
  printf '{"system_identifier":"%s","host":%s,"data_directory":%s,"claimed_at":"%s","claim_id":"%s"}' \
    "$system" "$(json "${1:-$(uname -n)}")" "$(json "${2:-$pgdata}")" 2026-11-21T02:00:00.000Z \
    "${3:-k3f9}"
}

# render_push FILE [SEGMENT_BYTES [CLAIM [MORE_JSON]]]
# shellcheck disable=SC2119
render_push() {
  "$node" "$checkout/test/support/render_wal_hook.ts" push "{ \"archive\": $(json "$archive"), \"markers\": $(json "$markers"),
    \"claim\": ${3:-$(claim_line)}, \"segmentBytes\": ${2:-$megabyte}, \"compressionLevel\": 1,
    \"path\": $(json "$PATH") ${4:-} }" >"$1"
}

# render_fetch FILE [SEGMENT_BYTES [MORE_JSON]]
render_fetch() {
  "$node" "$checkout/test/support/render_wal_hook.ts" fetch "{ \"archive\": $(json "$archive"),
    \"systemIdentifier\": \"$system\", \"segmentBytes\": ${2:-$megabyte}, \"jobs\": 2,
    \"attempts\": 2, \"path\": $(json "$PATH") ${3:-} }" >"$1"
}

# make_segment FILE NAME [SEGMENT_BYTES [SYSTEM_IDENTIFIER [SEED]]]: bytes that do not compress
make_segment() {
  "$node" -e '
    const { createCipheriv, createHash } = require("node:crypto");
    const [file, name, size, system, seed] = process.argv.slice(1);
    const key = createHash("sha512").update(seed + name).digest();
    const cipher = createCipheriv("aes-128-ctr", key.subarray(0, 16), key.subarray(16, 32));
    const bytes = cipher.update(Buffer.alloc(Number(size)));
    bytes.writeUInt16LE(0xd110, 0);
    bytes.writeUInt16LE(6, 2);
    bytes.writeUInt32LE(parseInt(name.slice(0, 8), 16), 4);
    const number = BigInt("0x" + name.slice(8, 16)) * 0x100000000n +
      BigInt("0x" + name.slice(16, 24)) * BigInt(size);
    bytes.writeBigUInt64LE(number, 8);
    bytes.writeBigUInt64LE(BigInt(system), 24);
    bytes.writeUInt32LE(Number(size), 32);
    bytes.writeUInt32LE(8192, 36);
    require("node:fs").writeFileSync(file, bytes);
  ' "$1" "$2" "${3:-$megabyte}" "${4:-$system}" "${5:-seed}"
}

# poke FILE OFFSET HEX: writes bytes into a file
poke() {
  "$node" -e 'const fs = require("fs"); const [file, at, hex] = process.argv.slice(1);
    const handle = fs.openSync(file, "r+");
    fs.writeSync(handle, Buffer.from(hex, "hex"), 0, null, Number(at));' "$1" "$2" "$3"
}

# What is being written and was not finished.
unfinished() { find "$archive" "$pgdata" -name '*.tmp' -o -name '*.wal_fetch'; }

# wait_until COMMAND…: for at most a minute
wait_until() {
  local tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || return 1
    sleep 0.1
  done
}
