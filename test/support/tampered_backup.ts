/** Backups with other bytes in them, for tests of what a restore makes of them. */

import { createReadStream } from 'node:fs';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Manifest } from '../../src/core/manifest.ts';
import { serializeManifest } from '../../src/core/manifest_codec.ts';
import { sumsOf } from '../../src/core/sums.ts';
import { readBack } from '../../src/pipeline/read_back.ts';
import { testEnvironment } from './cluster.ts';
import type { TakenBackup } from './workbench.ts';

/**
 * A copy of a backup whose dump is another one, digests and manifest all correct.
 *
 * @param change of the stored bytes of the dump
 * @returns the folder
 */
export async function tamperedBackup(
  backup: TakenBackup,
  folder: string,
  change: (stored: Buffer) => Buffer,
  more: Partial<Manifest> = {},
): Promise<string> {
  await rm(folder, { recursive: true, force: true });
  await cp(backup.folder, folder, { recursive: true });
  const dump = backup.manifest.files.find(({ role }) => role === 'dump');
  if (dump === undefined) throw new Error('a backup without a dump');
  const path = join(folder, dump.name);
  await writeFile(path, change(await readFile(path)));
  const signal = new AbortController().signal;
  const { stored, plain } = await readBack({
    body: createReadStream(path),
    filters: dump.filters,
    context: { environment: testEnvironment, threads: 1, signal },
  });
  const files = backup.manifest.files.map((file) =>
    file === dump ? { ...file, stored, plain } : file,
  );
  await writeManifest(folder, { ...backup.manifest, ...more, files });
  return folder;
}

/** A manifest in the place of another one, with the list of digests that goes with it. */
async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const bytes = serializeManifest(manifest);
  await writeFile(join(folder, 'manifest.json'), bytes);
  await writeFile(join(folder, 'SHA256SUMS'), sumsOf(manifest, bytes));
}

/**
 * A copy of a backup whose manifest tells another digest of the plain bytes of its dump: all that
 * is stored agrees, and only what comes out of the decompressor does not.
 *
 * @returns the folder
 */
export async function misdigestedBackup(backup: TakenBackup, folder: string): Promise<string> {
  await rm(folder, { recursive: true, force: true });
  await cp(backup.folder, folder, { recursive: true });
  const files = backup.manifest.files.map((file) =>
    file.role === 'dump' && file.plain !== null
      ? { ...file, plain: { ...file.plain, sha256: '0'.repeat(64) } }
      : file,
  );
  await writeManifest(folder, { ...backup.manifest, files });
  return folder;
}
