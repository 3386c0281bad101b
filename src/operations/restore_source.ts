/** Finds what is to be restored: the latest backup of a database, a label, or a file anywhere. */

import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { BackupEntry, CatalogEntry } from '../catalog/catalog.ts';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { parseLabel, type Tier } from '../core/label.ts';
import { type FilterSpec, type Manifest, manifestName } from '../core/manifest.ts';
import { parseManifest } from '../core/manifest_codec.ts';
import { openStorage } from '../storage/open.ts';
import type { Storage } from '../storage/storage.ts';
import type { BackupSource, SourceFile } from './backup_source.ts';
import type { RepositoryContext } from './context.ts';
import { holdBackup } from './hold_backup.ts';

/** The beginnings of the files that can be restored, and the filters they imply. */
const magics: readonly (readonly [Buffer, readonly FilterSpec[]])[] = [
  [Buffer.from('PGDMP', 'latin1'), []],
  [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), [{ name: 'zstd', level: 1 }]],
  [Buffer.from([0x1f, 0x8b]), [{ name: 'gzip', level: 1 }]],
];

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
  const plain = manifest.files.find(({ role }) => role === 'dump')?.plain.bytes ?? null;
  return {
    description,
    manifest,
    dump,
    globals: sourceFile(storage, folder, manifest, 'globals'),
    plainBytes: plain,
    dumpMajor: manifest.pg_dump.major,
    location: { storage, folder },
  };
}

/** The source of an entry of the catalog. @throws HoldfastError of an entry that is damaged */
function entrySource(context: RepositoryContext, entry: CatalogEntry): BackupSource {
  if (entry.manifest === null) throw entry.problem;
  const { repository } = context;
  return {
    ...sourceOf(repository.storage, entry.folder, entry.manifest, entry.label),
    hold: (work) => holdBackup(repository, entry, work),
  };
}

/**
 * The latest usable backup of a database; younger ones that are damaged are told and passed over.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND with the databases that have backups
 */
export async function latestSource(
  context: RepositoryContext,
  database: string,
  filter: SourceFilter,
): Promise<{ readonly source: BackupSource; readonly entry: BackupEntry }> {
  const { entry, skipped } = await context.catalog.latestBackup(database, filter);
  for (const { label } of skipped) {
    context.log.warn(`${label} is younger, but damaged: it is passed over`);
  }
  return { source: entrySource(context, entry), entry };
}

/**
 * The backup with a label.
 *
 * @param database which it must be of, or `undefined`
 * @throws HoldfastError BACKUP_NOT_FOUND, also when it is of another database
 */
export async function labelSource(
  context: RepositoryContext,
  label: string,
  database: string | undefined,
  filter: SourceFilter,
): Promise<BackupSource> {
  const entry = await context.catalog.findBackup(label, filter);
  if (database !== undefined && entry.database !== database) {
    const [has, wants] = [JSON.stringify(entry.database), JSON.stringify(database)];
    throw new HoldfastError('BACKUP_NOT_FOUND', `${label} is a backup of ${has}, not of ${wants}`, {
      hint: `To restore it under that name write: --target-database ${wants}.`,
    });
  }
  return entrySource(context, entry);
}

async function firstBytes(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { buffer: bytes, bytesRead } = await file.read(Buffer.alloc(8), 0, 8, 0);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** A dump that no manifest belongs to: its first bytes say how it is compressed. */
async function bareSource(path: string): Promise<BackupSource> {
  const beginning = await firstBytes(path);
  const filters = magics.find(([magic]) => beginning.subarray(0, magic.length).equals(magic))?.[1];
  if (filters === undefined) {
    const fact = beginning.length === 0 ? 'is empty' : 'is no dump in the custom format';
    throw new HoldfastError('NOT_A_DUMP', `${path} ${fact}`, {
      hint: "Give a dump in pg_dump's custom format, plain or compressed with zstd or gzip.",
    });
  }
  const open = async () => createReadStream(path);
  return {
    description: path,
    manifest: null,
    dump: { name: basename(path), filters, open },
    globals: null,
    plainBytes: null,
    dumpMajor: null,
    location: null,
    hold: (work) => work(),
  };
}

/** The backup in a folder anywhere, or `null` where no manifest lies there. */
async function folderSource(folder: string): Promise<BackupSource | null> {
  const storage = openStorage(dirname(folder));
  const name = basename(folder);
  if ((await storage.stat(`${name}/${manifestName}`)) === null) return null;
  const manifest = parseManifest(await buffer(await storage.get(`${name}/${manifestName}`)));
  return { ...sourceOf(storage, name, manifest, folder), hold: (work) => work() };
}

/**
 * A backup's folder or its dump, copied to wherever; or a bare dump in the custom format.
 *
 * @param path as the operator named it
 * @param cwd the folder that it is relative to
 * @throws HoldfastError BACKUP_NOT_FOUND when there is nothing, NOT_A_DUMP, MANIFEST_INVALID
 */
export async function fileSource(path: string, cwd: string): Promise<BackupSource> {
  const absolute = resolve(cwd, path);
  let isFolder: boolean;
  try {
    isFolder = (await stat(absolute)).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw toHoldfastError(error, `reading ${absolute}`);
    }
    throw new HoldfastError(
      'BACKUP_NOT_FOUND',
      `${JSON.stringify(path)} is neither a label nor a file`,
      { hint: 'list_backups.ts shows the labels.', cause: error },
    );
  }
  const source = await folderSource(isFolder ? absolute : dirname(absolute));
  if (isFolder) {
    if (source !== null) return source;
    throw new HoldfastError('BACKUP_NOT_FOUND', `${absolute} is no backup: it has no manifest`, {
      hint: 'Name the folder of a backup, or a dump.',
    });
  }
  return source !== null && source.dump.name === basename(absolute) ? source : bareSource(absolute);
}

/** Whether an operand can only be a label. */
export function isLabel(text: string): boolean {
  return parseLabel(text) !== null;
}
