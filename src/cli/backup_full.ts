/** The command scripts/backup_full.ts: which databases, one after the other, and what is said. */

import { type ExitStatus, exitStatus, HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { Tier } from '../core/label.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import { type BackupResult, backupFull } from '../operations/backup_full.ts';
import { type BackupReadiness, checkReadiness } from '../operations/backup_readiness.ts';
import { chooseTargets } from '../operations/backup_targets.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { recordFailure, recordSuccess } from '../operations/record_status.ts';
import type { ResolvedTarget } from '../postgres/connection.ts';
import type { CommandResult, Invocation } from './command.ts';
import { errorDocument } from './error_document.ts';
import { needRepository } from './open_context.ts';

/** What became of one database. */
interface Outcome {
  readonly status: ExitStatus;
  readonly json: object;
}

function describeBackup(result: BackupResult): object {
  const { manifest, folder } = result;
  const { label, cluster, database, tier, started_at, finished_at } = manifest;
  return {
    status: 'ok',
    database,
    cluster,
    label,
    tier,
    folder,
    started_at,
    finished_at,
    duration_seconds: manifest.duration_seconds,
    database_bytes: manifest.database_bytes,
    plain_bytes: totalBytes(manifest, 'plain'),
    stored_bytes: totalBytes(manifest, 'stored'),
    tables: manifest.tables?.length ?? null,
    rows: manifest.tables?.reduce((rows, table) => rows + table.rows, 0) ?? null,
    read_back: manifest.read_back.depth,
    warnings: result.warnings,
  };
}

function tellBackup(context: RepositoryContext, result: BackupResult): void {
  const { manifest } = result;
  const stored = totalBytes(manifest, 'stored');
  const rows = manifest.tables?.reduce((sum, table) => sum + table.rows, 0);
  const counted =
    manifest.tables === null ? 'not counted' : `${manifest.tables.length} tables, ${rows} rows`;
  for (const message of result.warnings) context.log.warn(message);
  context.log.step(
    `backed up ${manifest.database}: ${manifest.label}, ${formatBytes(stored)} of ` +
      `${formatBytes(manifest.database_bytes)}, ${counted}, ` +
      `${formatDuration(manifest.duration_seconds)}`,
    { label: manifest.label, folder: result.folder, bytes: stored },
  );
}

function tellTest(context: RepositoryContext, test: BackupReadiness): void {
  const free = test.free_bytes === null ? '' : `, ${formatBytes(test.free_bytes)} free`;
  for (const message of test.warnings) context.log.warn(message);
  context.log.step(
    `${test.database}: a backup can be taken. ${test.server}, PostgreSQL ${test.server_version}, ` +
      `${formatBytes(test.database_bytes)}, about ${formatBytes(test.estimated_bytes)} to write` +
      `${free}; ${test.pg_dump}`,
  );
}

/** Backs up one database; a failure is told and kept, and the next database has its turn. */
async function backUpOne(
  context: RepositoryContext,
  target: ResolvedTarget,
  options: { readonly tier: Tier; readonly verify: boolean; readonly waitMs: number },
): Promise<Outcome> {
  const startedAt = context.clock();
  context.log.step(`backing up ${target.database}`, { database: target.database });
  try {
    const result = await backupFull(context, { target, ...options });
    tellBackup(context, result);
    await recordSuccess(context, result.manifest);
    return { status: exitStatus.done, json: describeBackup(result) };
  } catch (thrown) {
    const cause: unknown = context.signal.aborted ? context.signal.reason : thrown;
    const error = toHoldfastError(cause, `backup of ${JSON.stringify(target.database)}`);
    await recordFailure(context, target.database, startedAt, error);
    if (context.signal.aborted) throw error;
    context.log.error(error);
    return failed(target, error);
  }
}

function failed(target: ResolvedTarget, error: HoldfastError): Outcome {
  const json = { status: 'failed', database: target.database, ...errorDocument(error) };
  return { status: error.status, json };
}

async function testOne(context: RepositoryContext, target: ResolvedTarget): Promise<Outcome> {
  try {
    const test = await checkReadiness(context, target);
    tellTest(context, test);
    return { status: exitStatus.done, json: { status: 'ok', ...test } };
  } catch (thrown) {
    if (context.signal.aborted) throw context.signal.reason;
    const error = toHoldfastError(thrown, `test of ${JSON.stringify(target.database)}`);
    context.log.error(error);
    return failed(target, error);
  }
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

/** Runs the command. The worst status of all databases is the run's. */
export async function backupFullCommand(invocation: Invocation): Promise<CommandResult> {
  const { flags, operands } = invocation;
  const context = needRepository(invocation.context);
  const waitMs = readWaitMs(flags.wait);
  const targets = await chooseTargets(context, operands, flags.all === true);
  const outcomes: Outcome[] = [];
  for (const target of targets) {
    const options = { tier: flags.type as Tier, verify: flags.verify === true, waitMs };
    outcomes.push(
      flags.test === true
        ? await testOne(context, target)
        : await backUpOne(context, target, options),
    );
  }
  const status = outcomes.reduce<ExitStatus>(
    (worst, outcome) => (outcome.status > worst ? outcome.status : worst),
    exitStatus.done,
  );
  const bad = outcomes.filter((outcome) => outcome.status !== exitStatus.done).length;
  if (outcomes.length > 1) {
    const done = flags.test === true ? 'can be' : 'are';
    context.log.step(`${outcomes.length - bad} of ${outcomes.length} databases ${done} backed up`);
  }
  return { status, json: { exit_status: status, databases: outcomes.map(({ json }) => json) } };
}
