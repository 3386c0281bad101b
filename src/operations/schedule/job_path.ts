/** Where the programs are that scheduled commands call, beside the system's own folders. */

import { dirname } from 'node:path';
import { findProgram } from '../../process/find_program.ts';

/** What scripts/run_job.sh searches by itself. */
const systemFolders = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
];

const programs = [
  'zstd',
  'gzip',
  'age',
  'gpg',
  'pg_dump',
  'pg_basebackup',
  'ssh-keygen',
  'openssl',
  'ionice',
];

/**
 * The folders of the programs as this user finds them that a bare PATH does not have, as PATH has
 * them; `null`: none.
 */
export async function extraPath(
  environment: Readonly<Record<string, string>>,
): Promise<string | null> {
  const folders = new Set<string>();
  for (const program of programs) {
    const found = await findProgram(program, environment);
    if (found !== null && !systemFolders.includes(dirname(found))) folders.add(dirname(found));
  }
  return folders.size === 0 ? null : [...folders].join(':');
}
