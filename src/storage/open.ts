/** The one place that knows which stores there are. */

import { createLocalStorage } from './local.ts';
import type { Storage } from './storage.ts';

/**
 * Opens the store of a repository.
 *
 * @param backupDir the setting of that name: an absolute path
 */
export function openStorage(backupDir: string): Storage {
  return createLocalStorage({ root: backupDir });
}
