/**
 * The jobs of the schedule: when each ran last and how that ended, so that `status` can tell it,
 * no job overlaps itself, and the monitor sees a run that began and never ended.
 */

import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { type Static, Type } from '../core/type_builder.ts';
import { documentBytes, documentReader } from '../core/validate.ts';
import { errorNumber, folderMode, replaceFile } from '../process/durable.ts';
import {
  identitySchema,
  ownIdentity,
  type ProcessState,
  processState,
} from '../process/identity.ts';
import { withFileLock } from './lock.ts';

const jobFormat = 1;
const lockWaitMs = 10_000;

/** What a job may be called: it is a file's name and a word of a crontab. */
export const jobNamePattern = /^[a-z][a-z0-9_-]{0,31}$/;

const NullableTime = Type.Union([Type.String(), Type.Null()]);

const jobSchema = Type.Object({
  format: Type.Literal(jobFormat),
  job: Type.String({ pattern: jobNamePattern.source }),
  run_id: Type.String({ minLength: 1 }),
  /** The file's name in scripts/. */
  command: Type.String(),
  started_at: Type.String(),
  process: identitySchema,
  /** `null` until it has ended. */
  finished_at: NullableTime,
  exit_status: Type.Union([Type.Integer(), Type.Null()]),
  /**
   * With what the run before it ended; `null`: that one was killed. Absent where nobody knows, and
   * in what earlier versions have written.
   */
  status_before: Type.Optional(Type.Union([Type.Integer(), Type.Null()])),
  /** When a run of it last did what it is for. */
  last_success_at: NullableTime,
});

/** The last run of a job, as it is recorded. */
export type JobRecord = Static<typeof jobSchema>;

/** `ended`; `running`; `dead`: it began, and its process is gone; `unknown`: on another host. */
export type JobState = 'ended' | 'running' | 'dead' | 'unknown';

/** A job whose last run is known. */
export interface KnownJob {
  readonly record: JobRecord;
  readonly state: JobState;
}

export interface BeginJobOptions {
  /** The repository's folder for what is local (`Repository.stateDir`). */
  readonly stateDir: string;
  readonly job: string;
  readonly runId: string;
  /** The file's name in scripts/. */
  readonly command: string;
  readonly startedAt: Date;
}

/** A job that was begun. */
export interface Job {
  /** The run before this one, where it began and never ended. */
  readonly died: JobRecord | null;
  /**
   * Records how it ended.
   *
   * @param isSuccess whether it did what it is for: a monitor that finds something did, too
   */
  end(exitStatus: number, now: Date, isSuccess?: boolean): Promise<void>;
}

const parseJob = documentReader(jobSchema, {
  name: 'the record of a job',
  format: jobFormat,
  code: 'DAMAGED',
});

const states = {
  alive: 'running',
  dead: 'dead',
  unknown: 'unknown',
} as const satisfies Record<ProcessState, JobState>;

function jobsFolder(stateDir: string): string {
  return join(stateDir, 'jobs');
}

function jobPath(stateDir: string, job: string): string {
  return join(jobsFolder(stateDir), `${job}.json`);
}

/** What the next run remembers of this one, where it has ended or was killed. */
function statusBefore(known: KnownJob | null): Pick<JobRecord, 'status_before'> {
  if (known?.state === 'ended') return { status_before: known.record.exit_status };
  return known?.state === 'dead' ? { status_before: null } : {};
}

/** A job's last run; `null` where there is none, or its record is damaged. */
async function readJob(stateDir: string, job: string): Promise<KnownJob | null> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(jobPath(stateDir, job));
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return null;
    throw toHoldfastError(error, `reading the record of the job ${job}`);
  }
  try {
    const record = parseJob(bytes);
    const isOver = record.finished_at !== null;
    return { record, state: isOver ? 'ended' : states[processState(record.process)] };
  } catch {
    // The next run writes it anew.
    return null;
  }
}

/**
 * The last run of every job that has run, by name.
 *
 * @param stateDir the repository's folder for what is local
 * @throws HoldfastError STORE_REFUSED where it may not be read
 */
export async function readJobs(stateDir: string): Promise<KnownJob[]> {
  const names = await readdir(jobsFolder(stateDir)).catch((error: unknown) => {
    if (errorNumber(error) === 'ENOENT') return [];
    throw toHoldfastError(error, 'reading the records of jobs');
  });
  const jobs: KnownJob[] = [];
  for (const name of names.toSorted()) {
    const job = name.slice(0, -'.json'.length);
    if (!name.endsWith('.json') || !jobNamePattern.test(job)) continue;
    const known = await readJob(stateDir, job);
    if (known !== null) jobs.push(known);
  }
  return jobs;
}

/**
 * Records that a job begins.
 *
 * @throws HoldfastError LOCKED while a run of the same job is alive; NO_SPACE, STORE_REFUSED
 */
export async function beginJob(options: BeginJobOptions): Promise<Job> {
  const { stateDir, job, runId, command, startedAt } = options;
  const write = async (record: JobRecord) => {
    try {
      await replaceFile(jobPath(stateDir, job), documentBytes(record));
    } catch (error) {
      throw toHoldfastError(error, `recording the job ${job}`);
    }
  };
  await mkdir(jobsFolder(stateDir), { recursive: true, mode: folderMode }).catch((error) => {
    throw toHoldfastError(error, `recording the job ${job}`);
  });
  const lock = join(jobsFolder(stateDir), `${job}.lock`);
  return withFileLock(lock, { waitMs: lockWaitMs }, async () => {
    const before = await readJob(stateDir, job);
    if (before?.state === 'running') {
      const { started_at: since, process } = before.record;
      throw new HoldfastError('LOCKED', `the job ${job} runs already, since ${since}`, {
        hint: `It is the process ${process.pid}; let it end, or schedule the job less often.`,
      });
    }
    const record: JobRecord = {
      format: jobFormat,
      job,
      run_id: runId,
      command,
      started_at: startedAt.toISOString(),
      process: ownIdentity(),
      finished_at: null,
      exit_status: null,
      ...statusBefore(before),
      last_success_at: before?.record.last_success_at ?? null,
    };
    await write(record);
    return {
      died: before?.state === 'dead' ? before.record : null,
      end: (exitStatus, now, isSuccess = exitStatus === 0) =>
        write({
          ...record,
          finished_at: now.toISOString(),
          exit_status: exitStatus,
          last_success_at: isSuccess ? now.toISOString() : record.last_success_at,
        }),
    };
  });
}
