/**
 * Segments of 1 MB and of 64 MB: pushed, indexed, listed, verified, backed up with a tablespace and
 * recovered, from a repository whose path a shell would read otherwise.
 */

import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openArchivingBench } from '../support/archiving_bench.ts';
import { makeServerFolder } from '../support/base_backup.ts';
import { startRestorers } from '../support/restorers.ts';
import { jsonOf } from '../support/workbench.ts';

const sizes = [
  [1, `tab\tand 'é' "quoted" $(touch x) \`id\` 100%f %%p`],
  [64, `no line break, but ; & | * ? ~ # \\ %p`],
] as const;

describe('a server with segments', () => {
  it.each(sizes)(
    'of %i MB, in %j',
    async (walSegmentMb, repositoryName) => {
      const settings = {
        archive_mode: 'on',
        wal_level: 'replica',
        min_wal_size: `${2 * walSegmentMb}MB`,
      };
      const bench = await openArchivingBench(settings, { walSegmentMb, repositoryName });
      const { cluster } = bench;
      const space = await makeServerFolder(cluster);
      const restorers = await startRestorers(cluster, bench.repository, 1);
      const mapped: string[] = [];
      try {
        const installed = await bench.setup(['install', '--yes']);
        expect(installed.status, installed.stderr).toBe(0);
        await cluster.sql([
          `CREATE TABLESPACE "a = b" LOCATION '${space}'`,
          'CREATE TABLE mark (number int) TABLESPACE "a = b"',
          'INSERT INTO mark VALUES (1)',
        ]);
        await bench.moveForward('now');
        const client = await cluster.connect();
        const {
          rows: [row],
        } = await client.query(
          'INSERT INTO mark VALUES (2) RETURNING pg_current_xact_id()::text AS xid',
        );
        await client.query('INSERT INTO mark VALUES (3)');
        await client.end();
        const { segment } = await bench.moveForward('none');

        const stored = join(bench.archive, '00000001');
        expect(await readdir(stored)).toEqual(
          expect.arrayContaining(['zst', 'sha256', 'index.json'].map((end) => `${segment}.${end}`)),
        );
        const list = await bench.run('list_backups', ['--wal', '--json']);
        const [archive] = jsonOf<{ archives: object[] }>(list).archives;
        expect(archive).toMatchObject({
          segment_bytes: walSegmentMb * 1024 * 1024,
          timelines: [{ ranges: [{ last_segment: segment }], gaps: [] }],
          times_unknown: null,
          foreign: [],
        });
        const verified = await bench.run('verify_backups', ['--wal', '--deep', '--json']);
        expect(verified.status, verified.stderr).toBe(0);
        expect((await bench.run('verify_backups', ['--all'])).status).toBe(0);

        const recovered = async (...flags: string[]) => {
          const place = await makeServerFolder(cluster);
          mapped.push(place);
          const mapping = ['--tablespace-mapping', `a = b=${join(place, 'it\\=is here')}`];
          return restorers.recover([...flags, ...mapping], async ({ rows }) => {
            expect((await stat(join(place, 'it=is here'))).isDirectory()).toBe(true);
            const [size] = await rows('SHOW wal_segment_size');
            expect(size?.wal_segment_size).toBe(`${walSegmentMb}MB`);
            const found = await rows('SELECT number FROM mark ORDER BY 1');
            return found.map(({ number }) => number);
          });
        };
        expect(await recovered('--target-xid', row.xid)).toEqual([1, 2]);
        expect(await recovered('--target-xid', row.xid, '--target-exclusive')).toEqual([1]);
        expect(await recovered()).toEqual([1, 2, 3]);
        expect(await readdir(bench.folder)).not.toContain('x');
      } finally {
        await restorers.close();
        await bench.close();
        for (const folder of [space, ...mapped]) await rm(folder, { recursive: true, force: true });
      }
    },
    300_000,
  );
});
