/** Fills a new, empty database from a dump. */

import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createByteCounter } from '../../pipeline/measure.ts';
import { readBack } from '../../pipeline/read_back.ts';
import { type ConnectionParameters, programEnvironment } from '../../postgres/connection.ts';
import { restoreArguments } from '../../postgres/dump.ts';
import { describeDumpFailure } from '../../postgres/dump_failure.ts';
import type { ErrorCollector } from '../../postgres/restore_errors.ts';
import { type DataChild, startChild } from '../../process/stream.ts';
import type { BackupSource } from '../backup_source.ts';
import { type Context, flowContext } from '../context.ts';

/** Where the dump goes, and with what. */
export interface FillInput {
  readonly context: Context;
  readonly source: BackupSource;
  /** Of the new database. */
  readonly parameters: ConnectionParameters;
  readonly pgRestore: string;
  /** Collects errors where the restore goes on after them; else it ends at the first. */
  readonly errors?: ErrorCollector | undefined;
}

function startRestore(input: FillInput, jobs: number, file: string | null): DataChild {
  const { context, parameters, pgRestore, errors } = input;
  const keepGoing = errors !== undefined;
  return startChild(
    pgRestore,
    restoreArguments({ jobs, database: parameters.dbname, file: file ?? undefined, keepGoing }),
    {
      environment: programEnvironment(parameters, context.environment),
      signal: context.signal,
      onStderrLine: errors?.line,
    },
  );
}

/** pg_restore ends with 1 after the errors that it has told, also after one that it gave up at. */
const toldErrorsStatus = 1;

/** @throws HoldfastError with pg_restore's own words when it did not end with 0 */
async function checkRestore(child: DataChild, input: FillInput): Promise<void> {
  const exit = await child.exited;
  if (input.context.signal.aborted) throw input.context.signal.reason;
  if (exit.status !== 0) {
    const { dbname: database, user: role } = input.parameters;
    const stderr = child.stderrTail();
    const error = describeDumpFailure({ program: 'pg_restore', stderr, ...exit, database, role });
    const isCollected = input.errors !== undefined && exit.status === toldErrorsStatus;
    if (!isCollected || error.code === 'DATABASE_UNREACHABLE') throw error;
  }
}

/** Gives a stream to a program; what it leaves unread at the end of the archive is passed over. */
async function feed(body: Readable, child: DataChild, input: FillInput): Promise<void> {
  try {
    await pipeline(body, child.stdin);
  } catch (error) {
    await checkRestore(child, input);
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  }
  await checkRestore(child, input);
}

/**
 * Restores in one job, straight from the stream: nothing is staged.
 *
 * @param onBytes told of plain bytes as they pass
 */
export async function fillFromStream(
  input: FillInput,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { context, source } = input;
  const child = startRestore(input, 1, null);
  try {
    await readBack({
      body: await source.dump.open(),
      filters: source.dump.filters,
      observers: [createByteCounter(onBytes)],
      sinks: [(body) => feed(body, child, input)],
      context: flowContext(context),
    });
  } finally {
    await child.end();
  }
}

/** Restores in several jobs from a file with the plain archive. */
export async function fillFromFile(input: FillInput, file: string, jobs: number): Promise<void> {
  const child = startRestore(input, jobs, file);
  child.stdin.end();
  try {
    await checkRestore(child, input);
  } finally {
    await child.end();
  }
}
