/** Lets bytes flow from a source through filters to their end, and tells who failed first. */

import type { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '../core/errors.ts';
import { childFailure, type DataChild, lostItsReader } from '../process/stream.ts';
import { type CarryInput, carry } from './carry.ts';
import { createFanOut, type Sink } from './fan_out.ts';
import type { Filter, FilterContext, Stage } from './filter.ts';
import { type Observer, observe, showTo } from './measure.ts';

/** How many threads, which environment, and what ends it. */
export type FlowContext = FilterContext;

/** Shows the bytes up to their end. */
export type Look = (see: (piece: Buffer) => void, signal: AbortSignal) => Promise<void>;

/** What flows, and past whom. */
export interface FlowInput {
  /**
   * A stream; or the reading end of a pipe, for a first stage that is a program; or `null` where
   * the source's program writes into the first stage by itself.
   */
  readonly source: Readable | number | null;
  /** The program behind the source, if one is: its status is looked at before a sink commits. */
  readonly sourceChild?: DataChild | undefined;
  /** See the bytes before the first stage. */
  readonly before: readonly Observer[];
  readonly stages: readonly Stage[];
  /** See the bytes after the last stage. */
  readonly after: readonly Observer[];
  /** Where the last stage's program writes past this process: looks at the bytes there. */
  readonly look?: Look | null;
  readonly sinks: readonly Sink[];
  readonly signal: AbortSignal;
}

/**
 * What a write fails with whose reader went away. Node destroys the input of a child that has
 * ended: while a write is under way (`ECANCELED`), between two, or before there was a first.
 */
const brokenPipeCodes = new Set([
  'EPIPE',
  'ECONNRESET',
  'ECANCELED',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_UNABLE_TO_PIPE',
]);

function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && brokenPipeCodes.has((error as NodeJS.ErrnoException).code ?? '');
}

/** The first failure, in order; one whose reader went away dies of that, so the reader's counts. */
async function firstFailure(children: readonly DataChild[]): Promise<HoldfastError | null> {
  let victim: HoldfastError | null = null;
  for (const child of children) {
    const exit = await child.exited;
    if (exit.status === 0) continue;
    const failure = childFailure(child, exit);
    if (!lostItsReader(child, exit)) return failure;
    victim ??= failure;
  }
  return victim;
}

/** Resolves when every child has ended with 0; rejects with the first failure that has not. */
async function childrenSucceeded(children: readonly DataChild[]): Promise<void> {
  const failure = await firstFailure(children);
  if (failure !== null) throw failure;
}

/**
 * Why a flow failed, told by who failed first: a leg that broke because the child at its end went
 * away is told by that child's status, not as a broken pipe.
 */
async function failureOf(error: unknown, consumers: readonly DataChild[]): Promise<unknown> {
  return isBrokenPipe(error) ? ((await firstFailure(consumers)) ?? error) : error;
}

/** The child at a stage, and those that the kernel feeds from there on. */
function fedFrom(stages: readonly Stage[], at: number): DataChild[] {
  const children: DataChild[] = [];
  for (const stage of stages.slice(at)) {
    if (stage.kind !== 'child' || (children.length > 0 && stage.isFed !== true)) break;
    children.push(stage.child);
  }
  return children;
}

/**
 * Every child of a flow, the one first whose failure tells why the others failed: a program whose
 * reader went away dies of that, so where the kernel carries its bytes the reader comes first.
 */
function childrenOf({ source, sourceChild, stages }: FlowInput): DataChild[] {
  const filters = stages.flatMap((stage) => (stage.kind === 'child' ? [stage.child] : []));
  if (sourceChild === undefined) return filters;
  return source === null ? [...filters, sourceChild] : [sourceChild, ...filters];
}

/**
 * Lets the bytes flow. When it resolves, every child has ended with 0 and every sink has resolved;
 * when it rejects, every child has ended and no sink has seen the end of its body.
 */
