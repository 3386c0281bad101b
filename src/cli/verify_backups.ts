/** The command scripts/verify_backups.ts. */

import type { CatalogEntry } from '../catalog/catalog.ts';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { type VerifyResult, verifyBackup } from '../operations/verify.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { needRepository } from './open_context.ts';

/** The backups that the arguments name. @throws HoldfastError USAGE unless it is one of the ways */
async function chooseEntries(
  context: RepositoryContext,
  operands: readonly string[],
  flags: Flags,
): Promise<readonly CatalogEntry[]> {
  const { catalog } = context;
  const cluster = flags.cluster as string | undefined;
  const latest = flags.latest as string | undefined;
  const ways = [operands.length > 0, latest !== undefined, flags.all === true];
  if (ways.filter(Boolean).length !== 1) {
    throw new HoldfastError('USAGE', 'name labels, or take --latest or --all: one of the three', {
      hint: 'For example: scripts/verify_backups.ts --latest mastertrade.',
    });
  }
  if (flags.all === true) return catalog.listBackups({ cluster });
  if (latest !== undefined) {
    // The youngest of all: one that was found damaged before is verified again.
    const entries = await catalog.listBackups({ database: latest, cluster });
    return [entries.at(-1) ?? (await catalog.latestBackup(latest, { cluster })).entry];
  }
  return Promise.all(operands.map((label) => catalog.findBackup(label, { cluster })));
}

function tell(context: RepositoryContext, result: VerifyResult): void {
  const { entry, findings, bytes, seconds } = result;
  const what = `${entry.label} of ${entry.database}`;
  if (result.ok) {
    context.log.step(`${what}: verified, ${formatBytes(bytes)} in ${formatDuration(seconds)}`);
  } else {
    context.log.warn(`${what} is DAMAGED`);
    for (const { file, check, message } of findings) {
      context.log.warn(`  ${file}: ${check}: ${message}`);
    }
  }
  if (result.notRecorded !== null) {
    context.log.warn(`the result could not be kept: ${result.notRecorded.message}`);
  }
}

function describe(result: VerifyResult): object {
  const { entry, ok, findings, bytes, seconds } = result;
  const { label, cluster, database } = entry;
  return { label, cluster, database, ok, findings, bytes, duration_seconds: seconds };
}

/** Verifies one backup; of all of them, `null` for one that was removed since they were listed. */
async function verifyOne(
  context: RepositoryContext,
  entry: CatalogEntry,
  { all, quick }: Flags,
): Promise<VerifyResult | null> {
  const depth = quick === true ? 'stored' : 'plain';
  const expectedBytes = entry.manifest === null ? null : totalBytes(entry.manifest, 'stored');
  const progress = await context.log.progress(`verifying ${entry.label}`, expectedBytes);
  try {
    return await verifyBackup(context, entry, { depth, onBytes: progress.add });
  } catch (error) {
    const isGone = error instanceof HoldfastError && error.code === 'BACKUP_NOT_FOUND';
    if (!isGone || all !== true) throw error;
    context.log.step(error.message);
    return null;
  } finally {
    progress.end();
  }
}

/** Runs the command. Status 4 when any backup is damaged. */
export async function verifyCommand(invocation: Invocation): Promise<CommandResult> {
  const context = needRepository(invocation.context);
  const { operands, flags } = invocation;
  const entries = await chooseEntries(context, operands, flags);
  const results: VerifyResult[] = [];
  for (const entry of entries) {
    const result = await verifyOne(context, entry, flags);
    if (result === null) continue;
    results.push(result);
    tell(context, result);
  }
  if (results.length === 0) {
    throw new HoldfastError('BACKUP_NOT_FOUND', 'there are no backups to verify', {
      hint: 'Take one: scripts/backup_full.ts.',
    });
  }
  const damaged = results.filter(({ ok }) => !ok).length;
  if (results.length > 1) {
    context.log.step(`${results.length - damaged} of ${results.length} backups are good`);
  }
  const status = damaged > 0 ? exitStatus.verification : exitStatus.done;
  return { status, json: { exit_status: status, backups: results.map(describe) } };
}
