/** The folder that the programs start in which a command calls. */

import { accessSync, constants } from 'node:fs';

/**
 * The current folder, or `/` where this user may not enter it or it is gone: `sudo -u postgres`
 * typed in root's home folder. There no program could be started, and PostgreSQL's own ones look
 * for their siblings from it.
 */
export function childFolder(): string {
  try {
    const folder = process.cwd();
    accessSync(folder, constants.X_OK);
    return folder;
  } catch {
    return '/';
  }
}
