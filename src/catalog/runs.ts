/**
 * Which runs are under way, so that what a killed one has left can be told from what another one is
 * writing just now.
 */

import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { encodeComponent } from '../core/names.ts';
import { documentBytes, documentReader } from '../core/validate.ts';
import { errorNumber, folderMode, writeNewFile } from '../process/durable.ts';
import { ownIdentity, type ProcessState, processState } from '../process/identity.ts';
import type { Storage } from '../storage/storage.ts';
import { databaseFolder } from './repository.ts';

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
  process: Type.Object({
    pid: Type.Integer(),
    started: Type.String(),
    host: Type.String(),
    boot: Type.String(),
  }),
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

interface KnownRun {
  readonly record: RunRecord;
  readonly state: ProcessState;
}

/** All records that can be read; a damaged one says nothing, and the rule of age is left. */
async function knownRuns(stateDir: string): Promise<KnownRun[]> {
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
  /** The dead run that wrote it; `null` when none is known, and it is old. */
  readonly run: RunRecord | null;
}

export interface StaleOptions {
  readonly storage: Storage;
  readonly stateDir: string;
  readonly cluster: string;
  readonly database: string;
  readonly now: Date;
}

/**
 * The unfinished backups of a database that nobody is writing any more: their run is dead on this
 * host; or no run is known for them that could be asked, and nothing has changed in them for 24 h.
 * Records of dead runs that have left no folder are forgotten.
 */
export async function staleUnfinished(options: StaleOptions): Promise<StaleFolder[]> {
  const { storage, stateDir, cluster, database, now } = options;
  const parent = databaseFolder(cluster, database);
  const unfinished = await storage.unfinishedFolders(parent);
  const runs = await knownRuns(stateDir);
  for (const { record, state } of runs) {
    if (state !== 'dead' || record.folder?.startsWith(`${parent}/`) !== true) continue;
    if (unfinished.some(({ folder }) => folder === record.folder)) continue;
    await forgetRun(stateDir, record.run_id);
  }
  return unfinished.flatMap(({ folder, modifiedAt }): StaleFolder[] => {
    const run = runs.find(({ record }) => record.folder === folder);
    if (run?.state === 'alive') return [];
    if (run?.state === 'dead') return [{ folder, modifiedAt, run: run.record }];
    const abandoned = now.getTime() - modifiedAt.getTime() > abandonedMs;
    return abandoned ? [{ folder, modifiedAt, run: null }] : [];
  });
}

/** Removes what {@link staleUnfinished} has found, and the records of the dead runs behind it. */
export async function removeStale(
  storage: Storage,
  stateDir: string,
  stale: readonly StaleFolder[],
): Promise<void> {
  for (const { folder, run } of stale) {
    await storage.removeUnfinished(folder);
    if (run !== null) await forgetRun(stateDir, run.run_id);
  }
}
