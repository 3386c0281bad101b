/**
 * What the text of a row depends on beside the row. The digests of a backup's tables can be
 * compared with those of a restored database only if both were taken under the same settings, and
 * the settings of a database are not in force before it has its name again.
 *
 * pg_dump sets DateStyle, IntervalStyle, extra_float_digits, search_path, row_security and
 * synchronize_seqscans itself (`setup_connection` of pg_dump.c). Which others matter was found out
 * by trying every setting that a session may have on a table with every type of PostgreSQL and its
 * extensions: TimeZone, client_encoding, bytea_output, quote_all_identifiers (regclass and its
 * kin), and lc_monetary (money), which is not pinned: see {@link moneyOption}.
 */

import type { ConnectionParameters } from './connection_parameters.ts';
import { pinSearchPath, type Queryable, queryOne } from './query.ts';

/**
 * What every program that writes rows or dates gets in its environment. The style of the dates is
 * for pg_dumpall, which does not pin it: a database's own may swap day and month.
 */
export const copyTextVariables: Readonly<Record<string, string>> = {
  PGDATESTYLE: 'ISO',
  PGTZ: 'UTC',
};

/** One setting as an option of the server process (manual, `options` of "Parameter Key Words"). */
export function sessionOption(name: string, value: string): string {
  return `-c ${name}=${value.replaceAll(/[\s\\]/g, '\\$&')}`;
}

/** Options after others: of two for one setting the last counts. */
export function withOptions(
  parameters: ConnectionParameters,
  more: readonly string[],
): ConnectionParameters {
  const options = [parameters.options, ...more].filter((text) => text !== null).join(' ');
  return { ...parameters, options: options === '' ? null : options };
}

/**
 * The parameters with which a program sees rows as {@link copyTextVariables} and this file say.
 * Options are added only where the database, its role or the server has set something else: there
 * are poolers that refuse options.
 *
 * @param client a session of the same role in the same database
 */
export async function pinCopyText(
  client: Queryable,
  parameters: ConnectionParameters,
): Promise<ConnectionParameters> {
  await pinSearchPath(client);
  const found = await queryOne<{ encoding: string; bytea: string; quoting: string }>(
    client,
    `SELECT current_setting('server_encoding') AS encoding,
            current_setting('bytea_output') AS bytea,
            current_setting('quote_all_identifiers') AS quoting`,
    [],
    { doing: 'reading the settings of the session' },
  );
  const options: string[] = [];
  if (found.bytea !== 'hex') options.push(sessionOption('bytea_output', 'hex'));
  if (found.quoting !== 'off') options.push(sessionOption('quote_all_identifiers', 'off'));
  return { ...withOptions(parameters, options), clientEncoding: found.encoding };
}

/**
 * The option that makes a session read and write money as the database did that was backed up; none
 * where it had no locale for it of its own. Money is written in the locale's way and read back only
 * under the same one (manual, "Monetary Types"), and one locale for every dump would keep it from
 * being restored by hand. Where the server does not know the locale, there is none either.
 *
 * @param settings of the database, as the manifest holds them: `name=value`
 */
export async function moneyOption(
  client: Queryable,
  settings: readonly string[],
): Promise<string | null> {
  const prefix = 'lc_monetary=';
  const value = settings.find((setting) => setting.startsWith(prefix))?.slice(prefix.length);
  if (value === undefined) return null;
  try {
    await client.query("SELECT pg_catalog.set_config('lc_monetary', $1, true)", [value]);
  } catch {
    return null;
  }
  return sessionOption('lc_monetary', value);
}
