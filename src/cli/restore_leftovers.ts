/** `restore_backup.ts --rollback` and `--drop-old`: back to the old database, or rid of it. */

import { exitStatus, HoldfastError, toHoldfastError } from '../core/errors.ts';
import { parseLabel } from '../core/label.ts';
import { parseLeftoverName } from '../core/leftovers.ts';
import { shellQuote } from '../core/quote.ts';
import { redactPasswords } from '../core/secret.ts';
import { formatDuration } from '../core/units.ts';
import {
  type DropOldResult,
  describeDropOld,
  describeStaying,
  dropOld,
  planDropOld,
} from '../operations/restore/drop_old.ts';
import type { LeftoverWish } from '../operations/restore/leftover_choice.ts';
import type { RestoreResult } from '../operations/restore/restore.ts';
import { describeRollback, planRollback, rollBack } from '../operations/restore/rollback.ts';
import { type ResolvedTarget, resolveConnection } from '../postgres/connection.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { answerFor, confirm } from './confirm.ts';

/** The flags that say what to restore: they have no part in this. */
const restoringFlags = [
  'list',
  'latest',
  'type',
  'cluster',
  'verify-only',
  'in-place',
  'keep-going',
] as const;

function usage(message: string, hint: string): HoldfastError {
  return new HoldfastError('USAGE', message, { hint });
}

function requireAlone(flags: Flags, flag: string): void {
  const given = restoringFlags.find((name) => flags[name] !== undefined && flags[name] !== false);
  if (given === undefined) return;
  throw usage(
    `${flag} restores nothing, so --${given} has no part in it`,
    `Write ${flag} and a database, and nothing that says what to restore.`,
  );
}

/**
 * What `--drop-old` is about where it is no part of a restore: the one operand that is no label.
 *
 * @returns `null` for a restore
 */
function droppedDatabase({ flags, operands }: Invocation): string | null {
  if (flags['drop-old'] !== true || flags.latest !== undefined) return null;
  const [named, second] = operands;
  if (named === undefined) {
    throw usage(
      '--drop-old does not say whose old databases are meant',
      'Write --drop-old DATABASE; with a restore, what is restored as well.',
    );
  }
  return second !== undefined || parseLabel(named) !== null ? null : named;
}

async function readWish(invocation: Invocation, named: string): Promise<LeftoverWish> {
  const { context, flags } = invocation;
  const server = await resolveConnection({ config: context.config, target: named });
  for (const warning of server.warnings) context.log.warn(warning);
  return { server, target: flags['target-database'] as string | undefined };
}

interface Asked {
  readonly lines: readonly string[];
  readonly question: string;
  readonly database: string;
}

/** Shows a plan and asks; a production system wants the name typed. */
async function ask({ context, flags, world }: Invocation, asked: Asked): Promise<void> {
  const { lines, question, database } = asked;
  if (flags.force === true) {
    for (const line of lines) context.log.step(line);
    return;
  }
  const answer = answerFor(context.config.settings.environment, database);
  await confirm({ plan: lines, question, answer, flag: '--force', world });
}

const planned = (plan: unknown, lines: readonly string[]): CommandResult => ({
  status: exitStatus.done,
  json: { dry_run: true, plan },
  text: lines.map((line) => `${line}\n`).join(''),
});

/** A word as it is where no shell would take it for anything else. */
function shellWord(text: string): string {
  return /^[\w./:@%+=-]+$/.test(text) ? text : shellQuote(text);
}

/** A flag and its value: in one word where the value would be taken for a flag. */
function flagWord(flag: string, value: string): string {
  return `${flag}${value.startsWith('-') ? '=' : ' '}${shellWord(value)}`;
}

/** The flags that say which server, as they were given. */
function serverFlags(flags: Flags): string[] {
  return ['config', 'env-file', 'host', 'port', 'username'].flatMap((name) => {
    const value = flags[name];
    return typeof value === 'string' ? [flagWord(`--${name}`, value)] : [];
  });
}

/** How the commands of this file are typed for a database that was restored or rolled back. */
function typed(
  { flags }: Invocation,
  flag: string,
  { server, named }: Pick<RestoredTo, 'server' | 'named'>,
  database: string,
): string {
  const isSame = named !== undefined && server.database === database;
  const other = named === undefined || isSame ? [] : [flagWord('--target-database', database)];
  const name = redactPasswords(named ?? database);
  const words = [...other, ...serverFlags(flags)];
  // The database is the value of --rollback, but an operand beside --drop-old.
  const all =
    flag === '--drop-old' && name.startsWith('-')
      ? [flag, ...words, '--', shellWord(name)]
      : [flagWord(flag, name), ...words];
  return ['scripts/restore_backup.ts', ...all].join(' ');
}

