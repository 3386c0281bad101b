/**
 * Which runs are under way, so that what a killed one has left can be told from what another one is
 * writing just now.
 */

import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { encodeComponent } from '../core/names.ts';
import { type Static, Type } from '../core/type_builder.ts';
import { documentBytes, documentReader } from '../core/validate.ts';
import { errorNumber, folderMode, partialSuffix, writeNewFile } from '../process/durable.ts';
import {
  identitySchema,
  isOfThisBoot,
  isSameProcess,
  ownIdentity,
  type ProcessIdentity,
  type ProcessState,
  processState,
} from '../process/identity.ts';
import type { Storage } from '../storage/storage.ts';

const runFormat = 1;
/** What no known run has begun is a leftover when nothing has changed in it for so long. */
const abandonedMs = 24 * 3600 * 1000;

const runSchema = Type.Object({
  format: Type.Literal(runFormat),
  run_id: Type.String({ minLength: 1 }),
  command: Type.String(),
  cluster: Type.Union([Type.String(), Type.Null()]),
  database: Type.Union([Type.String(), Type.Null()]),
  /** The key of the folder that the run writes; `null` when it writes none. */
  folder: Type.Union([Type.String(), Type.Null()]),
  started_at: Type.String(),
  process: identitySchema,
});

/** A run as it is recorded. */
export type RunRecord = Static<typeof runSchema>;

export interface BeginRunOptions {
  /** The repository's folder for what is local (`Repository.stateDir`). */
  readonly stateDir: string;
  readonly runId: string;
  readonly command: string;
  readonly cluster: string | null;
  readonly database: string | null;
  /** The key of the folder that the run writes; `null` when it writes none. */
  readonly folder: string | null;
  readonly startedAt: Date;
}

/** A run that was begun. */
export interface Run {
  /** Forgets the run. Harmless when done twice; a failure only leaves a record of a dead run. */
  end(): Promise<void>;
}

const parseRun = documentReader(runSchema, {
  name: 'the record of a run',
  format: runFormat,
  code: 'DAMAGED',
});

function runsFolder(stateDir: string): string {
  return join(stateDir, 'runs');
}

function runPath(stateDir: string, runId: string): string {
  return join(runsFolder(stateDir), `${encodeComponent(runId)}.json`);
}

/**
 * Records that a run is under way.
 *
 * @throws HoldfastError NO_SPACE, STORE_REFUSED, or STORE_EXISTS for a run id that is in use
 */
export async function beginRun(options: BeginRunOptions): Promise<Run> {
  const { stateDir, runId, command, cluster, database, folder, startedAt } = options;
  const record: RunRecord = {
    format: runFormat,
    run_id: runId,
    command,
    cluster,
    database,
    folder,
    started_at: startedAt.toISOString(),
    process: ownIdentity(),
  };
  try {
    await mkdir(runsFolder(stateDir), { recursive: true, mode: folderMode });
    await writeNewFile(runPath(stateDir, runId), documentBytes(record));
  } catch (error) {
    if (errorNumber(error) === 'EEXIST') {
      throw new HoldfastError('STORE_EXISTS', `the run ${runId} is recorded already`);
    }
    throw toHoldfastError(error, `recording the run in ${stateDir}`);
  }
  return { end: () => forgetRun(stateDir, runId) };
}

/** Removes the record of a run that has ended. */
async function forgetRun(stateDir: string, runId: string): Promise<void> {
  await rm(runPath(stateDir, runId), { force: true }).catch(() => undefined);
}

/** A run that was recorded, and what has become of its process. */
export interface KnownRun {
  readonly record: RunRecord;
  readonly state: ProcessState;
}

/** All records that can be read; a damaged one says nothing, and the rule of age is left. */
export async function knownRuns(stateDir: string): Promise<KnownRun[]> {
  const names = await readdir(runsFolder(stateDir)).catch((error: unknown) => {
    if (errorNumber(error) === 'ENOENT') return [];
    throw toHoldfastError(error, 'reading the records of runs');
  });
  const runs: KnownRun[] = [];
  for (const name of names) {
    if (!name.endsWith('.json')) continue;
    try {
      const record = parseRun(await readFile(join(runsFolder(stateDir), name)));
      runs.push({ record, state: processState(record.process) });
    } catch {
      // It has ended since the folder was read, or its record is damaged.
    }
  }
  return runs;
}

