/**
 * The hooks of the settings: programs of the user around a piece of work. Before it a hook can stop
 * it; after it a hook can fail the run, and what was done stays; on a failure it changes nothing.
 */

import { exitStatus, HoldfastError, toHoldfastError } from '../core/errors.ts';
import { type HookDocument, type HookName, hookVariables } from '../core/hook.ts';
import { formatDuration } from '../core/units.ts';
import type { GroupExit } from '../process/program_group.ts';
import type { Context } from './context.ts';

/** What the work is about, as far as it is known before it begins. */
export type HookSubject = Pick<HookDocument, 'event' | 'database' | 'cluster' | 'server'>;

/** What is known besides when the hook runs. */
export interface HookFacts {
  readonly cluster?: string | null;
  readonly label?: string | null;
  readonly facts?: HookDocument['facts'];
}

/** The hooks around one piece of work. */
export interface Hooks {
  /**
   * To be called before anything is begun; once it was, it does nothing any more.
   *
   * @throws HoldfastError HOOK_FAILED where a hook that fails means that the run does; the reason
   *   of the context's signal
   */
  before(known?: HookFacts): Promise<void>;
  /**
   * To be called when all is done.
   *
   * @returns the error that the run ends with where a hook has failed, or `null`; never throws
   */
  after(known: HookFacts): Promise<HoldfastError | null>;
  /** To be called when the work has failed, also when it was interrupted. Never throws. */
  failed(error: HoldfastError, known?: HookFacts): Promise<void>;
  /** What hooks have failed with where that is worth a warning only; each was told. */
  readonly warnings: readonly string[];
}

/** When the run was interrupted somebody waits for its end: systemd for 90 s. */
const interruptedMs = 30_000;

interface Moment {
  readonly hook: HookName;
  readonly error: HoldfastError | null;
  readonly known: HookFacts;
}

function documentOf(context: Context, subject: HookSubject, moment: Moment): HookDocument {
  const { hook, error, known } = moment;
  const isBefore = hook === 'before_backup' || hook === 'before_restore';
  return {
    format: 1,
    source: 'holdfast',
    hook,
    event: subject.event,
    status: error === null ? (isBefore ? 'starting' : 'succeeded') : 'failed',
    database: subject.database,
    cluster: known.cluster ?? subject.cluster,
    server: subject.server,
    label: known.label ?? null,
    error:
      error === null
        ? null
        : {
            code: error.code,
            message: error.message,
            hint: error.hint ?? null,
            exit_status: error.status,
          },
    repository: context.config.settings.backup_dir,
    host: context.host,
    run_id: context.runId,
    timestamp: context.clock().toISOString(),
    facts: known.facts ?? {},
  };
}

function howItEnded({ status, signal, isLate }: GroupExit, timeoutMs: number): string {
  if (isLate) return `did not end within ${formatDuration(timeoutMs / 1000)}, and was ended`;
  return status === null ? `was ended by ${signal ?? 'nobody'}` : `ended with status ${status}`;
}

