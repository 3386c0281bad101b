/**
 * Who may write with the stream: what the server tells of itself is compared with what was claimed,
 * and the archive is claimed where nobody has it (the rule stands in docs/reference/repository.md).
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { listStream, readStreamClaim } from '../../catalog/stream_folder.ts';
import { openWalArchive, walFolder } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import {
  formatStreamClaim,
  type StreamClaim,
  type StreamGround,
  type StreamObstacle,
  streamClaimName,
  streamObstacle,
} from '../../core/stream_claim.ts';
import {
  claimName,
  formatClaim,
  isClaimOfStream,
  streamClaimId,
  type WalClaim,
} from '../../core/wal_claim.ts';
import { makeFolders, replaceFile, writeNewFile } from '../../process/durable.ts';
import { replaceStoreClaims } from '../archiving/store_claims.ts';
import type { RepositoryContext } from '../context.ts';
import type { StreamServer } from './wal_stream_server.ts';

/** Both claims, which belong together. */
export interface StreamClaims {
  readonly stream: StreamClaim;
  readonly archive: WalClaim;
}

/** What the repository knows of the cluster. @throws HoldfastError DAMAGED for a broken claim */
export async function readGround(
  context: RepositoryContext,
  { cluster, folder }: Pick<StreamServer, 'cluster' | 'folder'>,
): Promise<StreamGround> {
  const { local } = context.repository;
  const names = [
    ...(await local.children(walFolder(cluster))),
    ...(await listStream(folder)).map(({ name }) => name),
  ];
  const timelines = names
    .filter((name) => /^[0-9A-F]{8}(\.history|[0-9A-F]{16}(\.partial)?)?$/.test(name))
    .map((name) => Number.parseInt(name.slice(0, 8), 16));
  return {
    stream: await readStreamClaim(folder),
    archive: await openWalArchive(local, cluster).claim(),
    newestTimeline: Math.max(1, ...timelines),
  };
}

/** The error for a server that may not be streamed. */
export function obstacleError({ message, mayTakeOver }: StreamObstacle): HoldfastError {
  return new HoldfastError('ARCHIVE_CLAIMED', message, {
    hint: mayTakeOver
      ? 'A clone gets a CLUSTER name of its own; after a failover or a move: ' +
        'scripts/wal_stream.ts --take-over.'
      : 'Give this server a CLUSTER name of its own.',
  });
}

/**
 * Looks whether the server may be streamed.
 *
 * @returns the claims, `null` where the stream has to be claimed first
 * @throws HoldfastError ARCHIVE_CLAIMED
 */
export async function checkClaims(
  context: RepositoryContext,
  server: StreamServer,
): Promise<{ readonly ground: StreamGround; readonly claims: StreamClaims | null }> {
  const ground = await readGround(context, server);
  const obstacle = streamObstacle(ground, server.identity);
  if (obstacle !== null) throw obstacleError(obstacle);
  const { stream, archive } = ground;
  return { ground, claims: stream === null || archive === null ? null : { stream, archive } };
}

/** Claims the archive for the stream, unless an archiver has it: then both write into it. */
async function claimArchive(
  context: RepositoryContext,
  { cluster, identity }: StreamServer,
  found: WalClaim | null,
  isMoved: boolean,
): Promise<WalClaim> {
  if (found !== null && !(isMoved && isClaimOfStream(found))) return found;
  const claim: WalClaim = {
    system_identifier: identity.systemIdentifier,
    host: identity.address,
    data_directory: identity.dataDirectory ?? '/',
    claimed_at: context.clock().toISOString(),
    claim_id: streamClaimId(context.randomBytes(8)),
  };
  const folder = join(context.repository.root, walFolder(cluster));
  const line = Buffer.from(`${formatClaim(claim)}\n`, 'utf8');
  await makeFolders(folder);
  // Of two who claim a new archive at once, one fails here.
  if (found === null) await writeNewFile(join(folder, claimName), line);
  else await replaceFile(join(folder, claimName), line);
  const problems = isMoved ? await replaceStoreClaims(context, cluster, claim) : [];
  for (const problem of problems) context.log.warn(problem);
  return claim;
}

/**
 * Claims the stream for a server. The slot is there already: killed in between, the next run finds
 * a slot that nobody uses, and takes it.
 *
 * @param isMoved the server takes the place of another one
 */
export async function claimStream(
  context: RepositoryContext,
  server: StreamServer,
  ground: StreamGround,
  slot: string,
  isMoved: boolean,
): Promise<StreamClaims> {
  const { folder, identity } = server;
  const archive = await claimArchive(context, server, ground.archive, isMoved);
  const stream = {
    system_identifier: identity.systemIdentifier,
    server: identity.address,
    data_directory: identity.dataDirectory,
    slot,
    archive_claim_id: archive.claim_id,
    claimed_at: context.clock().toISOString(),
  };
  const bytes = formatStreamClaim(stream);
  const path = join(folder, streamClaimName);
  await makeFolders(folder);
  if (ground.stream === null) await writeNewFile(path, bytes);
  else await replaceFile(path, bytes);
  return { archive, stream: { format: 1, ...stream } };
}

/** Forgets whose stream it was: the next one begins anew. Its files stay. */
export async function forgetStream(folder: string): Promise<void> {
  await rm(join(folder, streamClaimName), { force: true });
}
