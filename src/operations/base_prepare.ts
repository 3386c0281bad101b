/** Asks all that a base backup needs to know before anything is written. */

import { type BaseEntry, listBaseBackups } from '../catalog/base_catalog.ts';
import type { ManifestWarning } from '../core/manifest.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { incrementalMajor } from '../postgres/base_backup.ts';
import { type ClusterFacts, readClusterFacts } from '../postgres/cluster_facts.ts';
import type { ConnectionParameters } from '../postgres/connection.ts';
import { readServerFacts, type ServerFacts } from '../postgres/facts.ts';
import { findTool, type Tool } from '../postgres/tools.ts';
import { checkSpace, type SizeEstimate } from './backup_space.ts';
import { type ConfigResult, readConfig } from './base_config.ts';
import { type PreparedParent, prepareParent } from './base_parent.ts';
import type { RepositoryContext } from './context.ts';
import { openMore } from './open_database.ts';

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
  readonly warnings: readonly ManifestWarning[];
}

type Parts = Pick<BasePreparation, 'server' | 'cluster' | 'tool'>;

/** The archives of a cluster, compressed, are rarely more than half of it. */
const storedPart = 0.5;

/** By the last whole backup of the cluster, scaled by how it has grown; else by its size alone. */
function estimateBase(cluster: ClusterFacts, entries: readonly BaseEntry[]): SizeEstimate {
  const last = entries.findLast(({ manifest }) => manifest?.kind === 'base')?.manifest;
  const { bytes } = cluster;
  if (last == null || last.cluster_bytes === 0) {
    return { plainBytes: bytes, storedBytes: Math.ceil(bytes * storedPart), from: 'database' };
  }
  const growth = Math.max(1, bytes / last.cluster_bytes);
  const storedBytes = Math.ceil(totalBytes(last, 'stored') * growth);
  return { plainBytes: bytes, storedBytes, from: 'history' };
}

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
    const warnings: ManifestWarning[] = [];
    const estimate = estimateBase(cluster, entries);
    const freeBytes = await storage.freeBytes();
    const tight = checkSpace(estimate, freeBytes, settings.min_disk_space_gb * 1e9);
    if (tight !== null) warnings.push({ code: 'little-space', message: tight });
    const unable = whyFull({ server, cluster, tool });
    const { parent, fullInstead } =
      mode === 'full' || unable !== null
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
      warnings,
    };
  } finally {
    await client.end();
  }
}
