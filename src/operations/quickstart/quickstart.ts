/**
 * The quickstart: a server of its own, a sample database, a backup, its verification, a restore
 * under another name, and the comparison of the two; then a table that is dropped by mistake and
 * comes back from the second before. It touches nothing else on the machine.
 */

import { join } from 'node:path';
import type { Client } from 'pg';
import { HoldfastError } from '../../core/errors.ts';
import { totalBytes } from '../../core/manifest_sizes.ts';
import { quoteIdentifier } from '../../core/quote.ts';
import { type ScratchCluster, startScratchCluster } from '../../postgres/cluster.ts';
import { connect, type ResolvedTarget } from '../../postgres/connection.ts';
import { execute, queryOne } from '../../postgres/query.ts';
import type { RepositoryContext } from '../context.ts';
import { backupFull } from '../full/backup_full.ts';
import { damageError, verifyBackup } from '../full/verify.ts';
import { restoreDatabase } from '../restore/restore.ts';
import { labelSource } from '../restore/restore_source.ts';
import { type RecoveryShown, showRecovery } from './quickstart_recovery.ts';
import { sampleStatements, sampleTables } from './quickstart_sample.ts';

const sampleDatabase = 'shop';
const restoredDatabase = 'shop_restored';

/** What the quickstart did, for its summary. */
export interface QuickstartResult {
  readonly server_version: string;
  readonly label: string;
  /** Where the backup lies on this machine. */
  readonly folder: string;
  readonly database_bytes: number;
  readonly stored_bytes: number;
  readonly backup_seconds: number;
  readonly restore_seconds: number;
  readonly tables: number;
  readonly rows: number;
  readonly recovery: RecoveryShown;
}

function targetOf(cluster: ScratchCluster, database: string): ResolvedTarget {
  return {
    database,
    key: null,
    candidates: [cluster.parameters(database)],
    targetSessionAttrs: 'any',
    warnings: [],
  };
}

async function withClient<T>(
  cluster: ScratchCluster,
  database: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect(cluster.parameters(database), { applicationName: 'holdfast' });
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function fillSample(context: RepositoryContext, cluster: ScratchCluster): Promise<void> {
  const create = `CREATE DATABASE ${quoteIdentifier(sampleDatabase)}`;
  await withClient(cluster, 'postgres', (client) => execute(client, create));
  await withClient(cluster, sampleDatabase, async (client) => {
    for (const [what, statements] of sampleStatements) {
      if (context.signal.aborted) throw context.signal.reason;
      context.log.detail(`filling: ${what}`);
      await execute(client, statements);
    }
  });
}

/** The number of rows of each table and a digest of their contents, whatever their order. */
async function contentsOf(cluster: ScratchCluster, database: string): Promise<string> {
  return withClient(cluster, database, async (client) => {
    const lines: string[] = [];
    for (const table of sampleTables) {
      const name = quoteIdentifier(table);
      const { rows, digest } = await queryOne<{ rows: string; digest: string }>(
        client,
        `SELECT count(*)::text AS rows,
                coalesce(sum(hashtextextended(t::text, 0)), 0)::text AS digest FROM ${name} AS t`,
      );
      lines.push(`${table}: ${rows} rows, ${digest}`);
    }
    return lines.join('\n');
  });
}

/** @throws HoldfastError DIFFERENT when a row of the restored database is not the original's */
async function compareBoth(cluster: ScratchCluster): Promise<void> {
  const [original, restored] = await Promise.all(
    [sampleDatabase, restoredDatabase].map((database) => contentsOf(cluster, database)),
  );
  if (original === restored) return;
  throw new HoldfastError('DIFFERENT', `${restoredDatabase} differs from ${sampleDatabase}`, {
    hint: 'Please report this with the log of this run.',
    details: { original, restored },
  });
}

async function showOn(
  context: RepositoryContext,
  cluster: ScratchCluster,
): Promise<Omit<QuickstartResult, 'recovery'>> {
  const { log } = context;
  log.step(`2. filling a sample database, ${sampleDatabase}`);
  await fillSample(context, cluster);
  log.step('3. backing it up');
  const request = { tier: 'manual', verify: true, waitMs: 0 } as const;
  const backup = await backupFull(context, {
    ...request,
    target: targetOf(cluster, sampleDatabase),
  });
  const { manifest, folder } = backup;
  log.step(`4. verifying ${manifest.label}: every byte, and the structure of the dump`);
  const entry = await context.catalog.findBackup(manifest.label);
  const verified = await verifyBackup(context, entry, { depth: 'plain' });
  if (!verified.ok) throw damageError(manifest.label, verified.findings);
  log.step(`5. restoring it as ${restoredDatabase}`);
  const restored = await restoreDatabase(context, {
    source: await labelSource(context, manifest.label, undefined, {}),
    server: targetOf(cluster, 'postgres'),
    targetDatabase: restoredDatabase,
    jobs: 1,
    compare: 'counts',
    confirm: () => Promise.resolve(),
  });
  log.step(`6. comparing ${sampleDatabase} and ${restoredDatabase}, row by row`);
  await compareBoth(cluster);
  return {
    server_version: manifest.server.version,
    label: manifest.label,
    folder: join(context.repository.root, folder),
    database_bytes: manifest.database_bytes,
    stored_bytes: totalBytes(manifest, 'stored'),
    backup_seconds: manifest.duration_seconds,
    restore_seconds: restored.duration_seconds,
    tables: restored.tables ?? 0,
    rows: restored.rows ?? 0,
  };
}

/**
 * Runs the quickstart. Its server listens on a Unix socket in a private folder only, runs as an
 * ordinary user also when root starts it, and is gone when this returns or throws. The process of
 * root is that user then, too.
 *
 * @throws HoldfastError PROGRAM_MISSING without PostgreSQL's server programs; whatever failed
 */
export async function runQuickstart(context: RepositoryContext): Promise<QuickstartResult> {
  const { environment, signal, log } = context;
  log.step('1. starting a PostgreSQL of its own, in a private folder, on a Unix socket');
  const cluster = await startScratchCluster({ environment, signal, fast: true });
  try {
    const shown = await showOn(context, cluster);
    const recovery = await showRecovery(context, { cluster, database: sampleDatabase });
    return { ...shown, recovery };
  } finally {
    await cluster.stop();
    log.step('12. both servers are ended and their folder is gone; the first backup stays');
  }
}
