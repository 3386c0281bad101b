/** What lies in the folder of a backup, compared with what its manifest says, before it may go. */

import type { HoldfastError } from '../core/errors.ts';
import { manifestName, restoreScriptName, signatureName, sumsName } from '../core/manifest.ts';
import type { Storage } from '../storage/storage.ts';

/** What the folder of a backup must hold. */
export interface ExpectedFolder {
  /** Names and sizes by the manifest; `null`: it cannot be used. */
  readonly files: readonly (readonly [name: string, bytes: number])[] | null;
  /** What is wrong with the manifest. */
  readonly problem: string | null;
  /** Whether a backup may have a file of that name, where its manifest does not tell. */
  readonly isKnown: (name: string) => boolean;
}

/** What it does hold. */
export interface InspectedFolder {
  /** Of all files in it. */
  readonly bytes: number;
  /** Whether all files are there in their sizes. */
  readonly isWhole: boolean;
  /** Why it must stay, whatever its age; `null`: nothing of the kind. */
  readonly promise: string | null;
}

const alwaysThere: readonly string[] = [manifestName, signatureName, sumsName, restoreScriptName];

/** What lies in a folder: names and sizes. */
async function filesOf(storage: Storage, folder: string): Promise<Map<string, number>> {
  const files = new Map<string, number>();
  for await (const page of storage.list(folder)) {
    for (const { key, bytes } of page) files.set(key.slice(folder.length + 1), bytes);
  }
  return files;
}

/** Why a backup that retention could do without is not touched; `null` when it may go. */
function promiseOf(expected: ExpectedFolder, present: ReadonlyMap<string, number>): string | null {
  const { files, problem, isKnown } = expected;
  if (files === null && (present.size === 0 || present.has(manifestName))) {
    return `nobody knows what it is: ${problem}`;
  }
  const own = new Set([...alwaysThere, ...(files ?? []).map(([name]) => name)]);
  const isOwn = (name: string) => own.has(name) || (files === null && isKnown(name));
  const foreign = [...present.keys()].find((name) => !isOwn(name));
  return foreign === undefined
    ? null
    : `its folder holds what is not of the backup: ${JSON.stringify(foreign)}`;
}

/** A backup that a store itself keeps, and the words for it. */
export interface Retained {
  readonly folder: string;
  readonly reason: string;
}

/** The words for what a store keeps until then, whoever asks it to remove it. */
function retainedText(until: string): string {
  return `retained until ${until.slice(0, 10)} by the store`;
}

/**
 * Which of some backups the store itself keeps, whoever asks it to remove them.
 *
 * @param folders their keys
 * @throws HoldfastError when the store cannot be read
 */
export async function retainedOf(
  storage: Storage,
  folders: readonly string[],
): Promise<readonly Retained[]> {
  if (storage.retainedUntil === undefined) return [];
  const found: Retained[] = [];
  for (const folder of folders) {
    const until = await storage.retainedUntil(`${folder}/${manifestName}`);
    if (until !== null) found.push({ folder, reason: retainedText(until.toISOString()) });
  }
  return found;
}

/** Until when the store keeps what it has refused to remove, in words; `null`: it was not that. */
export function retainedReason(error: HoldfastError): string | null {
  const until = error.details?.retained_until;
  return typeof until === 'string' ? retainedText(until) : null;
}

/**
 * Looks at the files themselves: a backup that lacks one holds no other one's place.
 *
 * @param folder its key
 * @throws HoldfastError when the store cannot be read
 */
export async function inspectFolder(
  storage: Storage,
  folder: string,
  expected: ExpectedFolder,
): Promise<InspectedFolder> {
  const present = await filesOf(storage, folder);
  const isWhole =
    present.has(sumsName) &&
    expected.files?.every(([name, bytes]) => present.get(name) === bytes) === true;
  const bytes = [...present.values()].reduce((sum, size) => sum + size, 0);
  return { bytes, isWhole, promise: promiseOf(expected, present) };
}
