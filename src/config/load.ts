/** Reads the configuration. The only file of the project that reads `process.env`. */

import { readFile, stat } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { HoldfastError } from '../core/errors.ts';
import { harmlessVariables, unsupportedVariables } from './connection_settings.ts';
import { parseEnvFile } from './env_file.ts';
import { nearest } from './nearest.ts';
import { systemHome } from './os_user.ts';
import {
  allSettings,
  compressionLevels,
  databaseEntryTable,
  generalTable,
  type Settings,
  storeEntryTable,
} from './schema.ts';
import type { Setting } from './setting.ts';
import type { Origin, Source } from './source.ts';
import { storesOf } from './stores.ts';
import { type RawValue, refuseValue, ValueReader } from './values.ts';
import { parseYamlFile, type YamlEntry } from './yaml_file.ts';

/** The configuration of one run, whole and checked. */
export interface Config {
  readonly settings: Settings;
  /** By the setting's path (`compression`, `connection.host`, `databases.trading.port`). */
  readonly sources: ReadonlyMap<string, Source>;
  /** What the user should mend; the caller shows them. */
  readonly warnings: readonly string[];
  /** The base of a child's environment: PATH, HOME, LANG, TZ …, no secret and no PG variable. */
  readonly environment: Readonly<Record<string, string>>;
  readonly projectDir: string;
}

export interface LoadInput {
  /** Values of flags by their long name without dashes; `undefined` is a flag not given. */
  readonly flags: Readonly<Record<string, string | number | boolean | undefined>>;
  /** `--env-file`: must exist. Without it `.env` beside package.json, where there is one. */
  readonly envFile?: string | undefined;
  /** `--config`: must exist. Without it holdfast.yaml beside package.json, where there is one. */
  readonly configFile?: string | undefined;
  /** Neither the environment nor a file sets anything: only flags and defaults count. */
  readonly flagsOnly?: boolean;
  readonly cwd: string;
  readonly projectDir: string;
  /** For tests; without it the environment of this process. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** What children and the terminal's output need; everything else stays out, secrets first. */
const passedOn =
  /^(?:PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_[A-Z]+|TZ|TZDIR|TMPDIR|TERM|COLUMNS|NO_COLOR|FORCE_COLOR|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|KRB5[A-Z_]*|SSH_AUTH_SOCK|XDG_(?:CACHE_HOME|CONFIG_HOME|DATA_HOME|STATE_HOME|RUNTIME_DIR)|STATE_DIRECTORY|DBUS_SESSION_BUS_ADDRESS|SSL_CERT_(?:FILE|DIR)|GPG_TTY|OPENSSL_CONF)$/;

/** The values of one origin by the setting's path. */
type Layer = ReadonlyMap<string, RawValue>;

/** A file's text, or `null` where there is none and none was asked for. */
async function readText(file: string, mustExist: boolean): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' && !mustExist) return null;
    const fact = code === 'ENOENT' ? 'there is no such file' : (error as Error).message;
    throw new HoldfastError('CONFIG_UNREADABLE', `cannot read ${file}: ${fact}`, {
      hint: 'Name a file that exists and that this user may read.',
      cause: error,
    });
  }
}

async function openToOthers(file: string): Promise<boolean> {
  return ((await stat(file)).mode & 0o006) !== 0;
}

/** The canonical variable of a setting beats its aliases. */
function variableLayer(lookUp: (name: string) => RawValue | undefined): Map<string, RawValue> {
  const layer = new Map<string, RawValue>();
  for (const [path, setting] of allSettings()) {
    for (const name of setting.env) {
      const value = lookUp(name);
      if (value === undefined || value.raw === '') continue;
      layer.set(path, value);
      break;
    }
  }
  return layer;
}

function warnUnsupported(name: string, value: string | undefined, warnings: string[]): void {
  if (value === undefined || value === '') return;
  if (unsupportedVariables.some((unsupported) => unsupported === name)) {
    warnings.push(`${name} is not supported and has no effect`);
  }
}

function flagLayer(input: LoadInput): Layer {
  const layer = new Map<string, RawValue>();
  for (const [path, setting] of allSettings()) {
    const raw = setting.flag === undefined ? undefined : input.flags[setting.flag];
    if (raw === undefined) continue;
    const source = { origin: 'flag', name: `--${setting.flag}` } as const;
    layer.set(path, { raw, source, baseDir: input.cwd });
  }
  return layer;
}

function environmentLayer(
  environment: Readonly<Record<string, string | undefined>>,
  cwd: string,
): Layer {
  return variableLayer((name) => {
    const raw = environment[name];
    if (raw === undefined) return undefined;
    return { raw, source: { origin: 'environment', name }, baseDir: cwd };
  });
}

