/** Fills a new database from SQL as text: psql takes it, without what is not for this database. */

import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '../../core/errors.ts';
import type { ByteRange, SqlWork } from '../../core/sql_plan.ts';
import { createByteCounter } from '../../pipeline/measure.ts';
import { readBack } from '../../pipeline/read_back.ts';
import { type ConnectionParameters, programEnvironment } from '../../postgres/connection.ts';
import { describePsqlFailure, psqlArguments } from '../../postgres/psql.ts';
import { countLines } from '../../postgres/sql_copy_data.ts';
import { type DataChild, startChild } from '../../process/stream.ts';
import type { BackupSource } from '../backup_source.ts';
import { type Context, flowContext } from '../context.ts';

/** Where the text goes, and with what. */
export interface SqlFillInput {
  readonly context: Context;
  readonly source: BackupSource;
  /** Of the new database. */
  readonly parameters: ConnectionParameters;
  readonly psql: string;
  readonly sql: SqlWork;
}

const newline = 0x0a;

/**
 * Leaves out ranges of bytes. Their newlines stay: the lines that psql tells are those of the file.
 *
 * @param ranges in order, none overlaps another
 */
export function createCut(ranges: readonly ByteRange[]): Transform {
  let base = 0;
  let next = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      let at = 0;
      while (at < chunk.length) {
        const range = ranges[next];
        const start = range === undefined ? chunk.length : range.start - base;
        if (start > at) {
          this.push(chunk.subarray(at, Math.min(start, chunk.length)));
          at = Math.min(start, chunk.length);
          continue;
        }
        const end = Math.min((range?.end ?? 0) - base, chunk.length);
        if (end > at) this.push(Buffer.alloc(countLines(chunk, at, end), newline));
        at = Math.max(at, end);
        if (range !== undefined && range.end - base <= at) next += 1;
      }
      base += chunk.length;
      done();
    },
  });
}

/** @throws HoldfastError with the server's own words when psql did not end with 0 */
async function checkPsql(child: DataChild, input: SqlFillInput): Promise<void> {
  const exit = await child.exited;
  const { context, parameters, sql } = input;
  if (context.signal.aborted) throw context.signal.reason;
  if (exit.status === 0) return;
  throw describePsqlFailure({
    ...exit,
    stderr: child.stderrTail(),
    database: parameters.dbname,
    role: parameters.user,
    linesBefore: sql.isRestricted ? 1 : 0,
  });
}

/** A key that no text can know, in the letters that psql takes. */
function restriction(context: Context): string {
  return `\\restrict ${Buffer.from(context.randomBytes(32)).toString('hex')}\n`;
}

async function feed(body: Readable, child: DataChild, input: SqlFillInput): Promise<void> {
  const { context, sql } = input;
  try {
    if (sql.isRestricted) child.stdin.write(restriction(context));
    await pipeline(body, createCut(sql.leftOut), child.stdin);
  } catch (error) {
    await checkPsql(child, input);
    throw error;
  }
  await checkPsql(child, input);
}

/**
 * Restores the text in one session of psql, straight from the stream.
 *
 * @param onBytes told of plain bytes as they pass
 * @throws HoldfastError RESTORE_FAILED and what the server says; DAMAGED when the file is not the
 *   one any more that was read before
 */
export async function fillFromSql(
  input: SqlFillInput,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { context, source, parameters, psql, sql } = input;
  const child = startChild(psql, psqlArguments(parameters.dbname), {
    environment: programEnvironment(parameters, context.environment),
    signal: context.signal,
  });
  child.stdout.resume();
  try {
    const { plain } = await readBack({
      body: await source.dump.open(),
      filters: source.dump.filters,
      observers: [createByteCounter(onBytes)],
      sinks: [(body) => feed(body, child, input)],
      context: flowContext(context),
    });
    if (plain.sha256 === sql.sha256) return;
    throw new HoldfastError('DAMAGED', `${source.dump.name} was changed while it was restored`, {
      hint: 'Wait until whoever writes it is done, and restore it again.',
    });
  } finally {
    await child.end();
  }
}
