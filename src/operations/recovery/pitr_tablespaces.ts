/** Where the tablespaces of a restored cluster go. */

import { realpath } from 'node:fs/promises';
import type { BaseTablespace } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';

/** A tablespace, and the folder where it goes. */
export interface MappedTablespace {
  readonly tablespace: BaseTablespace;
  readonly folder: string;
}

/**
 * Which tablespace goes where.
 *
 * @param mapping absolute paths by names or OIDs
 * @param present where tablespaces lie that nobody has named, by their OIDs
 * @throws HoldfastError USAGE for one that is missing or unknown
 */
export function mapTablespaces(
  tablespaces: readonly BaseTablespace[],
  mapping: ReadonlyMap<string, string>,
  present: ReadonlyMap<number, string> = new Map(),
): MappedTablespace[] {
  const names = tablespaces.map(({ oid, name }) => `${JSON.stringify(name)} (${oid})`).join(', ');
  const keys = new Set(tablespaces.flatMap(({ oid, name }) => [String(oid), name]));
  const unknown = [...mapping.keys()].find((key) => !keys.has(key));
  if (unknown !== undefined) {
    throw new HoldfastError('USAGE', `the backup has no tablespace ${JSON.stringify(unknown)}`, {
      hint: names === '' ? 'It has none at all.' : `It has ${names}.`,
    });
  }
  return tablespaces.map((tablespace) => {
    const { oid, name } = tablespace;
    const folder = mapping.get(name) ?? mapping.get(String(oid)) ?? present.get(oid);
    if (folder !== undefined) return { tablespace, folder };
    const text = `it is not said where the tablespace ${JSON.stringify(name)} goes`;
    throw new HoldfastError('USAGE', text, {
      hint: `Add --tablespace-mapping NAME=FOLDER for each of ${names}.`,
    });
  });
}

/** @throws HoldfastError USAGE where folders are the same, or lie within each other */
export function requireApart(folders: readonly string[]): void {
  const nested = folders.some((one) =>
    folders.some((other) => other !== one && one.startsWith(`${other}/`)),
  );
  if (!nested && new Set(folders).size === folders.length) return;
  throw new HoldfastError('USAGE', 'the folders of the restore lie within each other', {
    hint: 'Name folders beside each other.',
  });
}

/**
 * Nothing but what is Holdfast's lies in a repository: a cluster there would be in the way of what
 * removes old backups, and go with the repository.
 *
 * @throws HoldfastError USAGE
 */
export function requireOutside(repository: string, folders: readonly string[]): void {
  const inside = folders.find((each) => each === repository || each.startsWith(`${repository}/`));
  if (inside === undefined) return;
  throw new HoldfastError('USAGE', `${JSON.stringify(inside)} lies within the repository`, {
    hint: 'Name a folder beside it.',
  });
}

/** Tells the server where the tablespaces are (manual, "Low-Level Base Backup", tablespace_map). */
export function tablespaceMap(mapped: readonly MappedTablespace[]): string {
  return mapped
    .map(({ tablespace, folder }) => `${tablespace.oid} ${folder.replace(/[\\\n\r]/g, '\\$&')}\n`)
    .join('');
}

/** The tablespaces' own paths by their OIDs, whatever links lead to them. */
export async function ownPaths(mapped: readonly MappedTablespace[]): Promise<Map<number, string>> {
  const paths = new Map<number, string>();
  for (const { tablespace, folder } of mapped) {
    paths.set(tablespace.oid, await realpath(folder).catch(() => folder));
  }
  return paths;
}
