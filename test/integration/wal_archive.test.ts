import { copyFile, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatSums, sha256Of } from '../../src/core/sums.ts';
import { parseSegmentHeader } from '../../src/core/wal_header.ts';
import { hasTransaction, parseIndex, type WalIndex } from '../../src/core/wal_index.ts';
import type { ArchiveFacts } from '../../src/operations/archiving/wal_list.ts';
import type { WalFinding } from '../../src/operations/archiving/wal_segment.ts';
import { openWalScene, type WalScene } from '../support/wal_scene.ts';
import { flipped, jsonOf } from '../support/workbench.ts';

let scene: WalScene;
/** Of timeline 1 and 2, as they were archived. */
const names: string[] = [];
let lastXid: number;

async function list(): Promise<ArchiveFacts> {
  const outcome = await scene.bench.run('list_backups', ['--wal', '--json']);
  expect(outcome.status, outcome.stderr).toBe(0);
  const [archive, second] = jsonOf<{ archives: ArchiveFacts[] }>(outcome).archives;
  expect(second).toBeUndefined();
  if (archive === undefined) throw new Error('no archive');
  return archive;
}

async function verify(...flags: string[]): Promise<{ status: number; findings: WalFinding[] }> {
  const outcome = await scene.bench.run('verify_backups', ['--wal', '--json', ...flags]);
  const { archives } = jsonOf<{ archives: { findings: WalFinding[] }[] }>(outcome);
  return { status: outcome.status, findings: archives[0]?.findings ?? [] };
}

const stored = (name: string, suffix = '.zst') =>
  join(scene.archive, name.slice(0, 8), `${name}${suffix}`);

/** Does something to a file of the archive, looks, and takes it back. */
async function meanwhile<T>(path: string, change: () => Promise<void>, look: () => Promise<T>) {
  await copyFile(path, `${path}.kept`);
  await rename(`${path}.kept`, join(scene.bench.folder, 'kept'));
  try {
    await change();
    return await look();
  } finally {
    await copyFile(join(scene.bench.folder, 'kept'), path);
  }
}

beforeAll(async () => {
  scene = await openWalScene();
  const { cluster } = scene;
  await cluster.sql([
    'CREATE TABLE t (i int, pad text)',
    'ALTER TABLE t ALTER pad SET STORAGE EXTERNAL',
  ]);
  await cluster.sql(`SELECT pg_create_restore_point(E'before\\nthe "deploy" $(id)')`);
  names.push(await scene.switchSegment());
  // A transaction of its own for each row: some begin in one segment and end in the next.
  await cluster.sql(
    "DO $$ BEGIN FOR i IN 1..2500 LOOP INSERT INTO t SELECT i, repeat('y', 7000); COMMIT; " +
      'END LOOP; END $$',
  );
  names.push(await scene.switchSegment());
  await scene.promote();
  await cluster.sql('INSERT INTO t VALUES (-1)');
  names.push(await scene.switchSegment());
  const client = await cluster.connect();
  await client.query('BEGIN');
  await client.query('INSERT INTO t VALUES (-2)');
  const { rows } = await client.query('SELECT pg_current_xact_id()::text AS xid');
  await client.query('COMMIT');
  lastXid = Number(rows[0].xid);
  names.push(await scene.switchSegment());
}, 240_000);
afterAll(() => scene.close());

