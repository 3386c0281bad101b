/** What the units of systemd have to know of the machine that they are for. */

import { existsSync, readdirSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { parseEnvFile } from '../../config/env_file.ts';
import { allSettings, storeEntryTable } from '../../config/schema.ts';
import { storesOf } from '../../config/stores.ts';
import { parseYamlFile } from '../../config/yaml_file.ts';
import { HoldfastError } from '../../core/errors.ts';
import { socketFolders } from '../../postgres/password.ts';
import type { OsUser } from '../../process/user.ts';
import { asRoot } from '../../process/user.ts';
import type { UnitArgument, UnitHost } from '../../schedule/render_systemd.ts';
import type { RepositoryContext } from '../context.ts';
import type { SettingsPlaces } from './lasting_settings.ts';
import { isArchivingSetUp } from './read_schedule.ts';

/** What was asked for. */
export interface HostRequest {
  /** Who the services run as. */
  readonly user: OsUser;
  /** Whether they are those of the user's own manager. */
  readonly isUserManager: boolean;
  readonly places: SettingsPlaces;
}

const temporaryFolders = ['/tmp', '/var/tmp'] as const;
const homeFolders = ['/home', '/root', '/run/user'] as const;

function isBelow(path: string, folders: readonly string[]): boolean {
  return folders.some((folder) => path === folder || path.startsWith(`${folder}/`));
}

/** Every absolute path that a setting names. */
function pathsOfSettings(settings: Readonly<Record<string, unknown>>): string[] {
  const paths: string[] = [];
  const collect = (value: unknown) => {
    if (typeof value === 'string' && isAbsolute(value)) paths.push(value);
    else if (Array.isArray(value)) for (const each of value) collect(each);
    else if (typeof value === 'object' && value !== null) Object.values(value).forEach(collect);
  };
  for (const [name, value] of Object.entries(settings)) if (name !== 'temp_dir') collect(value);
  return paths;
}

/** Where the services write: each folder once, and none inside another. */
function writableFolders({ config }: RepositoryContext, user: OsUser): string[] {
  const { settings, sources } = config;
  const { backup_dir, temp_dir, encryption, gpg_home, monitor } = settings;
  const folders = [backup_dir];
  for (const spec of storesOf(settings)) if (spec.kind === 'folder') folders.push(spec.path);
  if (monitor.prometheus_file !== null) folders.push(dirname(monitor.prometheus_file));
  // gpg writes into its home even when it only encrypts.
  if (encryption === 'gpg') folders.push(gpg_home ?? join(user.home, '.gnupg'));
  const isOwnTemporary = temporaryFolders.some((folder) => folder === temp_dir);
  if (sources.get('temp_dir')?.origin !== 'default' && !isOwnTemporary) folders.push(temp_dir);
  const unique = [...new Set(folders)];
  return unique.filter((path) => {
    return !unique.some((other) => other !== path && path.startsWith(`${other}/`));
  });
}

/** Whether the acting user may: access(2) would ask for the real one, who may be root. */
async function mayRead(path: string): Promise<boolean> {
  try {
    await (await open(path, 'r')).close();
    return true;
  } catch {
    return false;
  }
}

/** The relative paths that a file of settings holds: elsewhere they would mean something else. */
async function relativePaths(file: string, isEnv: boolean): Promise<string[]> {
  const text = await asRoot(() => readFile(file, 'utf8'));
  const isRelative = (raw: unknown) => typeof raw === 'string' && !/^(?:\/|~\/|$)/.test(raw);
  if (isEnv) {
    const names = allSettings().flatMap(([, each]) => (each.path === true ? each.env : []));
    const entries = parseEnvFile(text, file);
    return entries.flatMap(({ name, value }) =>
      names.includes(name) && isRelative(value) ? [name] : [],
    );
  }
  const { values, stores } = await parseYamlFile(text, file);
  const paths = new Set<string>(
    allSettings().flatMap(([path, each]) => (each.path === true ? [path] : [])),
  );
  const inStores = stores.flatMap((entry) =>
    [...entry.values].flatMap(([name, value]) =>
      storeEntryTable[name]?.path === true ? [value] : [],
    ),
  );
  const found = [...values.filter(({ path }) => paths.has(path)), ...inStores];
  return found.flatMap(({ path, raw }) => (isRelative(raw) ? [path] : []));
}

/**
 * How a command finds one of the files with the settings: by itself where its user may read it;
 * otherwise systemd hands it over (systemd.exec(5), LoadCredential=).
 */
async function settingsFile(
  flag: '--env-file' | '--config',
  given: string | null,
  usual: string,
): Promise<UnitArgument[]> {
  const path = given ?? usual;
  if (given === null && !existsSync(usual)) return [];
  if (await mayRead(path)) return given === null ? [] : [flag, given];
  const isEnv = flag === '--env-file';
  const [relative] = await relativePaths(path, isEnv);
  if (relative !== undefined) {
    throw new HoldfastError('CONFIG_INVALID', `${relative} in ${path} is a relative path`, {
      hint: 'Services are given a copy of that file, elsewhere: write the path from / on.',
    });
  }
  return [flag, { id: isEnv ? 'env' : 'holdfast.yaml', path }];
}

/** Whether the server's socket lies where libpq as it comes looks for it, and not Debian's way. */
function socketInTmp(): boolean {
  const [debian, usual] = socketFolders;
  return !existsSync(debian) && readdirSync(usual).some((name) => name.startsWith('.s.PGSQL.'));
}

/**
 * Looks at the machine.
 *
 * @throws HoldfastError CONFIG_INVALID for a relative path in a file that services are handed
 */
export async function describeHost(
  context: RepositoryContext,
  request: HostRequest,
): Promise<UnitHost> {
  const { config } = context;
  const { settings, projectDir } = config;
  const { user, isUserManager, places } = request;
  const { envFile, configFile, backupDir } = places;
  const own = join(projectDir, 'node_modules/.bin/node');
  const node = existsSync(own) ? own : process.execPath;
  const settingsArgs: UnitArgument[] = [
    ...(backupDir === null ? [] : ['--backup-dir', backupDir]),
    ...(await settingsFile('--config', configFile, join(projectDir, 'holdfast.yaml'))),
    ...(await settingsFile('--env-file', envFile, join(projectDir, '.env'))),
  ];
  const writable = writableFolders(context, user);
  const given = [envFile, configFile].filter((path) => path !== null);
  const paths = [...pathsOfSettings({ ...settings }), ...writable, node, projectDir, ...given];
  return {
    user: isUserManager ? null : user.name,
    node,
    scriptsDir: join(projectDir, 'scripts'),
    settingsArgs,
    backupDir: settings.backup_dir,
    writable,
    needsHomes: [...paths, user.home].some((path) => isBelow(path, homeFolders)),
    needsTmp:
      paths.some((path) => isBelow(path, temporaryFolders)) ||
      (settings.connection.host === null && socketInTmp()),
    isShipping: await isArchivingSetUp(context.repository.root),
  };
}
