/**
 * The settings that a schedule runs with: without the environment of the shell that installs it.
 * What would be gone then, or mean something else, is refused before anything is installed.
 */

import { join } from 'node:path';
import { type Config, loadConfig } from '../../config/load.ts';
import { systemHome } from '../../config/os_user.ts';
import { allSettings } from '../../config/schema.ts';
import type { Setting } from '../../config/setting.ts';
import { HoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { Secret } from '../../core/secret.ts';

/** Where a command was told to find its settings: absolute paths. */
export interface SettingsPlaces {
  readonly envFile: string | null;
  readonly configFile: string | null;
  readonly backupDir: string | null;
}

/** What every scheduled command is told, so that it finds the same settings. */
export function settingsArguments({ envFile, configFile, backupDir }: SettingsPlaces): string[] {
  const flags = [
    ['--env-file', envFile],
    ['--config', configFile],
    ['--backup-dir', backupDir],
  ] as const;
  return flags.flatMap(([flag, path]) => (path === null ? [] : [flag, path]));
}

/** Each run has its own folder for temporary files. */
const passing = new Set(['temp_dir']);

function settingAt({ settings }: Config, path: string): unknown {
  const [first = '', second] = path.split('.');
  const value = (settings as unknown as Record<string, unknown>)[first];
  return second === undefined ? value : (value as Record<string, unknown>)[second];
}

/** A word about a bucket means nothing where there is none, as AWS_CA_BUNDLE of a machine. */
function matters(config: Config, path: string): boolean {
  if (passing.has(path)) return false;
  if (!path.startsWith('s3.')) return true;
  const { s3, stores } = config.settings;
  return s3.bucket !== null || Object.values(stores).some(({ bucket }) => bucket !== undefined);
}

const plain = (value: unknown): unknown => (value instanceof Secret ? value.reveal() : value);

/**
 * The line of a `.env` file that sets a variable to a value; a secret is not printed, and neither
 * is what no quotes can hold.
 */
export function envFileLine(name: string, value: unknown): string {
  if (value instanceof Secret) return `${name}=…`;
  const text = String(value);
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text)) return `${name}=${text}`;
  if (/\p{Cc}/u.test(text)) return `${name}=…`;
  if (!text.includes("'")) return `${name}='${text}'`;
  return /["\\`]|\$[({]/.test(text) ? `${name}=…` : `${name}="${text}"`;
}

function list(names: readonly string[]): string {
  const [first = '', ...others] = names;
  if (others.length === 0) return `${first} is`;
  return `${others.length > 3 ? `${first} and ${others.length} more` : names.join(', ')} are`;
}

/** What a scheduled run would read otherwise, though it stands in a file: `~/` of another home. */
function refuseOtherwise(config: Config, lasting: Config, paths: readonly string[]): void {
  const [path] = paths;
  if (path === undefined) return;
  const told = config.sources.get(path)?.name ?? path;
  const [here, then] = [config, lasting].map((each) => printable(String(settingAt(each, path))));
  throw new HoldfastError(
    'CONFIG_INVALID',
    `${told} is ${here} here, and would be ${then} for what the schedule starts`,
    { hint: 'Write the whole path, without ~/.' },
  );
}

/**
 * Refuses settings that a scheduled run would not have.
 *
 * @param config the settings of this run
 * @param home of the user that the schedule runs as; the system's word unless told
 * @throws HoldfastError CONFIG_INVALID with the lines to write into `.env`
 */
export async function requireLastingSettings(
  config: Config,
  places: SettingsPlaces,
  home = systemHome(),
): Promise<void> {
  const { envFile, configFile, backupDir } = places;
  const { projectDir } = config;
  const lasting = await loadConfig({
    flags: { 'backup-dir': backupDir ?? undefined },
    envFile: envFile ?? undefined,
    configFile: configFile ?? undefined,
    cwd: '/',
    projectDir,
    environment: { HOME: home },
  });
  const differing = allSettings().filter(
    ([path]) =>
      matters(config, path) && plain(settingAt(config, path)) !== plain(settingAt(lasting, path)),
  );
  const isFleeting = ([path]: (typeof differing)[number]) =>
    config.sources.get(path)?.origin === 'environment';
  const fleeting = differing.filter(isFleeting);
  if (fleeting.length > 0) {
    const named = fleeting.map(([path, setting]): readonly [string, unknown] => {
      const name = config.sources.get(path)?.name ?? (setting as Setting).env[0] ?? path;
      return [name, settingAt(config, path)];
    });
    const lines = named.map(([name, value]) => `\n  ${envFileLine(name, value)}`);
    const names = list(named.map(([name]) => name));
    throw new HoldfastError(
      'CONFIG_INVALID',
      `${names} set in this shell alone, and a schedule would run without`,
      {
        hint: `Write into ${printable(envFile ?? join(projectDir, '.env'))}:${lines.join('')}`,
        details: { variables: named.map(([name]) => name) },
      },
    );
  }
  refuseOtherwise(
    config,
    lasting,
    differing.map(([path]) => path),
  );
}
