/**
 * The WAL that a stopped server has not archived: the last work before a crash. Whoever restores in
 * place of it keeps that WAL (manual, "Recovering Using a Continuous Archive Backup", step 2).
 */

import { copyFile, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openWalArchive } from '../../catalog/wal_archive.ts';
import { parseSegmentName, segmentStart } from '../../core/lsn.ts';
import { parseSegmentHeader, segmentHeaderBytes } from '../../core/wal_header.ts';
import { errorNumber, makeFolders } from '../../process/durable.ts';
import type { RepositoryContext } from '../context.ts';
import type { PitrPlan } from './pitr_plan.ts';

/** Whether a file is the segment that its name says: one that is used again is an older one. */
async function isSegment(path: string, name: string, plan: PitrPlan): Promise<boolean> {
  const expected = parseSegmentName(name, plan.segmentBytes);
  const handle = await open(path);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(segmentHeaderBytes));
    const header = parseSegmentHeader(buffer.subarray(0, bytesRead));
    return (
      expected !== null &&
      header.systemIdentifier === plan.base.manifest.server.system_identifier &&
      header.pageAddress === segmentStart(expected.number, plan.segmentBytes)
    );
  } catch {
    return false;
  } finally {
    await handle.close();
  }
}

/**
 * Names of files in a folder of WAL that are not in the cluster's archive.
 *
 * @throws HoldfastError when the archive cannot be read
 */
export async function unarchivedWal(
  context: RepositoryContext,
  plan: PitrPlan,
  folder: string,
): Promise<string[]> {
  const { segments, histories } = await openWalArchive(
    context.repository.storage,
    plan.cluster,
  ).list();
  const archived = new Set([...segments, ...histories].map(({ name }) => name));
  const found: string[] = [];
  for (const name of await readdir(folder).catch((): string[] => [])) {
    if (archived.has(name)) continue;
    const isHistory = /^[0-9A-F]{8}\.history$/.test(name);
    const isWal = isHistory || /^[0-9A-F]{24}(?:\.partial)?$/.test(name);
    if (!isWal) continue;
    if (isHistory || (await isSegment(join(folder, name), name.slice(0, 24), plan))) {
      found.push(name);
    }
  }
  return found.sort();
}

/** Moves files into a folder, which is made. @throws Node's errors */
export async function moveFiles(
  from: string,
  names: readonly string[],
  into: string,
): Promise<void> {
  if (names.length > 0) await makeFolders(into);
  for (const name of names) {
    const [old, moved] = [join(from, name), join(into, name)];
    try {
      await rename(old, moved);
    } catch (error) {
      if (errorNumber(error) !== 'EXDEV') throw error;
      await copyFile(old, moved);
      await rm(old);
    }
  }
}
