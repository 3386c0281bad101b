/** The command scripts/restore_backup.ts: what is restored, where to, and with whose word. */

import { exitStatus, HoldfastError } from '../core/errors.ts';
import type { Tier } from '../core/label.ts';
import { requireDatabaseName } from '../core/names.ts';
import { formatCount, formatDuration } from '../core/units.ts';
import type { BackupSource } from '../operations/backup_source.ts';
import { serverOf } from '../operations/backup_targets.ts';
import type { Context, RepositoryContext } from '../operations/context.ts';
import { withoutSigners } from '../operations/require_signature.ts';
import { planRestore, type RestoreResult, restoreDatabase } from '../operations/restore/restore.ts';
import { withAnyCopy } from '../operations/restore/restore_copies.ts';
import { describePlan, type RestorePlan } from '../operations/restore/restore_plan.ts';
import {
  fileSource,
  isLabel,
  labelSource,
  latestSource,
  type SourceFilter,
} from '../operations/restore/restore_source.ts';
import { verifySource } from '../operations/restore/restore_verify.ts';
import type { RestoreRequest } from '../operations/restore/restore_work.ts';
import { concludeHooks, type Hooks, withHooks } from '../operations/run_hook.ts';
import { chooseStores } from '../operations/store_choice.ts';
import { resolveConnection } from '../postgres/connection.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { answerFor, confirm } from './confirm.ts';
import { errorDocument } from './error_document.ts';
import { listFor, oneDatabase } from './list_backups.ts';
import { hasRepository, needRepository } from './open_context.ts';
import { dropReplaced, leftoverCommand, tellOld } from './restore_leftovers.ts';
import { readStoreChoice } from './store_options.ts';

/** What the arguments name. */
interface Wish {
  readonly latest: string | undefined;
  /** A label or a file. */
  readonly backup: string | undefined;
  readonly database: string | undefined;
  readonly target: string | undefined;
}

function usage(message: string, hint: string): HoldfastError {
  return new HoldfastError('USAGE', message, { hint });
}

function readWish(operands: readonly string[], flags: Flags): Wish {
  const latest = flags.latest as string | undefined;
  const target = flags['target-database'] as string | undefined;
  const [first, second, third] = operands;
  if (latest !== undefined) {
    if (first !== undefined) {
      throw usage(
        `--latest names the backup already, so ${JSON.stringify(first)} is one too many`,
        'To restore under another name write --target-database NAME.',
      );
    }
    return { latest, backup: undefined, database: latest, target };
  }
  if (first === undefined) {
    throw usage(
      'nothing says what to restore',
      'Write --latest DATABASE, or a label or file; --list shows the backups.',
    );
  }
  if (third !== undefined) {
    throw usage(
      `${JSON.stringify(third)} is one argument too many`,
      'Name a backup and a database.',
    );
  }
  return { latest, backup: first, database: second, target };
}

/** The backup with a label, from the stores that the flags name. */
async function labelled(
  context: RepositoryContext,
  label: string,
  named: string | undefined,
  flags: Flags,
  filter: SourceFilter,
): Promise<BackupSource> {
  const stores = chooseStores(context.repository, readStoreChoice(flags));
  return labelSource(context, label, named, filter, stores);
}

/** Finds the backup, and the name that it is restored under. */
async function findSource(
  context: Context,
  wish: Wish,
  flags: Flags,
  named: string | undefined,
  cwd: string,
): Promise<{ readonly source: BackupSource; readonly targetDatabase: string }> {
  const cluster = (flags.cluster as string | undefined) ?? context.config.settings.cluster;
  const filter = { cluster: cluster ?? undefined, tier: flags.type as Tier | undefined };
  if (wish.latest !== undefined && named !== undefined) {
    const repository = needRepository(context);
    const stores = chooseStores(repository.repository, readStoreChoice(flags));
    const { source } = await latestSource(repository, named, filter, stores);
    return { source, targetDatabase: wish.target ?? named };
  }
  const backup = wish.backup ?? '';
  const source = isLabel(backup)
    ? await labelled(needRepository(context), backup, named, flags, filter)
    : await fileSource(backup, cwd, named ?? null, context);
  const targetDatabase = wish.target ?? named ?? source.manifest?.database;
  if (targetDatabase === undefined) {
    throw usage(
      `${backup} does not say which database it is`,
      'Name the database to restore into: scripts/restore_backup.ts FILE DATABASE.',
    );
  }
  return { source, targetDatabase };
}