async function rollback(invocation: Invocation, named: string): Promise<CommandResult> {
  const { context, flags, operands } = invocation;
  requireAlone(flags, '--rollback');
  if (flags['drop-old'] === true || operands.length > 0) {
    const other = operands.length > 0 ? JSON.stringify(operands[0]) : '--drop-old';
    throw usage(
      `--rollback names the database already, so ${other} is one too many`,
      'Write --rollback DATABASE alone; --drop-old is a run of its own.',
    );
  }
  const wish = await readWish(invocation, named);
  if (flags['dry-run'] === true) {
    const plan = await planRollback(context, wish);
    return planned(plan, describeRollback(plan));
  }
  const result = await rollBack(context, {
    ...wish,
    confirm: (plan) =>
      ask(invocation, {
        lines: describeRollback(plan),
        question: `Roll ${JSON.stringify(plan.database)} back?`,
        database: plan.database,
      }),
  });
  const name = JSON.stringify(result.database);
  const took = formatDuration(result.duration_seconds);
  context.log.step(`${name} is again what was ${JSON.stringify(result.rolled_back_to)} (${took})`, {
    ...result,
  });
  if (result.before !== null) {
    // A leftover that was named has another name by now.
    const wasExact = parseLeftoverName(wish.server.database) !== null;
    const to = { server: wish.server, named: wasExact ? undefined : named };
    context.log.step(
      `what it was until now stays as ${JSON.stringify(result.before)}\n` +
        `  to go back to it:  ${typed(invocation, '--rollback', to, result.database)}`,
    );
  }
  return { status: exitStatus.done, json: { exit_status: exitStatus.done, ...result } };
}

function tellStaying({ context }: Invocation, { stays }: DropOldResult): void {
  for (const line of stays.flatMap(describeStaying)) context.log.warn(line);
}

async function dropAside(invocation: Invocation, named: string): Promise<CommandResult> {
  const { context, flags } = invocation;
  requireAlone(flags, '--drop-old');
  const wish = await readWish(invocation, named);
  if (flags['dry-run'] === true) {
    const plan = await planDropOld(context, wish);
    return planned(plan, describeDropOld(plan));
  }
  const result = await dropOld(context, {
    ...wish,
    confirm: async (plan) => {
      // There is nothing to ask: what stays is told at the end.
      if (plan.drops.length === 0) return;
      await ask(invocation, {
        lines: describeDropOld(plan),
        question: `Drop what restores have left of ${JSON.stringify(plan.database)}?`,
        database: plan.database,
      });
    },
  });
  tellStaying(invocation, result);
  const status = result.stays.length === 0 ? exitStatus.done : exitStatus.failed;
  return { status, json: { exit_status: status, ...result } };
}

/** Carries out `--rollback` and `--drop-old`; `null` where the arguments ask for a restore. */
export async function leftoverCommand(invocation: Invocation): Promise<CommandResult | null> {
  const named = invocation.flags.rollback as string | undefined;
  if (named !== undefined) return rollback(invocation, named);
  const dropped = droppedDatabase(invocation);
  return dropped === null ? null : dropAside(invocation, dropped);
}

/** Where a restore was, for what is said and done after it. */
export interface RestoredTo {
  readonly result: RestoreResult;
  readonly server: ResolvedTarget;
  /** As it was typed; `undefined` where only the backup told the database. */
  readonly named: string | undefined;
}

/** Says where the old database is, and what to type to go back to it or to drop it. */
export function tellOld(invocation: Invocation, done: RestoredTo): void {
  const { before, database } = done.result;
  if (before === null) return;
  const type = (flag: string) => typed(invocation, flag, done, database);
  invocation.context.log.step(
    `the old database stays as ${JSON.stringify(before)}\n` +
      `  to go back to it:  ${type('--rollback')}\n` +
      `  to drop it:        ${type('--drop-old')}`,
  );
}

/**
 * `--drop-old` with a restore: drops the database that was replaced. The restore is done whatever
 * becomes of this, so a failure is a warning.
 *
 * @returns whether it was dropped
 */
export async function dropReplaced(invocation: Invocation, done: RestoredTo): Promise<boolean> {
  const { context } = invocation;
  const { before, before_oid: oid, database } = done.result;
  if (before === null || oid === null) return false;
  try {
    const server = { ...done.server, database: before };
    const result = await dropOld(context, {
      server,
      target: database,
      onlyOid: oid,
      confirm: async () => undefined,
    });
    tellStaying(invocation, result);
    return result.dropped.length > 0;
  } catch (thrown) {
    const { message } = toHoldfastError(thrown);
    context.log.warn(`${JSON.stringify(before)} was not dropped: ${message}`);
    return false;
  }
}
