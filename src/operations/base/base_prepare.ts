/** Asks all that a base backup needs to know before anything is written. */

import { listBaseBackups } from '../../catalog/base_catalog.ts';
import { type BaseEstimate, estimateBase } from '../../core/base_estimate.ts';
import type { ManifestWarning } from '../../core/manifest.ts';
import { incrementalMajor } from '../../postgres/base_backup.ts';
import { type ClusterFacts, readClusterFacts } from '../../postgres/cluster_facts.ts';
import type { ConnectionParameters } from '../../postgres/connection.ts';
import { readServerFacts, type ServerFacts } from '../../postgres/facts.ts';
import { findTool, type Tool } from '../../postgres/tools.ts';
import type { RepositoryContext } from '../context.ts';
import { openMore } from '../open_database.ts';
import { type ReadyStores, readyStores } from '../ready_stores.ts';
import { type ConfigResult, readConfig } from './base_config.ts';
import { type PreparedParent, prepareParent } from './base_parent.ts';

/** What is known before anything is written. */
export interface BasePreparation {
  readonly parameters: ConnectionParameters;
  readonly server: ServerFacts;
  readonly cluster: ClusterFacts;
  readonly config: ConfigResult;
  readonly tool: Tool;
  /** The cluster's name in the repository. */
  readonly clusterName: string;
  /** `null`: a whole backup is taken. */
  readonly parent: PreparedParent | null;
  /** Why it is a whole one where an incremental one was wanted. */
  readonly fullInstead: string | null;
  /** How large it will be, by its kind. */
  readonly estimates: { readonly base: BaseEstimate; readonly incr: BaseEstimate };
  readonly ready: ReadyStores;
  readonly warnings: readonly ManifestWarning[];
}

type Parts = Pick<BasePreparation, 'server' | 'cluster' | 'tool'>;

/** Why no increment can be asked for, as far as it is known before asking. */
function whyFull({ server, cluster, tool }: Parts): string | null {
  if (server.major < incrementalMajor) {
    return `PostgreSQL ${server.major} has no incremental base backups (${incrementalMajor} has)`;
  }
  if (tool.major < incrementalMajor) return `pg_basebackup ${tool.version} cannot take one`;
  if (!cluster.summarizesWal) return 'the server does not summarize its WAL (summarize_wal is off)';
  return null;
}

/**
 * Asks all that a base backup needs to know, and fails early where it would fail late.
 *
 * @throws HoldfastError TOOL_TOO_OLD, NO_SPACE and what the server says
 */
export async function prepareBase(
  context: RepositoryContext,
  parameters: ConnectionParameters,
  mode: 'full' | 'incremental',
): Promise<BasePreparation> {
  const { settings } = context.config;
  const { storage } = context.repository;
  const client = await openMore(context, parameters, 'holdfast base backup');
  try {
    const server = await readServerFacts(client);
    const tool = await findTool({
      program: 'pg_basebackup',
      serverMajor: server.major,
      environment: context.environment,
      pgBinDir: settings.pg_bin_dir,
      signal: context.signal,
    });
    const cluster = await readClusterFacts(client);
    const config = await readConfig(client, parameters);
    const clusterName = settings.cluster ?? server.system_identifier;
    const entries = await listBaseBackups(storage, { cluster: clusterName });
    const unable = whyFull({ server, cluster, tool });
    const earlier = entries.flatMap(({ manifest }) => manifest ?? []);
    const estimates = {
      base: estimateBase('base', cluster.bytes, earlier),
      incr: estimateBase('incr', cluster.bytes, earlier),
    };
    const isWhole = mode === 'full' || unable !== null;
    const expected = estimates[isWhole ? 'base' : 'incr'];
    const ready = await readyStores(context, expected);
    const { parent, fullInstead } = isWhole
      ? { parent: null, fullInstead: mode === 'full' ? null : unable }
      : await prepareParent(context, entries, { server, cluster });
    return {
      parameters,
      server,
      cluster,
      config,
      tool,
      clusterName,
      parent,
      fullInstead,
      estimates,
      ready,
      warnings: ready.warnings,
    };
  } finally {
    await client.end();
  }
}
