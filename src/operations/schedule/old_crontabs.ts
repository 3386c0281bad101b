/** Crontabs as they were before they were changed, in the state of the repository. */

import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CrontabText } from '../../core/crontab.ts';
import { makeFolders, replaceFile } from '../../process/durable.ts';
import type { RepositoryContext } from '../context.ts';
import type { CrontabPlace } from './crontab_place.ts';

/** How many are kept of each. */
const keptMax = 10;

/**
 * Keeps a crontab beside.
 *
 * @returns where
 * @throws Node's errors
 */
export async function keepCrontab(
  { repository, clock }: RepositoryContext,
  { name }: CrontabPlace,
  text: CrontabText,
): Promise<string> {
  const folder = join(repository.stateDir, 'crontab');
  await makeFolders(folder);
  const prefix = `${name}-`;
  const stamp = clock().toISOString().replaceAll(/[-:.]/g, '');
  const file = join(folder, `${prefix}${stamp}`);
  await replaceFile(file, Buffer.from(text, 'latin1'));
  const older = (await readdir(folder)).filter((each) => each.startsWith(prefix)).toSorted();
  for (const each of older.slice(0, -keptMax)) await rm(join(folder, each), { force: true });
  return file;
}
