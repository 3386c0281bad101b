/**
 * What a stream needs before pg_receivewal runs: the claim, the slot, and a folder in which it
 * finds where it has to go on.
 */

import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { isEmptyFrom, listStream } from '../../catalog/stream_folder.ts';
import { HoldfastError } from '../../core/errors.ts';
import { formatLsn, requireLsn, segmentNumber, segmentStart } from '../../core/lsn.ts';
import { printable } from '../../core/printable.ts';
import {
  brokenPartials,
  nextStart,
  type StreamFiles,
  sortStream,
  startMarker,
} from '../../core/stream_files.ts';
import type { SlotState } from '../../core/stream_slot.ts';
import type { ConnectionParameters } from '../../postgres/connection.ts';
import { createSlot, dropSlot, readSlot } from '../../postgres/replication_slot.ts';
import { findTool, type Tool } from '../../postgres/tools.ts';
import { makeFolders, writeNewFile } from '../../process/durable.ts';
import type { RepositoryContext } from '../context.ts';
import { checkClaims, claimStream, type StreamClaims } from './wal_stream_claim.ts';
import {
  chooseSlot,
  flushedLsn,
  requireStreaming,
  type StreamServer,
} from './wal_stream_server.ts';

/** All that a run of pg_receivewal takes. */
export interface StreamStart {
  readonly tool: Tool;
  readonly parameters: ConnectionParameters;
  readonly folder: string;
  readonly slot: string;
  readonly claims: StreamClaims;
  readonly segmentBytes: number;
  /** Where the server's WAL ended when it was asked. */
  readonly flushed: bigint;
  /** What somebody has to know: WAL that the stream cannot get any more. */
  readonly warnings: readonly string[];
}

const takeOverHint =
  'Somebody has dropped it, or this is another server: scripts/wal_stream.ts --take-over makes ' +
  'it again.';

/** What came of looking for the slot. */
interface FoundSlot {
  readonly slot: SlotState | null;
  readonly warnings: readonly string[];
}

/**
 * Makes the slot where it may be made. One that was lost keeps nothing any more, so a new one takes
 * its place at once; one that is gone may mean that this is another server.
 *
 * @param mayCreate nobody has streamed with it yet
 * @throws HoldfastError ARCHIVING_FAILED for one that is gone or is no physical one
 */
export async function ensureSlot(
  { client }: StreamServer,
  name: string,
  mayCreate: boolean,
): Promise<FoundSlot> {
  const found = await readSlot(client, name);
  if (found?.type === 'logical') {
    throw new HoldfastError('ARCHIVING_FAILED', `the slot ${name} is a logical one`, {
      hint: 'Name another one with --slot.',
    });
  }
  if (found !== null && found.walStatus !== 'lost') return { slot: found, warnings: [] };
  if (found === null && !mayCreate) {
    throw new HoldfastError('ARCHIVING_FAILED', `the replication slot ${name} is gone`, {
      hint: takeOverHint,
    });
  }
  if (found !== null) await dropSlot(client, name);
  await createSlot(client, name);
  const lost =
    `the slot ${name} was lost (wal_status): the server had to remove WAL that was not streamed ` +
    'yet. A new one is made';
  return { slot: await readSlot(client, name), warnings: found === null ? [] : [lost] };
}

/** Empties what a full disk has left, which pg_receivewal refuses: it goes on there then. */
async function mendPartials(folder: string, files: StreamFiles, segmentBytes: number) {
  for (const { name, bytes } of brokenPartials(files, segmentBytes)) {
    const path = join(folder, name);
    if (!(await isEmptyFrom(path, 0))) {
      throw new HoldfastError('ARCHIVING_FAILED', `${path} has ${bytes} bytes, and is not empty`, {
        hint: 'Something else has written there: move it away; the server still has its WAL.',
      });
    }
    await truncate(path, 0);
  }
}

/**
 * A server that has less WAL than came from it is an older state of the cluster: what it sends
 * would be written over what was streamed.
 *
 * @throws HoldfastError ARCHIVE_CLAIMED
 */
