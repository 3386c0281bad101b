/** Base backups of real clusters: taken, read back, restored by restore.sh, started, compared. */

import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseBaseManifest } from '../../src/core/base_manifest_codec.ts';
import { parseBaseLabel } from '../../src/core/label.ts';
import { parseSums, sha256Of } from '../../src/core/sums.ts';
import {
  asServerUser,
  makeServerFolder,
  runTakeBase,
  startRestored,
  type TakenBase,
} from '../support/base_backup.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
/** For what the server's user writes. */
let place: string;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  place = await makeServerFolder(cluster);
  await cluster.sql('CREATE DATABASE "it\'s $(touch x) ""odd"""');
  await cluster.sql(
    'CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 50000) AS i',
  );
});
afterAll(async () => {
  await cluster.stop();
  await bench.remove();
});

const contentSql = 'SELECT count(*), sum(hashtext(text)) FROM t';

async function contentOf(): Promise<string> {
  const [row] = await cluster.sql(contentSql);
  return Object.values(row ?? {}).join('|');
}

async function takeOne(environment: Readonly<Record<string, string>> = {}): Promise<TakenBase> {
  const outcome = await runTakeBase({ ...bench.environment, ...environment });
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf<TakenBase>(outcome);
}

/** The backup where the server's user can read it: the repository is for its owner alone. */
async function copyOf(taken: TakenBase, name: string): Promise<string> {
  const copy = join(place, name, taken.manifest.label);
  await mkdir(copy, { recursive: true });
  await chmod(join(place, name), 0o755);
  await chmod(copy, 0o755);
  const folder = join(bench.repository, taken.folder);
  for (const file of await readdir(folder)) {
    await writeFile(join(copy, file), await readFile(join(folder, file)), { mode: 0o644 });
  }
  return copy;
}

describe('a base backup', () => {
  it('is committed whole, with its sums, and says what it is', async () => {
    const taken = await takeOne();
    const folder = join(bench.repository, taken.folder);
    const bytes = await readFile(join(folder, 'manifest.json'));
    const manifest = parseBaseManifest(bytes);
    expect(manifest).toEqual(taken.manifest);
    expect(parseBaseLabel(manifest.label)?.kind).toBe('base');
    expect(manifest.damaged_pages).toEqual([]);
    expect(manifest.warnings).toEqual([]);
    expect(manifest.cluster_files).toBeGreaterThan(500);
    for (const { name, sha256 } of parseSums(await readFile(join(folder, 'SHA256SUMS'), 'utf8'))) {
      expect(sha256Of(await readFile(join(folder, name))), name).toBe(sha256);
    }
    const [system] = await cluster.sql(
      'SELECT system_identifier::text AS id FROM pg_control_system()',
    );
    expect(manifest.server.system_identifier).toBe(system?.id);
    expect(taken.folder).toBe(`incremental/${manifest.cluster}/base/${manifest.label}`);
  });

  it.each([
    ['zstd', '/bin/dash'],
    ['gzip', '/bin/bash'],
    ['none', '/bin/dash'],
  ])(
    'of %s is restored by restore.sh under %s and has the same content',
    async (compression, shell) => {
      const taken = await takeOne({ COMPRESSION: compression });
      const before = await contentOf();
      const copy = await copyOf(taken, `copy of ${compression}`);
      const pgdata = join(place, `it's ${compression} restored`);
      const script = join(copy, 'restore.sh');
      const restored = await asServerUser(cluster, shell, [script, pgdata]);
      expect(restored.status, restored.stderr).toBe(0);
      const server = await startRestored(cluster, pgdata, place);
      try {
        expect(await server.query(contentSql)).toBe(before);
        expect(await server.query('SHOW archive_mode')).toBe('off');
        expect(await server.query('SELECT pg_is_in_recovery()')).toBe('f');
      } finally {
        await server.stop();
      }
      const again = await asServerUser(cluster, shell, [script, pgdata]);
      expect(again.status).toBe(2);
      expect(again.stderr).toContain('is not empty');
    },
  );
});
