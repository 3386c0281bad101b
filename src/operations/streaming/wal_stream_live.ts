/** The WAL of a server that comes by a stream: whether that runs, and when it has everything. */

import { setTimeout as sleep } from 'node:timers/promises';
import { isClaimed } from '../../catalog/lock.ts';
import { readStreamClaim, streamFolder } from '../../catalog/stream_folder.ts';
import { HoldfastError } from '../../core/errors.ts';
import { formatLsn, previousSegmentNumber, requireLsn, segmentName } from '../../core/lsn.ts';
import { beat, readSlot } from '../../postgres/replication_slot.ts';
import type { ArchivingServer } from '../archiving/archiving_server.ts';
import type { RepositoryContext } from '../context.ts';
import { streamLock } from './wal_stream_child.ts';

/** How long the stream may make no progress. */
const stillSeconds = 60;
const pollMs = 100;

/**
 * The slot of the stream that is under way from this server, or `null`.
 *
 * @throws HoldfastError DAMAGED when the claim of the stream cannot be read
 */
export async function liveSlot(
  context: RepositoryContext,
  { client, cluster, facts, description }: ArchivingServer,
): Promise<string | null> {
  const claim = await readStreamClaim(streamFolder(context.repository.root, cluster));
  const isOf = claim?.system_identifier === facts.system_identifier && claim.server === description;
  if (claim === null || !isOf || !(await isClaimed(streamLock(context, cluster)))) return null;
  const slot = await readSlot(client, claim.slot);
  return slot?.isActive === true && slot.walStatus !== 'lost' ? claim.slot : null;
}

/**
 * Marks this moment in the WAL, and waits until the stream has it.
 *
 * @returns the segment in which it is
 * @throws HoldfastError ARCHIVING_FAILED where the stream stands still
 */
export async function awaitStream(
  context: RepositoryContext,
  { client, facts, description }: ArchivingServer,
  slotName: string,
): Promise<string> {
  const wanted = requireLsn(await beat(client));
  let [before, sinceSeconds] = [-1n, context.stopwatch()];
  for (;;) {
    const slot = await readSlot(client, slotName);
    const received = slot?.restartLsn == null ? 0n : requireLsn(slot.restartLsn);
    if (received >= wanted) break;
    if (received > before) [before, sinceSeconds] = [received, context.stopwatch()];
    if (context.stopwatch() - sinceSeconds > stillSeconds) {
      const text = `the stream of ${description} stands still at ${formatLsn(received)}`;
      throw new HoldfastError('ARCHIVING_FAILED', `${text}, and ${formatLsn(wanted)} is wanted`, {
        hint: 'See scripts/wal_stream.ts --status, and what wal_stream.ts says in its log.',
      });
    }
    await sleep(pollMs, undefined, { signal: context.signal });
  }
  const number = previousSegmentNumber(wanted, facts.wal_segment_bytes);
  return segmentName(facts.timeline, number, facts.wal_segment_bytes);
}
