/**
 * Moves the recovery point of a cluster forward: a base backup when one is due, then a transaction
 * that marks this moment, its segment ended and awaited in the archive, and the chain looked at.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { listBaseBackups } from '../../catalog/base_catalog.ts';
import type { CopyStatusEntry } from '../../catalog/status.ts';
import { dueBase } from '../../core/base_due.ts';
import { HoldfastError } from '../../core/errors.ts';
import { resolveConnection } from '../../postgres/connection.ts';
import { execute, queryOne } from '../../postgres/query.ts';
import { refreshHook } from '../archiving/archiving_claim.ts';
import { type ArchivingServer, withArchivingServer } from '../archiving/archiving_server.ts';
import { awaitArrival, readStatus } from '../archiving/setup_archiving.ts';
import { type GapFacts, listWal } from '../archiving/wal_list.ts';
import { carryAndTell, type StorePoint } from '../archiving/wal_points.ts';
import { missingCopyError } from '../begin_copies.ts';
import type { RepositoryContext } from '../context.ts';
import { copyEntries } from '../record_status.ts';
import { awaitStream, liveSlot } from '../streaming/wal_stream_live.ts';
import { takeBaseBackup } from './base_backup.ts';
import type { BaseBackupResult } from './base_request.ts';

/** PostgreSQL can tell from here on what has changed since a base backup. */
const summariesSince = 170_000;
const noSummaries =
  'the server does not summarize its WAL (summarize_wal is off), so that every base backup is a ' +
  'whole one: scripts/setup_archiving.ts switches it on';
/** A commit is in the WAL when its statement has ended; the clock has to have moved on too. */
const heartbeatMs = 10;

/** What is asked for. */
export interface IncrementalRequest {
  /** `due`: a base backup where one is due; `now`: in any case; `none`: never. */
  readonly base: 'due' | 'now' | 'none';
}

/** What was done, and the error of a base backup that a store lacks which the run needs. */
export interface MovedForward {
  readonly result: IncrementalResult;
  readonly missing: HoldfastError | null;
}

/** Where the recovery point is now. Times ISO 8601 UTC. */
export interface IncrementalResult {
  readonly cluster: string;
  /** The base backup that was taken, or `null`. */
  readonly base: {
    readonly label: string;
    readonly kind: string;
    readonly bytes: number;
    /** Of an incremental one: what it builds upon. */
    readonly parent: string | null;
    /** Why it is a whole one where an incremental one was due. */
    readonly full_instead: string | null;
    /** What became of it in each store. */
    readonly stores: readonly CopyStatusEntry[];
  } | null;
  /** The last segment of the archive. */
  readonly segment: string;
  /** The newest transaction that can be brought back; `null` where it could not be read. */
  readonly newest_recoverable_at: string | null;
  /** Missing between the oldest WAL and the newest. */
  readonly gaps: readonly GapFacts[];
  readonly warnings: readonly string[];
  /** The recovery points of the stores beside BACKUP_DIR. */
  readonly stores: readonly StorePoint[];
}

/** A store that has to have the WAL and has not; `null`: there is none. */
function lackingWal(points: readonly StorePoint[]): HoldfastError | null {
  const lacking = points.find(({ required, problem }) => required && problem !== null);
  if (lacking?.problem == null) return null;
  const { store, problem } = lacking;
  return new HoldfastError(
    problem.code,
    `the WAL is archived here and not in the store ${store}: ${problem.message}`,
    { hint: 'Mend what it says: the next run, or wal_ship.ts, carries what is missing.' },
  );
}

async function requireArchiving(
  context: RepositoryContext,
  server: ArchivingServer,
): Promise<void> {
  const { isWorking, failure, claim, plan } = await readStatus(context, server);
  if (isWorking) return;
  const { changes, restart } = plan;
  if (changes.length === 0 && restart.length > 0) {
    const text = `the server at ${server.description} has to be restarted before it archives`;
    throw new HoldfastError('ARCHIVING_FAILED', `${text}, for ${restart.join(' and ')}`, {
      hint: 'Restart PostgreSQL, on Debian: systemctl restart postgresql; then run this again.',
    });
  }
  const why = failure ?? (claim === null ? 'nobody has claimed the archive' : 'it is not set up');
  throw new HoldfastError(
    'ARCHIVING_FAILED',
    `the WAL of ${server.description} does not come into the archive: ${why}`,
    {
      hint:
        'See scripts/setup_archiving.ts status; scripts/setup_archiving.ts switches it on. From ' +
        'a server in a container or elsewhere it comes by scripts/wal_stream.ts.',
    },
  );
}

