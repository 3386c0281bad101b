/** The command scripts/backup_full.ts: which databases, how many at once, and what is said. */

import { mapBounded } from '../catalog/map_bounded.ts';
import { exitStatus, HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { Tier } from '../core/label.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { printable } from '../core/printable.ts';
import { worstStatus } from '../core/worst_status.ts';
import { chooseTargets, serverOf, targetNames } from '../operations/backup_targets.ts';
import { missingCopyError } from '../operations/begin_copies.ts';
import { type RepositoryContext, shareContext, withoutUploads } from '../operations/context.ts';
import { type BackupResult, backupFull } from '../operations/full/backup_full.ts';
import { checkReadiness } from '../operations/full/backup_readiness.ts';
import { finishFullCopies } from '../operations/full/finish_full_copies.ts';
import { recordFailure, recordSuccess } from '../operations/record_status.ts';
import { applyRetention } from '../operations/retention/apply_retention.ts';
import { type HookFacts, type Hooks, hooksAround } from '../operations/run_hook.ts';
import type { ResolvedTarget } from '../postgres/connection.ts';
import {
  backedUp,
  notBackedUp,
  type Outcome,
  tellBackup,
  tellSummary,
  tellTest,
  testedWell,
} from './backup_report.ts';
import type { CommandResult, Invocation } from './command.ts';
import { errorDocument } from './error_document.ts';
import { needRepository } from './open_context.ts';

/** How every database of the run is backed up. */
interface Wish {
  readonly tier: Tier;
  readonly verify: boolean;
  readonly withoutDigests: boolean;
  readonly waitMs: number;
  /** Whether older backups go that the retention does not keep. */
  readonly retention: boolean;
}

/** Backs up one database; what happened to it is its outcome, and is never thrown. */
async function backUpOne(
  context: RepositoryContext,
  target: ResolvedTarget,
  wish: Wish,
): Promise<Outcome> {
  const startedAt = context.clock();
  const { database } = target;
  const subject = { event: 'backup', database, cluster: null, server: serverOf(target) } as const;
  const hooks = hooksAround(context, subject);
  context.log.step(`backing up ${printable(database)}`);
  try {
    await hooks.before();
    const result = await backupFull(context, { target, ...wish });
    tellBackup(context.log, result);
    const failure = await failureBehind(context, target, result, hooks);
    const finished = await finishFullCopies(context, target, result);
    // Nothing goes after a run that has failed.
    const applies = wish.retention && failure === null;
    const retention = applies ? await applyRetention(context, result.manifest) : null;
    if (failure !== null) await hooks.failed(failure, hookFacts(result));
    const told = { ...result, warnings: [...result.warnings, ...hooks.warnings] };
    return backedUp(target, told, { failure, finished, retention });
  } catch (thrown) {
    const error = failureOf(context, thrown, `backup of ${JSON.stringify(database)}`);
    await recordFailure(context, target, startedAt, error);
    await hooks.failed(error);
    return notBackedUp(target, error);
  }
}

/** What hooks are told of a backup that is committed. */
function hookFacts({ manifest, folder }: BackupResult): HookFacts {
  const { cluster, label, tier, database_bytes, duration_seconds } = manifest;
  const bytes_stored = totalBytes(manifest, 'stored');
  const facts = { tier, folder, bytes_stored, database_bytes, duration_seconds };
  return { cluster, label, facts };
}

/**
 * Records a backup that is committed.
 *
 * @returns the error that its run ends with all the same: a store lacks it, or the hook has failed
 */
async function failureBehind(
  context: RepositoryContext,
  target: ResolvedTarget,
  result: BackupResult,
  hooks: Hooks,
): Promise<HoldfastError | null> {
  const missing = missingCopyError(result.manifest.label, result.copies);
  await recordSuccess(context, target, result, missing);
  const failed = missing === null ? await hooks.after(hookFacts(result)) : null;
  // Again: before, it was not known, and a hook may run for long.
  if (failed !== null) await recordSuccess(context, target, result, failed);
  const failure = missing ?? failed;
  if (failure !== null && !context.signal.aborted) context.log.error(failure);
  return failure;
}

async function testOne(context: RepositoryContext, target: ResolvedTarget): Promise<Outcome> {
  try {
    const test = await checkReadiness(context, target);
    tellTest(context.log, test);
    return testedWell(test);
  } catch (thrown) {
    const what = `test of ${JSON.stringify(target.database)}`;
    return notBackedUp(target, failureOf(context, thrown, what));
  }
}

/** The error of one database. What a signal broke is told once, at the end of the run. */
function failureOf(context: RepositoryContext, thrown: unknown, what: string): HoldfastError {
  if (context.signal.aborted) return toHoldfastError(context.signal.reason, what);
  const error = toHoldfastError(thrown, what);
  context.log.error(error);
  return error;
}

/** Seconds as `--wait` takes them. */
function readWaitMs(value: unknown): number {
  if (value === undefined) return 0;
  if (typeof value !== 'number' || !(value >= 0) || value > 7 * 86_400) {
    throw new HoldfastError('USAGE', '--wait takes seconds, 0 to 604800', {
      hint: 'For example --wait 3600 to wait for an hour.',
    });
  }
  return value * 1000;
}

/**
 * Runs the command: so many databases at once as the setting says, each with its own outcome. One
 * that fails does not stop the others; a signal ends all of them, and the run waits until the last
 * has cleaned up. The worst status of all databases is the run's.
 */
export async function backupFullCommand(invocation: Invocation): Promise<CommandResult> {
  const { flags, operands } = invocation;
  const opened = needRepository(invocation.context);
  const context = flags['no-upload'] === true ? withoutUploads(opened) : opened;
  const { log, signal } = context;
  const isTest = flags.test === true;
  const wish = {
    tier: flags.type as Tier,
    verify: flags.verify === true,
    withoutDigests: flags['no-table-digests'] === true,
    waitMs: readWaitMs(flags.wait),
    retention: flags['no-retention'] !== true,
  };
  const targets = await chooseTargets(context, operands, flags.all === true);
  const names = targetNames(targets);
  const several = targets.length > 1;
  const parallel = Math.min(context.config.settings.backup_jobs, targets.length);
  const outcomes = await mapBounded([...targets.entries()], parallel, async ([index, target]) => {
    if (signal.aborted) return notBackedUp(target, toHoldfastError(signal.reason));
    const about = log.about(several ? (names[index] ?? null) : null, { database: target.database });
    const own = shareContext(context, about, parallel);
    return isTest ? testOne(own, target) : backUpOne(own, target, wish);
  });
  if (several) tellSummary(log, names, outcomes, isTest);
  const status = worstStatus(outcomes.map((outcome) => outcome.status));
  const json = { exit_status: status, databases: outcomes.map((outcome) => outcome.json) };
  const runs = outcomes.flatMap(({ run }) => run ?? []);
  if (status !== exitStatus.interrupted) return { status, json, outcomes: runs };
  const interruption = toHoldfastError(signal.reason);
  log.error(interruption);
  return { status, json: { ...errorDocument(interruption), ...json }, outcomes: runs };
}
