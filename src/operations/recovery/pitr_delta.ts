/**
 * Restores into a data directory of the same cluster: what is as it is in the backup stays, the
 * rest is written anew or removed. The control file, without which no server starts, goes first and
 * comes back last, so that a run that was killed never leaves what looks like a cluster.
 */

import { readFile, rename, rm, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { BaseManifestFile } from '../../core/base_manifest.ts';
import { controlName } from '../../core/delta.ts';
import { HoldfastError } from '../../core/errors.ts';
import { type ListedFile, parseServerManifest } from '../../core/server_manifest.ts';
import { createByteCounter } from '../../pipeline/measure.ts';
import { readBack } from '../../pipeline/read_back.ts';
import { createTarFiles } from '../../pipeline/tar_files.ts';
import { lastSettings } from '../../postgres/conf_lines.ts';
import { errorNumber, fsyncFolder, makeFolders } from '../../process/durable.ts';
import { archiveOf, readServerManifest } from '../base/unpack_archive.ts';
import { flowContext, type RepositoryContext } from '../context.ts';
import type { ExistingPgdata } from './existing_pgdata.ts';
import { type Comparison, comparePgdata, controlFolder } from './pitr_compare.ts';
import { finish, markAgain } from './pitr_folder.ts';
import type { PitrPlan } from './pitr_plan.ts';
import { moveFiles, unarchivedWal } from './unarchived_wal.ts';

/** What a restore into an existing data directory will do. */
export interface Delta extends Comparison {
  readonly existing: ExistingPgdata;
  readonly listed: ReadonlyMap<string, ListedFile>;
  /** Files that are written. */
  readonly rewritten: number;
  readonly rewrittenBytes: number;
  /** WAL that is not in the archive: it is kept in {@link walAside}. */
  readonly unarchived: readonly string[];
  readonly walAside: string;
}

/** Where tablespaces lie by their OIDs: their own paths. */
export type Tablespaces = ReadonlyMap<number, string>;

function requireSameCluster(plan: PitrPlan, { folder, systemIdentifier }: ExistingPgdata): void {
  const wanted = plan.base.manifest.server.system_identifier;
  if (systemIdentifier === wanted) return;
  const text = `${JSON.stringify(folder)} is of another cluster: its system identifier is`;
  throw new HoldfastError('USAGE', `${text} ${systemIdentifier ?? 'not known'}, not ${wanted}`, {
    hint: 'Name another folder; or --force puts what is there aside. Nothing was touched.',
  });
}

/** Whether its WAL was meant for an archive: that of a cluster that was restored here is not. */
async function isArchiving(folder: string): Promise<boolean> {
  const text = await readFile(join(folder, 'postgresql.auto.conf'), 'utf8').catch(() => '');
  return lastSettings(text).get('archive_mode') !== 'off';
}

/**
 * Looks what a restore into an existing data directory would keep. Nothing is touched.
 *
 * @throws HoldfastError USAGE for another cluster, or a link that leads out; DAMAGED
 */
export async function prepareDelta(
  context: RepositoryContext,
  plan: PitrPlan,
  existing: ExistingPgdata,
  tablespaces: Tablespaces,
): Promise<Delta> {
  requireSameCluster(plan, existing);
  const bytes = await readServerManifest(context, plan.base);
  const { files } = parseServerManifest(bytes);
  const { version_num: version } = plan.base.manifest.server;
  const backup = { files, major: Math.floor(version / 10_000) };
  const { folder } = existing;
  const progress = await context.log.progress('comparing', plan.base.manifest.cluster_bytes);
  let comparison: Comparison;
  try {
    comparison = await comparePgdata(folder, tablespaces, backup, progress.add);
  } finally {
    progress.end();
  }
  const wanted = [...files].filter(([path]) => !comparison.kept.has(path));
  const unarchived = (await isArchiving(folder))
    ? await unarchivedWal(context, plan, comparison.walFolder)
    : [];
  const time = context
    .clock()
    .toISOString()
    .replaceAll(/[-:]|\.\d+/g, '');
  return {
    ...comparison,
    existing,
    listed: files,
    rewritten: wanted.length,
    rewrittenBytes: wanted.reduce((sum, [, file]) => sum + file.bytes, 0),
    unarchived,
    walAside: `${folder}.unarchived_${time}`,
  };
}

/** Removes what is not as it is in the backup; a folder that is in use as a mount stays. */
async function clear({ removed, folders }: Delta): Promise<void> {
  for (const path of removed) await unlink(path);
  for (const path of folders) {
    await rmdir(path).catch((error: unknown) => {
      if (!['EBUSY', 'ENOTEMPTY', 'ENOENT'].includes(errorNumber(error) ?? '')) throw error;
    });
  }
}

/** Writes what is missing of one archive. @param oid of its tablespace; `null`: the cluster's */
async function unpackMissing(
  context: RepositoryContext,
  plan: PitrPlan,
  delta: Delta,
  place: { readonly oid: number | null; readonly file: BaseManifestFile; readonly folder: string },
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { oid, file, folder } = place;
  const prefix = oid === null ? '' : `pg_tblspc/${oid}/`;
  const files = createTarFiles({
    folder,
    expected: (path) => delta.listed.get(`${prefix}${path}`),
    placeOf: (path) => {
      if (delta.kept.has(`${prefix}${path}`)) return null;
      return oid === null && path === controlName ? `${controlFolder}/${controlName}` : path;
    },
  });
  const key = `${plan.base.folder}/${file.name}`;
  try {
    const { stored, plain } = await readBack({
      body: await context.repository.storage.get(key),
      filters: file.filters,
      storedObservers: [createByteCounter(onBytes)],
      observers: [files],
      context: flowContext(context),
    });
    files.finish();
    if (stored.sha256 === file.stored.sha256 && plain.sha256 === file.plain.sha256) return;
  } finally {
    files.abandon();
  }
  throw new HoldfastError('DAMAGED', `${key} differs from what its manifest says`, {
    hint: 'Run verify_backups.ts, and restore from another base backup or another copy.',
  });
}

async function unpackDelta(
  context: RepositoryContext,
  plan: PitrPlan,
  delta: Delta,
  tablespaces: Tablespaces,
): Promise<void> {
  const { folder } = delta.existing;
  const missing = [...delta.listed.keys()].filter((path) => !delta.kept.has(path));
  const places = [...tablespaces, [null, folder] as const].flatMap(([oid, place]) => {
    const file = archiveOf(plan.base, oid);
    const isNeeded = oid === null || missing.some((path) => path.startsWith(`pg_tblspc/${oid}/`));
    return file === null || !isNeeded ? [] : [{ oid, file, folder: place }];
  });
  const bytes = places.reduce((sum, { file }) => sum + file.stored.bytes, 0);
  const progress = await context.log.progress(`unpacking ${plan.base.label}`, bytes);
  try {
    for (const place of places) await unpackMissing(context, plan, delta, place, progress.add);
  } finally {
    progress.end();
  }
}

/**
 * Does it. A run that fails or is killed leaves a marked folder, which a further run goes on with.
 *
 * @param configure is told where the control file is meanwhile: a folder like a data directory
 * @param sync makes all files durable
 * @throws HoldfastError DAMAGED, NO_SPACE, and what `configure` throws
 */
export async function applyDelta(
  context: RepositoryContext,
  plan: PitrPlan,
  delta: Delta,
  tablespaces: Tablespaces,
  steps: {
    /** Right after the folder was marked. */
    readonly begin: () => Promise<void>;
    readonly configure: (control: string) => Promise<void>;
    readonly sync: () => Promise<void>;
  },
): Promise<void> {
  const { folder } = delta.existing;
  const { system_identifier } = plan.base.manifest.server;
  const held = join(folder, controlFolder);
  await markAgain(folder, system_identifier);
  await rm(join(folder, controlName), { force: true });
  await steps.begin();
  await fsyncFolder(join(folder, 'global')).catch((error: unknown) => {
    if (errorNumber(error) !== 'ENOENT') throw error;
  });
  await moveFiles(delta.walFolder, delta.unarchived, delta.walAside);
  await rm(held, { recursive: true, force: true });
  const left = new Set(delta.unarchived.map((name) => join(delta.walFolder, name)));
  const removed = delta.removed.filter(
    (path) => !left.has(path.toString()) && path.toString() !== join(folder, controlName),
  );
  await clear({ ...delta, removed });
  await makeFolders(join(held, 'global'));
  await unpackDelta(context, plan, delta, tablespaces);
  await steps.configure(held);
  await steps.sync();
  await rename(join(held, controlName), join(folder, controlName));
  await fsyncFolder(join(folder, 'global'));
  await rm(held, { recursive: true });
  await finish(folder);
}