/** @throws HoldfastError HOOK_FAILED; what the signal was fired with */
async function execute(
  context: Context,
  path: string,
  document: HookDocument,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<void> {
  const { hook } = document;
  const log = context.log.about(null, { hook });
  const name = `the hook ${hook} (${JSON.stringify(path)})`;
  const [{ hookTrouble }, { runGroup }] = await Promise.all([
    import('./hook_file.ts'),
    import('../process/program_group.ts'),
  ]);
  const trouble = await hookTrouble(path);
  if (trouble?.kind === 'fatal') {
    const text = `${name} cannot run: ${trouble.message}`;
    throw new HoldfastError('HOOK_FAILED', text, { hint: trouble.hint });
  }
  if (trouble !== null) log.warn(`${name}: ${trouble.message}. ${trouble.hint}`);
  log.detail(`running ${name}`);
  let exit: GroupExit;
  try {
    exit = await runGroup(path, {
      environment: { ...context.environment, ...hookVariables(document) },
      input: `${JSON.stringify(document)}\n`,
      timeoutMs,
      signal,
      onLine: (line) => log.detail(`${hook}: ${line}`),
    });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new HoldfastError('HOOK_FAILED', `${name} cannot be started: ${code ?? message}`, {
      hint: 'Its first line has to name a program that is there, such as #!/bin/sh.',
      cause: error,
    });
  }
  if (exit.bytesUntold > 0) log.detail(`${hook}: … and ${exit.bytesUntold} bytes more`);
  if (exit.status === 0 && !exit.isLate) return;
  const words = exit.lastLines.length === 0 ? '' : `: ${exit.lastLines.join('; ')}`;
  throw new HoldfastError('HOOK_FAILED', `${name} ${howItEnded(exit, timeoutMs)}${words}`, {
    hint: 'Mend it, or set HOOK_FAILURE=warn: then a hook that fails is worth a warning only.',
  });
}

/** @throws HoldfastError HOOK_FAILED, the reason of the context's signal */
async function call(context: Context, subject: HookSubject, moment: Moment): Promise<void> {
  const { hooks } = context.config.settings;
  const path = hooks[moment.hook];
  if (path === null) return;
  const isInterrupted = context.signal.aborted;
  const ownMs = hooks.timeout_seconds * 1000;
  // A failure is told also where it is that the run was interrupted.
  const isTold = isInterrupted && moment.hook === 'on_failure';
  const signal = isTold ? new AbortController().signal : context.signal;
  const timeoutMs = isTold ? Math.min(ownMs, interruptedMs) : ownMs;
  await execute(context, path, documentOf(context, subject, moment), signal, timeoutMs);
}

/** The hooks around one piece of work. Without any in the settings nothing happens. */
export function hooksAround(context: Context, subject: HookSubject): Hooks {
  const { failure } = context.config.settings.hooks;
  const kind = subject.event === 'backup' || subject.event === 'incremental' ? 'backup' : 'restore';
  const warnings: string[] = [];
  let hasBegun = false;

  function warn(error: HoldfastError): void {
    warnings.push(error.message);
    context.log.warn(error.message);
  }

  return {
    warnings,
    async before(known = {}) {
      if (hasBegun) return;
      hasBegun = true;
      try {
        await call(context, subject, { hook: `before_${kind}`, error: null, known });
      } catch (thrown) {
        const error = toHoldfastError(thrown);
        if (context.signal.aborted || failure === 'fail') throw error;
        warn(error);
      }
    },
    async after(known) {
      try {
        await call(context, subject, { hook: `after_${kind}`, error: null, known });
        return null;
      } catch (thrown) {
        const error = toHoldfastError(thrown);
        if (context.signal.aborted || failure === 'fail') return error;
        warn(error);
        return null;
      }
    },
    async failed(error, known = {}) {
      try {
        await call(context, subject, { hook: 'on_failure', error, known });
      } catch (thrown) {
        warn(toHoldfastError(thrown));
      }
    },
  };
}

/**
 * Does work that throws when it fails, which the hook of failures is told of then. Of a restore
 * that was never begun, because it was asked for wrongly or nobody agreed to it, no hook hears.
 *
 * @throws what the work throws
 */
export async function withHooks<T>(
  context: Context,
  subject: HookSubject,
  work: (hooks: Hooks) => Promise<T>,
): Promise<T> {
  const hooks = hooksAround(context, subject);
  try {
    return await work(hooks);
  } catch (thrown) {
    const error = toHoldfastError(context.signal.aborted ? context.signal.reason : thrown);
    const isAsked = subject.event === 'restore' || subject.event === 'recovery';
    if (!isAsked || error.status !== exitStatus.usage) await hooks.failed(error);
    throw thrown;
  }
}

/**
 * Calls the hook after work that has succeeded, and tells of one that has failed, which is a
 * failure of the run.
 *
 * @returns as {@link Hooks.after}
 */
export async function concludeHooks(
  context: Context,
  hooks: Hooks,
  known: HookFacts,
): Promise<HoldfastError | null> {
  const failure = await hooks.after(known);
  if (failure === null) return null;
  if (!context.signal.aborted) context.log.error(failure);
  await hooks.failed(failure, known);
  return failure;
}
