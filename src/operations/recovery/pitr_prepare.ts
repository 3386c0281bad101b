/** Looks at everything that can be known of a recovery before a byte is written. */

import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../../core/errors.ts';
import { formatBytes } from '../../core/units.ts';
import {
  findServerPrograms,
  type RestoredCluster,
  readControlData,
  socketFolder,
} from '../../postgres/recovery_cluster.ts';
import { freeBytesAt } from '../../process/file_facts.ts';
import { isRoot } from '../../process/user.ts';
import { findCombine } from '../base/combine_chain.ts';
import type { RepositoryContext } from '../context.ts';
import { requireSigned } from '../require_signature.ts';
import { type ExistingPgdata, lookAtPgdata } from './existing_pgdata.ts';
import { type Delta, prepareDelta } from './pitr_delta.ts';
import { isFree, readMark, requireFree } from './pitr_folder.ts';
import { requireOurPlace } from './pitr_place.ts';
import type { PitrPlan } from './pitr_plan.ts';
import type { PitrRequest, PreparedPitr } from './pitr_request.ts';
import { neededBytes, requireRoom } from './pitr_room.ts';
import { mapTablespaces, ownPaths, requireApart, requireOutside } from './pitr_tablespaces.ts';
import { findWalPlace } from './pitr_wal.ts';

/** Unpacked so many bytes need a little more on a disk. */
const spaceFactor = 1.02;

/** The folder beside a data directory in which its successor is made. */
export function stagingFolder(pgdata: string): string {
  return `${pgdata}.restoring`;
}

async function requireDeltaRoom({ existing, rewrittenBytes, removedBytes }: Delta): Promise<void> {
  const free = await freeBytesAt(existing.folder);
  const needed = Math.ceil(rewrittenBytes * spaceFactor) - removedBytes;
  if (free === null || free >= needed) return;
  const text = `${formatBytes(free)} are left for ${JSON.stringify(existing.folder)}`;
  throw new HoldfastError('NO_SPACE', `${text}, and ${formatBytes(needed)} more are needed`, {
    hint: 'Restore onto a larger file system. Nothing was touched.',
  });
}

/** Whether a tablespace may go into a folder: a free one, or that of the same cluster. */
async function requireTablespaceFolder(
  folder: string,
  oid: number,
  existing: ExistingPgdata | null,
): Promise<void> {
  if (existing !== null) {
    const present = existing.tablespaces.get(oid);
    const isOwn =
      present !== undefined && (await realpath(present).catch(() => present)) === folder;
    const mark = await readMark(folder).catch(() => null);
    const isBegun =
      mark?.systemIdentifier != null && mark.systemIdentifier === existing.systemIdentifier;
    if (isOwn || isBegun) return;
  }
  await requireFree(folder);
}

/** Whether all of it was left by a restore of the same cluster that was killed. */
function isLeft(existing: ExistingPgdata, systemIdentifier: string): boolean {
  return existing.isUnfinished && existing.systemIdentifier === systemIdentifier;
}

async function lookAtExisting(
  cluster: RestoredCluster,
  major: number,
  { pgdata, way = 'new' }: PitrRequest,
  systemIdentifier: string,
): Promise<ExistingPgdata | null> {
  if (way === 'new' || (await isFree(pgdata))) return null;
  const existing = await lookAtPgdata(pgdata, async (folder, version) => {
    if (version !== String(major)) return null;
    return readControlData({ ...cluster, pgdata: folder });
  });
  if (way !== 'replace' || isLeft(existing, systemIdentifier)) return existing;
  const staging = stagingFolder(existing.folder);
  if ((await readMark(staging)) === null) await requireFree(staging);
  await requireOurPlace(staging);
  return existing;
}

/**
 * Looks at everything. Nothing is touched.
 *
 * @throws HoldfastError USAGE, WRONG_USER, NO_SPACE, TOOL_TOO_OLD, NOT_SIGNED
 */
export async function preparePitr(
  context: RepositoryContext,
  plan: PitrPlan,
  request: PitrRequest,
): Promise<PreparedPitr> {
  const { manifest } = plan.base;
  const { way = 'new' } = request;
  const { storage } = context.repository;
  for (const link of plan.chain) await requireSigned(context, { storage, ...link }, link.manifest);
  if (isRoot()) {
    throw new HoldfastError('WRONG_USER', 'no server runs as root, so a cluster is not its files', {
      hint: 'Run this as the user that will run the server, for example with sudo -u postgres.',
    });
  }
  const { environment, signal, config } = context;
  const major = Math.floor(manifest.server.version_num / 10_000);
  const pgBinDir = config.settings.pg_bin_dir;
  const tool = await findServerPrograms({ environment, pgBinDir, signal, major });
  if (plan.chain.length > 1) await findCombine(tool);
  const named: RestoredCluster = { pgdata: request.pgdata, tool, environment, signal };
  const { system_identifier: identifier } = manifest.server;
  const existing = await lookAtExisting(named, major, request, identifier);
  if (existing === null) await requireFree(request.pgdata);
  const pgdata = existing?.folder ?? request.pgdata;
  const present = way === 'delta' ? existing?.tablespaces : undefined;
  const mapped = mapTablespaces(manifest.tablespaces, request.tablespaces, present);
  const own = await ownPaths(mapped);
  requireOutside(context.repository.root, [pgdata, ...own.values()]);
  requireApart([pgdata, ...own.values()]);
  for (const [oid, folder] of own) {
    const isOpen = way === 'delta' || (existing !== null && isLeft(existing, identifier));
    await requireTablespaceFolder(folder, oid, isOpen ? existing : null);
  }
  if (request.startPort !== null) socketFolder(pgdata);
  const found = { pgdata, cluster: { ...named, pgdata }, mapped, existing };
  if (existing !== null && way === 'delta') {
    const delta = await prepareDelta(context, plan, existing, own);
    await requireDeltaRoom(delta);
    const wal = await findWalPlace(context, plan, pgdata, delta.rewrittenBytes);
    return { ...found, delta, aside: null, wal };
  }
  await requireRoom(plan, new Map<number | null, string>([[null, pgdata], ...own]));
  const time = context
    .clock()
    .toISOString()
    .replaceAll(/[-:]|\.\d+/g, '');
  const isAside = existing !== null && !isLeft(existing, identifier);
  const wal = await findWalPlace(context, plan, pgdata, neededBytes(plan));
  return { ...found, wal, delta: null, aside: isAside ? `${pgdata}.before_${time}` : null };
}

/** The lock that keeps two restores from one folder. @param digest of its path */
export function lockPath(stateDir: string, digest: string): string {
  return join(stateDir, `restore_pitr_${digest.slice(0, 16)}.lock`);
}
