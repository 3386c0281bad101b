/** The command scripts/restore_pitr.ts. */

import { isAbsolute, resolve } from 'node:path';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import type { RecoveryRequest } from '../core/recovery.ts';
import { describeTarget, parseTarget, parseTargetTimeline } from '../core/recovery_target.ts';
import { formatBytes, formatCount, formatDuration } from '../core/units.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { type PitrPlan, planPitr } from '../operations/pitr_plan.ts';
import { neededBytes } from '../operations/pitr_room.ts';
import { checkPitr, type PitrRequest } from '../operations/restore_pitr.ts';
import { restoreToTarget } from '../operations/restore_to_target.ts';
import type { TargetAction } from '../postgres/recovery_settings.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { needRepository } from './open_context.ts';

/** A server replays about a segment of 16 MB in this time; it depends on what is in it. */
const replaySecondsPer16Mb = 0.2;

function recoveryOf(flags: Flags): RecoveryRequest {
  const text = (name: string) => flags[name] as string | undefined;
  const target = parseTarget({
    time: text('target-time'),
    lsn: text('target-lsn'),
    xid: text('target-xid'),
    name: text('target-name'),
    immediate: flags['target-immediate'] === true,
  });
  const isExclusive = flags['target-exclusive'] === true;
  if (isExclusive && !['time', 'lsn', 'xid'].includes(target.kind)) {
    throw new HoldfastError('USAGE', '--target-exclusive has nothing to stop before', {
      hint: 'It goes with --target-time, --target-lsn or --target-xid.',
    });
  }
  const timeline = parseTargetTimeline(text('target-timeline') ?? 'latest');
  return { target, isInclusive: !isExclusive, timeline };
}

function mappingOf(flags: Flags, cwd: string): Map<string, string> {
  const mapping = new Map<string, string>();
  for (const text of (flags['tablespace-mapping'] ?? []) as string[]) {
    const at = text.lastIndexOf('=');
    const [name, folder] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
    if (name === '' || folder === '' || mapping.has(name)) {
      throw new HoldfastError(
        'USAGE',
        `--tablespace-mapping ${JSON.stringify(text)} is no NAME=FOLDER`,
        {
          hint: 'Name each tablespace once, with the folder where it goes.',
        },
      );
    }
    mapping.set(name, isAbsolute(folder) ? folder : resolve(cwd, folder));
  }
  return mapping;
}

function portOf(flags: Flags): number | null {
  const port = flags.port as number | undefined;
  if (flags.start !== true) {
    if (port === undefined) return null;
    throw new HoldfastError('USAGE', '--port is for --start', { hint: 'Add --start.' });
  }
  if (port !== undefined && Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new HoldfastError('USAGE', '--start takes a port from 1 to 65535', {
    hint: 'Add --port 5433, for example: one that no other server uses.',
  });
}

function requestOf({ flags, world }: Invocation): PitrRequest {
  const folder = flags.pgdata as string | undefined;
  if (folder === undefined || folder === '') {
    throw new HoldfastError('USAGE', 'it is not said where the cluster goes', {
      hint: 'Add --pgdata FOLDER: a new or empty one.',
    });
  }
  const startPort = portOf(flags);
  const action = flags['target-action'] as TargetAction | undefined;
  if (startPort !== null && action !== undefined && action !== 'promote') {
    throw new HoldfastError('USAGE', `--start waits for the promotion, not for ${action}`, {
      hint: 'Leave --start out, and start the server yourself.',
    });
  }
  return {
    recovery: recoveryOf(flags),
    pgdata: resolve(world.cwd, folder),
    action: action ?? (startPort === null ? 'pause' : 'promote'),
    tablespaces: mappingOf(flags, world.cwd),
    startPort,
    withConfig: flags['with-config'] === true,
  };
}

/** How long it may take: as long as reading the backups back took, and the replay. */
function estimateSeconds({ chain, segments, segmentBytes }: PitrPlan): number {
  const walBytes = segments.length * segmentBytes;
  const reading = chain.reduce((sum, { manifest }) => sum + manifest.read_back.seconds, 0);
  return reading + (walBytes / 16_777_216) * replaySecondsPer16Mb;
}

function tellPlan({ log }: RepositoryContext, plan: PitrPlan, request: PitrRequest): void {
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
  log.step(`  in about ${formatDuration(estimateSeconds(plan))}`);
  for (const line of manifest.damaged_pages) log.warn(`the backup has a damaged page: ${line}`);
}

function describePlan(plan: PitrPlan, request: PitrRequest): object {
  const { base, segments } = plan;
  return {
    cluster: plan.cluster,
    target: describeTarget(request.recovery.target),
    label: base.label,
    timeline: plan.timeline,
    first_segment: segments[0]?.name ?? null,
    last_segment: segments.at(-1)?.name ?? null,
    segments: segments.length,
    cluster_bytes: base.manifest.cluster_bytes,
    chain: plan.chain.map(({ label }) => label),
    needed_bytes: neededBytes(plan),
    passed_over: plan.passedOver,
    estimated_seconds: Math.round(estimateSeconds(plan)),
    pgdata: request.pgdata,
  };
}

/** Runs the command. */
export async function restorePitrRun(invocation: Invocation): Promise<CommandResult> {
  const context = needRepository(invocation.context);
  if (invocation.operands.length > 0) {
    throw new HoldfastError(
      'USAGE',
      `unexpected argument ${JSON.stringify(invocation.operands[0])}`,
      {
        hint: 'The folder is named with --pgdata.',
      },
    );
  }
  const request = requestOf(invocation);
  const cluster = invocation.flags.cluster as string | undefined;
  const status = exitStatus.done;
  if (invocation.flags['dry-run'] === true) {
    const plan = await planPitr(context, request.recovery, cluster);
    tellPlan(context, plan, request);
    await checkPitr(context, plan, request);
    const planned = describePlan(plan, request);
    return { status, json: { exit_status: status, dry_run: true, plan: planned } };
  }
  const { plan, result } = await restoreToTarget(context, request, cluster, (each) =>
    tellPlan(context, each, request),
  );
  const { socket, report, warnings } = result;
  for (const warning of warnings) context.log.warn(`pg_combinebackup warns: ${warning}`);
  if (report === null) {
    context.log.step(
      `restored into ${request.pgdata}: the server replays the WAL when it is started`,
    );
  } else {
    const where = report.lsn === null ? '' : ` at ${report.lsn}`;
    const when = report.time === null ? '' : `, last transaction ${report.time}`;
    context.log.step(`promoted${where} on timeline ${report.timeline}${when}`);
    context.log.step(`it runs: psql --host ${socket} --port ${request.startPort}`);
  }
  const planned = describePlan(plan, request);
  const json = { exit_status: status, dry_run: false, plan: planned, socket, report, warnings };
  return { status, json };
}
