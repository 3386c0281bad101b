/** Reads back what was written, from the store itself, before it is committed. */

import type { CopiesWriter } from '../catalog/copies_writer.ts';
import { HoldfastError } from '../core/errors.ts';
import type { Manifest, ManifestFile, MeasuredBytes } from '../core/manifest.ts';
import { readBack } from '../pipeline/read_back.ts';
import type { FolderWriter } from '../storage/storage.ts';
import { type Context, flowContext } from './context.ts';

function requireEqual(name: string, what: string, read: MeasuredBytes, wrote: MeasuredBytes): void {
  if (read.bytes === wrote.bytes && read.sha256 === wrote.sha256) return;
  throw new HoldfastError(
    'DAMAGED',
    `${name} read back from the store differs from what was written: its ${what} bytes`,
    { hint: 'The disk or the network returns wrong bytes: check the hardware, then run it again.' },
  );
}

/** Reads every file back in one store. */
async function readBackIn(
  context: Context,
  folder: FolderWriter,
  files: readonly Omit<ManifestFile, 'role'>[],
  depth: 'stored' | 'plain',
  signal: AbortSignal,
): Promise<void> {
  for (const file of files) {
    if (depth === 'stored') {
      requireEqual(file.name, 'stored', await folder.measure(file.name, signal), file.stored);
      continue;
    }
    const measured = await readBack({
      body: await folder.get(file.name),
      filters: file.filters,
      context: flowContext(context, signal),
    });
    requireEqual(file.name, 'stored', measured.stored, file.stored);
    if (file.plain !== null) requireEqual(file.name, 'plain', measured.plain, file.plain);
  }
}

/**
 * Reads every file back, in each store by itself, and compares its digests with those of the stream
 * that was written. A store in which something differs is left behind, as long as another is left.
 *
 * @param depth `none`: nothing is read; `stored`: the bytes as they lie there; `plain`: also
 *   decompressed to the end
 * @throws HoldfastError DAMAGED when something differs in all of them
 */
export async function readBackFiles(
  context: Context,
  folder: CopiesWriter,
  files: readonly Omit<ManifestFile, 'role'>[],
  depth: Manifest['read_back']['depth'],
  signal: AbortSignal,
): Promise<Manifest['read_back']> {
  if (depth === 'none') return { depth, seconds: 0 };
  const startedSeconds = context.stopwatch();
  const bytes = files.reduce((sum, { stored }) => sum + stored.bytes, 0);
  await folder.each(bytes, signal, (writer, stop) =>
    readBackIn(context, writer, files, depth, stop),
  );
  const seconds = Math.round((context.stopwatch() - startedSeconds) * 1000) / 1000;
  return { depth, seconds };
}
