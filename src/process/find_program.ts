import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';

/**
 * Where a program lies on the PATH of an environment, or `null`. Relative entries of PATH are
 * passed over: what runs must not depend on the current folder.
 */
export async function findProgram(
  name: string,
  environment: Readonly<Record<string, string>>,
): Promise<string | null> {
  for (const folder of (environment.PATH ?? '').split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const path = join(folder, name);
    try {
      await access(path, constants.X_OK);
      if ((await stat(path)).isFile()) return path;
    } catch {
      // Not here: the next folder.
    }
  }
  return null;
}
