/** What scripts/restore_pitr.ts tells before it begins. */

import type { BaseManifest } from '../core/base_manifest.ts';
import { formatRough } from '../core/estimate.ts';
import {
  estimateRecovery,
  type RecoveryEstimate,
  type RecoveryRate,
} from '../core/recovery_estimate.ts';
import { describeTarget } from '../core/recovery_target.ts';
import { formatBytes, formatCount } from '../core/units.ts';
import type { RepositoryContext } from '../operations/context.ts';
import type { PitrPlan } from '../operations/recovery/pitr_plan.ts';
import type { PitrRequest, PreparedPitr } from '../operations/recovery/pitr_request.ts';
import { neededBytes } from '../operations/recovery/pitr_room.ts';

/** What reading it has taken, or where nobody has, writing it. */
function readSecondsOf({ read_back: readBack, duration_seconds: seconds }: BaseManifest): number {
  return readBack.depth === 'none' ? seconds : readBack.seconds;
}

/** How long it will take, by the recoveries that were recorded here. */
export function estimateOf(plan: PitrPlan, rates: readonly RecoveryRate[]): RecoveryEstimate {
  const { base, chain, segments, segmentBytes } = plan;
  return estimateRecovery(rates, {
    writtenBytes: base.manifest.cluster_bytes,
    walBytes: segments.length * segmentBytes,
    readSeconds: chain.reduce((sum, { manifest }) => sum + readSecondsOf(manifest), 0),
  });
}

const totalSeconds = ({ unpackSeconds, replaySeconds }: RecoveryEstimate) =>
  unpackSeconds + replaySeconds;

/** Tells the plan to people. */
export function tellPlan(
  { log }: RepositoryContext,
  plan: PitrPlan,
  request: PitrRequest,
  estimate: RecoveryEstimate,
): void {
  const { base, chain, timeline, segments } = plan;
  const { manifest } = base;
  const [first, last] = [segments[0]?.name, segments.at(-1)?.name];
  log.step(`restores ${plan.cluster} to ${describeTarget(request.recovery.target)}`);
  log.step(`  into ${request.pgdata}, on timeline ${timeline}`);
  log.step(`  from ${base.label}, ${formatBytes(manifest.cluster_bytes)} in files`);
  if (chain.length > 1) {
    log.step(`  put together from ${chain.map(({ label }) => label).join(', ')}`);
    log.step(`  for which ${formatBytes(neededBytes(plan))} have to be free`);
  }
  for (const { label, why } of plan.passedOver) log.warn(`${label} is passed over: ${why}`);
  log.step(
    first === undefined
      ? '  with the WAL that is in the backup'
      : `  with ${formatCount(segments.length, 'segment')} of WAL, ${first} to ${last}`,
  );
  if (plan.isBrought && first !== undefined) {
    log.step('  which are brought here first, whole and decrypted, for the server to read');
  }
  const { recoveries } = estimate;
  const several = recoveries === 1 ? 'as the last one here' : `by the last ${recoveries} here`;
  const by = recoveries === 0 ? 'a guess' : several;
  log.step(`  in ${formatRough(totalSeconds(estimate))} (${by})`);
  for (const line of manifest.damaged_pages) log.warn(`the backup has a damaged page: ${line}`);
}

/** The plan for `--json`. */
export function describePlan(plan: PitrPlan, request: PitrRequest, estimate: RecoveryEstimate) {
  const { base, segments } = plan;
  return {
    cluster: plan.cluster,
    target: describeTarget(request.recovery.target),
    label: base.label,
    timeline: plan.timeline,
    first_segment: segments[0]?.name ?? null,
    last_segment: segments.at(-1)?.name ?? null,
    segments: segments.length,
    wal_is_brought: plan.isBrought && segments.length > 0,
    cluster_bytes: base.manifest.cluster_bytes,
    chain: plan.chain.map(({ label }) => label),
    needed_bytes: neededBytes(plan),
    passed_over: plan.passedOver,
    estimated_seconds: Math.round(totalSeconds(estimate)),
    estimated_by: estimate.recoveries,
    pgdata: request.pgdata,
  };
}

/** What becomes of what is in the folder, as lines for people; none where nothing is. */
export function preparedLines({ pgdata, existing, delta, aside }: PreparedPitr): string[] {
  if (existing === null) return [];
  const place = JSON.stringify(pgdata);
  const { systemIdentifier, state, isUnfinished } = existing;
  const whose = systemIdentifier ?? 'another version';
  const was = isUnfinished
    ? 'a restore that has not ended'
    : `the data directory of ${whose}, ${state ?? 'state unknown'}`;
  if (delta === null) {
    return aside === null
      ? [`  ${place} holds ${was}: removed first`]
      : [`  ${place} holds ${was}: moved to ${JSON.stringify(aside)}, which stays`];
  }
  const { kept, keptBytes, rewritten, rewrittenBytes, removed, removedBytes } = delta;
  const files = (count: number, bytes: number) =>
    `${formatCount(count, 'file')} (${formatBytes(bytes)})`;
  const lines = [
    `  ${place} holds ${was}`,
    `  keeps ${files(kept.size, keptBytes)} that are as in the backup`,
    `  writes ${files(rewritten, rewrittenBytes)} and the WAL`,
    `  removes ${files(removed.length, removedBytes)} that differ or are not in it`,
  ];
  const { unarchived, walAside } = delta;
  if (unarchived.length > 0) {
    const wal = `${formatCount(unarchived.length, 'file')} of WAL that are not archived`;
    lines.push(`  moves ${wal} to ${JSON.stringify(walAside)}`);
  }
  return lines;
}

/** The same for `--json`. */
export function describePrepared(prepared: PreparedPitr | null): object | null {
  if (prepared === null || prepared.existing === null) return null;
  const { existing, delta, aside } = prepared;
  return {
    system_identifier: existing.systemIdentifier,
    state: existing.state,
    unfinished: existing.isUnfinished,
    aside,
    delta:
      delta === null
        ? null
        : {
            kept_files: delta.kept.size,
            kept_bytes: delta.keptBytes,
            written_files: delta.rewritten,
            written_bytes: delta.rewrittenBytes,
            removed_files: delta.removed.length,
            removed_bytes: delta.removedBytes,
            unarchived_wal: delta.unarchived,
            wal_aside: delta.unarchived.length === 0 ? null : delta.walAside,
          },
  };
}
