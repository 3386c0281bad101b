/** `backup_full.ts --test`: everything that a backup needs is there, and no backup is taken. */

import type { ResolvedTarget } from '../../postgres/connection.ts';
import { describeServer } from '../../postgres/connection.ts';
import type { RepositoryContext } from '../context.ts';
import { openDatabase } from '../open_database.ts';
import { prepareBackup } from './prepare_backup.ts';

/** What was found. */
export interface BackupReadiness {
  readonly database: string;
  readonly server: string;
  readonly server_version: string;
  readonly cluster: string;
  readonly database_bytes: number;
  readonly estimated_bytes: number;
  readonly free_bytes: number | null;
  readonly pg_dump: string;
  readonly warnings: readonly string[];
}

/**
 * Checks the settings, the connection, the programs, the privileges, the space and that the
 * repository can be written.
 *
 * @throws HoldfastError of the first thing that is wrong, as a backup would
 */
export async function checkReadiness(
  context: RepositoryContext,
  target: ResolvedTarget,
): Promise<BackupReadiness> {
  const { client, parameters } = await openDatabase(context, target, 'holdfast test');
  await client.end();
  const prepared = await prepareBackup(context, parameters);
  const { server, database, cluster, pgDump, estimate } = prepared;
  await prepared.snapshotClient.end();
  const { storage } = context.repository;
  // Several databases of one run are tested at once.
  const unique = Buffer.from(context.randomBytes(4)).toString('hex');
  const probe = `state/probe-${context.runId}-${unique}`;
  await storage.put(probe, Buffer.from('holdfast'));
  await storage.remove(probe);
  return {
    database: database.name,
    server: describeServer(parameters),
    server_version: server.version,
    cluster,
    database_bytes: database.bytes,
    estimated_bytes: estimate.storedBytes,
    free_bytes: await storage.freeBytes(),
    pg_dump: `${pgDump.path} (${pgDump.version})`,
    warnings: prepared.warnings.map(({ message }) => message),
  };
}
