/** The server whose WAL is streamed, and where its stream and its archive lie. */

import type { Client } from 'pg';
import { streamFolder } from '../../catalog/stream_folder.ts';
import { HoldfastError } from '../../core/errors.ts';
import { requireLsn } from '../../core/lsn.ts';
import type { StreamedServer } from '../../core/stream_claim.ts';
import { isSlotName, slotNameFor } from '../../core/stream_slot.ts';
import {
  type ConnectionParameters,
  describeServer,
  resolveConnection,
} from '../../postgres/connection.ts';
import { isSocket } from '../../postgres/connection_parameters.ts';
import { readServerFacts, type ServerFacts } from '../../postgres/facts.ts';
import { readStreamSettings, type StreamSettings } from '../../postgres/replication_slot.ts';
import type { RepositoryContext } from '../context.ts';
import { connectMaintenance } from '../open_database.ts';

/** A session with the server, and the places that belong to it. */
export interface StreamServer {
  readonly client: Client;
  readonly parameters: ConnectionParameters;
  readonly facts: ServerFacts;
  readonly settings: StreamSettings;
  /** In the repository: the setting, or the system identifier. */
  readonly cluster: string;
  /** The folder of the stream on this machine. */
  readonly folder: string;
  /** What tells it from other servers. */
  readonly identity: StreamedServer;
}

/**
 * Works with the server that the settings name.
 *
 * @throws HoldfastError as connecting does
 */
export async function withStreamServer<T>(
  context: RepositoryContext,
  work: (server: StreamServer) => Promise<T>,
): Promise<T> {
  const { config, repository } = context;
  const target = await resolveConnection({ config, fallbackDatabase: 'postgres' });
  const { client, parameters } = await connectMaintenance(context, target, 'holdfast wal_stream');
  try {
    const facts = await readServerFacts(client);
    const settings = await readStreamSettings(client);
    const cluster = config.settings.cluster ?? facts.system_identifier;
    return await work({
      client,
      parameters,
      facts,
      settings,
      cluster,
      folder: streamFolder(repository.root, cluster),
      identity: {
        systemIdentifier: facts.system_identifier,
        address: describeServer(parameters),
        dataDirectory: settings.dataDirectory,
        host: isSocket(parameters.host) ? context.host : null,
        timeline: facts.timeline,
      },
    });
  } finally {
    await client.end();
  }
}

/** The name of a cluster in the repository; the server is asked where the settings do not tell. */
export async function streamedCluster(context: RepositoryContext): Promise<string> {
  const { cluster } = context.config.settings;
  return cluster ?? withStreamServer(context, async (server) => server.cluster);
}

/** Up to here the WAL is on the server's disk. */
export function flushedLsn({ settings }: StreamServer): bigint {
  return requireLsn(settings.flushedLsn);
}

/**
 * The name of the slot: the one that is asked for, the one of the claim, the one of the cluster.
 *
 * @throws HoldfastError USAGE for a name that no slot can have
 */
export function chooseSlot(
  asked: string | undefined,
  claimed: string | undefined,
  cluster: string,
): string {
  const name = asked ?? claimed ?? slotNameFor(cluster);
  if (isSlotName(name)) return name;
  throw new HoldfastError('USAGE', `${JSON.stringify(name)} is no name of a replication slot`, {
    hint: 'Lower-case letters, digits and underscores, at most 63.',
  });
}

/** @throws HoldfastError DATABASE_REFUSED for a server that lets nobody stream */
export function requireStreaming({ settings, identity }: StreamServer): void {
  const { walLevel, maxWalSenders } = settings;
  const refuse = (what: string, mend: string) =>
    new HoldfastError('DATABASE_REFUSED', `the server at ${identity.address} has ${what}`, {
      hint: `${mend}; then restart the server.`,
    });
  if (walLevel === 'minimal') {
    throw refuse('wal_level = minimal', "ALTER SYSTEM SET wal_level = 'replica'");
  }
  if (maxWalSenders === 0) {
    throw refuse('max_wal_senders = 0', 'ALTER SYSTEM SET max_wal_senders = 10');
  }
}
