/** Base backups of a cluster with tablespaces: staged, restored elsewhere, with archived WAL. */

import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  asServerUser,
  copyBackup,
  enableChecksums,
  makeServerFolder,
  runTakeBase,
  startRestored,
  type TakenBase,
} from '../support/base_backup.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { jsonOf, openWorkbench, quoted, type Workbench } from '../support/workbench.ts';

const spaceNames = ['fast', 'it\'s "odd" $(touch x)'];
let cluster: TestCluster;
let bench: Workbench;
let place: string;
let archive: string;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  place = await makeServerFolder(cluster);
  archive = join(place, "it's the archive");
  for (const [number, name] of spaceNames.entries()) {
    const folder = join(place, `space ${number}`);
    await asServerUser(cluster, 'mkdir', ['-p', folder]);
    await cluster.sql(`CREATE TABLESPACE ${quoted(name)} LOCATION '${folder}'`);
    await cluster.sql(
      `CREATE TABLE t${number} TABLESPACE ${quoted(name)} AS
         SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) AS i`,
    );
  }
});
afterAll(async () => {
  await cluster.stop();
  await bench.remove();
  await rm(place, { recursive: true, force: true });
});

const contentSql =
  'SELECT (SELECT sum(hashtext(text)) FROM t0), (SELECT sum(hashtext(text)) FROM t1)';

async function contentOf(): Promise<string> {
  const [row] = await cluster.sql(contentSql.replace('t0)', 't0) AS a').replace('t1)', 't1) AS b'));
  return Object.values(row ?? {}).join('|');
}

async function takeOne(environment: Readonly<Record<string, string>> = {}): Promise<TakenBase> {
  const outcome = await runTakeBase({ ...bench.environment, ...environment });
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf<TakenBase>(outcome);
}

/** The arguments that put every tablespace below a folder. */
function mapping({ manifest }: TakenBase, below: string): string[] {
  return manifest.tablespaces.flatMap(({ oid }) => ['--tablespace', `${oid}=${below}/${oid}`]);
}

describe('a cluster with tablespaces', () => {
  it.each(['zstd', 'gzip'])(
    'is staged, and leaves nothing in the temporary folder (%s)',
    async (compression) => {
      const temporary = await mkdtemp(join(tmpdir(), 'holdfast-staged-'));
      const { manifest } = await takeOne({ TMPDIR: temporary, COMPRESSION: compression });
      expect(manifest.tablespaces.map(({ name }) => name)).toEqual(spaceNames);
      expect(manifest.files.filter(({ role }) => role === 'tablespace')).toHaveLength(2);
      expect(await readdir(temporary)).toEqual([]);
      await rm(temporary, { recursive: true });
      const verified = await bench.run('verify_backups', [manifest.label]);
      expect(verified.status, verified.stderr).toBe(0);
    },
  );

  it('is restored with its tablespaces in other places, while the original lives', async () => {
    const taken = await takeOne();
    const before = await contentOf();
    const copy = await copyBackup(join(bench.repository, taken.folder), join(place, 'copy'));
    const pgdata = join(place, 'restored here');
    const script = join(copy, 'restore.sh');
    const unmapped = await asServerUser(cluster, 'sh', [script, pgdata]);
    expect(unmapped.status).toBe(2);
    expect(unmapped.stderr).toContain('say where the tablespace');
    const help = await asServerUser(cluster, 'sh', [script, '--help']);
    expect(help.stdout).toContain(JSON.stringify(spaceNames[1]));
    const to = join(place, "it's\\elsewhere");
    const restored = await asServerUser(cluster, 'sh', [script, ...mapping(taken, to), pgdata]);
    expect(restored.status, restored.stderr).toBe(0);
    const server = await startRestored(cluster, pgdata, place);
    try {
      expect(await server.query(contentSql)).toBe(before);
      const [first] = taken.manifest.tablespaces;
      const location = `SELECT pg_tablespace_location(${first?.oid})`;
      expect(await server.query(location)).toBe(join(to, String(first?.oid)));
    } finally {
      await server.stop();
    }
  });

  it('is brought to the end of the archived WAL', async () => {
    const archiving = await startTestCluster({
      settings: {
        archive_mode: 'on',
        archive_command: `mkdir -p "${archive}/$(echo %f | cut -c 1-8)" && zstd -q "%p" -o "${archive}/$(echo %f | cut -c 1-8)/%f.zst"`,
      },
    });
    try {
      await asServerUser(cluster, 'mkdir', ['-p', archive]);
      await asServerUser(cluster, 'sh', ['-c', 'echo {} >"$1/claim.json"', 'sh', archive]);
      await archiving.sql('CREATE TABLE marks AS SELECT 1 AS mark');
      const outcome = await runTakeBase({ ...bench.environment, ...archiving.environment() });
      expect(outcome.status, outcome.stderr).toBe(0);
      const taken = jsonOf<TakenBase>(outcome);
      await archiving.sql(['INSERT INTO marks VALUES (2)', 'SELECT pg_switch_wal()']);
      await expect
        .poll(
          async () => {
            const [row] = await archiving.sql(
              `SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) AS done
                 FROM pg_stat_archiver`,
            );
            return row?.done;
          },
          { timeout: 60_000 },
        )
        .toBe(true);
      const copy = await copyBackup(join(bench.repository, taken.folder), join(place, 'archived'));
      const pgdata = join(place, 'with WAL');
      const args = [join(copy, 'restore.sh'), '--wal-archive', archive, pgdata];
      const restored = await asServerUser(cluster, 'sh', args);
      expect(restored.status, restored.stderr).toBe(0);
      const server = await startRestored(cluster, pgdata, place);
      try {
        await expect
          .poll(() => server.query('SELECT pg_is_in_recovery()'), { timeout: 60_000 })
          .toBe('f');
        expect(await server.query('SELECT sum(mark) FROM marks')).toBe('3');
        expect(await server.query('SHOW archive_mode')).toBe('off');
      } finally {
        await server.stop();
      }
    } finally {
      await archiving.stop();
    }
  });

  it('with damaged pages is staged whole too', async () => {
    await enableChecksums(cluster);
    await cluster.sql('CHECKPOINT');
    const [row] = await cluster.sql("SELECT pg_relation_filepath('t1') AS path");
    const handle = await open(join(cluster.dataDirectory, String(row?.path)), 'r+');
    await handle.write(Buffer.from('flipped'), 0, 7, 8192 + 4000);
    await handle.close();
    const { manifest } = await takeOne();
    expect(manifest.damaged_pages).toHaveLength(1);
    const verified = await bench.run('verify_backups', [manifest.label]);
    expect(verified.status, verified.stderr).toBe(0);
  });
});
