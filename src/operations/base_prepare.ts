/** Asks all that a base backup needs to know before anything is written. */

import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type BaseEntry, listBaseBackups } from '../catalog/base_catalog.ts';
import { chainOf, chooseParent, isGood } from '../core/base_chain.ts';
import { serverManifestName } from '../core/base_manifest.ts';
import type { FilterSpec, ManifestWarning } from '../core/manifest.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { incrementalMajor } from '../postgres/base_backup.ts';
import { type ClusterFacts, readClusterFacts } from '../postgres/cluster_facts.ts';
import type { ConnectionParameters } from '../postgres/connection.ts';
import { readServerFacts, type ServerFacts } from '../postgres/facts.ts';
import { findTool, type Tool } from '../postgres/tools.ts';
import { fileMode } from '../process/durable.ts';
import { checkSpace, type SizeEstimate } from './backup_space.ts';
import { type ConfigResult, readConfig } from './base_config.ts';
import type { RepositoryContext } from './context.ts';
import { openMore } from './open_database.ts';
import { createScratchFolder } from './scratch_folder.ts';

/** The backup that an incremental one builds upon, and what is needed of it. */
export interface PreparedParent {
  readonly label: string;
  /** Its own chain, the whole backup first, itself last. */
  readonly chain: readonly string[];
  /** Of every archive in its chain. */
  readonly filters: readonly FilterSpec['name'][];
  /** Its backup_manifest, in the temporary folder. */
  readonly serverManifestPath: string;
  /** Removes that copy. */
  remove(): Promise<void>;
}

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
const parentPrefix = 'holdfast-parent-';

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
function whyFull({ server, cluster, tool }: Parts, entries: readonly BaseEntry[]): string | null {
  if (server.major < incrementalMajor) {
    return `PostgreSQL ${server.major} has no incremental base backups (${incrementalMajor} has)`;
  }
  if (tool.major < incrementalMajor) return `pg_basebackup ${tool.version} cannot take one`;
  if (!cluster.summarizesWal) return 'the server does not summarize its WAL (summarize_wal is off)';
  if (chooseParent(entries, server.system_identifier) === null) {
    return entries.some(isGood)
      ? 'no earlier base backup of this cluster can be built upon'
      : 'there is no good base backup yet';
  }
  return null;
}

async function prepareParent(
  context: RepositoryContext,
  entries: readonly BaseEntry[],
  systemIdentifier: string,
): Promise<PreparedParent | null> {
  const parent = chooseParent(entries, systemIdentifier);
  const links = parent === null ? null : chainOf(entries, parent.label).links;
  if (parent === null || links === null) return null;
  const scratch = await createScratchFolder(
    context.config.settings.temp_dir,
    parentPrefix,
    'Set TMPDIR to an existing folder.',
  );
  const path = join(scratch.path, serverManifestName);
  try {
    const body = await context.repository.storage.get(`${parent.folder}/${serverManifestName}`);
    await pipeline(body, createWriteStream(path, { flags: 'wx', mode: fileMode }));
  } catch (error) {
    await scratch.remove();
    throw error;
  }
  return {
    label: parent.label,
    chain: links.map(({ label }) => label),
    filters: links.flatMap(({ manifest }) =>
      (manifest?.files ?? []).flatMap(({ filters }) => filters.map(({ name }) => name)),
    ),
    serverManifestPath: path,
    remove: scratch.remove,
  };
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
    const fullInstead = mode === 'incremental' ? whyFull({ server, cluster, tool }, entries) : null;
    const parent =
      mode === 'full' || fullInstead !== null
        ? null
        : await prepareParent(context, entries, server.system_identifier);
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