/** The runs of this host that have not ended themselves: their process is gone. */
export async function deadRuns(stateDir: string): Promise<RunRecord[]> {
  const runs = await knownRuns(stateDir);
  return runs.filter(({ state }) => state === 'dead').map(({ record }) => record);
}

/** A folder that a killed run has left. */
export interface StaleFolder {
  readonly folder: string;
  readonly modifiedAt: Date;
  /** The dead run that wrote it; `null` when none is known. */
  readonly run: RunRecord | null;
  /** Why nobody needs it any more. */
  readonly reason: string;
}

export interface StaleOptions {
  readonly storage: Storage;
  readonly stateDir: string;
  /** Below which folder: `full/<cluster>/<database>`, or `full` for all. */
  readonly folder: string;
  readonly now: Date;
}

/** Whether something that no known run is writing has been left alone for so long: 24 h. */
export function isAbandoned(modifiedAt: Date, now: Date): boolean {
  return now.getTime() - modifiedAt.getTime() > abandonedMs;
}

/** What becomes of a folder whose writer the store tells: nobody else's is ever taken for dead. */
function fateOfWriter(
  writer: ProcessIdentity,
  own: readonly KnownRun[],
): { readonly state: ProcessState; readonly run: RunRecord | null } {
  const recorded = own.find(({ record }) => isSameProcess(record.process, writer));
  if (recorded !== undefined) return { state: recorded.state, run: recorded.record };
  return { state: isOfThisBoot(writer) ? processState(writer) : 'unknown', run: null };
}

/** What the records tell of a folder whose store does not know who writes it. */
function fateOfRuns(own: readonly KnownRun[]): ReturnType<typeof fateOfWriter> {
  if (own.some(({ state }) => state === 'alive')) return { state: 'alive', run: null };
  const dead = own.find(({ state }) => state === 'dead');
  return { state: dead === undefined ? 'unknown' : 'dead', run: dead?.record ?? null };
}

/**
 * The unfinished backups that nobody is writing or removing any more: the process that did is dead
 * on this host, by the store or by the record of its run; or none is known that could be asked, and
 * they are abandoned.
 */
export async function staleUnfinished(options: StaleOptions): Promise<StaleFolder[]> {
  const { storage, stateDir, folder: parent, now } = options;
  const unfinished = await storage.unfinishedFolders(parent);
  const runs = await knownRuns(stateDir);
  return unfinished.flatMap(({ folder, modifiedAt, writer }): StaleFolder[] => {
    const own = runs.filter(({ record }) => record.folder === folder);
    const { state, run } = writer === undefined ? fateOfRuns(own) : fateOfWriter(writer, own);
    if (state === 'alive' || (state === 'unknown' && !isAbandoned(modifiedAt, now))) return [];
    const killed = `${run?.command ?? 'the process that wrote it'} was killed`;
    const reason = state === 'dead' ? killed : 'nothing has changed in it for a day';
    return [{ folder, modifiedAt, run, reason }];
  });
}

/** Forgets the dead runs that have left no folder below this one, and records never finished. */
export async function forgetDeadRuns(options: StaleOptions): Promise<void> {
  const { storage, stateDir, folder: parent, now } = options;
  // Read first: a run that ends in between has its folder still in the other list.
  const dead = await deadRuns(stateDir);
  const unfinished = await storage.unfinishedFolders(parent);
  for (const { run_id, folder: written } of dead) {
    if (written?.startsWith(`${parent}/`) !== true) continue;
    if (unfinished.some(({ folder }) => folder === written)) continue;
    await forgetRun(stateDir, run_id);
  }
  const names = await readdir(runsFolder(stateDir)).catch(() => []);
  for (const name of names.filter((each) => each.endsWith(partialSuffix))) {
    const path = join(runsFolder(stateDir), name);
    const stats = await stat(path).catch(() => null);
    if (stats !== null && isAbandoned(stats.mtime, now)) await rm(path, { force: true });
  }
}

/**
 * Removes what {@link staleUnfinished} has found, and the records of the dead runs behind it.
 *
 * @param stateDir where they are recorded; `null`: they stay known
 */
export async function removeStale(
  storage: Storage,
  stateDir: string | null,
  stale: readonly StaleFolder[],
): Promise<void> {
  for (const { folder, run } of stale) {
    await storage.removeUnfinished(folder);
    if (run !== null && stateDir !== null) await forgetRun(stateDir, run.run_id);
  }
}