function envFileLayer(text: string, file: string, warnings: string[]): Layer {
  const known = allSettings().flatMap(([, setting]) => setting.env);
  const others: readonly string[] = [...harmlessVariables, ...unsupportedVariables];
  const entries = new Map<string, RawValue>();
  for (const { name, value, line } of parseEnvFile(text, file)) {
    if (!known.includes(name) && !others.includes(name)) {
      const meant = nearest(name, known);
      throw new HoldfastError(
        'CONFIG_UNKNOWN_KEY',
        `${file} line ${line}: there is no setting ${name}`,
        {
          hint:
            meant === null
              ? 'docs/reference/settings.md lists every setting.'
              : `Did you mean ${meant}?`,
        },
      );
    }
    warnUnsupported(name, value, warnings);
    const source = { origin: '.env', name, file, line } as const;
    entries.set(name, { raw: value, source, baseDir: dirname(file) });
  }
  return variableLayer((name) => entries.get(name));
}

interface YamlLayer {
  readonly layer: Layer;
  readonly databases: readonly YamlEntry[];
  readonly stores: readonly YamlEntry[];
}

async function yamlLayer(text: string, file: string): Promise<YamlLayer> {
  const { values, databases, stores } = await parseYamlFile(text, file);
  const layer = new Map<string, RawValue>();
  for (const { path, raw, line } of values) {
    if (raw !== null) layer.set(path, yamlValue(path, raw, line, file));
  }
  return { layer, databases, stores };
}

function yamlValue(path: string, raw: unknown, line: number | undefined, file: string): RawValue {
  const source: Source = {
    origin: 'holdfast.yaml',
    name: path,
    file,
    ...(line === undefined ? {} : { line }),
  };
  return { raw, source, baseDir: dirname(file) };
}

/** Databases or stores with settings of their own, which are checked like all others. */
async function readEntries<Entry>(
  entries: readonly YamlEntry[],
  table: Readonly<Record<string, Setting>>,
  file: string,
  reader: ValueReader,
  sources: Map<string, Source>,
): Promise<Readonly<Record<string, Entry>>> {
  const read: [string, Entry][] = [];
  for (const { key, values } of entries) {
    const entry: Record<string, unknown> = {};
    for (const [name, { path, raw, line }] of values) {
      const setting = table[name];
      if (raw === null || setting === undefined) continue;
      const value = yamlValue(path, raw, line, file);
      entry[name] = await reader.read(setting, value);
      sources.set(path, value.source);
    }
    read.push([key, entry as Entry]);
  }
  return Object.fromEntries(read);
}

/** Whether any secret stands in a file: a password, or a URL that holds one. */
function holdsSecret(layer: Layer, entries: readonly YamlEntry[]): boolean {
  const isSecret = (name: string, raw: unknown) =>
    /(?:password|secret_access_key|token|webhook_url)$/.test(name) ||
    (name.endsWith('url') && /:[^/@]+@|password=/.test(String(raw)));
  return (
    [...layer].some(([path, { raw }]) => isSecret(path, raw)) ||
    entries.some(({ values }) => [...values].some(([name, { raw }]) => isSecret(name, raw)))
  );
}

/** The warning about a file with a password in it that others can read. */
export function secretFileWarning(file: string): string {
  return `${file} holds a password and other users can read it: run chmod 600 on it`;
}

/** Strongest first. */
const origins: readonly Origin[] = ['flag', 'environment', '.env', 'holdfast.yaml', 'default'];

/**
 * A level has to be one of the compression's. Without compression one has no meaning: who wrote
 * both in one place, or the level in the stronger one, meant something else.
 */
function checkLevel(
  settings: Settings,
  level: RawValue | undefined,
  compression: RawValue | undefined,
): void {
  const { min, max } = compressionLevels[settings.compression];
  if (settings.compression === 'none' && level !== undefined && settings.compression_level > 0) {
    const chosen = compression?.source.origin ?? 'default';
    if (origins.indexOf(level.source.origin) > origins.indexOf(chosen)) return;
    const fact = `a level of ${settings.compression_level} means nothing without compression`;
    refuseValue(generalTable.compression_level, level, fact);
  }
  if (
    level === undefined ||
    (settings.compression_level >= min && settings.compression_level <= max)
  ) {
    return;
  }
  refuseValue(
    generalTable.compression_level,
    level,
    `${settings.compression_level} is not a level of ${settings.compression}, ` +
      `which takes ${min} to ${max}`,
  );
}

