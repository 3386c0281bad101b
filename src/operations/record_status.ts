/** Tells status.json how a backup ended. */

import type { StoredCopy } from '../catalog/copies_writer.ts';
import {
  type CopyStatusEntry,
  readStatus,
  unknownCluster,
  updateStatus,
} from '../catalog/status.ts';
import { type HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { Manifest } from '../core/manifest.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import type { ResolvedTarget } from '../postgres/connection.ts';
import { serverOf } from './backup_targets.ts';
import type { RepositoryContext } from './context.ts';

/** A status that cannot be written is told and never fails a backup. */
async function tell(context: RepositoryContext, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    context.log.warn(toHoldfastError(error).message);
  }
}

/** Where a backup is, for status.json and for the JSON of a command. Seconds to milliseconds. */
export function copyEntries(copies: readonly StoredCopy[]): CopyStatusEntry[] {
  return copies.map(({ store: name, status, isRequired: required, bytes, seconds, error }) => ({
    name,
    status,
    required,
    bytes,
    seconds: Math.round(seconds * 1000) / 1000,
    ...(error === null ? {} : { error: { code: error.code, message: error.message } }),
  }));
}

/**
 * Records a backup that is committed.
 *
 * @param missing the error of a run whose backup a store lacks that it needs
 */
export async function recordSuccess(
  context: RepositoryContext,
  target: ResolvedTarget,
  { manifest, copies }: { readonly manifest: Manifest; readonly copies: readonly StoredCopy[] },
  missing: HoldfastError | null = null,
): Promise<void> {
  const { cluster, database, label, started_at, finished_at } = manifest;
  const end =
    missing === null
      ? { status: 'ok' as const, exit_status: 0 }
      : {
          status: 'failed' as const,
          exit_status: missing.status,
          error: { code: missing.code, message: missing.message },
        };
  const run = { started_at, finished_at, ...end, label, stores: copyEntries(copies) };
  const success = {
    label,
    finished_at,
    bytes_stored: totalBytes(manifest, 'stored'),
    database_bytes: manifest.database_bytes,
    duration_seconds: manifest.duration_seconds,
  };
  const { root } = context.repository;
  const change = { cluster, database, server: serverOf(target), run, success };
  await tell(context, () => updateStatus(root, change, context.clock()));
}

/** The cluster of a database whose server may not have answered, as it was known before. */
async function knownCluster(
  context: RepositoryContext,
  database: string,
  server: string,
): Promise<string> {
  const { cluster } = context.config.settings;
  if (cluster !== null) return cluster;
  const status = await readStatus(context.repository.root);
  const known = status?.databases.find(
    (each) => each.database === database && each.server === server,
  );
  return known?.cluster ?? unknownCluster;
}

/**
 * Records a run that failed; the last success stays known. A database that was never seen and that
 * the server does not have is a typing mistake: there is nothing to keep of it.
 */
export async function recordFailure(
  context: RepositoryContext,
  target: ResolvedTarget,
  startedAt: Date,
  error: HoldfastError,
): Promise<void> {
  const now = context.clock();
  const { database } = target;
  const server = serverOf(target);
  const run = {
    started_at: startedAt.toISOString(),
    finished_at: now.toISOString(),
    status: 'failed' as const,
    exit_status: error.status,
    error: { code: error.code, message: error.message },
  };
  await tell(context, async () => {
    const cluster = await knownCluster(context, database, server);
    if (cluster === unknownCluster && error.code === 'DATABASE_NOT_FOUND') return;
    await updateStatus(context.repository.root, { cluster, database, server, run }, now);
  });
}
