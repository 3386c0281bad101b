/** Asks all that a backup needs to know before anything is written. */

import type { Client } from 'pg';
import type { Manifest, ManifestFile, ManifestWarning } from '../../core/manifest.ts';
import type { ConnectionParameters } from '../../postgres/connection.ts';
import { pinCopyText } from '../../postgres/copy_text.ts';
import {
  type DatabaseFacts,
  exportSnapshot,
  readDatabaseFacts,
  readServerFacts,
  type ServerFacts,
} from '../../postgres/facts.ts';
import { requireReadPrivileges } from '../../postgres/privileges.ts';
import { findTool, type Tool } from '../../postgres/tools.ts';
import { estimateSize, type SizeEstimate } from '../backup_space.ts';
import type { RepositoryContext } from '../context.ts';
import { openMore } from '../open_database.ts';
import { type ReadyStores, readyStores } from '../ready_stores.ts';

/** What is known before anything is written: the server, the database, the programs, the space. */
export interface Preparation {
  /** With what makes the text of the rows the same whatever the database has set. */
  readonly parameters: ConnectionParameters;
  /** Holds the snapshot that the facts and the dump share. */
  readonly snapshotClient: Client;
  readonly snapshot: string;
  readonly server: ServerFacts;
  readonly database: DatabaseFacts;
  readonly cluster: string;
  readonly pgDump: Tool;
  readonly pgDumpall: Tool;
  readonly estimate: SizeEstimate;
  readonly ready: ReadyStores;
  /** The dumps of earlier backups, oldest first. */
  readonly earlierDumps: readonly ManifestFile[];
  readonly warnings: readonly ManifestWarning[];
}

async function earlierManifests(
  context: RepositoryContext,
  cluster: string,
  database: string,
): Promise<Manifest[]> {
  const entries = await context.catalog.listBackups({ cluster, database });
  return entries.flatMap(({ manifest }) => manifest ?? []);
}

function dumpOf({ files }: Manifest): readonly ManifestFile[] {
  return files.filter(({ role }) => role === 'dump');
}

/** Opens the snapshot, and reads in it what there is to dump. */
async function readSnapshot(client: Client) {
  const snapshot = await exportSnapshot(client);
  await requireReadPrivileges(client);
  return { snapshot, database: await readDatabaseFacts(client) };
}

/**
 * Asks all that a backup needs to know, and fails early where it would fail late.
 *
 * @throws HoldfastError TOOL_TOO_OLD, DATABASE_PRIVILEGE, NO_SPACE and what the server says
 */
export async function prepareBackup(
  context: RepositoryContext,
  parameters: ConnectionParameters,
): Promise<Preparation> {
  const { settings } = context.config;
  const snapshotClient = await openMore(context, parameters, 'holdfast snapshot');
  try {
    const server = await readServerFacts(snapshotClient);
    const find = (program: 'pg_dump' | 'pg_dumpall') =>
      findTool({
        program,
        serverMajor: server.major,
        environment: context.environment,
        pgBinDir: settings.pg_bin_dir,
        signal: context.signal,
      });
    // The programs are asked for their versions while the server is asked for its facts.
    const [pgDump, pgDumpall, { snapshot, database }] = await Promise.all([
      find('pg_dump'),
      find('pg_dumpall'),
      readSnapshot(snapshotClient),
    ]);
    const cluster = settings.cluster ?? server.system_identifier;
    const history = await earlierManifests(context, cluster, database.name);
    const estimate = estimateSize(database.bytes, history.at(-1) ?? null);
    const ready = await readyStores(context, estimate);
    return {
      parameters: await pinCopyText(snapshotClient, parameters),
      snapshotClient,
      snapshot: snapshot.id,
      server,
      database,
      cluster,
      pgDump,
      pgDumpall,
      estimate,
      ready,
      earlierDumps: history.flatMap(dumpOf),
      warnings: ready.warnings,
    };
  } catch (error) {
    await snapshotClient.end();
    throw error;
  }
}
