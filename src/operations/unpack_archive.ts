/** Unpacks an archive of a base backup into a folder, and proves every byte on the way. */

import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { BaseManifestFile } from '../core/base_manifest.ts';
import { HoldfastError } from '../core/errors.ts';
import { createByteCounter } from '../pipeline/measure.ts';
import { readBack } from '../pipeline/pipeline.ts';
import { childFailure, startChild } from '../process/stream.ts';
import { flowContext, type RepositoryContext } from './context.ts';

/** A sink that unpacks a tar archive. */
async function untar(context: RepositoryContext, body: Readable, folder: string): Promise<void> {
  const { environment, signal } = context;
  const flags = ['--extract', '--no-same-owner', '--preserve-permissions', '--file=-'];
  const child = startChild('tar', [...flags, `--directory=${folder}`], { environment, signal });
  child.stdout.resume();
  try {
    await pipeline(body, child.stdin);
  } catch (error) {
    const exit = await Promise.race([child.exited, child.end().then(() => child.exited)]);
    // A tar that gave up tells more than the pipe that broke.
    throw exit.status !== null && exit.status !== 0 ? childFailure(child, exit) : error;
  }
  const exit = await child.exited;
  if (exit.status !== 0) throw childFailure(child, exit);
}

/**
 * Unpacks one archive and compares every byte with what the manifest says of it.
 *
 * @param from the key of the backup's folder
 * @param folder exists; on a failure some files lie in it
 * @param onBytes told of stored bytes as they pass
 * @throws HoldfastError DAMAGED
 */
export async function unpackArchive(
  context: RepositoryContext,
  from: string,
  file: BaseManifestFile,
  folder: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const key = `${from}/${file.name}`;
  const { stored, plain } = await readBack({
    body: await context.repository.storage.get(key),
    filters: file.filters,
    storedObservers: [createByteCounter(onBytes)],
    sinks: [(body) => untar(context, body, folder)],
    context: flowContext(context),
  });
  if (stored.sha256 === file.stored.sha256 && plain.sha256 === file.plain.sha256) return;
  throw new HoldfastError('DAMAGED', `${key} differs from what its manifest says`, {
    hint: 'Run verify_backups.ts, and restore from another base backup or another copy.',
  });
}
