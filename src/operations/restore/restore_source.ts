/** Finds what is to be restored: the latest backup of a database, a label, or a file anywhere. */

import { createReadStream, type Stats } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type BackupEntry, isUsable } from '../../catalog/catalog.ts';
import type { Store } from '../../catalog/stores.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { parseLabel, type Tier } from '../../core/label.ts';
import { type Manifest, manifestName } from '../../core/manifest.ts';
import { parseManifest } from '../../core/manifest_codec.ts';
import { shellQuote } from '../../core/quote.ts';
import { openFolder } from '../../storage/open.ts';
import type { Storage } from '../../storage/storage.ts';
import type { BackupSource, SourceFile } from '../backup_source.ts';
import { type Context, flowContext, type RepositoryContext } from '../context.ts';
import { holdBackup } from '../hold_backup.ts';
import { type InStore, tellStore } from '../store_choice.ts';
import { recogniseFile } from './file_kind.ts';
import { type Copy, findCopy, latestCopy, nextCopy } from './restore_copies.ts';

/** What narrows the search down. */
export interface SourceFilter {
  readonly cluster?: string | undefined;
  readonly tier?: Tier | undefined;
}

function sourceFile(
  storage: Storage,
  folder: string,
  manifest: Manifest,
  role: 'dump' | 'globals',
): SourceFile | null {
  const file = manifest.files.find((each) => each.role === role);
  if (file === undefined) return null;
  const open = () => storage.get(`${folder}/${file.name}`);
  return { name: file.name, filters: file.filters, open };
}

function sourceOf(
  storage: Storage,
  folder: string,
  manifest: Manifest,
  description: string,
): Omit<BackupSource, 'hold'> {
  const dump = sourceFile(storage, folder, manifest, 'dump');
  if (dump === null) {
    throw new HoldfastError('MANIFEST_INVALID', `the manifest of ${description} names no dump`, {
      hint: 'Use another backup.',
    });
  }
  const plain = manifest.files.find(({ role }) => role === 'dump')?.plain?.bytes ?? null;
  return {
    description,
    manifest,
    dump,
    format: 'archive',
    database: null,
    globals: sourceFile(storage, folder, manifest, 'globals'),
    plainBytes: plain,
    dumpMajor: manifest.pg_dump.major,
    location: { storage, folder },
  };
}

/** The source of an entry of the catalog. @throws HoldfastError of an entry that is damaged */
function entrySource(
  context: RepositoryContext,
  found: InStore<Copy>,
  stores: readonly Store[],
): BackupSource {
  const { view, entry } = found.result;
  const rest = stores.filter(({ spec }) => spec.name !== found.store.spec.name);
  const next = nextCopy(context, found, rest, (other) => entrySource(context, other, rest));
  if (entry.manifest === null) throw entry.problem;
  return {
    ...sourceOf(view.repository.storage, entry.folder, entry.manifest, entry.label),
    hold: (work) => holdBackup(view.repository, entry, work),
    nextCopy: next,
  };
}

/**
 * The latest usable backup of a database, whichever store has it; of copies that of the first one.
 * Younger ones that are damaged, and safety backups, are told and passed over.
 *
 * @param stores in which to look
 * @throws HoldfastError BACKUP_NOT_FOUND with the databases that have backups
 */
export async function latestSource(
  context: RepositoryContext,
  database: string,
  filter: SourceFilter,
  stores: readonly Store[] = context.repository.stores,
): Promise<{ readonly source: BackupSource; readonly entry: BackupEntry }> {
  const { store, result } = await latestCopy(context, database, filter, stores);
  const { entry, skipped } = result;
  for (const passed of skipped.filter(({ label }) => label > entry.label)) {
    const why = isUsable(passed)
      ? 'the safety backup of a restore in place: it is passed over; to restore it, name it'
      : 'damaged: it is passed over';
    context.log.warn(`${passed.label} is younger, but ${why}`);
  }
  tellStore(context, store);
  return { source: entrySource(context, { store, result }, stores), entry };
}

/**
 * The backup with a label, from the first store that has a usable copy.
 *
 * @param database which it must be of, or `undefined`
 * @param stores in which to look
 * @throws HoldfastError BACKUP_NOT_FOUND, also when it is of another database
 */
export async function labelSource(
  context: RepositoryContext,
  label: string,
  database: string | undefined,
  filter: SourceFilter,
  stores: readonly Store[] = context.repository.stores,
): Promise<BackupSource> {
  const found = await findCopy(context, stores, label, filter);
  const { entry } = found.result;
  if (database !== undefined && entry.database !== database) {
    const [has, wants] = [JSON.stringify(entry.database), JSON.stringify(database)];
    throw new HoldfastError('BACKUP_NOT_FOUND', `${label} is a backup of ${has}, not of ${wants}`, {
      hint:
        'To restore it under that name write: ' +
        `scripts/restore_backup.ts ${label} --target-database=${shellQuote(database)}`,
    });
  }
  const source = entrySource(context, found, stores);
  tellStore(context, found.store);
  return source;
}

