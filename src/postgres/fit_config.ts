/**
 * Makes the configuration of an original fit a restored data directory: what names the original's
 * folders is taken out or led to what was restored (manual, "File Locations", "Managing
 * Configuration File Contents"). Pure: whoever calls it reads and writes the files.
 */

import { dirname, normalize } from 'node:path/posix';
import { type ConfLine, isInherited, readConfLine } from './conf_lines.ts';
import { settingLines } from './setting_lines.ts';

/** A file that a line of the configuration includes. */
export interface IncludedFile {
  /** Where it lay, relative to the folder of the main file. */
  readonly path: string;
  /** Where it lies now, below the data directory; the main file is right in that. */
  readonly place: string;
  readonly text: string;
}

/** The configuration of the original. */
export interface OriginalConfig {
  readonly main: string;
  /** Files that were saved beside the data directory. */
  readonly included: readonly IncludedFile[];
  /** Whether an include that is none of these can be read as it stands. */
  readonly isReadable: (path: string) => boolean;
}

/** The configuration as it is written. */
export interface FittedConfig {
  readonly main: string;
  /** By their places below the data directory. */
  readonly included: ReadonlyMap<string, string>;
  /** What was taken out, as sentences for people. */
  readonly notes: readonly string[];
  /** What it sets, includes and all. */
  readonly settings: ReadonlyMap<string, string>;
}

/** Where the original's files are. */
const places: ReadonlySet<string> = new Set([
  'data_directory',
  'config_file',
  'hba_file',
  'ident_file',
  'external_pid_file',
]);
const includes: ReadonlySet<string> = new Set(['include', 'include_if_exists', 'include_dir']);

/** Whether a path that was written somewhere means one relative to the main file. */
function means(written: string, from: string, path: string): boolean {
  if (!written.startsWith('/')) return normalize(`${dirname(from)}/${written}`) === path;
  // Where the folder of the main file was is not known: the end of the path tells.
  const tail = path.replace(/^(?:\.\.\/)+/, '');
  const end = tail === '.' ? '' : tail;
  return end !== '' && `${normalize(written)}/`.endsWith(`/${end}/`);
}

/** The saved files that a line includes, in the order in which the server reads them. */
function meant(line: ConfLine, from: string, files: readonly IncludedFile[]): IncludedFile[] {
  const value = line.value.replace(/(?<=.)\/+$/, '');
  if (line.name !== 'include_dir') return files.filter(({ path }) => means(value, from, path));
  return files
    .filter(({ path }) => means(value, from, dirname(path)))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

class Fitting {
  readonly notes: string[] = [];
  readonly settings = new Map<string, string>();
  readonly included = new Map<string, string>();
  readonly #config: OriginalConfig;

  constructor(config: OriginalConfig) {
    this.#config = config;
  }

  /** @param from where the text lay, relative to the folder of the main file */
  fit(text: string, from: string, isMain: boolean): string {
    return text
      .split('\n')
      .map((line) => this.#line(line, from, isMain))
      .join('\n');
  }

  #line(line: string, from: string, isMain: boolean): string {
    const read = readConfLine(line);
    if (read === null) return line;
    const { name, value } = read;
    if (includes.has(name)) return this.#include(line, read, from, isMain);
    if (places.has(name) || isInherited(name)) return this.#takeOut(line, `${name} = ${value}`);
    this.settings.set(name, value);
    return line;
  }

  #takeOut(line: string, what: string): string {
    this.notes.push(`${JSON.stringify(what)} was taken out of the configuration`);
    return `# restore_pitr.ts: ${line}`;
  }

  #include(line: string, read: ConfLine, from: string, isMain: boolean): string {
    const found = meant(read, from, this.#config.included);
    if (found.length === 0) {
      if (isMain && this.#config.isReadable(read.value)) return line;
      return this.#takeOut(line, `${read.name} ${read.value}`);
    }
    return found
      .map((file) => {
        if (!this.included.has(file.place)) {
          // Before its own includes: one that leads back to it ends here.
          this.included.set(file.place, '');
          this.included.set(file.place, this.fit(file.text, file.path, false));
        }
        const place = isMain ? file.place : (file.place.split('/').at(-1) ?? file.place);
        return settingLines({ include: place }).replace(' = ', ' ').trimEnd();
      })
      .join('\n');
  }
}

/** Makes a configuration fit. */
export function fitConfig(config: OriginalConfig): FittedConfig {
  const fitting = new Fitting(config);
  const main = fitting.fit(config.main, 'postgresql.conf', true);
  const { included, notes, settings } = fitting;
  for (const { path, place } of config.included) {
    if (!included.has(place)) notes.push(`${JSON.stringify(path)} is included by no file`);
  }
  return { main, included, notes, settings };
}

/** What of a configuration would keep a server from starting here, or would be another's. */
export interface MachineFacts {
  /** Whether this user may read a file; relative to the data directory. */
  readonly isReadable: (path: string) => boolean;
  /** Whether this user may write into a folder; relative to the data directory. */
  readonly isWritable: (path: string) => boolean;
}

const isOn = (value: string | undefined) => /^(?:on|true|yes|t|y|1)$/i.test(value ?? '');

/**
 * Settings that stand in the place of those that this machine has no files or folders for.
 *
 * @returns the settings, and what was changed as sentences for people
 */
export function settingsForMachine(
  settings: ReadonlyMap<string, string>,
  { isReadable, isWritable }: MachineFacts,
): { readonly settings: Record<string, string>; readonly notes: string[] } {
  const changed: Record<string, string> = {};
  const notes: string[] = [];
  const certificates = [
    settings.get('ssl_cert_file') ?? 'server.crt',
    settings.get('ssl_key_file') ?? 'server.key',
    ...['ssl_ca_file', 'ssl_crl_file', 'ssl_crl_dir', 'ssl_dh_params_file'].flatMap(
      (name) => settings.get(name) || [],
    ),
  ];
  const missing = certificates.find((path) => !isReadable(path));
  if (isOn(settings.get('ssl')) && missing !== undefined) {
    changed.ssl = 'off';
    notes.push(`ssl is off: ${JSON.stringify(missing)} cannot be read here`);
  }
  const folders = { log_directory: 'log', stats_temp_directory: 'pg_stat_tmp' } as const;
  for (const [name, fallback] of Object.entries(folders)) {
    const folder = settings.get(name);
    if (folder === undefined || !folder.startsWith('/') || isWritable(folder)) continue;
    changed[name] = fallback;
    notes.push(`${name} is ${fallback}: ${JSON.stringify(folder)} cannot be written here`);
  }
  const sockets = settings.get('unix_socket_directories');
  const closed = sockets
    ?.split(',')
    .find((folder) => !isWritable(folder.trim().replace(/^"|"$/g, '')));
  if (
    sockets !== undefined &&
    sockets.trim() !== '' &&
    closed !== undefined &&
    !closed.trim().startsWith('@')
  ) {
    changed.unix_socket_directories = '/tmp';
    notes.push(`unix_socket_directories is /tmp: ${JSON.stringify(closed)} cannot be written here`);
  }
  return { settings: changed, notes };
}