async function refuseOlderState(server: StreamServer, { segments }: StreamFiles): Promise<void> {
  const { facts, folder, identity } = server;
  const last = segments.at(-1);
  // A standby that starts has received nothing yet.
  if (last === undefined || !last.isPartial || facts.in_recovery) return;
  if (last.timeline !== facts.timeline || last.bytes === 0) return;
  const flushed = flushedLsn(server);
  const begin = segmentStart(last.number, facts.wal_segment_bytes);
  if (flushed >= begin) {
    if (await isEmptyFrom(join(folder, last.name), Number(flushed - begin))) return;
  }
  throw new HoldfastError(
    'ARCHIVE_CLAIMED',
    `the server at ${identity.address} ends at ${formatLsn(flushed)}, and more than that was ` +
      'streamed from it: it is an older state of the cluster',
    {
      hint:
        'Give it a CLUSTER of its own; or, if the WAL behind that is given up, move ' +
        `${last.name} out of the stream's folder and take a base backup.`,
    },
  );
}

/**
 * Makes pg_receivewal begin where the slot keeps the WAL from, where its files do not tell, or
 * where the server has no more of what they tell.
 *
 * @returns what is missing then
 */
async function placeStart(
  server: StreamServer,
  files: StreamFiles,
  slot: SlotState | null,
  skipsAhead: boolean,
): Promise<string[]> {
  const { facts, folder } = server;
  const start = nextStart(files);
  if (slot?.restartLsn == null || (start !== null && !skipsAhead)) return [];
  const segmentBytes = facts.wal_segment_bytes;
  const number = segmentNumber(requireLsn(slot.restartLsn), segmentBytes);
  if (start !== null && start.number >= number) return [];
  const marker = startMarker(facts.timeline, number, segmentBytes);
  await writeNewFile(join(folder, marker), Buffer.alloc(0));
  if (start === null) return [];
  const from = formatLsn(segmentStart(start.number, segmentBytes));
  const to = formatLsn(segmentStart(number, segmentBytes));
  return [
    `the server has removed WAL that was not streamed: a gap from ${from} to ${to}, unless the ` +
      'archive has it from the archiver. Take a base backup: ' +
      'scripts/backup_incremental.ts --base now',
  ];
}

/** What is asked for. */
export interface StartRequest {
  /** The name of the slot; else that of the claim or of the cluster. */
  readonly slot: string | undefined;
  /** The server has no more of the WAL that would be next. */
  readonly skipsAhead: boolean;
  /** Whether a stream that nobody has claimed is claimed; one that ran is claimed already. */
  readonly mayClaim: boolean;
}

/**
 * Prepares a run of pg_receivewal.
 *
 * @throws HoldfastError ARCHIVE_CLAIMED, ARCHIVING_FAILED, DATABASE_…, TOOL_TOO_OLD
 */
export async function prepareStream(
  context: RepositoryContext,
  server: StreamServer,
  request: StartRequest,
): Promise<StreamStart> {
  requireStreaming(server);
  const { facts, folder, parameters } = server;
  const segmentBytes = facts.wal_segment_bytes;
  const { ground, claims } = await checkClaims(context, server);
  if (claims === null && !request.mayClaim) {
    const text = `the claim of the stream is gone from ${printable(folder)}`;
    throw new HoldfastError('STORE_UNREACHABLE', text, {
      hint: 'Mount the repository again: nothing is written into the empty folder under it.',
    });
  }
  const name = chooseSlot(request.slot, ground.stream?.slot, server.cluster);
  if (ground.stream !== null && ground.stream.slot !== name) {
    const text = `the stream uses the slot ${ground.stream.slot}, and not ${name}`;
    throw new HoldfastError('USAGE', text, { hint: 'Leave --slot out, or --drop-slot first.' });
  }
  const { environment, signal, config } = context;
  const tool = await findTool({
    program: 'pg_receivewal',
    serverMajor: facts.major,
    environment,
    pgBinDir: config.settings.pg_bin_dir,
    signal,
  });
  const { slot, warnings } = await ensureSlot(server, name, claims === null);
  await makeFolders(folder);
  const found = sortStream(await listStream(folder), segmentBytes);
  await mendPartials(folder, found, segmentBytes);
  const files = sortStream(await listStream(folder), segmentBytes);
  await refuseOlderState(server, files);
  const missing = await placeStart(server, files, slot, request.skipsAhead);
  return {
    tool,
    parameters,
    folder,
    slot: name,
    claims: claims ?? (await claimStream(context, server, ground, name, false)),
    segmentBytes,
    flushed: flushedLsn(server),
    warnings: [...warnings, ...missing],
  };
}
