/** A backup that was restored by hand, so that a test may alter it before it is compared. */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import type { RepositoryContext } from '../../src/operations/context.ts';
import type { Comparison } from '../../src/operations/restore/restore_compare.ts';
import {
  compareContent,
  requireComparable,
} from '../../src/operations/restore/restore_compare_content.ts';
import { fileSource } from '../../src/operations/restore/restore_source.ts';
import { findTool } from '../../src/postgres/tools.ts';
import { type TestCluster, testEnvironment } from './cluster.ts';
import { sampleContext } from './sample_backup.ts';
import { programOutput, quoted, type TakenBackup, type Workbench } from './workbench.ts';

/** Restores a backup into a new database, as pg_restore does it without Holdfast. */
export async function restoreByHand(
  cluster: TestCluster,
  bench: Workbench,
  taken: TakenBackup,
  database: string,
  flags: readonly string[] = ['--jobs=2'],
): Promise<void> {
  const stored = await readFile(join(taken.folder, 'database.dump.zst'));
  const file = join(bench.folder, `${taken.label}.dump`);
  await writeFile(file, zstdDecompressSync(stored));
  await cluster.sql(`CREATE DATABASE ${quoted(database)} TEMPLATE template0`);
  const args = ['--exit-on-error', '--no-password', `--dbname=${database}`, ...flags, file];
  await programOutput(cluster, 'pg_restore', args);
}

/** Compares a database with a backup, as a restore with `--compare content` does. */
export async function compareWithBackup(
  cluster: TestCluster,
  taken: TakenBackup,
  database: string,
  overrides: Partial<RepositoryContext> = {},
): Promise<Comparison> {
  const { repository, catalog, ...context } = sampleContext({} as never, {} as never, {
    environment: testEnvironment,
    ...overrides,
  });
  const source = await fileSource(taken.folder, '/');
  const pgDump = await findTool({
    program: 'pg_dump',
    serverMajor: cluster.major,
    environment: testEnvironment,
  });
  const client = await cluster.connect(database);
  try {
    const parameters = cluster.parameters(database);
    const manifest = requireComparable(source);
    return await compareContent({ context, source, manifest, parameters, pgDump }, client);
  } finally {
    await client.end();
  }
}
