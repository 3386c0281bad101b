/** The stored form of a WAL segment: compressed, and encrypted where that is set. */

import type { Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { HoldfastError } from '../../core/errors.ts';
import { findProgram } from '../../process/find_program.ts';
import { childFailure, type DataChild, startChild } from '../../process/stream.ts';
import { type Context, flowContext } from '../context.ts';
import type { WalEncryption } from './wal_encryption.ts';

/** A segment, and what becomes of it. */
export interface CompressInput {
  readonly context: Context;
  /** The segment, from where the handle stands. */
  readonly input: FileHandle;
  readonly bytes: bigint;
  readonly encryption: WalEncryption | null;
  /** Sees the stored bytes. */
  readonly stored: Hash | null;
  readonly signal: AbortSignal;
  /** Rejects where what has come must not be stored. */
  readonly beforeEnd: () => Promise<void>;
}

/** By the environment that it was looked for in: where zstd lies. */
const foundZstd = new WeakMap<object, string>();

/** @throws HoldfastError PROGRAM_MISSING */
async function findZstd(environment: Context['environment']): Promise<string> {
  const zstd = foundZstd.get(environment) ?? (await findProgram('zstd', environment));
  if (zstd === null) {
    throw new HoldfastError('PROGRAM_MISSING', 'zstd is not installed: WAL is compressed by it', {
      hint: 'Install it, on Debian: apt-get install zstd.',
    });
  }
  foundZstd.set(environment, zstd);
  return zstd;
}

async function startEncryption({ context, encryption, signal }: CompressInput) {
  if (encryption === null) return null;
  const stage = await encryption.filter.forward(flowContext(context, signal));
  if (stage.kind === 'child') return stage.child;
  throw new HoldfastError('UNEXPECTED', 'WAL is encrypted by a program');
}

/**
 * The stored form of a segment; it ends only when all that has to be true before the commit is.
 * The programs start when it is first read from: Node throws away what a child prints and nobody
 * has begun to read when it ends.
 *
 * @throws HoldfastError PROGRAM_MISSING, CHILD_FAILED; what `beforeEnd` throws
 */
export async function* compressSegment(input: CompressInput): AsyncGenerator<Buffer> {
  const { context, bytes, stored, signal } = input;
  const { environment } = context;
  const zstd = await findZstd(environment);
  const level = context.config.settings.wal_compression_level;
  const args = [
    '--compress',
    `-${level}`,
    '--single-thread',
    `--stream-size=${bytes}`,
    '--quiet',
    '--stdout',
  ];
  const encryptor = await startEncryption(input);
  const children: DataChild[] = encryptor === null ? [] : [encryptor];
  try {
    const into = encryptor === null ? {} : { into: encryptor.stdin };
    const compressor = startChild(zstd, args, { environment, signal, input: input.input, ...into });
    children.unshift(compressor);
    for await (const piece of (encryptor ?? compressor).stdout as AsyncIterable<Buffer>) {
      stored?.update(piece);
      yield piece;
    }
    for (const child of children) {
      const exit = await child.exited;
      if (exit.status !== 0) throw childFailure(child, exit);
    }
    await input.beforeEnd();
  } finally {
    await Promise.all(children.map((child) => child.end()));
  }
}
