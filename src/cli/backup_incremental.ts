/** The command scripts/backup_incremental.ts: what was done, and where the recovery point is. */

import { listBaseBackups } from '../catalog/base_catalog.ts';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import { openGaps } from '../core/open_gaps.ts';
import { printable } from '../core/printable.ts';
import type { RunAside, RunOutcome } from '../core/run_outcome.ts';
import { formatBytes, formatCount } from '../core/units.ts';
import { worstStatus } from '../core/worst_status.ts';
import type { GapFacts } from '../operations/archiving/wal_list.ts';
import {
  type IncrementalRequest,
  type IncrementalResult,
  moveForward,
} from '../operations/base/backup_incremental.ts';
import { finishBaseCopies } from '../operations/base/finish_base_copies.ts';
import type { RepositoryContext } from '../operations/context.ts';
import {
  type AppliedClusterRetention,
  applyClusterRetention,
} from '../operations/retention/apply_retention.ts';
import { concludeHooks, type HookFacts, type Hooks, withHooks } from '../operations/run_hook.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { errorDocument } from './error_document.ts';
import { needRepository } from './open_context.ts';

/** What came of the archive and of older backups. */
interface Afterwards {
  /** A store that is needed lacks something, or a hook has failed. */
  readonly failure: HoldfastError | null;
  /** How many gaps lie behind the last base backup. */
  readonly open: number;
  readonly retention: AppliedClusterRetention | null;
}

function gapsError({ cluster }: IncrementalResult, open: number): HoldfastError | null {
  if (open === 0) return null;
  const gaps = formatCount(open, 'gap');
  const text = `${gaps} in the WAL of ${printable(cluster)}: no recovery goes across`;
  return new HoldfastError('DAMAGED', text, {
    hint: 'scripts/backup_incremental.ts --base now begins anew behind it.',
  });
}

/** What alerts are told. */
function outcomeOf(result: IncrementalResult, after: Afterwards): RunOutcome {
  const { cluster, base, segment, newest_recoverable_at } = result;
  const { failure, open, retention } = after;
  const copies = result.stores.filter(({ required, problem }) => !required || problem === null);
  const asides = copies.map(({ store, problem }): RunAside => {
    return { event: 'copy', subject: `${store} (WAL)`, problem: problem?.message ?? null };
  });
  const warnings = retention?.warnings ?? [];
  const problem = warnings.length === 0 ? null : warnings.join('; ');
  const kept: RunAside[] =
    retention === null ? [] : [{ event: 'retention', subject: cluster, problem }];
  return {
    event: 'incremental',
    cluster,
    database: null,
    server: null,
    error: gapsError(result, open) ?? failure,
    facts: {
      segment,
      newest_recoverable_at,
      base_backup: base?.label ?? null,
      bytes_stored: base?.bytes ?? null,
      removed_backups: retention?.removed.length ?? null,
      freed_bytes: retention?.freed_bytes ?? null,
    },
    asides: [...asides, ...kept],
  };
}

/** Runs the command. Status 4 when WAL is missing behind the last base backup. */
export async function incrementalCommand(invocation: Invocation): Promise<CommandResult> {
  const context = needRepository(invocation.context);
  const [word] = invocation.operands;
  if (word !== undefined) {
    throw new HoldfastError('USAGE', `${JSON.stringify(word)} is one argument too many`, {
      hint: 'It is about the whole cluster: name the server with --host and --port, or PGHOST.',
    });
  }
  const { cluster } = context.config.settings;
  const subject = { event: 'incremental', database: null, cluster, server: null } as const;
  return withHooks(context, subject, (hooks) => moveAndTell(context, invocation.flags, hooks));
}

/** What hooks are told. */
function hookFacts({
  cluster,
  base,
  segment,
  newest_recoverable_at,
}: IncrementalResult): HookFacts {
  const facts = { segment, newest_recoverable_at, bytes_stored: base?.bytes ?? null };
  return { cluster, label: base?.label ?? null, facts };
}

function tellBase(context: RepositoryContext, { warnings, base }: IncrementalResult): void {
  for (const message of warnings) context.log.warn(message);
  if (base === null) return;
  const upon = base.parent === null ? '' : `, builds upon ${base.parent}`;
  const size = formatBytes(base.bytes);
  context.log.step(`base backup ${base.label}: ${size}${upon}`, { ...base });
}

/** Tells what is missing, and where the recovery point is. */
function tellPoint(
  context: RepositoryContext,
  result: IncrementalResult,
  open: readonly GapFacts[],
): void {
  for (const gap of result.gaps) {
    const { first_segment: first, last_segment: last, segments } = gap;
    const mend = open.includes(gap)
      ? 'scripts/backup_incremental.ts --base now begins anew behind it'
      : 'a base backup lies behind it';
    context.log.warn(
      `${formatCount(segments, 'segment')} of the WAL missing, ${first} to ${last}: no recovery ` +
        `goes across; ${mend}`,
    );
  }
  const newest = result.newest_recoverable_at;
  context.log.step(
    newest === null
      ? `archived up to ${result.segment}`
      : `everything committed up to ${newest} can be recovered (archived up to ${result.segment})`,
  );
  for (const { store, newest_recoverable_at: at, last_segment: last } of result.stores) {
    if (last === null) continue;
    const point = at === null ? '' : `everything committed up to ${at} can be recovered, `;
    context.log.step(`from the store ${printable(store)}: ${point}WAL up to ${last}`);
  }
}

/** Moves the recovery point forward, between its hooks. */
async function moveAndTell(
  context: RepositoryContext,
  flags: Flags,
  hooks: Hooks,
): Promise<CommandResult> {
  await hooks.before();
  const base = flags.base as IncrementalRequest['base'];
  const { result, missing } = await moveForward(context, { base });
  tellBase(context, result);
  const finished = await finishBaseCopies(context, result);
  const bases = await listBaseBackups(context.repository.storage, { cluster: result.cluster });
  const timeline = Number.parseInt(result.segment.slice(0, 8), 16);
  const open = openGaps(result.gaps, bases, timeline);
  tellPoint(context, result, open);
  if (missing !== null) context.log.error(missing);
  const lacking = gapsError(result, open.length) ?? missing;
  const known = hookFacts(result);
  const failed = lacking === null ? await concludeHooks(context, hooks, known) : null;
  if (lacking !== null) await hooks.failed(lacking, known);
  const failure = missing ?? failed;
  const status = worstStatus([
    open.length > 0 ? exitStatus.verification : exitStatus.done,
    failure?.status ?? exitStatus.done,
  ]);
  // Where WAL is missing nothing goes: an older base backup may be the way around.
  const applies = flags['no-retention'] !== true && status === exitStatus.done;
  const retention = applies ? await applyClusterRetention(context, result.cluster) : null;
  const error = failure === null ? {} : errorDocument(failure);
  return {
    status,
    json: {
      exit_status: status,
      ...error,
      ...result,
      warnings: [...result.warnings, ...hooks.warnings],
      older_copies: finished,
      open_gaps: open,
      retention,
    },
    outcomes: [outcomeOf(result, { failure, open: open.length, retention })],
  };
}
