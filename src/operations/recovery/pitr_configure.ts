/** Writes what a restored cluster is told: where WAL comes from, where to stop, its settings. */

import { accessSync, constants } from 'node:fs';
import { access, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { walFolder as archiveFolder } from '../../catalog/wal_archive.ts';
import type { BaseConfigFile } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import { lastSettings, withoutInherited } from '../../postgres/conf_lines.ts';
import { fitConfig, type IncludedFile, settingsForMachine } from '../../postgres/fit_config.ts';
import type { RestoredCluster } from '../../postgres/recovery_cluster.ts';
import {
  minimalConfiguration,
  raisedLimits,
  recoverySettings,
} from '../../postgres/recovery_settings.ts';
import { settingLines } from '../../postgres/setting_lines.ts';
import { fileMode, folderMode, makeFolders } from '../../process/durable.ts';
import {
  hookFile,
  hookPath,
  recoveryEndCommand,
  renderWalFetch,
  restoreCommand,
  writeHook,
} from '../archiving/wal_hooks.ts';
import { readSmallFile } from '../base/unpack_archive.ts';
import type { RepositoryContext } from '../context.ts';
import type { PitrPlan } from './pitr_plan.ts';
import type { PitrRequest } from './pitr_request.ts';

/** Where saved files go that the main one includes. */
const savedFolder = 'holdfast_config';
/** What the group may do in a cluster that lets it in (initdb --allow-group-access). */
const groupFolder = 0o050;
const groupFile = 0o040;
const autoName = 'postgresql.auto.conf';
const mainName = 'postgresql.conf';

/** Who may read a data directory: its owner, or its group too, as the original's folders tell. */
export async function modesOf(pgdata: string): Promise<{ folder: number; file: number }> {
  const { mode } = await stat(join(pgdata, 'base'));
  const isOpen = (mode & groupFolder) === groupFolder;
  return isOpen
    ? { folder: folderMode | groupFolder, file: fileMode | groupFile }
    : { folder: folderMode, file: fileMode };
}

const segmentNameLength = 24;

/** Puts the command that takes WAL out of the archive in its place. */
async function prepareFetch(
  context: RepositoryContext,
  plan: PitrPlan,
  isNewest: boolean,
  walFolder: string | null,
) {
  // The backup has all that it needs; a command has to be there.
  if (plan.segments.length === 0) return { restoreCommand: 'false', recoveryEndCommand: null };
  const { root } = context.repository;
  // What was brought has a command of its own, which goes with it.
  const isBrought = walFolder !== null;
  const hook = isBrought ? join(walFolder, 'wal_fetch') : hookFile(root, plan.cluster, 'wal_fetch');
  const text = renderWalFetch({
    archive: isBrought ? join(walFolder, 'wal') : join(root, archiveFolder(plan.cluster)),
    systemIdentifier: plan.base.manifest.server.system_identifier,
    segmentBytes: plan.segmentBytes,
    path: await hookPath(context.environment),
    jobs: context.config.settings.threads,
  });
  await writeHook(hook, text);
  // An unfinished one is asked for by the name that it would have.
  const last = isNewest ? null : (plan.segments.at(-1)?.name.slice(0, segmentNameLength) ?? null);
  return {
    restoreCommand: restoreCommand(hook, plan.unfinished, last),
    recoveryEndCommand: recoveryEndCommand(hook),
  };
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}

/** A saved file of the backup. @throws HoldfastError DAMAGED */
async function readSaved(context: RepositoryContext, plan: PitrPlan, name: string) {
  const listed = plan.base.manifest.files.find((file) => file.name === name);
  if (listed !== undefined) {
    return (await readSmallFile(context, plan.base, listed)).toString('utf8');
  }
  throw new HoldfastError('DAMAGED', `the manifest of ${plan.base.label} does not list ${name}`, {
    hint: 'Restore without --with-config, or from another base backup.',
  });
}

/** The configuration as it is before anything is changed. */
interface Found {
  /** `null`: there is none, in the backup or beside it. */
  readonly main: string | null;
  readonly included: readonly IncludedFile[];
  /** pg_hba.conf and pg_ident.conf, by their names. */
  readonly others: ReadonlyMap<string, string>;
}

async function findConfig(
  context: RepositoryContext,
  plan: PitrPlan,
  { pgdata, withConfig = false }: PitrRequest,
): Promise<Found> {
  const path = join(pgdata, mainName);
  const inside = (await isThere(path)) ? await readFile(path, 'utf8') : null;
  if (!withConfig) return { main: inside, included: [], others: new Map() };
  const { config } = plan.base.manifest;
  const read = ({ file }: BaseConfigFile) => readSaved(context, plan, file);
  const main = config.find(({ setting }) => setting === 'config_file');
  const others = new Map<string, string>();
  const included: IncludedFile[] = [];
  for (const entry of config) {
    if (entry.setting === 'hba_file') others.set('pg_hba.conf', await read(entry));
    if (entry.setting === 'ident_file') others.set('pg_ident.conf', await read(entry));
    if (entry.setting !== 'include') continue;
    const place = `${savedFolder}/${entry.file.replace(/\.(?:age|gpg)$/, '')}`;
    included.push({ path: entry.path, place, text: await read(entry) });
  }
  return { main: main === undefined ? inside : await read(main), included, others };
}

/** Whether this user may, now; relative to the data directory. */
function may(pgdata: string, mode: number): (path: string) => boolean {
  return (path) => {
    try {
      accessSync(resolve(pgdata, path), mode);
      return true;
    } catch {
      return false;
    }
  };
}

/** Libraries that the server loads at its start and that are not installed here. */
async function missingLibraries(
  { tool }: RestoredCluster,
  settings: ReadonlyMap<string, string>,
): Promise<string[]> {
  const folder = join(tool.directory, '../lib');
  if (!(await isThere(folder))) return [];
  const names = (settings.get('shared_preload_libraries') ?? '').split(',');
  const wanted = names.map((name) => name.trim().replace(/^"|"$/g, '')).filter((name) => name);
  const found = await Promise.all(
    wanted.map((name) =>
      access(resolve(folder, name.endsWith('.so') ? name : `${name}.so`)).then(
        () => true,
        () => false,
      ),
    ),
  );
  return wanted.filter((name, at) => !found[at] && !name.includes('/'));
}

/** What was written, told to people. */
export interface Configured {
  readonly notes: readonly string[];
}

/**
 * Configures a restored data directory that no server runs on.
 *
 * @param control what pg_controldata tells of it
 * @throws HoldfastError USAGE for a path that no configuration can hold, DAMAGED
 */
export async function configurePitr(
  context: RepositoryContext,
  plan: PitrPlan,
  request: PitrRequest,
  found: {
    readonly cluster: RestoredCluster;
    readonly control: string;
    /** Where the WAL was brought; `null`: it is in the archive. */
    readonly walFolder: string | null;
  },
): Promise<Configured> {
  const { pgdata, action, recovery } = request;
  const { control } = found;
  const { file: mode } = await modesOf(pgdata);
  const write = (name: string, text: string) => writeFile(join(pgdata, name), text, { mode });
  // A backup of a standby has it, and a server with both would stay a standby for ever.
  await rm(join(pgdata, 'standby.signal'), { force: true });
  const { manifest } = plan.base;
  const isNewest = recovery.target.kind === 'newest';
  const isOwnTimeline = plan.timeline === manifest.start_timeline;
  const own = recoverySettings({
    target: recovery.target,
    isInclusive: recovery.isInclusive,
    major: Math.floor(manifest.server.version_num / 10_000),
    timeline: isOwnTimeline ? null : plan.timeline,
    action,
    ...(await prepareFetch(context, plan, isNewest, found.walFolder)),
  });
  const auto = join(pgdata, autoName);
  const original = withoutInherited((await isThere(auto)) ? await readFile(auto, 'utf8') : '');
  const config = await findConfig(context, plan, request);
  const main = config.main ?? minimalConfiguration(control, action);
  const isReadable = may(pgdata, constants.R_OK);
  const fitted = fitConfig({ main, included: config.included, isReadable });
  await write(mainName, fitted.main);
  if (fitted.included.size > 0) await makeFolders(join(pgdata, savedFolder));
  for (const [place, text] of fitted.included) await write(place, text);
  for (const [name, text] of [
    ['pg_hba.conf', 'local all all peer\n'],
    ['pg_ident.conf', ''],
  ] as const) {
    const saved = config.others.get(name);
    if (saved !== undefined) await write(name, saved);
    else if (!(await isThere(join(pgdata, name)))) await write(name, text);
  }
  const settings = new Map([...fitted.settings, ...lastSettings(original)]);
  const isWritable = may(pgdata, constants.W_OK);
  const machine = settingsForMachine(settings, { isReadable, isWritable });
  const standby =
    action === 'pause'
      ? { ...raisedLimits(control, settings), hot_standby: 'on' }
      : // A limit that was raised meanwhile would stop a server that answers queries.
        { hot_standby: 'off' };
  const added = settingLines({ ...machine.settings, ...standby });
  await write(autoName, `${original}\n# Written by restore_pitr.ts.\n${own}${added}`);
  const libraries = await missingLibraries(found.cluster, settings);
  return {
    notes: [
      ...(request.withConfig === true && manifest.config.length === 0
        ? ['no configuration was saved beside the data directory: that in it is used']
        : []),
      ...fitted.notes,
      ...machine.notes,
      ...libraries.map((name) => `the server loads ${JSON.stringify(name)}: install it`),
    ],
  };
}
