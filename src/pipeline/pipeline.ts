/**
 * A source, a list of filters, one or more sinks: the one way that data goes, in both directions
 * (src/ARCHITECTURE.md, "One idea").
 */

import { closeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Readable, Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '../core/errors.ts';
import type { FilterSpec, MeasuredBytes } from '../core/manifest.ts';
import { followFile } from '../process/follow_file.ts';
import { makePipe } from '../process/pipe.ts';
import { childFailure, type DataChild, type Outlet } from '../process/stream.ts';
import { type CarryInput, carry, drain } from './carry.ts';
import { filterFor } from './compress.ts';
import { createFanOut, type Sink } from './fan_out.ts';
import type { Filter, FilterContext, Stage } from './filter.ts';
import { createMeasure, type Observer, observe, showTo } from './measure.ts';

/** How many threads, which environment, and what ends it. */
export type FlowContext = FilterContext;

/** Shows the bytes up to their end. */
type Look = (see: (piece: Buffer) => void, signal: AbortSignal) => Promise<void>;

interface FlowInput {
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

const brokenPipeCodes = new Set(['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE']);

function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && brokenPipeCodes.has((error as NodeJS.ErrnoException).code ?? '');
}

/** Resolves when every child has ended with 0; rejects with the first, in order, that has not. */
async function childrenSucceeded(children: readonly DataChild[]): Promise<void> {
  for (const child of children) {
    const exit = await child.exited;
    if (exit.status !== 0) throw childFailure(child, exit);
  }
}

/**
 * Why a flow failed, told by who failed first: a leg that broke because the child at its end went
 * away is told by that child's status, not as a broken pipe.
 */
async function failureOf(error: unknown, consumer: DataChild | undefined): Promise<unknown> {
  if (consumer === undefined || !isBrokenPipe(error)) return error;
  const exit = await consumer.exited;
  return exit.status === 0 ? error : childFailure(consumer, exit);
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
async function flow(input: FlowInput): Promise<void> {
  const children = childrenOf(input);
  const fanOut = createFanOut(input.sinks, () => childrenSucceeded(children));
  const stop = new AbortController();
  const signal = AbortSignal.any([input.signal, stop.signal]);

  const legs: Promise<void>[] = [];
  const { source, before, look = null } = input;
  let from = typeof source === 'number' ? null : source;
  let through: Transform[] = [];
  if (from !== null) observe(from, before);
  for (const stage of input.stages) {
    if (stage.kind === 'stream') {
      through.push(stage.stream);
      continue;
    }
    const { child } = stage;
    const leg =
      from === null
        ? carryFrom(source, { observers: before, to: child.stdin, signal })
        : pipeline([from, ...through, child.stdin], { signal });
    legs.push(
      leg.catch(async (error: unknown) => {
        throw await failureOf(error, child);
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

/** @param last what the last of them gets beside the context */
async function openStages(
  filters: readonly Filter[],
  direction: 'forward' | 'backward',
  context: FlowContext,
  last: Pick<FlowContext, 'output' | 'into'> = {},
): Promise<Stage[]> {
  const stages: Stage[] = [];
  for (const [index, filter] of filters.entries()) {
    const isLast = index === filters.length - 1;
    stages.push(await filter[direction](isLast ? { ...context, ...last } : context));
  }
  return stages;
}

/**
 * Starts the program whose standard output is stored. Where `into` is given it has to be handed on
 * to `startChild`: nobody reads the program's own `stdout` then.
 */
export type StartSource = (into?: Outlet) => DataChild;

export interface StoreInput {
  /**
   * Starts the program whose standard output is stored; or a stream. The program is started when
   * everything else is ready: Node throws away what a child has printed when it ends before
   * somebody reads (`flushStdio` in Node's lib/internal/child_process.js).
   */
  readonly source: StartSource | Readable;
  readonly filters: readonly Filter[];
  /** See the plain bytes. */
  readonly observers: readonly Observer[];
  /**
   * Nobody wants to know the plain bytes: where source and first filter are programs, the kernel
   * carries them from one to the other. No observer sees them then.
   */
  readonly plainUnseen?: boolean;
  /** See the stored bytes. */
  readonly storedObservers?: readonly Observer[];
  readonly sinks: readonly Sink[];
  readonly context: FlowContext;
}

/** Both measurements of one file (src/ARCHITECTURE.md): for anyone, and for the whole chain. */
export interface Measurements {
  readonly stored: MeasuredBytes;
  readonly plain: MeasuredBytes;
}

/** What was measured of a file that was stored. */
export interface StoredMeasurements {
  readonly stored: MeasuredBytes;
  /** `null` where nobody wanted to know, and a filter has changed them. */
  readonly plain: MeasuredBytes | null;
}

/** The program that takes the plain bytes, where the first filter is one. */
function firstChild([first]: readonly Stage[]): DataChild | null {
  return first?.kind === 'child' ? first.child : null;
}

/** Starts a source whose bytes are looked at, with a pipe of its own where it can have one. */
async function startSource(
  start: StartSource,
  stages: readonly Stage[],
  context: FlowContext,
): Promise<Pick<FlowInput, 'source' | 'sourceChild'>> {
  const { temporaryDir } = context;
  const wantsPipe = temporaryDir !== undefined && firstChild(stages) !== null;
  const pipe = wantsPipe ? await makePipe(temporaryDir, context) : null;
  if (pipe === null) {
    const child = start();
    return { source: child.stdout, sourceChild: child };
  }
  try {
    return { source: pipe.read, sourceChild: start(pipe.write) };
  } catch (error) {
    closeSync(pipe.read);
    throw error;
  }
}

/**
 * Sends a source through the filters into the sinks, with the plain bytes unseen.
 */
async function storeUnseen(
  input: StoreInput & { readonly source: StartSource },
): Promise<StoredMeasurements> {
  const { source, context } = input;
  const stages = await openStages(input.filters, 'forward', context);
  const stored = createMeasure();
  const reader = firstChild(stages);
  const begun = reader === null ? source() : source(reader.stdin);
  await flow({
    source: reader === null ? begun.stdout : null,
    sourceChild: begun,
    before: [],
    stages,
    after: [stored, ...(input.storedObservers ?? [])],
    sinks: input.sinks,
    signal: context.signal,
  });
  const measured = stored.result();
  return { stored: measured, plain: stages.length === 0 ? measured : null };
}

/**
 * Sends a source through the filters into the sinks.
 *
 * @throws HoldfastError of the child, the sink or the signal that broke it off; CHILD_FAILED where
 *   a program ended with anything but 0
 */
export async function store(input: StoreInput): Promise<StoredMeasurements> {
  const { source, context } = input;
  if (input.plainUnseen === true && typeof source === 'function') {
    return storeUnseen({ ...input, source });
  }
  const stages = await openStages(input.filters, 'forward', context);
  const plain = createMeasure();
  const stored = createMeasure();
  const begun =
    typeof source === 'function' ? await startSource(source, stages, context) : { source };
  await flow({
    ...begun,
    before: [plain, ...input.observers],
    stages,
    after: [stored, ...(input.storedObservers ?? [])],
    sinks: input.sinks,
    signal: context.signal,
  });
  return { stored: stored.result(), plain: plain.result() };
}

export interface ReadBackInput {
  readonly body: Readable;
  /** As the manifest lists them, in the order in which they were applied. */
  readonly filters: readonly FilterSpec[];
  /** See the plain bytes. */
  readonly observers?: readonly Observer[];
  /** See the stored bytes. */
  readonly storedObservers?: readonly Observer[];
  /** Take the plain bytes, where no file does; without any they are only looked at. */
  readonly sinks?: readonly Sink[];
  /**
   * Takes the plain bytes; open for reading and writing, empty. The program of the last filter
   * writes into it by itself, and what is measured is read from there: that costs half of what
   * carrying every byte through this process does (measured). The caller closes it.
   */
  readonly file?: FileHandle | undefined;
  /**
   * Takes the plain bytes in place of sinks and file: out of a pipe and in buffers that are used
   * again, where that can be made. It ends before its last byte is known to be good.
   */
  readonly to?: Writable | undefined;
  readonly context: FlowContext;
}

/** The stages of a file that is read back, and how its plain bytes are looked at. */
interface Opened {
  readonly stages: readonly Stage[];
  readonly look: Look | null;
}

/**
 * Of a file that is looked at, and taken by `to` where there is one: its plain bytes come out of a
 * pipe where that can be made.
 */
async function openLookedAt(
  filters: readonly Filter[],
  context: FlowContext,
  to: Writable | undefined,
): Promise<Opened> {
  const { temporaryDir } = context;
  const wantsPipe = temporaryDir !== undefined && filters.length > 0;
  const pipe = wantsPipe ? await makePipe(temporaryDir, context) : null;
  if (pipe === null) return { stages: await openStages(filters, 'backward', context), look: null };
  let isTaken = false;
  try {
    const stages = await openStages(filters, 'backward', context, { into: pipe.write });
    const last = stages.at(-1);
    // A stream of this process does not write into a pipe.
    if (last?.kind !== 'child') return { stages, look: null };
    isTaken = true;
    const { read } = pipe;
    const look: Look = (see, signal) =>
      to === undefined
        ? drain({ pipe: read, see, signal })
        : carryTo(to, last.child, { pipe: read, observers: [{ update: see }], signal });
    return { stages, look };
  } finally {
    if (!isTaken) {
      closeSync(pipe.read);
      closeSync(pipe.write);
    }
  }
}

/** Whoever writes files does so in calls of half a megabyte: one for each piece costs a tenth more. */
const piecesAtOnce = 8;

/** What the program that fails says counts more than what its reader makes of the cut end. */
async function carryTo(
  to: Writable,
  child: DataChild,
  input: Omit<CarryInput, 'to'>,
): Promise<void> {
  try {
    await carry({ ...input, to, atOnce: piecesAtOnce });
  } catch (error) {
    if (!to.writableEnded) throw error;
    const exit = await child.exited;
    throw exit.status === 0 ? error : childFailure(child, exit);
  }
}

/** Of a file that is unpacked into another, by the last program itself where there is one. */
async function openUnpacked(
  filters: readonly Filter[],
  context: FlowContext,
  file: FileHandle,
): Promise<Opened> {
  const stages = await openStages(filters, 'backward', context, { output: file });
  const last = stages.at(-1);
  if (last?.kind !== 'child') return { stages, look: null };
  const { exited } = last.child;
  return { stages, look: (see, signal) => followFile(file, exited, see, signal) };
}

async function openReadBack({ filters, context, file, sinks, to }: ReadBackInput): Promise<Opened> {
  const mirrors = filters.map(filterFor).toReversed();
  if (file !== undefined) return openUnpacked(mirrors, context, file);
  if (sinks === undefined || sinks.length === 0) return openLookedAt(mirrors, context, to);
  return { stages: await openStages(mirrors, 'backward', context), look: null };
}

/**
 * Reads a file of a backup through the mirrors of its filters, backwards.
 *
 * @returns both measurements, for the caller to compare with the manifest
 * @throws HoldfastError DAMAGED when a filter cannot make sense of the bytes; what a sink throws
 */
export async function readBack(input: ReadBackInput): Promise<Measurements> {
  const { context, file, to, sinks = [] } = input;
  const { stages, look } = await openReadBack(input);
  const own: Sink[] = [];
  if (look === null && to !== undefined) own.push((body) => pipeline(body, to));
  if (look === null && file !== undefined) {
    own.push((body) => pipeline(body, file.createWriteStream()));
  }
  const plain = createMeasure();
  const stored = createMeasure();
  try {
    await flow({
      source: input.body,
      before: [stored, ...(input.storedObservers ?? [])],
      stages,
      after: [plain, ...(input.observers ?? [])],
      look,
      sinks: [...own, ...sinks],
      signal: context.signal,
    });
  } catch (error) {
    throw damagedIfFilterFailed(error, stages);
  }
  return { stored: stored.result(), plain: plain.result() };
}

/** Bytes that a decompressor rejects are a damaged file, not a failed program. */
function damagedIfFilterFailed(error: unknown, stages: readonly Stage[]): unknown {
  const isZlib = error instanceof Error && /^(Z_|ZSTD_)/.test(String(Reflect.get(error, 'code')));
  const fromChild =
    error instanceof HoldfastError &&
    error.code === 'CHILD_FAILED' &&
    stages.some(
      (stage) => stage.kind === 'child' && error.message.startsWith(stage.child.program),
    ) &&
    !/was ended by/.test(error.message);
  if (!isZlib && !fromChild) return error;
  return new HoldfastError('DAMAGED', `cannot be decompressed: ${(error as Error).message}`, {
    hint: 'This copy is damaged: use another backup, or another copy of this one.',
    cause: error,
  });
}
