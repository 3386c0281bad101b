/** Compares an existing data directory with a base backup, file by file. Nothing is touched. */

import { createHash } from 'node:crypto';
import { open, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { mapBounded } from '../../catalog/map_bounded.ts';
import { type Present, planDelta } from '../../core/delta.ts';
import { HoldfastError } from '../../core/errors.ts';
import { type ListedFile, pathText } from '../../core/server_manifest.ts';
import { joinBytes, listTree } from '../../process/file_tree.ts';
import { unfinishedName } from './pitr_folder.ts';

/** Something that is there, with its own path. */
interface Found extends Present {
  readonly at: Buffer;
}

/** What becomes of what is there. */
export interface Comparison {
  /** Files that are as they are in the backup, by their paths below the data directory. */
  readonly kept: ReadonlySet<string>;
  readonly keptBytes: number;
  /** Paths of what is removed, and of folders after what is in them. */
  readonly removed: readonly Buffer[];
  readonly removedBytes: number;
  readonly folders: readonly Buffer[];
  /** The folder of the WAL, whatever link leads to it. */
  readonly walFolder: string;
}

/** Where the control file waits until everything else is there. */
export const controlFolder = 'holdfast_restore_control';

const comparesMax = 4;
const chunkBytes = 1024 * 1024;
/** Of the file system, of ours: none of it is the cluster's. */
const passedOver: ReadonlySet<string> = new Set([unfinishedName, controlFolder, 'lost+found']);
/** What may lie in the folder of the WAL. */
const walNames = [
  /^[0-9A-F]{24}(?:\.partial|\.[0-9A-F]{8}\.backup)?$/,
  /^[0-9A-F]{8}\.history$/,
  /^(?:archive_status|summaries|RECOVERY\w+|xlogtemp\.\d+|\.wal_fetch\..*|lost\+found)$/,
];

function leadsOut(path: string, target: string, folder: string): HoldfastError {
  const [from, to] = [JSON.stringify(folder), JSON.stringify(target)];
  return new HoldfastError('USAGE', `${JSON.stringify(path)} leads out of ${from}, to ${to}`, {
    hint: 'Put a file in its place, or restore into a new folder. Nothing was touched.',
  });
}

/** Digests of files are compared without keeping one in memory. */
async function sha256Of(path: Buffer, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  const handle = await open(path);
  try {
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(chunkBytes, bytes)));
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
}

/** What is below a folder. @param prefix of its paths below the data directory */
async function findBelow(
  folder: string,
  prefix: string,
  skip: (path: Buffer) => boolean,
): Promise<Found[]> {
  const base = Buffer.from(folder);
  const found: Found[] = [];
  for await (const { path, ...facts } of listTree(folder, skip)) {
    const below = joinBytes(Buffer.from(prefix), path);
    found.push({ ...facts, path: pathText(below), at: joinBytes(base, path) });
  }
  return found;
}

/** The folder of the WAL, where a link leads to it. @throws HoldfastError USAGE for another one */
async function findWalFolder(pgdata: string): Promise<string> {
  const path = join(pgdata, 'pg_wal');
  const folder = await realpath(path).catch(() => null);
  if (folder === null || folder === path) return path;
  const names = await readdir(folder);
  const foreign = names.find((name) => !walNames.some((wal) => wal.test(name)));
  if (foreign === undefined && (await stat(folder)).isDirectory()) return folder;
  throw new HoldfastError(
    'USAGE',
    `pg_wal leads to ${JSON.stringify(folder)}, where ${JSON.stringify(foreign)} is no WAL`,
    { hint: 'Move what is no WAL out of that folder. Nothing was touched.' },
  );
}

/** The folders of a tablespace that are this cluster's: another version has its own beside them. */
async function versionFolders(folder: string, major: number): Promise<string[]> {
  const names = await readdir(folder).catch((): string[] => []);
  return names.filter((name) => new RegExp(`^PG_${major}_\\d+$`).test(name));
}

/** Links: those of the tablespaces and of the WAL stay, any other one must lead nowhere else. */
async function isKeptLink(
  entry: Found,
  pgdata: string,
  tablespaces: ReadonlyMap<number, string>,
): Promise<boolean> {
  const at = entry.at.toString();
  const target = resolve(dirname(at), await readlink(at));
  const oid = /^pg_tblspc\/(\d+)$/.exec(entry.path)?.[1];
  if (oid !== undefined) {
    const wanted = tablespaces.get(Number(oid));
    return wanted !== undefined && (await realpath(at).catch(() => '')) === wanted;
  }
  if (entry.path === 'pg_wal') return true;
  if (target !== pgdata && !target.startsWith(`${pgdata}/`)) throw leadsOut(at, target, pgdata);
  return false;
}

async function findAll(
  pgdata: string,
  tablespaces: ReadonlyMap<number, string>,
  major: number,
): Promise<{ found: Found[]; walFolder: string }> {
  const walFolder = await findWalFolder(pgdata);
  const isTop = (path: Buffer) => passedOver.has(path.toString('latin1'));
  const found = await findBelow(pgdata, '', isTop);
  if (walFolder !== join(pgdata, 'pg_wal')) {
    found.push(...(await findBelow(walFolder, 'pg_wal', isTop)));
  }
  for (const [oid, folder] of tablespaces) {
    for (const name of await versionFolders(folder, major)) {
      const prefix = `pg_tblspc/${oid}/${name}`;
      found.push(...(await findBelow(join(folder, name), prefix, () => false)));
    }
  }
  const present: Found[] = [];
  for (const entry of found) {
    const isKept = entry.kind === 'link' && (await isKeptLink(entry, pgdata, tablespaces));
    if (!isKept) present.push(entry);
  }
  return { found: present, walFolder };
}

/**
 * Compares what is there with the server's list: by size, time and digest.
 *
 * @param pgdata its own path
 * @param tablespaces their own paths by their OIDs
 * @param onBytes told of bytes that were read
 * @throws HoldfastError USAGE for a link that leads out
 */
export async function comparePgdata(
  pgdata: string,
  tablespaces: ReadonlyMap<number, string>,
  backup: { readonly files: ReadonlyMap<string, ListedFile>; readonly major: number },
  onBytes: (bytes: number) => void,
): Promise<Comparison> {
  const { found, walFolder } = await findAll(pgdata, tablespaces, backup.major);
  const { alike, removed, folders } = planDelta(found, backup.files);
  const same = await mapBounded(alike, comparesMax, async ({ at, path, bytes }) => {
    const isSame = (await sha256Of(at, bytes)) === backup.files.get(path)?.sha256;
    onBytes(bytes);
    return isSame;
  });
  const kept = alike.filter((_, at) => same[at]);
  const differing = [...removed, ...alike.filter((_, at) => !same[at])];
  const sum = (entries: readonly Found[]) => entries.reduce((bytes, each) => bytes + each.bytes, 0);
  return {
    kept: new Set(kept.map(({ path }) => path)),
    keptBytes: sum(kept),
    removed: differing.map(({ at }) => at),
    removedBytes: sum(differing),
    folders: folders.map(({ at }) => at),
    walFolder,
  };
}
