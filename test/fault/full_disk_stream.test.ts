/** The disk of a stream fills up: it is told, nothing is lost, and it goes on by itself. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { until } from '../support/fault.ts';
import { fillUp, mountSmall, unmountAll } from '../support/small_disk.ts';
import { openStreamBench, type StreamBench } from '../support/stream_bench.ts';

let bench: StreamBench;
beforeAll(async () => {
  bench = await openStreamBench({}, true);
  mountSmall(bench.repository, 40 * 1024 * 1024);
}, 120_000);
afterAll(async () => {
  unmountAll();
  await bench?.close();
}, 120_000);

/** Less than a segment, so that neither a new one nor its compressed form has room. */
const leftBytes = 256 * 1024;

it('goes on by itself when there is room again, with nothing missing', async () => {
  const { cluster } = bench;
  await cluster.sql('CREATE TABLE filler (text text)');
  const stream = bench.startStream();
  await bench.received();
  const free = fillUp(bench.repository, leftBytes);
  for (let segment = 0; segment < 3; segment += 1) {
    await cluster.sql(
      'INSERT INTO filler SELECT md5(i::text || random()) FROM generate_series(1, 8000) AS i',
    );
    await bench.switchSegment();
  }
  await until('word of the full disk', () => /[Nn]o space left/.test(stream.stderrTail()) || null);
  await until(
    'pg_receivewal to give up',
    async () => {
      const sql = `SELECT 1 FROM pg_replication_slots WHERE NOT active`;
      return (await cluster.sql(sql)).length > 0 || null;
    },
    120_000,
  );
  free();
  await bench.received();
  const ended = await bench.endStream(stream);
  expect(ended.status, ended.stderr).toBe(0);
  const once = await bench.runOwned('wal_stream', ['--once', '--json']);
  expect(once.status, once.stderr).toBe(0);
  const { timelines } = await bench.listWal();
  expect(timelines.map(({ gaps, ranges }) => [gaps.length, ranges.length])).toEqual([[0, 1]]);
  const verified = await bench.runOwned('verify_backups', ['--wal', '--deep', '--json']);
  expect(verified.status, verified.stderr).toBe(0);
  // What could not be written whole has left nothing behind.
  const left = await readdir(join(bench.archive, '00000001'));
  expect(left.filter((name) => !/^[0-9A-F]{24}(\.zst|\.sha256|\.index\.json)$/.test(name))).toEqual(
    [],
  );
}, 300_000);