export async function flow(input: FlowInput): Promise<void> {
  const children = childrenOf(input);
  const fanOut = createFanOut(input.sinks, () => childrenSucceeded(children));
  const stop = new AbortController();
  const signal = AbortSignal.any([input.signal, stop.signal]);

  const legs: Promise<void>[] = [];
  const { source, before, look = null } = input;
  let from = typeof source === 'number' ? null : source;
  let through: Transform[] = [];
  if (from !== null) observe(from, before);
  for (const [at, stage] of input.stages.entries()) {
    if (stage.kind === 'stream') {
      through.push(stage.stream);
      continue;
    }
    const { child, isFed } = stage;
    if (isFed === true) {
      from = child.stdout;
      continue;
    }
    const leg =
      from === null
        ? carryFrom(source, { observers: before, to: child.stdin, signal })
        : pipeline([from, ...through, child.stdin], { signal });
    legs.push(
      leg.catch(async (error: unknown) => {
        throw await failureOf(error, fedFrom(input.stages, at));
      }),
    );
    from = child.stdout;
    through = [];
  }
  if (from === null)
    throw new HoldfastError('UNEXPECTED', 'no stage takes what the program prints');
  if (look === null) {
    observe(through.at(-1) ?? from, input.after);
    legs.push(pipeline([from, ...through, fanOut.stream], { signal }));
  } else legs.push(look(showTo(input.after), signal));

  try {
    await Promise.all(legs);
    await (look === null ? fanOut.done : childrenSucceeded(children));
  } catch (error) {
    stop.abort();
    await Promise.allSettled([...legs, ...children.map((child) => child.end()), fanOut.done]);
    if (input.signal.aborted) throw interruption(input.signal);
    throw error;
  }
}

/** The first leg where no stream is its source: out of a pipe, or none that is ours. */
async function carryFrom(
  source: FlowInput['source'],
  rest: Omit<CarryInput, 'pipe'>,
): Promise<void> {
  if (typeof source === 'number') await carry({ pipe: source, ...rest });
}

/** The error of a flow that was stopped from outside: the reason itself where it is one of ours. */
function interruption(signal: AbortSignal): HoldfastError {
  return signal.reason instanceof HoldfastError
    ? signal.reason
    : new HoldfastError('INTERRUPTED', 'the transfer was interrupted', { cause: signal.reason });
}

/**
 * Starts the filters of a way into a store, the last one first: where two programs stand beside
 * each other the kernel carries the bytes from one to the next.
 */
export async function openForward(
  filters: readonly Filter[],
  context: FlowContext,
): Promise<Stage[]> {
  const stages: Stage[] = [];
  try {
    for (const filter of filters.toReversed()) {
      const [next] = stages;
      const reader = next?.kind === 'child' ? next : null;
      const stage = await filter.forward({ ...context, into: reader?.child.stdin });
      if (reader !== null && stage.kind === 'child') stages[0] = { ...reader, isFed: true };
      stages.unshift(stage);
    }
    return stages;
  } catch (error) {
    // Nobody will write into those that run already; nobody could into one that had failed by then.
    const failures: HoldfastError[] = [];
    for (const stage of stages) {
      if (stage.kind !== 'child') continue;
      await stage.child.end();
      const exit = await stage.child.exited;
      if (exit.status !== 0 && exit.status !== null) failures.push(childFailure(stage.child, exit));
    }
    throw error instanceof HoldfastError ? error : (failures[0] ?? error);
  }
}

/**
 * Starts the mirrors of filters, in their order.
 *
 * @param last what the last of them gets beside the context
 */
export async function openBackward(
  filters: readonly Filter[],
  context: FlowContext,
  last: Pick<FlowContext, 'output' | 'into'> = {},
): Promise<Stage[]> {
  const stages: Stage[] = [];
  for (const [index, filter] of filters.entries()) {
    const isLast = index === filters.length - 1;
    stages.push(await filter.backward(isLast ? { ...context, ...last } : context));
  }
  return stages;
}
