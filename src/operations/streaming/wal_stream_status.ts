/** How a stream is, and what is done to it besides: the take-over of its claim, its end. */

import { setTimeout as sleep } from 'node:timers/promises';
import { isClaimed, withFileLock } from '../../catalog/lock.ts';
import { listStream } from '../../catalog/stream_folder.ts';
import { HoldfastError } from '../../core/errors.ts';
import type { StreamClaim } from '../../core/stream_claim.ts';
import { type StreamObstacle, streamObstacle } from '../../core/stream_claim.ts';
import { sortStream } from '../../core/stream_files.ts';
import { type SlotState, type SlotWarning, slotWarnings } from '../../core/stream_slot.ts';
import { dropSlot, readSlot } from '../../postgres/replication_slot.ts';
import type { RepositoryContext } from '../context.ts';
import { endOrphan, streamLock } from './wal_stream_child.ts';
import { claimStream, forgetStream, obstacleError, readGround } from './wal_stream_claim.ts';
import { chooseSlot, type StreamServer, withStreamServer } from './wal_stream_server.ts';
import { ensureSlot } from './wal_stream_start.ts';

/** For a slot that is still in use, about two seconds. */
const looksMax = 20;
const pollMs = 100;

/** How a stream is. Positions as PostgreSQL writes them. */
export interface StreamStatus {
  readonly cluster: string;
  /** Everything that the server has flushed comes here, as far as one can see. */
  readonly isWorking: boolean;
  /** A wal_stream.ts has the lock. */
  readonly isRunning: boolean;
  /** The server that was asked. */
  readonly server: string;
  readonly claim: StreamClaim | null;
  /** Why this server may not be streamed into this archive. */
  readonly obstacle: StreamObstacle | null;
  readonly slotName: string;
  readonly slot: SlotState | null;
  /** Where the server's WAL ends. */
  readonly flushedLsn: string;
  /** max_slot_wal_keep_size in bytes; `null`: without limit. */
  readonly keepBytesMax: number | null;
  readonly warnings: readonly SlotWarning[];
  /** Names in the stream's folder: unfinished segments, and complete ones. */
  readonly unfinished: readonly string[];
  readonly complete: readonly string[];
}

/** Reads how the stream of the server is that the settings name. */
export function readStreamStatus(
  context: RepositoryContext,
  asked: string | undefined,
): Promise<StreamStatus> {
  return withStreamServer(context, async (server) => {
    const { client, cluster, folder, facts, settings, identity } = server;
    const ground = await readGround(context, server);
    const slotName = chooseSlot(asked, ground.stream?.slot, cluster);
    const slot = await readSlot(client, slotName);
    const isRunning = await isClaimed(streamLock(context, cluster));
    const obstacle = streamObstacle(ground, identity);
    const { segments } = sortStream(await listStream(folder), facts.wal_segment_bytes);
    const { keepBytesMax } = settings;
    const namesOf = (isPartial: boolean) =>
      segments.filter((segment) => segment.isPartial === isPartial).map(({ name }) => name);
    const isUsable = slot?.isActive === true && slot.walStatus !== 'lost';
    return {
      cluster,
      isWorking: isUsable && isRunning && obstacle === null,
      isRunning,
      server: identity.address,
      claim: ground.stream,
      obstacle,
      slotName,
      slot,
      flushedLsn: settings.flushedLsn,
      keepBytesMax,
      warnings: slotWarnings({ slot, keepBytesMax }),
      unfinished: namesOf(true),
      complete: namesOf(false),
    };
  });
}

/** Does something that no running stream may see. @throws HoldfastError LOCKED */
function alone<T>(
  context: RepositoryContext,
  work: (server: StreamServer) => Promise<T>,
): Promise<T> {
  return withStreamServer(context, (server) =>
    withFileLock(streamLock(context, server.cluster), { waitMs: 0 }, async () => {
      await endOrphan(context, server.cluster);
      return work(server);
    }),
  );
}

/**
 * Gives the stream to the server that the settings name: after a failover or a move, or where its
 * slot was dropped.
 *
 * @returns the claim
 * @throws HoldfastError LOCKED while it runs; ARCHIVE_CLAIMED for a server of another cluster
 */
export function takeStreamOver(
  context: RepositoryContext,
  asked: string | undefined,
): Promise<StreamClaim> {
  return alone(context, async (server) => {
    const ground = await readGround(context, server);
    const obstacle = streamObstacle(ground, server.identity);
    if (obstacle !== null && !obstacle.mayTakeOver) throw obstacleError(obstacle);
    const name = chooseSlot(asked, ground.stream?.slot, server.cluster);
    await ensureSlot(server, name, true);
    return (await claimStream(context, server, ground, name, true)).stream;
  });
}

/** What an end of the stream would drop. */
export interface DropPlan {
  readonly server: string;
  readonly slotName: string;
  readonly slot: SlotState | null;
}

/**
 * Drops the slot, so that the server keeps no WAL for the stream any more. What was streamed stays.
 *
 * @throws HoldfastError LOCKED while it is used
 */
export function dropStream(
  context: RepositoryContext,
  asked: string | undefined,
): Promise<DropPlan> {
  return alone(context, async (server) => {
    const { client, cluster, folder, identity } = server;
    const { stream } = await readGround(context, server);
    const slotName = chooseSlot(asked, stream?.slot, cluster);
    let slot = await readSlot(client, slotName);
    // The server takes a moment to see that whoever used it has ended.
    for (let look = 0; slot?.isActive === true && look < looksMax; look += 1) {
      await sleep(pollMs, undefined, { signal: context.signal });
      slot = await readSlot(client, slotName);
    }
    if (slot?.isActive === true) {
      const text = `the slot ${slotName} is used by the process ${slot.activePid} of the server`;
      throw new HoldfastError('LOCKED', text, { hint: 'End the stream that uses it first.' });
    }
    if (slot !== null) await dropSlot(client, slotName);
    if (stream === null || stream.slot === slotName) await forgetStream(folder);
    return { server: identity.address, slotName, slot };
  });
}
