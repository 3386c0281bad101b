/** The command scripts/restore_pitr.ts. */

import { isAbsolute, resolve } from 'node:path';
import type { Store } from '../catalog/stores.ts';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import { shellQuote } from '../core/quote.ts';
import type { RecoveryRequest } from '../core/recovery.ts';
import { parseTarget, parseTargetTimeline } from '../core/recovery_target.ts';
import { formatCount } from '../core/units.ts';
import type { RepositoryContext } from '../operations/context.ts';
import type { PitrQuestion } from '../operations/recovery/pitr_check.ts';
import type { PitrPlan } from '../operations/recovery/pitr_plan.ts';
import type { PitrRequest, PitrResult, PreparedPitr } from '../operations/recovery/pitr_request.ts';
import { recoveryRates } from '../operations/recovery/recovery_rates.ts';
import {
  planFromStores,
  restoreFromStores,
  type StoreView,
} from '../operations/recovery/restore_from_stores.ts';
import { withoutSigners } from '../operations/require_signature.ts';
import { concludeHooks, type HookFacts, type Hooks, withHooks } from '../operations/run_hook.ts';
import { chooseStores, tellStore } from '../operations/store_choice.ts';
import type { TargetAction } from '../postgres/recovery_settings.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { answerFor, confirm } from './confirm.ts';
import { errorDocument } from './error_document.ts';
import { needRepository } from './open_context.ts';
import {
  describePlan,
  describePrepared,
  estimateOf,
  preparedLines,
  tellPlan,
} from './restore_pitr_plan.ts';
import { readStoreChoice } from './store_options.ts';

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

/** At the last `=` that stands alone; `\=` is one in a name, as with pg_basebackup. */
function splitMapping(text: string): readonly [name: string, folder: string] {
  const at = [...text.matchAll(/(?<!\\)=/g)].at(-1)?.index ?? 0;
  const [name, folder] = [text.slice(0, at), text.slice(at + 1)];
  return [name.replaceAll('\\=', '='), folder.replaceAll('\\=', '=')];
}

