/**
 * Drops what restores have left of a database: the ones that they replaced, and what killed ones
 * were building. Each is dropped as the name and the OID that the plan told.
 */

import type { Client } from 'pg';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { databaseOid, dropDatabaseChecked } from '../../postgres/admin.ts';
import { type ConnectionParameters, describeServer } from '../../postgres/connection.ts';
import { type Leftover, readLeftovers } from '../../postgres/leftovers.ts';
import { formatLockHolder } from '../../postgres/lock_holder.ts';
import type { Context } from '../context.ts';
import {
  chooseLeftovers,
  connectBeside,
  describeLeftover,
  type LeftoverChoice,
  type LeftoverFacts,
  type LeftoverWish,
  leftoverFacts,
  noLeftover,
} from './leftover_choice.ts';
import { dropStaleRestore, isStaleRestore } from './restore_cleanup.ts';
import { withRestoreLock } from './restore_lock.ts';
import { type Obstacle, readObstacles } from './restore_obstacles.ts';

/** A leftover that stays, and why. */
export interface StayingLeftover extends LeftoverFacts {
  readonly reasons: readonly {
    /** A sentence. */
    readonly message: string;
    /** What takes it away, connected to that database. */
    readonly sql: readonly string[];
  }[];
}

/** What is about to be dropped. */
export interface DropOldPlan {
  readonly server: string;
  /** The database that they were made for. */
  readonly database: string;
  readonly drops: readonly LeftoverFacts[];
  readonly stays: readonly StayingLeftover[];
}

/** What is dropped. */
export interface DropOldRequest extends LeftoverWish {
  /** Only the one with this OID, which the caller knows from before. */
  readonly onlyOid?: number;
  /** Shown the plan; throws when it is not to be carried out. */
  readonly confirm: (plan: DropOldPlan) => Promise<void>;
}

/** What became of it. */
export interface DropOldResult {
  readonly database: string;
  readonly dropped: readonly LeftoverFacts[];
  readonly stays: readonly StayingLeftover[];
}

/** The plan as lines for people. */
export function describeDropOld(plan: DropOldPlan): string[] {
  const lines = [`server:  ${plan.server}`];
  for (const drop of plan.drops) {
    const what = drop.kind === 'before' ? '' : ', left by a restore that never ended';
    lines.push(`drop:    ${JSON.stringify(drop.name)} (${describeLeftover(drop)}${what})`);
  }
  return [...lines, ...plan.stays.flatMap(describeStaying)];
}

/** Why a leftover stays, and what to type. */
export function describeStaying({ name, reasons }: StayingLeftover): string[] {
  return reasons.flatMap(({ message, sql }) => [
    `stays:   ${JSON.stringify(name)}: ${message}`,
    ...sql.map((statement) => `  type:  ${statement}`),
  ]);
}

/**
 * A drop would take a slot along that is not in use at the moment: whoever reads from it would have
 * lost what came since. So every slot keeps its database, and somebody has to say that it may go.
 */
function reasonOf({ kind, name, active, sql }: Obstacle): StayingLeftover['reasons'][number] {
  const shown = JSON.stringify(name);
  switch (kind) {
    case 'slot':
      return {
        message: `the replication slot ${shown} belongs to it (${active ? '' : 'not '}in use now)`,
        sql,
      };
    case 'subscription':
      return { message: `the subscription ${shown} is in it`, sql };
    case 'prepared_transaction':
      return { message: `the prepared transaction ${shown} is in it`, sql };
    default:
      return { message: 'it is a template', sql };
  }
}

async function reasonsOf(
  admin: Client,
  leftover: Pick<Leftover, 'oid' | 'kind'>,
): Promise<StayingLeftover['reasons']> {
  const obstacles = await readObstacles(admin, leftover.oid);
  // A restore detaches the subscriptions of what it builds: they are nobody's, and go first.
  const isOurs = ({ kind }: Obstacle) => leftover.kind === 'restoring' && kind === 'subscription';
  return obstacles.filter((obstacle) => !isOurs(obstacle)).map(reasonOf);
}

/** What was put aside is all that there is while nothing has its name. */
async function requirePresent(admin: Client, choice: LeftoverChoice): Promise<void> {
  const { database, isExact, before } = choice;
  if (isExact || before.length === 0) return;
  if ((await databaseOid(admin, database)) !== null) return;
  const name = JSON.stringify(database);
  const names = before.map((each) => JSON.stringify(each.name)).join(', ');
  throw new HoldfastError(
    'DATABASE_NOT_FOUND',
    `there is no database ${name}, so its old ones are all that there is of it`,
    {
      hint:
        `--rollback ${name} gives the youngest its name again; ` +
        `to drop one all the same, name it: ${names}.`,
    },
  );
}

