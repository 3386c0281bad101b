/** The password file's part in a connection: which host it is asked for, and for which database. */

import type { ConnectionParameters } from './connection_parameters.ts';
import { passwordFromFile } from './passfile.ts';

/** libpq is built with one default folder: Debian's and Red Hat's, or PostgreSQL's own. */
export const socketFolders = ['/var/run/postgresql', '/tmp'] as const;

/**
 * The password for a database from the password file, where no stronger place gave one: lines of
 * that file may be for one database only. Other parameters are as they are.
 */
export async function withFilePassword(
  parameters: ConnectionParameters,
): Promise<{ parameters: ConnectionParameters; warning: string | null }> {
  const { host, port, user, dbname, passfile } = parameters;
  const isDefaultSocket = socketFolders.some((folder) => folder === host);
  const found = await passwordFromFile(passfile, {
    hosts: isDefaultSocket ? [host, 'localhost'] : [host],
    port,
    dbname,
    user,
  });
  if (found.password === null) return { parameters, warning: found.warning };
  const passwordFrom = `${passfile} line ${found.line}`;
  return { parameters: { ...parameters, password: found.password, passwordFrom }, warning: null };
}

/**
 * The same server and role, another database. A password from the password file is looked up
 * again; where the file has none for that database the one that was found stays.
 */
export async function withDatabase(
  parameters: ConnectionParameters,
  dbname: string,
): Promise<ConnectionParameters> {
  const changed = { ...parameters, dbname };
  const { passwordFrom, passfile } = parameters;
  const fromFile = passwordFrom === null || passwordFrom.startsWith(`${passfile} line `);
  return fromFile ? (await withFilePassword(changed)).parameters : changed;
}
