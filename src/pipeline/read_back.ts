/** A file of a backup through the mirrors of its filters, backwards. */

import { closeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '../core/errors.ts';
import type { FilterSpec, MeasuredBytes } from '../core/manifest.ts';
import { followFile } from '../process/follow_file.ts';
import { makePipe } from '../process/pipe.ts';
import { childFailure, type DataChild } from '../process/stream.ts';
import { type CarryInput, carry, drain } from './carry.ts';
import type { Sink } from './fan_out.ts';
import type { Filter, Stage } from './filter.ts';
import { filterFor } from './filter_for.ts';
import { type FlowContext, flow, type Look, openBackward } from './flow.ts';
import { createMeasure, type Observer } from './measure.ts';

/** Both measurements of one file (src/ARCHITECTURE.md): for anyone, and for the whole chain. */
export interface Measurements {
  readonly stored: MeasuredBytes;
  readonly plain: MeasuredBytes;
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
  if (pipe === null) return { stages: await openBackward(filters, context), look: null };
  let isTaken = false;
  try {
    const stages = await openBackward(filters, context, { into: pipe.write });
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

/** Whoever writes files does so half a megabyte at a time: single pieces cost a tenth more. */
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
  const stages = await openBackward(filters, context, { output: file });
  const last = stages.at(-1);
  if (last?.kind !== 'child') return { stages, look: null };
  const { exited } = last.child;
  return { stages, look: (see, signal) => followFile(file, exited, see, signal) };
}

async function openReadBack({ filters, context, file, sinks, to }: ReadBackInput): Promise<Opened> {
  const mirrors = filters.map(filterFor).toReversed();
  if (file !== undefined) return openUnpacked(mirrors, context, file);
  if (sinks === undefined || sinks.length === 0) return openLookedAt(mirrors, context, to);
  return { stages: await openBackward(mirrors, context), look: null };
}

/**
 * Reads a file of a backup through the mirrors of its filters, backwards.
 *
 * @returns both measurements, for the caller to compare with the manifest
 * @throws HoldfastError DAMAGED when a filter cannot make sense of the bytes; what a sink throws
 */
export async function readBack(input: ReadBackInput): Promise<Measurements> {
  const plain = createMeasure();
  const observers = [plain, ...(input.observers ?? [])];
  const stored = await readBackStored({ ...input, observers });
  return { stored, plain: plain.result() };
}

/**
 * Like {@link readBack}, for who takes the digest of the plain bytes by himself or wants none.
 *
 * @returns the measurement of the stored bytes
 */
export async function readBackStored(input: ReadBackInput): Promise<MeasuredBytes> {
  const { context, file, to, sinks = [] } = input;
  const { stages, look } = await openReadBack(input).catch((error: unknown) => {
    input.body.destroy();
    throw error;
  });
  const own: Sink[] = [];
  if (look === null && to !== undefined) own.push((body) => pipeline(body, to));
  if (look === null && file !== undefined) {
    own.push((body) => pipeline(body, file.createWriteStream()));
  }
  const stored = createMeasure();
  try {
    await flow({
      source: input.body,
      before: [stored, ...(input.storedObservers ?? [])],
      stages,
      after: input.observers ?? [],
      look,
      sinks: [...own, ...sinks],
      signal: context.signal,
    });
  } catch (error) {
    if (context.signal.aborted) throw error;
    throw (await explainedByFilter(stages)) ?? damagedIfFilterFailed(error, stages);
  }
  return stored.result();
}

/** What the first program that failed by itself means, where its filter can tell. */
async function explainedByFilter(stages: readonly Stage[]): Promise<HoldfastError | null> {
  for (const stage of stages) {
    if (stage.kind !== 'child' || stage.explain === undefined) continue;
    const { status } = await stage.child.exited;
    if (status === null || status === 0) continue;
    const explained = stage.explain(stage.child.stderrTail());
    if (explained !== null) return explained;
  }
  return null;
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
