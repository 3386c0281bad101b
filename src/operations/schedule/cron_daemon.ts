/** Whether a cron runs on this machine, so that a schedule is not installed for nobody. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What cron calls itself on Debian, on others (cronie, dcron, busybox's), and fcron. */
const names = new Set(['cron', 'crond', 'fcron']);

/**
 * Looks at the programs that run.
 *
 * @param folder /proc, or what stands for it in tests
 * @returns `null` where the system does not tell, as on macOS
 */
export async function isCronRunning(folder = '/proc'): Promise<boolean | null> {
  const entries = await readdir(folder).catch(() => null);
  if (entries === null) return null;
  for (const entry of entries) {
    if (!/^\d+$/.test(entry)) continue;
    const name = await readFile(join(folder, entry, 'comm'), 'utf8').catch(() => '');
    if (names.has(name.trim())) return true;
  }
  return false;
}