/** New databases are copied from them, and so would every restore be. */
const templates: readonly string[] = ['template0', 'template1'];

/** @throws HoldfastError USAGE for a name that no restore may take */
function requireTarget(name: string): void {
  requireDatabaseName(name);
  if (!templates.includes(name)) return;
  throw usage(
    `${name} is what PostgreSQL makes new databases from: it cannot be replaced`,
    'Restore under another name: --target-database NAME.',
  );
}

function questionOf({ replaces, in_place }: RestorePlan, name: string): string {
  if (replaces === null) return `Restore as ${name}?`;
  return in_place ? `Drop ${name} and restore in its place?` : `Replace ${name}?`;
}

/** The plan as lines for people, with what comes after the restore. */
function linesOf(plan: RestorePlan, flags: Flags): string[] {
  const lines = describePlan(plan);
  if (flags['drop-old'] !== true || plan.before_name === null) return lines;
  const old = JSON.stringify(plan.before_name);
  return [...lines, `then:    drop ${old}, which leaves nothing to roll back to`];
}

/** Shows the plan and asks; a production system wants the name typed. */
function confirmation({ context, flags, world }: Invocation): RestoreRequest['confirm'] {
  return async (plan: RestorePlan) => {
    const lines = linesOf(plan, flags);
    if (flags.force === true) {
      for (const line of lines) context.log.step(line);
      return;
    }
    const name = JSON.stringify(plan.target_database);
    await confirm({
      plan: lines,
      question: questionOf(plan, name),
      answer: answerFor(context.config.settings.environment, plan.target_database),
      flag: '--force',
      world,
    });
  };
}

function tell(context: Context, result: RestoreResult): void {
  for (const message of result.warnings) context.log.warn(message);
  const tables = formatCount(result.tables ?? 0, 'table');
  const rows = formatCount(result.rows ?? 0, 'row');
  const roles = result.roles_created.length;
  const parts = [
    `restored ${JSON.stringify(result.database)} in ${formatDuration(result.duration_seconds)}`,
    ...(result.tables === null ? [] : [`${tables}, ${rows} compared`]),
    ...(roles === 0 ? [] : [`${formatCount(roles, 'missing role')} created`]),
  ];
  context.log.step(parts.join(', '), { ...result });
  if (result.safety_backup !== null) {
    const { label, command } = result.safety_backup;
    context.log.step(`the old database is in the safety backup ${label}; back with:\n  ${command}`);
  }
}

async function verifyOnly(context: Context, given: BackupSource): Promise<CommandResult> {
  const { source, plainBytes, reading } = await withAnyCopy(given, async (source) => {
    return { source, ...(await verifySource(context, source, { jobs: 1, structure: true })) };
  });
  const json = {
    backup: source.description,
    ok: true,
    plain_bytes: plainBytes,
    tables: reading?.problem === null ? reading.tables.length : null,
  };
  return { status: exitStatus.done, json };
}

/** How the restore is done. @throws HoldfastError USAGE for ways that exclude each other */
function readWay(
  context: Context,
  flags: Flags,
): Pick<RestoreRequest, 'inPlace' | 'keepGoing' | 'repository'> {
  const inPlace = flags['in-place'] === true;
  const keepGoing = flags['keep-going'] === true;
  if (inPlace && keepGoing) {
    throw usage(
      '--in-place drops the old database, and --keep-going swaps in nothing that has errors',
      'Restore with --keep-going under another name: --target-database NAME.',
    );
  }
  return { inPlace, keepGoing, repository: hasRepository(context) ? context : undefined };
}

