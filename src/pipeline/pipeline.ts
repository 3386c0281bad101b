/**
 * A source, a list of filters, one or more sinks: the one way that data goes into a store
 * (src/ARCHITECTURE.md, "One idea"). The way back is read_back.ts.
 */

import { closeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { MeasuredBytes } from '../core/manifest.ts';
import { makePipe } from '../process/pipe.ts';
import type { DataChild, Outlet } from '../process/stream.ts';
import type { Sink } from './fan_out.ts';
import type { Filter, Stage } from './filter.ts';
import { type FlowContext, type FlowInput, flow, openForward } from './flow.ts';
import { createMeasure, type Observer } from './measure.ts';

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
  const stages = await openForward(input.filters, context);
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
  const stages = await openForward(input.filters, context);
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
