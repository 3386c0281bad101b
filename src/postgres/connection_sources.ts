/** What says how to connect: the target, the service file, the settings; and which beats which. */

import { type ConnectionKey, connectionTable } from '../config/connection_settings.ts';
import type { Config } from '../config/load.ts';
import { systemHome } from '../config/os_user.ts';
import type { DatabaseEntry } from '../config/schema.ts';
import type { Setting } from '../config/setting.ts';
import type { Source } from '../config/source.ts';
import { HoldfastError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { looksLikeUrl, parseConnectionUrl } from './connection_url.ts';
import { findService } from './service_file.ts';

/** A parameter's text and where it came from. */
export interface Given {
  readonly text: string;
  readonly from: string;
}
export type GivenMap = ReadonlyMap<string, Given>;

const settingNames = Object.keys(connectionTable) as ConnectionKey[];
/** Settings that say where to look, and are no parameters of a connection. */
const lookUps: readonly string[] = ['service', 'servicefile', 'sysconfdir'];
const serverNames = ['host', 'hostaddr', 'service'];

function fromUrl(url: string, from: string, warnings: string[]): Map<string, Given> {
  const { values, ignored } = parseConnectionUrl(url);
  if (ignored.length > 0) {
    warnings.push(`${from}: ${ignored.join(', ')} means nothing to PostgreSQL and is ignored`);
  }
  for (const name of values.keys()) requireKnown(name, from);
  return new Map([...values].map(([name, text]) => [name, { text, from }]));
}

function requireKnown(name: string, from: string): void {
  const known = settingNames.filter(
    (setting) => !lookUps.includes(setting) || setting === 'service',
  );
  const harmless = ['application_name', 'fallback_application_name', 'client_encoding'];
  if (known.some((setting) => setting === name) || harmless.includes(name)) return;
  throw new HoldfastError('CONFIG_INVALID', `${from}: there is no parameter ${name}`, {
    hint: `The parameters are ${known.join(', ')}.`,
  });
}

function textOf(value: string | number | Secret): string {
  return value instanceof Secret ? value.reveal() : String(value);
}

function fromEntry(entry: DatabaseEntry, key: string, warnings: string[]): Map<string, Given> {
  const from = `databases.${key}`;
  const given =
    entry.url === undefined ? new Map() : fromUrl(entry.url.reveal(), `${from}.url`, warnings);
  for (const name of settingNames) {
    const value = entry[name];
    if (value !== undefined && value !== null) {
      given.set(name, { text: textOf(value), from: `${from}.${name}` });
    }
  }
  return given;
}

/**
 * Flags beat the files, an entry of them too: who says --host means it. What the entry says of its
 * own server, its password among it, then does not go to another one.
 */
function applyFlags(config: Config, given: Map<string, Given>): void {
  for (const name of ['host', 'port', 'user'] as const) {
    const value = config.settings.connection[name];
    const source = config.sources.get(`connection.${name}`);
    if (source?.origin !== 'flag' || value === null) continue;
    const text = textOf(value);
    if (given.get(name)?.text === text) continue;
    if (name === 'host') for (const other of [...serverNames, 'port']) given.delete(other);
    given.delete('password');
    given.set(name, { text, from: source.name });
  }
}

/** What the target itself says; but for a flag it beats everything else. */
export function readTarget(
  config: Config,
  target: string | undefined,
  warnings: string[],
): { readonly given: Map<string, Given>; readonly key: string | null } {
  const { databases } = config.settings;
  if (target === undefined) return { given: new Map(), key: null };
  const entry = Object.hasOwn(databases, target) ? databases[target] : undefined;
  if (entry !== undefined) {
    const given = fromEntry(entry, target, warnings);
    applyFlags(config, given);
    return { given, key: target };
  }
  if (looksLikeUrl(target)) return { given: fromUrl(target, 'the URL', warnings), key: null };
  return { given: new Map([['dbname', { text: target, from: 'the target' }]]), key: null };
}

const originRanks = ['flag', 'environment', '.env', 'holdfast.yaml', 'default'] as const;

/** Whether a setting beats DATABASE_URL: it is from a stronger place, or libpq's own there. */
function beatsUrl(source: Source | undefined, url: Source | undefined): boolean {
  if (source === undefined || url === undefined) return true;
  const difference = originRanks.indexOf(source.origin) - originRanks.indexOf(url.origin);
  return difference < 0 || (difference === 0 && !source.name.startsWith('DB_'));
}

/**
 * The settings under `connection`, with DATABASE_URL put among them. The URL counts only where
 * nothing that beats it names a server: a password never goes to a server it was not written for.
 */
function readSettings(config: Config, target: GivenMap, warnings: string[]): Map<string, Given> {
  const { connection, database_url: url } = config.settings;
  const source = (name: string) => config.sources.get(`connection.${name}`);
  const given = new Map<string, Given>();
  for (const name of settingNames) {
    const value = connection[name];
    if (value !== null) {
      given.set(name, { text: textOf(value), from: source(name)?.name ?? `connection.${name}` });
    }
  }
  if (url === null) return given;
  const urlSource = config.sources.get('database_url');
  const strong = (name: string) => given.has(name) && beatsUrl(source(name), urlSource);
  if (serverNames.some((name) => target.has(name) || strong(name))) return given;
  const values = fromUrl(url.reveal(), urlSource?.name ?? 'database_url', warnings);
  for (const name of [...serverNames, 'port']) if (!strong(name)) given.delete(name);
  for (const [name, value] of values) if (!strong(name)) given.set(name, value);
  return given;
}

/** The folder that `~` stands for in libpq's default files. */
export function homeOf(config: Config): string {
  return config.environment.HOME ?? systemHome();
}

/** Checks what came from a URL or a service file against the schema of the setting. */
function requireAllowed(name: string, { text, from }: Given): void {
  const setting: Setting | undefined = Object.entries(connectionTable).find(
    ([known]) => known === name,
  )?.[1];
  if (setting === undefined) return;
  const { schema } = setting;
  const allowed =
    schema.type === 'integer'
      ? /^-?\d{1,9}$/.test(text)
      : schema.type !== 'string' ||
        ((schema.enum === undefined || schema.enum.includes(text)) &&
          (schema.pattern === undefined || new RegExp(schema.pattern, 'u').test(text)));
  if (allowed && !text.includes('\0')) return;
  const shown = setting.secret === true ? 'the value' : JSON.stringify(text);
  const what =
    schema.type === 'string' && schema.enum !== undefined
      ? `one of ${schema.enum.join(', ')}`
      : (setting.allowed ?? 'a whole number');
  throw new HoldfastError('CONFIG_INVALID', `${from}: ${name} ${shown} is not ${what}`, {
    hint: `Write for example ${name}=${setting.example}.`,
  });
}

/**
 * Every parameter that was given, in libpq's order of strength: target, service, settings.
 *
 * @throws HoldfastError CONFIG_INVALID, CONFIG_UNREADABLE
 */
export async function gather(
  config: Config,
  target: GivenMap,
  key: string | null,
  warnings: string[],
): Promise<GivenMap> {
  const settings = readSettings(config, target, warnings);
  const look = (name: string) => (target.get(name) ?? settings.get(name))?.text ?? null;
  const all = new Map<string, Given>(settings);
  if (key !== null) all.set('dbname', { text: key, from: `databases.${key}` });
  const service = look('service');
  if (service !== null) {
    const found = await findService({
      service,
      servicefile: look('servicefile'),
      sysconfdir: look('sysconfdir'),
      home: homeOf(config),
    });
    for (const [name, text] of found.values) {
      const from = `${found.file} [${service}]`;
      requireKnown(name, from);
      all.set(name, { text, from });
    }
  }
  for (const [name, value] of target) all.set(name, value);
  for (const [name, value] of all) requireAllowed(name, value);
  return all;
}
