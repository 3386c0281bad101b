/** The connection service file (PostgreSQL manual, "The Connection Service File"). */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../core/errors.ts';

/** Where PostgreSQL's packages look for the system-wide file: Debian, then Red Hat. */
const systemFolders = ['/etc/postgresql-common', '/etc/sysconfig/pgsql', '/etc'];

export interface ServiceFileInput {
  readonly service: string;
  /** PGSERVICEFILE: has to exist when it is set. */
  readonly servicefile: string | null;
  /** PGSYSCONFDIR. */
  readonly sysconfdir: string | null;
  readonly home: string;
}

/** One section of a service file, by libpq's key words, and the file that has it. */
export interface Service {
  readonly values: ReadonlyMap<string, string>;
  readonly file: string;
}

function refuse(file: string, line: number, fact: string): never {
  throw new HoldfastError('CONFIG_INVALID', `${file} line ${line}: ${fact}`, {
    hint: 'A service is a line [name] and below it lines such as host=db.example.com.',
  });
}

/**
 * One section of a service file, or `null` when it has none of that name. The first value of a
 * name counts. Nothing is trimmed around the `=`, as in libpq.
 *
 * @throws HoldfastError CONFIG_INVALID for a line that is no `name=value`
 */
export function parseService(
  text: string,
  service: string,
  file: string,
): ReadonlyMap<string, string> | null {
  let values: Map<string, string> | null = null;
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) {
      if (values !== null) return values;
      if (line.startsWith(`[${service}]`)) values = new Map();
      continue;
    }
    if (values === null) continue;
    const equals = line.indexOf('=');
    if (/^ldaps?:/.test(line)) refuse(file, index + 1, 'a look-up in LDAP is not supported');
    if (equals === -1) refuse(file, index + 1, 'not of the form name=value');
    const name = line.slice(0, equals);
    if (name === 'service') refuse(file, index + 1, 'a service in a service is not supported');
    if (!values.has(name)) values.set(name, line.slice(equals + 1));
  }
  return values;
}

async function readIfThere(file: string, mustExist: boolean): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !mustExist) return null;
    throw new HoldfastError(
      'CONFIG_UNREADABLE',
      `cannot read the service file: ${(error as Error).message}`,
      { hint: 'Set PGSERVICEFILE to a file that exists.', cause: error },
    );
  }
}

/**
 * Finds a service: in the user's file, then in the system's.
 *
 * @throws HoldfastError CONFIG_INVALID when no file has it, CONFIG_UNREADABLE
 */
export async function findService(input: ServiceFileInput): Promise<Service> {
  const own = input.servicefile ?? join(input.home, '.pg_service.conf');
  const folders = input.sysconfdir === null ? systemFolders : [input.sysconfdir];
  const files = [own, ...folders.map((folder) => join(folder, 'pg_service.conf'))];
  for (const file of files) {
    const text = await readIfThere(file, file === input.servicefile);
    const values = text === null ? null : parseService(text, input.service, file);
    if (values !== null) return { values, file };
  }
  throw new HoldfastError(
    'CONFIG_INVALID',
    `there is no definition of the service ${JSON.stringify(input.service)}`,
    { hint: `It is looked for in ${files.join(', ')}.` },
  );
}
