/**
 * Takes a restore back: the database that it replaced gets its name again, in the same swap in one
 * transaction. What is there now stays beside it, so that a rollback can be rolled back.
 */

import type { Client } from 'pg';
import { leftoversOf, putAsideAt } from '../../core/leftovers.ts';
import { beforeName } from '../../core/names.ts';
import { formatBytes, formatCount } from '../../core/units.ts';
import { type ConnectionParameters, describeServer } from '../../postgres/connection.ts';
import { readPreparedTransactions } from '../../postgres/facts.ts';
import { type Leftover, readLeftovers } from '../../postgres/leftovers.ts';
import { formatLockHolder } from '../../postgres/lock_holder.ts';
import { swapDatabases } from '../../postgres/swap.ts';
import type { Context } from '../context.ts';
import { openMore } from '../open_database.ts';
import {
  chooseLeftovers,
  connectBeside,
  describeLeftover,
  type LeftoverFacts,
  type LeftoverWish,
  leftoverFacts,
  noLeftover,
} from './leftover_choice.ts';
import { withRestoreLock } from './restore_lock.ts';
import { readOldDatabase, readRestoreServer } from './restore_server.ts';

/** How long the swap may take, with all its tries. */
const swapTimeoutMs = 60_000;

/** What a rollback is about to do. */
export interface RollbackPlan {
  readonly server: string;
  readonly database: string;
  /** The old database that takes the name again. */
  readonly takes: LeftoverFacts;
  /** What has the name now, or `null` where nothing has. */
  readonly replaces: {
    readonly oid: number;
    readonly bytes: number;
    readonly connections: number;
  } | null;
  /** The name under which that one stays. */
  readonly before_name: string | null;
  /** Other old databases of that name, which stay as they are. */
  readonly others: readonly LeftoverFacts[];
  /** What blocks the swap; sentences. */
  readonly notes: readonly string[];
}

/** What is rolled back. */
export interface RollbackRequest extends LeftoverWish {
  /** Shown the plan; throws when it is not to be carried out. */
  readonly confirm: (plan: RollbackPlan) => Promise<void>;
}

/** A rollback that is done. */
export interface RollbackResult {
  readonly database: string;
  /** The name that the database had until now. */
  readonly rolled_back_to: string;
  /** Where the database is now that was replaced, or `null` where there was none. */
  readonly before: string | null;
  readonly sessions_ended: number;
  readonly duration_seconds: number;
}

/** The plan as lines for people. */
export function describeRollback(plan: RollbackPlan): string[] {
  const name = JSON.stringify(plan.database);
  const { takes, replaces, others } = plan;
  const old = `${JSON.stringify(takes.name)} (${describeLeftover(takes)})`;
  const lines = [`server:  ${plan.server}`];
  if (replaces === null) {
    lines.push(`1. name ${old} ${name}, which does not exist now`);
  } else {
    const connections = `${formatCount(replaces.connections, 'connection')} now, which are ended`;
    lines.push(
      `1. swap: ${name} (${formatBytes(replaces.bytes)}, ${connections}) becomes ` +
        `${JSON.stringify(plan.before_name)} and ${old} takes its name`,
    );
  }
  for (const other of others) {
    lines.push(
      `note:    ${JSON.stringify(other.name)} (${describeLeftover(other)}) stays as it is; ` +
        'to take that one, name it in place of the database',
    );
  }
  return [...lines, ...plan.notes.map((note) => `note:    ${note}`)];
}

async function blockers(admin: Client, databases: readonly string[], oids: readonly number[]) {
  const notes: string[] = [];
  for (const [index, oid] of oids.entries()) {
    for (const { gid } of await readPreparedTransactions(admin, oid)) {
      notes.push(
        `the prepared transaction ${JSON.stringify(gid)} in ${JSON.stringify(databases[index])} ` +
          'blocks the swap: COMMIT PREPARED or ROLLBACK PREPARED it first',
      );
    }
  }
  return notes;
}

async function makePlan(
  context: Context,
  wish: LeftoverWish,
  admin: Client,
  parameters: ConnectionParameters,
): Promise<RollbackPlan> {
  await readRestoreServer(admin, parameters);
  const leftovers = await readLeftovers(admin);
  const { database, before } = chooseLeftovers(leftovers, wish);
  const [taken] = before;
  if (taken === undefined) throw noLeftover(leftovers, database, parameters);
  const now = context.clock();
  const present = await readOldDatabase(admin, database);
  const all = leftoversOf(leftovers, 'before', database);
  const isOther = (leftover: Leftover) => leftover.oid !== taken.oid;
  const names = present === null ? [taken.name] : [taken.name, database];
  const oids = present === null ? [taken.oid] : [taken.oid, present.oid];
  return {
    server: describeServer(parameters),
    database,
    takes: leftoverFacts(taken, now),
    replaces:
      present === null
        ? null
        : { oid: present.oid, bytes: present.bytes, connections: present.connections },
    before_name: present === null ? null : beforeName(database, putAsideAt(now, [...all, taken])),
    others: all.filter(isOther).map((leftover) => leftoverFacts(leftover, now)),
    notes: await blockers(admin, names, oids),
  };
}

async function swap(
  context: Context,
  plan: RollbackPlan,
  admin: Client,
  parameters: ConnectionParameters,
): Promise<number> {
  const second = await openMore(context, parameters, 'holdfast swap');
  try {
    const { sessionsEnded } = await swapDatabases({
      admin,
      second,
      name: plan.database,
      oldOid: plan.replaces?.oid ?? null,
      restored: plan.takes.name,
      restoredOid: plan.takes.oid,
      keepOldAs: plan.before_name ?? plan.takes.name,
      timeoutMs: swapTimeoutMs,
      signal: context.signal,
    });
    return sessionsEnded;
  } finally {
    await second.end();
  }
}

/**
 * Plans a rollback, has it confirmed, and carries it out. The OIDs of the plan are those that are
 * swapped: whatever happened since it was made ends in SWAP_FAILED.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND when there is no old database, LOCKED by a restore,
 *   SWAP_FAILED with what stands in the way, and whatever `confirm` throws
 */
export async function rollBack(
  context: Context,
  request: RollbackRequest,
): Promise<RollbackResult> {
  const { host, pid } = context;
  const startedAt = context.clock();
  const holder = formatLockHolder({ operation: 'rollback', startedAt, host, pid });
  const { client: admin, parameters } = await connectBeside(context, request, holder);
  try {
    const plan = await makePlan(context, request, admin, parameters);
    await request.confirm(plan);
    const startedSeconds = context.stopwatch();
    const sessionsEnded = await withRestoreLock(
      context,
      parameters,
      plan.database,
      holder,
      (guarded) => swap(guarded, plan, admin, parameters),
    );
    return {
      database: plan.database,
      rolled_back_to: plan.takes.name,
      before: plan.before_name,
      sessions_ended: sessionsEnded,
      duration_seconds: Math.round((context.stopwatch() - startedSeconds) * 10) / 10,
    };
  } finally {
    await admin.end();
  }
}

/** The plan of a rollback, for `--dry-run`. @throws HoldfastError as {@link rollBack} */
export async function planRollback(context: Context, wish: LeftoverWish): Promise<RollbackPlan> {
  const { client, parameters } = await connectBeside(context, wish, 'holdfast plan');
  try {
    return await makePlan(context, wish, client, parameters);
  } finally {
    await client.end();
  }
}