/** Whether the server tells what has changed; `null`: it is too old for that. */
async function summarizesWal({ client, facts }: ArchivingServer): Promise<boolean | null> {
  if (facts.version_num < summariesSince) return null;
  const sql = "SELECT pg_catalog.current_setting('summarize_wal') = 'on' AS is_on";
  return (await queryOne<{ is_on: boolean }>(client, sql)).is_on;
}

async function takeDue(
  context: RepositoryContext,
  server: ArchivingServer,
  request: IncrementalRequest,
  hasSummaries: boolean | null,
): Promise<BaseBackupResult | null> {
  if (request.base === 'none') return null;
  const { config, repository } = context;
  const bases = await listBaseBackups(repository.storage, { cluster: server.cluster });
  const due = dueBase(bases, {
    now: context.clock(),
    days: config.settings.base_backup_days,
    hasSummaries: hasSummaries === true,
  });
  const mode = due ?? (request.base === 'now' ? 'full' : null);
  if (mode === null) return null;
  const target = await resolveConnection({ config, fallbackDatabase: 'postgres' });
  context.log.step(`taking a base backup of ${server.description}`);
  return takeBaseBackup(context, { target, mode, waitMs: 0 });
}

/** Marks this moment in the WAL and waits until it is safe. @returns the segment in which it is */
async function awaitSafe(
  context: RepositoryContext,
  server: ArchivingServer,
  slot: string | null,
): Promise<string> {
  if (slot !== null) return awaitStream(context, server, slot);
  // An idle server commits nothing, and a recovery to a time needs a commit behind it.
  await execute(server.client, 'SELECT pg_catalog.txid_current()');
  await sleep(heartbeatMs, undefined, { signal: context.signal });
  return awaitArrival(context, server);
}

function describeTaken({ manifest, fullInstead, copies }: BaseBackupResult) {
  return {
    label: manifest.label,
    kind: manifest.kind,
    parent: manifest.parent,
    full_instead: fullInstead,
    bytes: manifest.files.reduce((sum, { stored }) => sum + stored.bytes, 0),
    stores: copyEntries(copies),
  };
}

/**
 * Does it for the server that the settings name.
 *
 * @throws HoldfastError ARCHIVING_FAILED with what the hook says, and as a base backup does
 */
export async function moveForward(
  context: RepositoryContext,
  request: IncrementalRequest,
): Promise<MovedForward> {
  return withArchivingServer(context, async (server) => {
    const { cluster } = server;
    const slot = await liveSlot(context, server);
    if (slot === null) await requireArchiving(context, server);
    if (slot === null && (await refreshHook(context, server))) {
      context.log.step(
        'wal_push was written anew: the settings say otherwise how WAL is encrypted',
      );
    }
    const hasSummaries = await summarizesWal(server);
    const taken = await takeDue(context, server, request, hasSummaries);
    const segment = await awaitSafe(context, server, slot);
    // Here first: the indexes that are made now go along to the other stores.
    const { local } = context.repository;
    const here = { ...context, repository: { ...context.repository, storage: local } };
    const [ours] = await listWal(here, cluster);
    const points = await carryAndTell(context, cluster, segment);
    const isStore = context.repository.storage === local;
    const [archive] = isStore ? [ours] : await listWal(context, cluster);
    const missingWal = lackingWal(points);
    const timeline = Number.parseInt(segment.slice(0, 8), 16);
    const way = archive?.timelines.find((each) => each.timeline === timeline);
    const result: IncrementalResult = {
      cluster,
      base: taken === null ? null : describeTaken(taken),
      segment,
      newest_recoverable_at: way?.ranges.at(-1)?.last_commit?.at ?? null,
      gaps: way?.gaps ?? [],
      warnings: [
        ...(taken?.warnings ?? []),
        ...(hasSummaries === false ? [noSummaries] : []),
        ...(archive?.times_unknown == null ? [] : [archive.times_unknown]),
        ...points.flatMap(({ store, problem }) =>
          problem === null ? [] : [`the store ${store} lacks WAL: ${problem.message}`],
        ),
      ],
      stores: points,
    };
    const missing =
      (taken === null ? null : missingCopyError(taken.manifest.label, taken.copies)) ?? missingWal;
    return { result, missing };
  });
}