/** Runs the command. */
export async function restoreCommand(given: Invocation): Promise<CommandResult> {
  const isOpen = given.flags.unsigned === true;
  const invocation = isOpen ? { ...given, context: withoutSigners(given.context) } : given;
  const { context, flags, operands, world } = invocation;
  const aside = await leftoverCommand(invocation);
  if (aside !== null) return aside;
  if (flags.list === true) return listFor(needRepository(context), oneDatabase(operands), flags);
  const wish = readWish(operands, flags);
  const { config } = context;
  const server = await resolveConnection({
    config,
    target: wish.database,
    fallbackDatabase: 'postgres',
  });
  for (const warning of server.warnings) context.log.warn(warning);
  const named = wish.database === undefined ? undefined : server.database;
  const found = await findSource(context, wish, flags, named, world.cwd);
  const chosen = { ...found, server };
  return found.source.hold(() => restoreFrom(invocation, chosen, wish.database));
}

/**
 * Verifies, plans or restores, while no prune removes the backup.
 *
 * @param named the database as it was typed
 */
async function restoreFrom(
  invocation: Invocation,
  chosen: Pick<RestoreRequest, 'source' | 'server' | 'targetDatabase'>,
  named: string | undefined,
): Promise<CommandResult> {
  const { context, flags } = invocation;
  const { config } = context;
  const { source, targetDatabase } = chosen;
  if (flags['verify-only'] === true) return verifyOnly(context, source);
  requireTarget(targetDatabase);
  const compare = flags.compare as RestoreRequest['compare'];
  // psql restores SQL in one session, whatever was asked for.
  const jobs = source.format === 'sql' ? 1 : config.settings.restore_jobs;
  if (jobs < config.settings.restore_jobs) context.log.step('psql restores SQL in one session');
  const request = { ...chosen, ...readWay(context, flags), jobs, compare };
  if (flags['dry-run'] === true) {
    const plan = await planRestore(context, request);
    const text = linesOf(plan, flags).map((line) => `${line}\n`);
    return { status: exitStatus.done, json: { dry_run: true, plan }, text: text.join('') };
  }
  const subject = {
    event: 'restore',
    database: targetDatabase,
    cluster: source.manifest?.cluster ?? null,
    server: serverOf(chosen.server),
  } as const;
  const outcome = await withHooks(context, subject, (hooks) =>
    restoreAndTell(invocation, request, named, hooks),
  );
  const { failure, ...result } = outcome;
  return { ...result, outcomes: [{ ...subject, error: failure, facts: {} }] };
}

/** Restores between its hooks. With one that fails behind it the old database is never dropped. */
async function restoreAndTell(
  invocation: Invocation,
  request: Omit<RestoreRequest, 'confirm'>,
  named: string | undefined,
  hooks: Hooks,
): Promise<CommandResult & { readonly failure: HoldfastError | null }> {
  const { context, flags } = invocation;
  const { description, manifest } = request.source;
  const label = manifest?.label ?? null;
  const ask = confirmation(invocation);
  const result = await restoreDatabase(context, {
    ...request,
    async confirm(plan) {
      await ask(plan);
      await hooks.before({ label, facts: { backup: description } });
    },
  });
  tell(context, result);
  const { before, tables, rows, duration_seconds } = result;
  const facts = { backup: description, before, tables, rows, duration_seconds };
  const failure = await concludeHooks(context, hooks, { label, facts });
  const done = { result, server: request.server, named };
  const drops = flags['drop-old'] === true && failure === null;
  const old_dropped = drops && (await dropReplaced(invocation, done));
  if (!old_dropped) tellOld(invocation, done);
  const status = failure?.status ?? exitStatus.done;
  const error = failure === null ? {} : errorDocument(failure);
  const warnings = [...result.warnings, ...hooks.warnings];
  const json = { exit_status: status, ...error, ...result, warnings, old_dropped };
  return { status, json, failure };
}
