/** `backup_full.ts --test`: everything that a backup needs is there, and no backup is taken. */

import type { ResolvedTarget } from '../../postgres/connection.ts';
import { describeServer } from '../../postgres/connection.ts';
import type { RepositoryContext } from '../context.ts';
import { requireEncryption } from '../encryption_ready.ts';
import { openDatabase } from '../open_database.ts';
import type { ReadyStore } from '../ready_stores.ts';
import { prepareBackup } from './prepare_backup.ts';

/** A store that a backup would go to. */
export interface StoreReadiness {
  readonly name: string;
  /** Where it lies, in words. */
  readonly place: string;
  readonly is_required: boolean;
  /** Whether it can be opened, is of this repository, and will hold the backup. */
  readonly status: 'ready' | 'failed';
  /** `null`: it cannot tell. */
  readonly free_bytes: number | null;
  /** Why it is not ready. */
  readonly error: { readonly code: string; readonly message: string } | null;
}

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
  readonly stores: readonly StoreReadiness[];
  readonly warnings: readonly string[];
}

function storeReadiness({ spec, storage, freeBytes, error }: ReadyStore): StoreReadiness {
  return {
    name: spec.name,
    place: spec.kind === 'folder' ? spec.path : `bucket ${spec.s3.bucket}`,
    is_required: spec.isRequired,
    status: storage === null ? 'failed' : 'ready',
    free_bytes: freeBytes,
    error: error === null ? null : { code: error.code, message: error.message },
  };
}

/** Stores that the run needs have to be there; the others are a warning. */
function requireStores(stores: readonly ReadyStore[]): string[] {
  for (const { spec, error } of stores) if (spec.isRequired && error !== null) throw error;
  return stores.flatMap(({ spec, error }) =>
    error === null ? [] : [`the store ${JSON.stringify(spec.name)}: ${error.message}`],
  );
}

/**
 * Checks the settings, the connection, the programs, the privileges, every store and the
 * space in it, and that the repository's folder can be written.
 *
 * @throws HoldfastError of the first thing that is wrong, as a backup would
 */
export async function checkReadiness(
  context: RepositoryContext,
  target: ResolvedTarget,
): Promise<BackupReadiness> {
  await requireEncryption(context);
  const { client, parameters } = await openDatabase(context, target, 'holdfast test');
  await client.end();
  const prepared = await prepareBackup(context, parameters);
  const { server, database, cluster, pgDump, estimate, ready } = prepared;
  await prepared.snapshotClient.end();
  const unready = requireStores(ready.stores);
  const { local } = context.repository;
  // Several databases of one run are tested at once.
  const unique = Buffer.from(context.randomBytes(4)).toString('hex');
  const probe = `state/probe-${context.runId}-${unique}`;
  await local.put(probe, Buffer.from('holdfast'));
  await local.remove(probe);
  return {
    database: database.name,
    server: describeServer(parameters),
    server_version: server.version,
    cluster,
    database_bytes: database.bytes,
    estimated_bytes: estimate.storedBytes,
    free_bytes: ready.stores[0]?.freeBytes ?? null,
    pg_dump: `${pgDump.path} (${pgDump.version})`,
    stores: ready.stores.map(storeReadiness),
    warnings: [...prepared.warnings.map(({ message }) => message), ...unready],
  };
}
