/** `--wal` of scripts/verify_backups.ts: whether all that was archived can be replayed. */

import { walClusters } from '../catalog/wal_archive.ts';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import type { RunOutcome } from '../core/run_outcome.ts';
import { formatBytes, formatCount, formatDuration } from '../core/units.ts';
import { verifyWal, type WalVerifyResult } from '../operations/archiving/wal_verify.ts';
import type { RepositoryContext } from '../operations/context.ts';
import type { CommandResult, Flags } from './command.ts';

function tell({ log }: RepositoryContext, result: WalVerifyResult): void {
  const { findings, segments, bytes, seconds, digestsWritten, foreign, sealed } = result;
  const what = `the WAL of ${printable(result.cluster)}`;
  if (result.ok) {
    const read = `${formatCount(segments, 'segment')}, ${formatBytes(bytes)}`;
    log.step(`${what}: verified, ${read} in ${formatDuration(seconds)}`);
  } else {
    log.warn(`${what} is DAMAGED`);
    for (const { file, check, message } of findings) log.warn(`  ${file}: ${check}: ${message}`);
  }
  if (sealed > 0) {
    const count = formatCount(sealed, 'encrypted segment');
    log.step(`${what}: of ${count} only the stored bytes were compared: no key was given`);
  }
  if (digestsWritten > 0) {
    log.step(`${what}: ${formatCount(digestsWritten, 'missing digest')} written`);
  }
  for (const path of foreign) log.warn(`${what}: foreign, left alone: ${printable(path)}`);
}

function describe(result: WalVerifyResult): object {
  const { cluster, ok, findings, segments, bytes, seconds, foreign, sealed } = result;
  const told = { cluster, ok, findings, segments, bytes, duration_seconds: seconds };
  return { ...told, sealed_segments: sealed, foreign };
}

/** What alerts are told of one archive. */
function outcomeOf({ cluster, ok, findings, segments }: WalVerifyResult): RunOutcome {
  const text = `the WAL archive of ${printable(cluster)} is damaged or has gaps`;
  const error = ok
    ? null
    : new HoldfastError('DAMAGED', text, {
        hint: 'scripts/verify_backups.ts --wal tells every file.',
      });
  const facts = { segments, findings: findings.length };
  return { event: 'verify', cluster, database: null, server: null, error, facts };
}

/**
 * Verifies the WAL archives. Status 4 when any is damaged or has a gap.
 *
 * @throws HoldfastError USAGE beside flags that are about backups
 */
export async function verifyWalCommand(
  context: RepositoryContext,
  operands: readonly string[],
  flags: Flags,
): Promise<CommandResult> {
  const other = ['latest', 'all', 'quick'].find((name) => flags[name] !== undefined);
  if (operands.length > 0 || other !== undefined) {
    throw new HoldfastError('USAGE', '--wal takes no label and none of --latest, --all, --quick', {
      hint: 'For one cluster: verify_backups.ts --wal --cluster NAME.',
    });
  }
  const wanted = flags.cluster as string | undefined;
  const clusters = await walClusters(context.repository.storage);
  const results: WalVerifyResult[] = [];
  for (const cluster of clusters.filter((each) => wanted === undefined || wanted === each)) {
    const progress = await context.log.progress(`verifying the WAL of ${printable(cluster)}`, null);
    try {
      const options = { deep: flags.deep === true, onBytes: progress.add };
      results.push(await verifyWal(context, cluster, options));
    } finally {
      progress.end();
    }
  }
  for (const result of results) tell(context, result);
  if (results.length === 0) context.log.step('no WAL archive');
  const status = results.every(({ ok }) => ok) ? exitStatus.done : exitStatus.verification;
  const json = { exit_status: status, archives: results.map(describe) };
  return { status, json, outcomes: results.map(outcomeOf) };
}