/** A store has to lie somewhere, and a run needs one. */
function checkStores(settings: Settings, sources: ReadonlyMap<string, Source>): void {
  for (const [name, { path, bucket }] of Object.entries(settings.stores)) {
    if ((path === undefined) !== (bucket === undefined)) continue;
    const fact = path === undefined ? 'has neither a bucket nor a path' : 'has a bucket and a path';
    throw new HoldfastError('CONFIG_INVALID', `the store ${JSON.stringify(name)} ${fact}`, {
      hint: `Write stores.${name}.bucket or stores.${name}.path into holdfast.yaml.`,
    });
  }
  if (storesOf(settings).length > 0) return;
  const from = sources.get('local_copy')?.name ?? 'local_copy';
  throw new HoldfastError('CONFIG_INVALID', `${from} switches off the only store`, {
    hint: 'Set BACKUP_BUCKET, or leave LOCAL_COPY out.',
  });
}

/** Reads each setting from the strongest layer that has it. */
async function readSettings(
  layers: readonly Layer[],
  input: LoadInput,
  reader: ValueReader,
  sources: Map<string, Source>,
): Promise<Omit<Settings, 'databases' | 'stores'>> {
  const general: Record<string, unknown> = {};
  const groups: Record<string, Record<string, unknown>> = {};
  const context = {
    projectDir: input.projectDir,
    cores: availableParallelism(),
    temporaryDir: tmpdir(),
    before: general,
  };
  for (const [path, setting] of allSettings()) {
    const given = layers.map((layer) => layer.get(path)).find((value) => value !== undefined);
    const byDefault = setting.default;
    const value =
      given !== undefined
        ? await reader.read(setting, given)
        : typeof byDefault === 'function'
          ? byDefault(context)
          : byDefault;
    sources.set(path, given?.source ?? { origin: 'default', name: path });
    const [first, second] = path.split('.') as [string, string?];
    if (second === undefined) {
      general[first] = value;
      continue;
    }
    const group = groups[first] ?? {};
    groups[first] = group;
    group[second] = value;
  }
  return { ...general, ...groups } as unknown as Omit<Settings, 'databases' | 'stores'>;
}

/**
 * Reads every setting: flags beat the environment, which beats `.env`, which beats holdfast.yaml,
 * which beats the default. An empty variable counts as not set. Relative paths are relative to the
 * file they stand in, elsewhere to the current folder; `~/` is the home folder.
 *
 * @throws HoldfastError CONFIG_UNREADABLE, CONFIG_UNKNOWN_KEY, CONFIG_INVALID
 */
export async function loadConfig(input: LoadInput): Promise<Config> {
  const environment = input.environment ?? process.env;
  const reader = new ValueReader(environment.HOME || systemHome());
  const sources = new Map<string, Source>();
  const warnings: string[] = [];

  const envFile =
    input.envFile === undefined
      ? join(input.projectDir, '.env')
      : resolve(input.cwd, input.envFile);
  const yamlFile =
    input.configFile === undefined
      ? join(input.projectDir, 'holdfast.yaml')
      : resolve(input.cwd, input.configFile);
  const flagsOnly = input.flagsOnly === true;
  const envText = flagsOnly ? null : await readText(envFile, input.envFile !== undefined);
  const yamlText = flagsOnly ? null : await readText(yamlFile, input.configFile !== undefined);
  const fromEnvFile: Layer =
    envText === null ? new Map() : envFileLayer(envText, envFile, warnings);
  const fromYaml =
    yamlText === null
      ? { layer: new Map(), databases: [], stores: [] }
      : await yamlLayer(yamlText, yamlFile);

  for (const [file, layer, entries] of [
    [envFile, fromEnvFile, []],
    [yamlFile, fromYaml.layer, [...fromYaml.databases, ...fromYaml.stores]],
  ] as const) {
    if (holdsSecret(layer, entries) && (await openToOthers(file))) {
      warnings.push(secretFileWarning(file));
    }
  }

  for (const name of unsupportedVariables) warnUnsupported(name, environment[name], warnings);
  const layers = [
    flagLayer(input),
    flagsOnly ? new Map() : environmentLayer(environment, input.cwd),
    fromEnvFile,
    fromYaml.layer,
  ];
  const single = await readSettings(layers, input, reader, sources);
  const settings: Settings = {
    ...single,
    stores: await readEntries(fromYaml.stores, storeEntryTable, yamlFile, reader, sources),
    databases: await readEntries(fromYaml.databases, databaseEntryTable, yamlFile, reader, sources),
  };
  checkStores(settings, sources);
  const given = (path: string) =>
    layers.map((layer) => layer.get(path)).find((value) => value !== undefined);
  checkLevel(settings, given('compression_level'), given('compression'));
  const passed = Object.entries(environment).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && passedOn.test(entry[0]),
  );
  return {
    settings,
    sources,
    warnings,
    environment: Object.fromEntries(passed),
    projectDir: input.projectDir,
  };
}