describe('the WAL archive of a server with a failover', () => {
  it('is listed as a tree with unbroken ranges and the last commit', async () => {
    const { timelines, cluster, claim, times_unknown, foreign } = await list();
    expect({ cluster, times_unknown, foreign }).toEqual({
      cluster: scene.name,
      times_unknown: null,
      foreign: [],
    });
    expect(claim?.claim_id).toBe('scene');
    expect(timelines.map(({ timeline, origin, parent }) => [timeline, origin, parent])).toEqual([
      [1, 'first', null],
      [2, 'branch', 1],
    ]);
    const [first, second] = timelines;
    expect(first?.gaps).toEqual([]);
    expect(first?.ranges).toHaveLength(1);
    expect(first?.ranges[0]).toMatchObject({
      first_segment: '000000010000000000000001',
      ends_unfinished: true,
    });
    expect(second?.gaps).toEqual([]);
    expect(second?.ranges).toHaveLength(1);
    expect(second?.ranges[0]).toMatchObject({
      first_segment: '000000010000000000000001',
      last_segment: names.at(-1),
    });
    expect(second?.ranges[0]?.last_commit?.xid).toBe(lastXid);
  });

  it('tells people the same', async () => {
    const { status, stdout } = await scene.bench.run('list_backups', ['--wal']);
    expect(status).toBe(0);
    expect(stdout).toContain(`to ${names.at(-1)}: `);
    expect(stdout).toMatch(/timeline 2, which left timeline 1 at 0\/[0-9A-F]+\n/);
    expect(stdout).toMatch(
      /newest recoverable point: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} UTC, 0\//,
    );
    expect(stdout).not.toContain('GAP');
  });

  it('indexes every transaction, also of those that end in another segment, and names', async () => {
    // Deep, every segment is indexed.
    expect((await verify('--deep')).status).toBe(0);
    const indexes: WalIndex[] = [];
    for (const folder of ['00000001', '00000002']) {
      for (const file of (await readdir(join(scene.archive, folder))).sort()) {
        if (!file.endsWith('.index.json')) continue;
        indexes.push(parseIndex(await readFile(join(scene.archive, folder, file))));
      }
    }
    const rows = await scene.cluster.sql('SELECT DISTINCT xmin::text::bigint AS xid FROM t');
    expect(rows.length).toBeGreaterThan(2500);
    const lost = rows.filter(
      ({ xid }) => !indexes.some((each) => hasTransaction(each, Number(xid))),
    );
    expect(lost).toEqual([]);
    const points = indexes.flatMap((each) => each.restore_points.map(({ name }) => name));
    expect(points).toEqual(['before\nthe "deploy" $(id)']);
    expect(indexes.at(-1)?.last_commit?.xid).toBe(lastXid);
  });

  it('is verified whole, and deep', async () => {
    expect(await verify()).toEqual({ status: 0, findings: [] });
    expect(await verify('--deep')).toEqual({ status: 0, findings: [] });
  });

  it('keeps no index of a segment in which a record ends that began in a missing one', async () => {
    const [lost, next] = ['000000010000000000000002', '000000010000000000000003'];
    const index = stored(next, '.index.json');
    await list();
    const before = await readFile(index, 'utf8');
    const isThere = () =>
      readFile(index).then(
        () => true,
        () => false,
      );
    const { continuedBytes } = parseSegmentHeader(zstdDecompressSync(await readFile(stored(next))));
    await meanwhile(
      stored(lost),
      () => Promise.all([rm(stored(lost)), rm(index, { force: true })]).then(() => undefined),
      async () => {
        await list();
        expect(await isThere()).toBe(continuedBytes === 0);
      },
    );
    // Now it is read from where the one before ends, and says the same as when all were read.
    await rm(index, { force: true });
    await list();
    expect(await readFile(index, 'utf8')).toBe(before);
  });

  it('names a removed segment exactly', async () => {
    const [, lost = ''] = names;
    await meanwhile(
      stored(lost),
      () => rm(stored(lost)),
      async () => {
        const { timelines } = await list();
        const gap = { timeline: 1, first_segment: lost, last_segment: lost, segments: 1 };
        for (const { gaps, ranges } of timelines) {
          expect(gaps).toEqual([gap]);
          expect(ranges).toHaveLength(2);
        }
        const { stdout } = await scene.bench.run('list_backups', ['--wal']);
        expect(stdout.match(/GAP.*/g)).toEqual([`GAP: ${lost} is missing`]);
        const file = `00000001/${lost}.zst`;
        expect(await verify()).toEqual({
          status: 4,
          findings: [{ file, check: 'missing', message: 'is missing' }],
        });
      },
    );
  });

  it('finds a flipped and a cut segment, and one under another name', async () => {
    const [name = '', other = ''] = names;
    const file = `00000001/${name}.zst`;
    const path = stored(name);
    const flip = async () => writeFile(path, flipped(await readFile(path)));
    const found = [
      await meanwhile(path, flip, verify),
      await meanwhile(path, () => truncate(path, 5000), verify),
      await meanwhile(path, () => copyFile(stored(other), path), verify),
    ];
    expect(found.map(({ status }) => status)).toEqual([4, 4, 4]);
    expect(found.map(({ findings }) => findings.map((each) => [each.file, each.check]))).toEqual([
      [[file, 'bytes']],
      [[file, 'bytes']],
      [[file, 'digest']],
    ]);
  });

  it('takes a segment without its digest for a segment, and writes the digest', async () => {
    const [name = ''] = names;
    const digest = stored(name, '.sha256');
    const before = await readFile(digest, 'utf8');
    await rm(digest);
    expect(await verify()).toEqual({ status: 0, findings: [] });
    expect(await readFile(digest, 'utf8')).toBe(before);
    await rm(digest);
    await meanwhile(
      stored(name),
      () => copyFile(stored(names[1] ?? ''), stored(name)),
      async () => {
        const { findings } = await verify();
        expect(findings.map(({ check, message }) => [check, message])).toEqual([
          ['header', expect.stringMatching(/^begins at 0\/.* instead of 0\//)],
        ]);
      },
    );
    expect(await verify()).toEqual({ status: 0, findings: [] });
  });

  it('tells a timeline whose history is missing as of unknown origin', async () => {
    const path = join(scene.archive, '00000002.history');
    await meanwhile(
      path,
      () => rm(path),
      async () => {
        const { timelines } = await list();
        expect(timelines.map(({ timeline, origin }) => [timeline, origin])).toEqual([
          [1, 'first'],
          [2, 'unknown'],
        ]);
        const { status, findings } = await verify();
        expect(status).toBe(4);
        expect(findings).toMatchObject([{ file: '00000002.history', check: 'missing' }]);
      },
    );
  });

  it('finds with --deep what was broken before it was archived', async () => {
    const name = '000000010000000000000002';
    const before = await readFile(stored(name));
    const digest = await readFile(stored(name, '.sha256'));
    try {
      const broken = flipped(zstdDecompressSync(before));
      await writeFile(stored(name), zstdCompressSync(broken));
      await writeFile(stored(name, '.sha256'), formatSums([{ name, sha256: sha256Of(broken) }]));
      expect(await verify()).toEqual({ status: 0, findings: [] });
      const { status, findings } = await verify('--deep');
      expect(status).toBe(4);
      expect(findings).toEqual([
        {
          file: `00000001/${name}.zst`,
          check: 'records',
          message: expect.stringMatching(/cannot be read to its end: error in WAL record at 0\/2/),
        },
      ]);
    } finally {
      await writeFile(stored(name), before);
      await writeFile(stored(name, '.sha256'), digest);
    }
  });

  it('is listed without times where pg_waldump is not to be found', async () => {
    const whole = await list();
    for (const folder of ['00000001', '00000002']) {
      for (const file of await readdir(join(scene.archive, folder))) {
        if (file.endsWith('.index.json')) await rm(join(scene.archive, folder, file));
      }
    }
    const environment = { PG_BIN_DIR: scene.archive };
    const outcome = await scene.bench.run('list_backups', ['--wal', '--json'], { environment });
    expect(outcome.status, outcome.stderr).toBe(0);
    const [bare] = jsonOf<{ archives: ArchiveFacts[] }>(outcome).archives;
    expect(bare?.times_unknown).toContain('pg_waldump');
    const without = whole.timelines.map((timeline) => ({
      ...timeline,
      ranges: timeline.ranges.map((range) => ({ ...range, first_commit: null, last_commit: null })),
    }));
    expect(bare?.timelines).toEqual(without);
    expect(await list()).toEqual(whole);
  });

  it.each([
    ['list_backups', ['shop', '--wal']],
    ['list_backups', ['--wal', '--type', 'daily']],
    ['verify_backups', ['--wal', '--all']],
    ['verify_backups', ['--wal', '20261121T020000Z-daily-k3f9']],
  ] as const)('is not what %s %j asks for', async (command, argv) => {
    const { status, stderr } = await scene.bench.run(command, argv);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/wal/i)]);
  });

  it('names foreign files and leaves them', async () => {
    const path = join(scene.archive, '00000001', 'notes from Bob.txt');
    await writeFile(path, 'mine');
    try {
      expect((await list()).foreign).toEqual(['00000001/notes from Bob.txt']);
      expect((await verify()).status).toBe(0);
      expect(await readFile(path, 'utf8')).toBe('mine');
    } finally {
      await rm(path);
    }
  });
});

describe('without a WAL archive', () => {
  it('both commands say so and end with 0', async () => {
    const flags = ['--wal', '--cluster', 'nobody'];
    const listed = await scene.bench.run('list_backups', flags);
    expect([listed.status, listed.stdout]).toEqual([0, 'no WAL archive\n']);
    const verified = await scene.bench.run('verify_backups', flags);
    expect([verified.status, verified.stderr]).toEqual([0, expect.stringContaining('no WAL')]);
  });
});