function mappingOf(flags: Flags, cwd: string): Map<string, string> {
  const mapping = new Map<string, string>();
  for (const text of (flags['tablespace-mapping'] ?? []) as string[]) {
    const [name, folder] = splitMapping(text);
    if (name === '' || folder === '' || mapping.has(name)) {
      throw new HoldfastError(
        'USAGE',
        `--tablespace-mapping ${JSON.stringify(text)} is no NAME=FOLDER`,
        {
          hint: 'Name each tablespace once, with the folder where it goes; = in either is \\=.',
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

/** What the server is asked when it runs. @throws HoldfastError USAGE where it does not start */
function questionOf(flags: Flags): PitrQuestion | null {
  const sql = flags['check-query'] as string | undefined;
  const database = flags['check-database'] as string | undefined;
  if (sql === undefined && database === undefined) return null;
  if (flags.start === true && sql !== undefined) return { sql, database: database ?? 'postgres' };
  throw new HoldfastError('USAGE', '--check-query asks the server that --start starts', {
    hint: "Add --start, and a query that answers true: --check-query 'SELECT count(*) > 0 FROM x'.",
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
    question: questionOf(flags),
    withConfig: flags['with-config'] === true,
    way: flags.delta === true ? 'delta' : flags.force === true ? 'replace' : 'new',
  };
}

/**
 * Tells what becomes of what is there, and asks before a data directory is changed: one that is put
 * aside is not, and `--force` has said so already.
 */
function confirmation({ context, flags, world }: Invocation, clusterOf: () => string) {
  let isAsked = false;
  return async (prepared: PreparedPitr): Promise<void> => {
    const lines = preparedLines(prepared);
    if (prepared.delta === null || flags.force === true || isAsked) {
      for (const line of lines) context.log.step(line);
      return;
    }
    await confirm({
      plan: lines,
      question: `Change ${JSON.stringify(prepared.pgdata)}?`,
      answer: answerFor(context.config.settings.environment, clusterOf()),
      flag: '--force',
      world,
    });
    isAsked = true;
  };
}

/** What has become of it, and what to type next. */
function tellResult({ log }: RepositoryContext, request: PitrRequest, result: PitrResult): void {
  const { socket, report, warnings, aside, check, walFolder } = result;
  for (const warning of warnings) log.warn(`pg_combinebackup warns: ${warning}`);
  if (aside !== null) log.step(`what was there is now ${aside}: remove it when you may`);
  if (report === null) {
    log.step(`restored into ${result.pgdata}: the server replays the WAL when it is started`);
    if (walFolder !== null) {
      log.step(`it reads the WAL in ${walFolder}: remove that when the server is promoted`);
    }
  } else {
    const where = report.lsn === null ? '' : ` at ${report.lsn}`;
    const when = report.time === null ? '' : `, last transaction ${report.time}`;
    log.step(`promoted${where} on timeline ${report.timeline}${when}`);
    const names = formatCount(check?.databases.length ?? 0, 'database');
    const answer = check?.answer == null ? '' : `; the check query answers ${check.answer}`;
    log.step(`checked: ${names} connected to, none in recovery${answer}`);
    const host = shellQuote(socket ?? '');
    log.step(`it runs: psql --host ${host} --port ${request.startPort}`);
    log.step(`it ends with: ${result.pgCtl} --pgdata ${shellQuote(result.pgdata)} stop`);
  }
}

/** What is asked for, and where it may come from. */
interface Wish {
  readonly context: RepositoryContext;
  readonly request: PitrRequest;
  /** The cluster, where one was named. */
  readonly named: string | undefined;
  readonly stores: readonly Store[];
  readonly rates: Awaited<ReturnType<typeof recoveryRates.read>>;
  readonly tell: (plan: PitrPlan, at: StoreView) => void;
}

/** Tells what would be done. */
async function planRun({ context, request, named, stores, rates, tell }: Wish) {
  const planned = await planFromStores(context, stores, request, named, tell);
  const { plan, prepared, store } = planned;
  for (const line of preparedLines(prepared)) context.log.step(line);
  const described = describePlan(plan, request, estimateOf(plan, rates));
  const existing = describePrepared(prepared);
  const told = { ...described, store: store.spec.name, existing };
  return { status: exitStatus.done, json: { exit_status: 0, dry_run: true, plan: told } };
}

/** What hooks are told of a recovery. */
function hookFacts(plan: PitrPlan, { pgdata, report }: PitrResult): HookFacts {
  const { label } = plan.base;
  const point = { lsn: report?.lsn ?? null, time: report?.time ?? null };
  return {
    cluster: plan.cluster,
    label,
    facts: { pgdata, is_promoted: report !== null, ...point },
  };
}

/** Restores between its hooks. */
async function recover(invocation: Invocation, wish: Wish, hooks: Hooks): Promise<CommandResult> {
  const { context, request, named, stores, rates, tell } = wish;
  let before: PreparedPitr | null = null;
  let cluster = '';
  const ask = confirmation(invocation, () => cluster);
  const { plan, result, store } = await restoreFromStores(
    context,
    stores,
    {
      ...request,
      confirm: async (prepared) => {
        before = prepared;
        await ask(prepared);
        await hooks.before({ cluster, facts: { pgdata: request.pgdata } });
      },
    },
    named,
    (each, at) => {
      cluster = each.cluster;
      tell(each, at);
    },
  );
  tellResult(context, request, result);
  const failure = await concludeHooks(context, hooks, hookFacts(plan, result));
  const status = failure?.status ?? exitStatus.done;
  const { socket, report, aside, check } = result;
  const warnings = [...result.warnings, ...hooks.warnings];
  const described = describePlan(plan, request, estimateOf(plan, rates));
  const planned = { ...described, store: store.spec.name, existing: describePrepared(before) };
  const { notes, walFolder } = result;
  const error = failure === null ? {} : errorDocument(failure);
  const json = { exit_status: status, ...error, dry_run: false, plan: planned, socket, report };
  const told = { ...json, warnings, notes, aside, check, wal_folder: walFolder };
  const about = { event: 'recovery', cluster: plan.cluster, database: null, server: null } as const;
  return { status, json: told, outcomes: [{ ...about, error: failure, facts: {} }] };
}

/** Runs the command. */
export async function restorePitrRun(invocation: Invocation): Promise<CommandResult> {
  const { flags, operands } = invocation;
  const opened = needRepository(invocation.context);
  const context = flags.unsigned === true ? withoutSigners(opened) : opened;
  if (operands.length > 0) {
    throw new HoldfastError('USAGE', `unexpected argument ${JSON.stringify(operands[0])}`, {
      hint: 'The folder is named with --pgdata.',
    });
  }
  const request = requestOf(invocation);
  const named = flags.cluster as string | undefined;
  const stores = chooseStores(context.repository, readStoreChoice(flags));
  const rates = await recoveryRates.read(context);
  const tell = (plan: PitrPlan, { store }: StoreView) => {
    tellStore(context, store);
    tellPlan(context, plan, request, estimateOf(plan, rates));
  };
  const wish = { context, request, named, stores, rates, tell };
  if (flags['dry-run'] === true) return planRun(wish);
  const cluster = named ?? null;
  const subject = { event: 'recovery', database: null, cluster, server: null } as const;
  return withHooks(context, subject, (hooks) => recover(invocation, wish, hooks));
}
