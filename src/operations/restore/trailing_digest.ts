/**
 * The digest of an unpacked dump, taken while the dump is being restored already: what was stored
 * is known to be good by then, and nothing of the restore stays before this digest is known too.
 */

import { open } from 'node:fs/promises';
import type { MeasuredBytes } from '../../core/manifest.ts';
import { createMeasure } from '../../pipeline/measure.ts';
import type { ArchivePatch } from '../../postgres/archive_places.ts';
import { readPart } from '../../process/follow_file.ts';
import type { Context } from '../context.ts';

/** A digest that is being taken. */
export interface TrailingDigest {
  /** Of the bytes as they were unpacked. Rejects when they cannot be read, or it was stopped. */
  readonly measured: Promise<MeasuredBytes>;
  /** Reads no further; resolves when nothing is open any more. */
  stop(): Promise<void>;
}

function endOf(patches: readonly ArchivePatch[]): number {
  return patches.reduce((end, { position, bytes }) => Math.max(end, position + bytes.length), 0);
}

/**
 * Writes patches into an unpacked dump and takes the digest of what it was without them: the part
 * that they change is read first, all others after them. When this resolves, the dump can be used.
 *
 * @param path of the unpacked dump; from now on nobody else writes into it
 * @throws Node's errors, the reason of the signal
 */
export async function patchAndDigest(
  path: string,
  patches: readonly ArchivePatch[],
  signal: AbortSignal,
): Promise<TrailingDigest> {
  const measure = createMeasure();
  const see = (piece: Buffer) => measure.update(piece);
  const end = endOf(patches);
  const file = await open(path, 'r+');
  try {
    await readPart(file, { from: 0, to: end }, see, signal);
    for (const { position, bytes } of patches) await file.write(bytes, 0, bytes.length, position);
  } catch (error) {
    await file.close();
    throw error;
  }
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const measured = readPart(file, { from: end, to: Number.POSITIVE_INFINITY }, see, either)
    .finally(() => file.close())
    .then(() => measure.result());
  measured.catch(() => undefined);
  return {
    measured,
    async stop() {
      stopped.abort();
      await measured.catch(() => undefined);
    },
  };
}

/** The context, which also ends when something else fails: with the error that it failed with. */
export function endedBy(context: Context, other: Promise<unknown>): Context {
  const failed = new AbortController();
  other.catch((error: unknown) => failed.abort(error));
  return { ...context, signal: AbortSignal.any([context.signal, failed.signal]) };
}
