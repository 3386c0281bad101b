/** `--no-table-digests`: pg_dump writes straight into the compressor, and what that costs later. */

import { execFile } from 'node:child_process';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster, testEnvironment } from '../support/cluster.ts';
import { jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

const execute = promisify(execFile);
const bare = ['--no-table-digests', '--read-back', 'none'];

let cluster: TestCluster;
let bench: Workbench;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  await cluster.sql('CREATE DATABASE app');
  await cluster.sql(
    'CREATE TABLE rows AS SELECT n, md5(n::text) FROM generate_series(1, 40000) AS n',
    'app',
  );
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

async function rowsIn(database: string): Promise<unknown> {
  const sql = "SELECT count(*)::int AS rows, md5(string_agg(md5, '' ORDER BY n)) FROM rows";
  return cluster.sql(sql, database);
}

describe('a backup without table digests', () => {
  it('knows its stored bytes, and says what it does not know', async () => {
    const { manifest, outcome, folder } = await bench.backUp('app', bare);
    const [dump, globals] = manifest.files;
    expect(dump).toMatchObject({ role: 'dump', plain: null });
    expect(globals?.plain?.bytes).toBeGreaterThan(0);
    expect(manifest).toMatchObject({
      tables: null,
      large_objects: null,
      warnings: [],
      read_back: { depth: 'none', seconds: 0 },
    });
    expect(outcome.stderr).toContain('not counted');
    expect(jsonOf<{ databases: object[] }>(outcome).databases).toMatchObject([
      { status: 'ok', plain_bytes: null, tables: null, rows: null, read_back: 'none' },
    ]);
    await execute('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: folder });
    const listed = await bench.run('list_backups', ['app', '--json']);
    expect(listed.status, listed.stderr).toBe(0);
    expect((await bench.run('list_backups', ['app'])).stdout).toContain(manifest.label);
    const verified = await bench.run('verify_backups', [manifest.label]);
    expect(verified.status, verified.stderr).toBe(0);
  });

  it.each([
    [[], 'database.dump.zst', zstdDecompressSync, null],
    [['--compression', 'gzip'], 'database.dump.gz', gunzipSync, null],
    [['--compression', 'none'], 'database.dump', (bytes: Buffer) => bytes, expect.anything()],
  ] as const)('is the same dump as any other %j', async (flags, name, unpack, plain) => {
    const { folder, manifest } = await bench.backUp('app', [...bare, ...flags]);
    expect(manifest.files[0]?.plain).toEqual(plain);
    const dump = unpack(await readFile(join(folder, name)));
    expect(dump.subarray(0, 5).toString()).toBe('PGDMP');
    const unpacked = join(bench.folder, 'unpacked.dump');
    await writeFile(unpacked, dump);
    const program = join(cluster.binDirectory, 'pg_restore');
    const { stdout } = await execute(program, ['--list', unpacked], { env: testEnvironment });
    expect(stdout).toContain('TABLE DATA public rows');
  });

  it('needs no program: Node compresses it, and does not know more', async () => {
    const { manifest, folder } = await bench.backUp('app', bare, { PATH: '/nonexistent' });
    expect(manifest.files[0]?.plain).toBeNull();
    const dump = zstdDecompressSync(await readFile(join(folder, 'database.dump.zst')));
    expect(dump.subarray(0, 5).toString()).toBe('PGDMP');
  });

  it('by the settings, and read back whole all the same', async () => {
    const environment = { TABLE_DIGESTS: 'false', READ_BACK: 'plain' };
    const { manifest } = await bench.backUp('app', [], environment);
    expect(manifest.tables).toBeNull();
    expect(manifest.read_back.depth).toBe('plain');
    const verified = await bench.backUp('app', ['--verify'], { READ_BACK: 'none' });
    expect(verified.manifest.read_back.depth).toBe('plain');
    expect(verified.manifest.tables).toHaveLength(1);
  });

  it.each([['1'], ['2']])('restores with %s jobs', async (jobs) => {
    const { label } = await bench.backUp('app', bare);
    const target = `again ${jobs}`;
    const argv = [label, '--target-database', target, '--jobs', jobs, '--force', '--json'];
    const restored = await bench.run('restore_backup', argv);
    expect(restored.status, restored.stderr).toBe(0);
    expect(await rowsIn(target)).toEqual(await rowsIn('app'));
  });

  it('restores with the script beside it', async () => {
    const { folder } = await bench.backUp('app', bare);
    const options = { env: { ...testEnvironment, ...cluster.environment() }, cwd: '/' };
    await execute('sh', [join(folder, 'restore.sh'), 'by hand'], options);
    expect(await rowsIn('by hand')).toEqual(await rowsIn('app'));
  });

  it('is told from its history by what is stored', async () => {
    await cluster.sql('CREATE DATABASE shrinking TEMPLATE app');
    for (let run = 0; run < 3; run += 1) await bench.backUp('shrinking', bare);
    await cluster.sql('DELETE FROM rows WHERE n > 100', 'shrinking');
    const { manifest } = await bench.backUp('shrinking', bare);
    expect(manifest.warnings).toEqual([
      { code: 'unusual-size', message: expect.stringContaining('much smaller') },
    ]);
    const counted = await bench.backUp('shrinking');
    expect(counted.manifest.warnings, 'no dump before it was measured').toEqual([]);
  });
});

describe('a dump that breaks off in the middle', () => {
  it('ends with 3 and leaves no backup, though the compressor has ended well', async () => {
    await cluster.sql('CREATE DATABASE damaged TEMPLATE app');
    const [row] = await cluster.sql("SELECT pg_relation_filepath('rows') AS path", 'damaged');
    await cluster.sql('CHECKPOINT');
    const file = await open(join(cluster.dataDirectory, String(row?.path)), 'r+');
    await file.write(Buffer.alloc(8192, 0xff), 0, 8192, 100 * 8192);
    await file.close();
    await cluster.restart();
    for (const flags of [bare, []]) {
      const outcome = await bench.run('backup_full', ['damaged', ...flags, '--json']);
      expect(outcome.status, outcome.stderr).toBe(3);
      expect(jsonOf<{ databases: object[] }>(outcome).databases).toMatchObject([
        { error: { code: 'DUMP_FAILED', message: expect.stringContaining('invalid page') } },
      ]);
    }
    const below = await readdir(bench.repository, { recursive: true });
    expect(below.filter((name) => name.includes('damaged/'))).toEqual([]);
  });
});