/** A dump that no manifest belongs to: its first bytes say what it is. */
async function bareSource(
  path: string,
  database: string | null,
  context: Context | undefined,
): Promise<BackupSource> {
  const flow = context === undefined ? undefined : flowContext(context);
  const { filters, format } = await recogniseFile(path, flow).catch((error: unknown) => {
    throw explainFile(error, path);
  });
  const open = async () => createReadStream(path);
  return {
    description: path,
    manifest: null,
    dump: { name: basename(path), filters, open },
    format,
    database,
    globals: null,
    plainBytes: null,
    dumpMajor: null,
    location: null,
    hold: (work) => work(),
  };
}

/** What is wrong with a file, told with its name. */
function explainFile(error: unknown, path: string): HoldfastError {
  if (error instanceof HoldfastError) {
    const { code, message, hint, details } = error;
    // What is wrong with a key is a sentence of its own.
    const isOfFile = code === 'NOT_A_DUMP' || code === 'DAMAGED';
    const text = `${path}${isOfFile ? '' : ':'} ${message}`;
    return new HoldfastError(code, text, { hint, details });
  }
  if ((error as NodeJS.ErrnoException).code !== 'EACCES') {
    return toHoldfastError(error, `reading ${path}`);
  }
  return new HoldfastError('STORE_REFUSED', `${path} may not be read by the user that runs this`, {
    hint: 'Copy it to where that user can read it, or run as a user that may.',
    cause: error,
  });
}

/** The backup in a folder anywhere, or `null` where no manifest lies there. */
async function folderSource(folder: string): Promise<BackupSource | null> {
  const storage = openFolder(dirname(folder));
  const name = basename(folder);
  if ((await storage.stat(`${name}/${manifestName}`)) === null) return null;
  const manifest = parseManifest(await buffer(await storage.get(`${name}/${manifestName}`)));
  return { ...sourceOf(storage, name, manifest, folder), hold: (work) => work() };
}

/** What lies there. @throws HoldfastError BACKUP_NOT_FOUND when nothing does */
async function look(path: string, absolute: string): Promise<Stats> {
  try {
    return await stat(absolute);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw toHoldfastError(error, `reading ${absolute}`);
    }
    throw new HoldfastError(
      'BACKUP_NOT_FOUND',
      `${JSON.stringify(path)} is neither a label nor a file`,
      { hint: 'scripts/list_backups.ts shows the labels.', cause: error },
    );
  }
}

/** @throws HoldfastError NOT_A_DUMP for pg_dump's directory format, else BACKUP_NOT_FOUND */
async function noBackup(folder: string): Promise<never> {
  const isDirectoryFormat = await access(join(folder, 'toc.dat')).then(
    () => true,
    () => false,
  );
  if (isDirectoryFormat) {
    const message = `${folder} is a dump of pg_dump's directory format`;
    throw new HoldfastError('NOT_A_DUMP', message, {
      hint: 'Make SQL of it, and restore that: pg_restore --file=FILE.sql FOLDER.',
    });
  }
  throw new HoldfastError('BACKUP_NOT_FOUND', `${folder} is no backup: it has no manifest`, {
    hint: 'Name the folder of a backup, or a dump.',
  });
}

/**
 * A backup's folder or its dump, copied to wherever; or a dump that other tools made, in the custom
 * format or as SQL.
 *
 * @param path as the operator named it
 * @param cwd the folder that it is relative to
 * @param database which one of those in the file; `null` when the operator has not said
 * @param context decrypts the beginning of a file; without it no encrypted one is taken
 * @throws HoldfastError BACKUP_NOT_FOUND when there is nothing, NOT_A_DUMP, MANIFEST_INVALID, USAGE
 */
export async function fileSource(
  path: string,
  cwd: string,
  database: string | null = null,
  context?: Context,
): Promise<BackupSource> {
  const absolute = resolve(cwd, path);
  const stats = await look(path, absolute);
  if (stats.isDirectory()) return (await folderSource(absolute)) ?? noBackup(absolute);
  if (!stats.isFile()) {
    throw new HoldfastError('USAGE', `${absolute} is no file, and a restore reads it twice`, {
      hint: 'Write what it gives into a file, and name that.',
    });
  }
  // Some other manifest.json may lie beside a file that is no part of a backup.
  const source = await folderSource(dirname(absolute)).catch((error: unknown) => {
    if (basename(absolute).startsWith('database.dump')) throw error;
    return null;
  });
  if (source?.dump.name === basename(absolute)) return source;
  return bareSource(absolute, database, context);
}

/** Whether an operand can only be a label. */
export function isLabel(text: string): boolean {
  return parseLabel(text) !== null;
}
