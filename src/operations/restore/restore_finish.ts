/** What follows once the data of a restored database is there: detached, compared, analyzed. */

import type { Client } from 'pg';
import { detachSubscriptionsQuery } from '../../core/database_sql.ts';
import { type ErrorCode, HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { formatCount } from '../../core/units.ts';
import { type ConnectionParameters, connect } from '../../postgres/connection.ts';
import { execute, queryRows } from '../../postgres/query.ts';
import { type Comparison, compareRestored, isTellable, requireEqual } from './restore_compare.ts';
import { compareContent, requireComparable } from './restore_compare_content.ts';
import { fillingSession } from './restore_session.ts';
import type { RestoreWork } from './restore_work.ts';

/** So many sessions count rows and analyze at the same time. */
const sessionsMax = 2;

type Sessions = readonly [Client, ...Client[]];

/** What was found once the data was there. */
export interface Finished {
  /** `null` where nothing was compared, or where there is a difference. */
  readonly comparison: Comparison | null;
  /** What a restore that keeps going was told when it compared. */
  readonly difference: HoldfastError | null;
  readonly warnings: readonly string[];
  /** Seconds; where both run at once, `analyzing` is what was left to do afterwards. */
  readonly comparing: number;
  readonly analyzing: number;
}

/** A restored subscription must neither connect nor hold on to the publisher's slot. */
async function detachSubscriptions(inside: Client): Promise<void> {
  for (const row of await queryRows<Record<string, string>>(inside, detachSubscriptionsQuery)) {
    for (const statement of Object.values(row)) await execute(inside, statement);
  }
}

async function compareAs(
  work: RestoreWork,
  parameters: ConnectionParameters,
  inside: Sessions,
): Promise<Comparison | null> {
  const { context, request, pgDump } = work;
  const { source, compare } = request;
  if (compare === 'content' && pgDump !== null) {
    const manifest = requireComparable(source);
    return compareContent({ context, source, manifest, parameters, pgDump }, inside[0]);
  }
  const { manifest } = source;
  if (compare === 'none' || manifest === null || manifest.tables === null) return null;
  return compareRestored(manifest, inside);
}

/** What a restore that keeps going keeps beside its database, in place of dropping it. */
const keptCodes: readonly ErrorCode[] = ['DIFFERENT', 'DAMAGED', 'RESTORE_FAILED', 'DUMP_FAILED'];

/** A restore that keeps going keeps a difference too; any other ends with it. */
async function compare(
  work: RestoreWork,
  parameters: ConnectionParameters,
  inside: Sessions,
): Promise<Pick<Finished, 'comparison' | 'difference'>> {
  const { context, request } = work;
  try {
    const comparison = await compareAs(work, parameters, inside);
    if (comparison === null) return { comparison, difference: null };
    requireEqual(comparison);
    const what = request.compare === 'content' ? 'the content of ' : '';
    const { tables, rows } = comparison;
    context.log.step(
      `compared: ${what}${formatCount(tables, 'table')}, ${formatCount(rows, 'row')}, all equal`,
    );
    return { comparison, difference: null };
  } catch (error) {
    const isKept = error instanceof HoldfastError && keptCodes.includes(error.code);
    if (request.keepGoing !== true || !isKept) throw error;
    return { comparison: null, difference: error };
  }
}

/**
 * Gives the planner its statistics; several sessions share the tables. A table that cannot be
 * analyzed, such as one with a partition on a server that does not answer, is a warning. Where some
 * have names that cannot be told, the whole database is analyzed by one.
 */
async function analyze(inside: Sessions, signal: AbortSignal): Promise<string[]> {
  const [first] = inside;
  const tables = await queryRows<{ name: string }>(
    first,
    `SELECT CASE WHEN ${isTellable('n.nspname || c.relname')}
              THEN pg_catalog.format('%I.%I', n.nspname, c.relname) ELSE '' END AS name
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
      ORDER BY c.relpages DESC`,
  );
  const all = tables.some(({ name }) => name === '') ? [{ name: '' }] : tables;
  const pending = all.values();
  const warnings: string[] = [];
  await Promise.all(
    inside.map(async (client) => {
      for (const { name } of pending) {
        signal.throwIfAborted();
        try {
          await execute(client, `ANALYZE ${name}`.trimEnd());
        } catch (thrown) {
          const error = toHoldfastError(thrown);
          if (error.code === 'DATABASE_UNREACHABLE') throw error;
          warnings.push(`the table ${name} was not analyzed: ${error.message}`);
        }
      }
    }),
  );
  return warnings;
}

/** Counts and analyzes one after the other: both want every session. */
async function compareThenAnalyze(
  work: RestoreWork,
  parameters: ConnectionParameters,
  inside: Sessions,
): Promise<Finished> {
  const { signal, stopwatch } = work.context;
  const begun = stopwatch();
  const { comparison, difference } = await compare(work, parameters, inside);
  const compared = stopwatch();
  const warnings = [...(comparison?.relationNotes ?? []), ...(await analyze(inside, signal))];
  const [comparing, analyzing] = [compared - begun, stopwatch() - compared];
  return { comparison, difference, warnings, comparing, analyzing };
}

/**
 * Compares the content while the tables are analyzed: pg_dump reads in a session of its own, and
 * the locks of the two do not exclude each other. The first failure ends both.
 */
async function compareWhileAnalyzing(
  work: RestoreWork,
  parameters: ConnectionParameters,
  inside: Sessions,
): Promise<Finished> {
  const { context } = work;
  const { stopwatch } = context;
  const [first, ...others] = inside;
  const [second = first, ...rest] = others;
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const endBoth = (error: unknown): never => {
    stop.abort(error);
    throw error;
  };
  const begun = stopwatch();
  let compared = begun;
  const both = [
    compare({ ...work, context: { ...context, signal } }, parameters, inside)
      .finally(() => {
        compared = stopwatch();
      })
      .catch(endBoth),
    analyze([second, ...rest], signal).catch(endBoth),
  ] as const;
  const [{ comparison, difference }, analyzed] = await Promise.all(both).catch(async (error) => {
    // pg_dump has ended before its database is dropped. A statement that waits for a lock is not
    // waited for: its session is closed.
    await both[0].catch(() => undefined);
    throw context.signal.aborted ? context.signal.reason : error;
  });
  const warnings = [...(comparison?.relationNotes ?? []), ...analyzed];
  const [comparing, analyzing] = [compared - begun, stopwatch() - compared];
  return { comparison, difference, warnings, comparing, analyzing };
}

/**
 * Detaches the subscriptions of a database that was filled, compares it with the backup, and gives
 * the planner its statistics.
 *
 * @param parameters of the restored database
 * @throws HoldfastError DIFFERENT, and what the server says
 */
export async function finishDatabase(
  work: RestoreWork,
  parameters: ConnectionParameters,
): Promise<Finished> {
  const { signal } = work.context;
  const options = { applicationName: 'holdfast restore', signal };
  // Every table that is analyzed is a commit, and need not wait for the disk.
  const session = fillingSession(parameters);
  const first = await connect(session, options);
  const inside: [Client, ...Client[]] = [first];
  try {
    while (inside.length < sessionsMax) inside.push(await connect(session, options));
    await detachSubscriptions(first);
    return work.request.compare === 'content'
      ? await compareWhileAnalyzing(work, parameters, inside)
      : await compareThenAnalyze(work, parameters, inside);
  } finally {
    await Promise.all(inside.map((client) => client.end()));
  }
}