const notProven = {
  message: 'no restore that was killed has surely left it: look at it, and drop it yourself',
  sql: [],
};

/** What killed restores have left; what `--keep-going` left for a person is none of it. */
async function provenRestoring(
  admin: Client,
  parameters: ConnectionParameters,
  { database, isExact, restoring }: LeftoverChoice,
): Promise<readonly Leftover[]> {
  if (isExact) return restoring;
  const proven: Leftover[] = [];
  for (const leftover of restoring) {
    const isProven = await isStaleRestore(admin, parameters, database, leftover).catch(() => false);
    if (isProven) proven.push(leftover);
  }
  return proven;
}

async function makePlan(
  context: Context,
  wish: Omit<DropOldRequest, 'confirm'>,
  admin: Client,
  parameters: ConnectionParameters,
): Promise<DropOldPlan> {
  const leftovers = await readLeftovers(admin);
  const choice = chooseLeftovers(leftovers, wish);
  await requirePresent(admin, choice);
  const restoring = await provenRestoring(admin, parameters, choice);
  const { onlyOid } = wish;
  const all = [...choice.before, ...restoring].filter(({ oid }) => oid === (onlyOid ?? oid));
  if (all.length === 0) throw noLeftover(leftovers, choice.database, parameters);
  const now = context.clock();
  const drops: LeftoverFacts[] = [];
  const stays: StayingLeftover[] = [];
  for (const leftover of all) {
    const facts = leftoverFacts(leftover, now);
    const reasons = await reasonsOf(admin, leftover);
    if (reasons.length === 0) drops.push(facts);
    else stays.push({ ...facts, reasons });
  }
  return { server: describeServer(parameters), database: choice.database, drops, stays };
}

/** @returns why it stays; nothing when it is gone */
async function dropOne(
  context: Context,
  plan: DropOldPlan,
  admin: Client,
  parameters: ConnectionParameters,
  facts: LeftoverFacts,
): Promise<StayingLeftover['reasons']> {
  const { name, oid, kind } = facts;
  context.signal.throwIfAborted();
  try {
    const reasons = await reasonsOf(admin, facts);
    if (reasons.length > 0) return reasons;
    if (kind === 'before') {
      const found = await dropDatabaseChecked(admin, name, oid, { force: true });
      return found ? [] : [{ message: 'there is none of that name any more', sql: [] }];
    }
    const isDropped = await dropStaleRestore(admin, parameters, plan.database, { name, oid });
    return isDropped ? [] : [notProven];
  } catch (thrown) {
    const error = toHoldfastError(thrown);
    if (error.code === 'DATABASE_UNREACHABLE' || error.code === 'INTERRUPTED') throw error;
    return [{ message: error.message, sql: [] }];
  }
}

/** Drops what the plan tells, one after the other; what stays is told and stops no other. */
async function dropAll(
  context: Context,
  plan: DropOldPlan,
  admin: Client,
  parameters: ConnectionParameters,
): Promise<DropOldResult> {
  const dropped: LeftoverFacts[] = [];
  const stays = [...plan.stays];
  for (const facts of plan.drops) {
    const reasons = await dropOne(context, plan, admin, parameters, facts);
    if (reasons.length > 0) {
      stays.push({ ...facts, reasons });
      continue;
    }
    dropped.push(facts);
    context.log.step(`dropped ${JSON.stringify(facts.name)}`);
  }
  return { database: plan.database, dropped, stays };
}

/**
 * Plans what is dropped, has it confirmed, and drops it. The restores' lock is held: what a restore
 * builds or swaps now is none of it.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND when there is nothing to drop, DATABASE_NOT_FOUND when the
 *   database itself is not there, LOCKED by a restore, and whatever `confirm` throws
 */
export async function dropOld(context: Context, request: DropOldRequest): Promise<DropOldResult> {
  const { host, pid } = context;
  const startedAt = context.clock();
  const holder = formatLockHolder({ operation: 'drop', startedAt, host, pid });
  const { client: admin, parameters } = await connectBeside(context, request, holder);
  try {
    const plan = await makePlan(context, request, admin, parameters);
    await request.confirm(plan);
    return await withRestoreLock(context, parameters, plan.database, holder, (guarded) =>
      dropAll(guarded, plan, admin, parameters),
    );
  } finally {
    await admin.end();
  }
}

/** What would be dropped, for `--dry-run`. @throws HoldfastError as {@link dropOld} */
export async function planDropOld(context: Context, wish: LeftoverWish): Promise<DropOldPlan> {
  const { client, parameters } = await connectBeside(context, wish, 'holdfast plan');
  try {
    return await makePlan(context, wish, client, parameters);
  } finally {
    await client.end();
  }
}
