/** The server whose WAL is archived, and where its archive and its hooks lie. */

import { join } from 'node:path';
import type { Client } from 'pg';
import { walFolder } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import { describeServer, resolveConnection } from '../../postgres/connection.ts';
import { readServerFacts, type ServerFacts } from '../../postgres/facts.ts';
import type { RepositoryContext } from '../context.ts';
import { connectMaintenance } from '../open_database.ts';
import { archiveCommand, hookFile } from './wal_hooks.ts';

/** A session with the server, and the places that belong to it. */
export interface ArchivingServer {
  readonly client: Client;
  /** For messages: where it listens. */
  readonly description: string;
  readonly facts: ServerFacts;
  /** In the repository: the setting, or the system identifier. */
  readonly cluster: string;
  /** The folder of the archive on this machine. */
  readonly archive: string;
  /** The file of wal_push. */
  readonly hook: string;
  /** The archive_command that calls it. */
  readonly command: string;
}

/** A line break would end the line of postgresql.auto.conf that it stands in. */
function requirePlainPath(path: string): void {
  if (!/[\n\r]/.test(path)) return;
  throw new HoldfastError('CONFIG_INVALID', `a line break in ${JSON.stringify(path)}`, {
    hint: 'PostgreSQL takes no archive_command with one: set BACKUP_DIR to another folder.',
  });
}

/**
 * Works with the server that the settings name.
 *
 * @throws HoldfastError as connecting does; CONFIG_INVALID for a path that no server can call
 */
export async function withArchivingServer<T>(
  context: RepositoryContext,
  work: (server: ArchivingServer) => Promise<T>,
): Promise<T> {
  const { config, repository } = context;
  const target = await resolveConnection({ config, fallbackDatabase: 'postgres' });
  const { client, parameters } = await connectMaintenance(context, target, 'holdfast archiving');
  try {
    const facts = await readServerFacts(client);
    const cluster = config.settings.cluster ?? facts.system_identifier;
    const hook = hookFile(repository.root, cluster, 'wal_push');
    requirePlainPath(hook);
    return await work({
      client,
      description: describeServer(parameters),
      facts,
      cluster,
      archive: join(repository.root, walFolder(cluster)),
      hook,
      command: archiveCommand(hook),
    });
  } finally {
    await client.end();
  }
}
