/**
 * Restores a whole cluster to a point in time: a base backup into a new folder, and the settings
 * with which a server replays the WAL to the target by itself (PostgreSQL manual, "Recovering Using
 * a Continuous Archive Backup").
 */

import { createHash } from 'node:crypto';
import { chmod, realpath, rename, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { withFileLock } from '../../catalog/lock.ts';
import { HoldfastError } from '../../core/errors.ts';
import {
  type RestoredCluster,
  readControlData,
  socketFolder,
  startAndWait,
} from '../../postgres/recovery_cluster.ts';
import type { RecoveryReport } from '../../postgres/recovery_log.ts';
import { errorNumber, fileMode, fsyncFolder } from '../../process/durable.ts';
import { runChecked } from '../../process/run.ts';
import { toldWith } from '../base/unpack_archive.ts';
import { unpackBase } from '../base/unpack_base.ts';
import type { RepositoryContext } from '../context.ts';
import { holdBackups } from '../hold_backup.ts';
import { checkPitr } from './pitr_check.ts';
import { configurePitr, modesOf } from './pitr_configure.ts';
import { applyDelta, type Delta } from './pitr_delta.ts';
import { begin, empty, finish, markAgain, readMark } from './pitr_folder.ts';
import type { PitrPlan } from './pitr_plan.ts';
import { lockPath, preparePitr, stagingFolder } from './pitr_prepare.ts';
import type { PitrRequest, PitrResult, PreparedPitr } from './pitr_request.ts';
import { ownPaths, tablespaceMap } from './pitr_tablespaces.ts';
import { bringWal, removeWal } from './pitr_wal.ts';
import { recoveryRates } from './recovery_rates.ts';

/** What is done to one folder: everything but where it lies. */
interface Filling {
  readonly context: RepositoryContext;
  readonly plan: PitrPlan;
  readonly request: PitrRequest;
  readonly prepared: PreparedPitr;
}

type Filled = Pick<PitrResult, 'warnings' | 'notes'>;

const syncTimeoutMs = 3_600_000;

async function sync({ environment }: RepositoryContext): Promise<void> {
  await runChecked('sync', [], { environment, timeoutMs: syncTimeoutMs });
}

/** What a sync says that knows nothing of single file systems (BSD's, older ones of BusyBox). */
const noSuchOption = /(?:unrecognized|unknown|invalid|illegal) option/;

/**
 * Makes safe what lies in new folders, which no link leads out of: nobody waits for the other file
 * systems of this machine, and what cannot be written is told (syncfs(2), Linux 5.8).
 */
async function syncFolders(context: RepositoryContext, folders: readonly string[]): Promise<void> {
  const { environment } = context;
  const args = ['--file-system', '--', ...folders];
  try {
    await runChecked('sync', args, { environment, timeoutMs: syncTimeoutMs });
  } catch (error) {
    if (!(error instanceof HoldfastError) || !noSuchOption.test(error.message)) throw error;
    await sync(context);
  }
}

/** @param at the data directory, which has its control file elsewhere while it is not whole */
async function configure(
  { context, plan, request, prepared }: Filling,
  at: { readonly pgdata: string; readonly control: string },
): Promise<string[]> {
  const { pgdata } = at;
  const { mapped } = prepared;
  if (mapped.length > 0) {
    await writeFile(join(pgdata, 'tablespace_map'), tablespaceMap(mapped), { mode: fileMode });
  }
  const cluster: RestoredCluster = { ...prepared.cluster, pgdata: at.control };
  const control = await readControlData(cluster);
  const own = { ...request, pgdata };
  const found = { cluster, control, walFolder: prepared.wal?.folder ?? null };
  const { notes } = await configurePitr(context, plan, own, found);
  const { folder: mode } = await modesOf(pgdata);
  for (const folder of [pgdata, ...mapped.map((each) => each.folder)]) await chmod(folder, mode);
  return [...notes];
}

/** Makes the folders and what is in them. */
async function fill(filling: Filling, pgdata: string): Promise<Filled> {
  const { context, plan, prepared } = filling;
  const { system_identifier: identifier } = plan.base.manifest.server;
  const { tool } = prepared.cluster;
  const begun: string[] = [];
  try {
    for (const folder of [pgdata, ...prepared.mapped.map((each) => each.folder)]) {
      await begin(folder, identifier);
      begun.push(folder);
    }
    // Before there is a pg_control: with it and without a restore_command no server starts.
    await writeFile(join(pgdata, 'recovery.signal'), '', { mode: fileMode });
    const tablespaces = prepared.mapped.map(({ tablespace, folder }) => ({
      oid: tablespace.oid,
      folder,
    }));
    const warnings = await unpackBase(context, tool, plan.chain, { pgdata, tablespaces });
    const notes = await configure(filling, { pgdata, control: pgdata });
    await syncFolders(context, begun);
    // The data directory last: a server may run on it when all is there.
    for (const folder of begun.toReversed()) await finish(folder);
    return { warnings, notes };
  } catch (error) {
    for (const folder of begun.toReversed()) await empty(folder);
    throw error;
  }
}

/** Removes what a killed restore has left. */
async function removeUnfinished({ plan, prepared }: Filling, folder: string): Promise<void> {
  const { system_identifier: identifier } = plan.base.manifest.server;
  for (const each of [folder, ...prepared.mapped.map((one) => one.folder)]) {
    if ((await readMark(each).catch(() => null))?.systemIdentifier === identifier)
      await empty(each);
  }
}

/** Makes the new data directory beside the old one, and lets them change names. */
async function fillBeside(filling: Filling, aside: string): Promise<Filled> {
  const { pgdata } = filling.prepared;
  const staging = stagingFolder(pgdata);
  await removeUnfinished(filling, staging);
  const filled = await fill(filling, staging);
  try {
    await rename(pgdata, aside);
  } catch (cause) {
    await empty(staging);
    await rmdir(staging);
    const text = `${JSON.stringify(pgdata)} cannot be moved to ${JSON.stringify(aside)}`;
    const code = errorNumber(cause) ?? 'unknown';
    throw new HoldfastError('RESTORE_FAILED', `${text}: ${code}; it was not touched`, {
      hint: 'A mount cannot be moved: restore into a folder below it, or beside it.',
      cause,
    });
  }
  try {
    await rename(staging, pgdata);
  } catch (cause) {
    await rename(aside, pgdata);
    throw cause;
  }
  await fsyncFolder(dirname(pgdata));
  return filled;
}

/** Keeps what is as it is in the backup. */
async function fillDelta(filling: Filling, delta: Delta): Promise<Filled> {
  const { context, plan, prepared } = filling;
  const { pgdata } = prepared;
  const tablespaces = await ownPaths(prepared.mapped);
  const { system_identifier: identifier } = plan.base.manifest.server;
  let notes: string[] = [];
  try {
    await toldWith(plan.base.label, () =>
      applyDelta(context, plan, delta, tablespaces, {
        begin: async () => {
          for (const folder of tablespaces.values()) await markAgain(folder, identifier);
        },
        configure: async (control) => {
          await writeFile(join(pgdata, 'recovery.signal'), '', { mode: fileMode });
          notes = await configure(filling, { pgdata, control });
          for (const folder of tablespaces.values()) await finish(folder);
        },
        sync: () => sync(context),
      }),
    );
  } catch (error) {
    context.log.warn(`${pgdata} is not complete: run the same again to go on with it`);
    throw error;
  }
  return { warnings: [], notes };
}

async function carryOut(filling: Filling): Promise<Filled> {
  const { delta, existing, aside, pgdata } = filling.prepared;
  if (delta !== null) return fillDelta(filling, delta);
  if (aside !== null) return fillBeside(filling, aside);
  if (existing !== null) await removeUnfinished(filling, pgdata);
  return fill(filling, pgdata);
}

/** Starts the server, shows how far it has got, and waits until it is promoted. */
async function startRecovery(
  { context, plan, prepared }: Filling,
  port: number,
): Promise<RecoveryReport> {
  const { segments, segmentBytes } = plan;
  const title = 'replaying the WAL';
  const progress = await context.log.progress(title, segments.length * segmentBytes);
  const numbers = new Map(segments.map(({ name }, at) => [name, at + 1]));
  let replayed = 0;
  try {
    return await startAndWait(prepared.cluster, port, {
      onState: (state) => context.log.step(state),
      onSegment: (name) => {
        const number = numbers.get(name);
        if (number === undefined || number <= replayed) return;
        // The one that was fetched just now is still to be replayed.
        const percent = Math.floor(((number - 1) * 100) / segments.length);
        progress.rename(`${title}: ${name}, ${number} of ${segments.length}, ${percent} %`);
        progress.add((number - replayed) * segmentBytes);
        replayed = number;
      },
    });
  } finally {
    progress.end();
  }
}

/**
 * Restores as planned. When it fails before the files are complete, it removes what it has begun;
 * killed, it leaves a marked folder.
 *
 * @throws HoldfastError DAMAGED, NO_SPACE, RESTORE_FAILED when the server does not get to the
 *   target, DIFFERENT when the server's answer is not as wanted, LOCKED, and what
 *   {@link preparePitr} throws
 */
export async function restorePitr(
  context: RepositoryContext,
  plan: PitrPlan,
  request: PitrRequest,
): Promise<PitrResult> {
  const own = await realpath(request.pgdata).catch(() => request.pgdata);
  const digest = createHash('sha256').update(own).digest('hex');
  const lock = lockPath(context.repository.stateDir, digest);
  const { startPort } = request;
  let begunAt = context.stopwatch();
  const { prepared, filled } = await withFileLock(lock, { waitMs: 0 }, async () => {
    const prepared = await preparePitr(context, plan, request);
    await request.confirm?.(prepared);
    begunAt = context.stopwatch();
    const filling = { context, plan, request, prepared };
    // Before the data directory: without a key, or with a damaged segment, nothing is touched.
    if (prepared.wal !== null) await bringWal(context, plan, prepared.wal, request.fallback ?? []);
    const filled = await holdBackups(context.repository, plan.chain, () => carryOut(filling));
    return { prepared, filled };
  });
  const { pgdata, aside } = prepared;
  for (const note of filled.notes) context.log.warn(note);
  const walFolder = prepared.wal?.folder ?? null;
  const done = { ...filled, pgdata, aside, pgCtl: prepared.cluster.tool.path, walFolder };
  if (startPort === null) return { ...done, socket: null, report: null, check: null };
  const filledSeconds = context.stopwatch() - begunAt;
  const report = await startRecovery({ context, plan, request, prepared }, startPort);
  const socket = socketFolder(pgdata);
  await recoveryRates.record(context, {
    finished_at: context.clock().toISOString(),
    cluster: plan.cluster,
    written_bytes: prepared.delta?.rewrittenBytes ?? plan.base.manifest.cluster_bytes,
    unpack_seconds: filledSeconds,
    wal_bytes: plan.segments.length * plan.segmentBytes,
    replay_seconds: context.stopwatch() - begunAt - filledSeconds,
  });
  const { question = null } = request;
  const check = await checkPitr(context, { socket, port: startPort }, question);
  if (prepared.wal !== null) await removeWal(prepared.wal);
  return { ...done, walFolder: null, socket, report, check };
}
