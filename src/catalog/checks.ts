/**
 * What was learnt about a backup after it was written: one small new file for each check, beside
 * the tree of backups (REPOSITORY.md, "The repository").
 */

import { HoldfastError } from '../core/errors.ts';
import { documentBytes } from '../core/validate.ts';
import type { Storage } from '../storage/storage.ts';
import { checksFolder, fullFolder } from './repository.ts';

const checkKinds = ['verified', 'proven', 'damaged'] as const;
export type CheckKind = (typeof checkKinds)[number];

/** The latest check of a backup. */
export interface CheckState {
  readonly kind: CheckKind;
  readonly at: Date;
}

const namePattern = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-([a-z]+)\.json$/;
const sameMomentMax = 1000;

/** `20261121T020000123Z-verified.json`: names sort by time. */
function checkName(at: Date, kind: CheckKind): string {
  return `${at.toISOString().replaceAll(/[-:.]/g, '')}-${kind}.json`;
}

/** Whether a name is one that a check has. */
export function isCheckName(name: string): boolean {
  return parseCheckName(name) !== null;
}

function parseCheckName(name: string): CheckState | null {
  const match = namePattern.exec(name);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second, ms, kindText] = match;
  const kind = checkKinds.find((candidate) => candidate === kindText);
  const at = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`);
  return kind === undefined || Number.isNaN(at.getTime()) ? null : { kind, at };
}

const baseFolderPattern = /^(incremental\/[^/]+)\/base(?=\/|$)/;

/**
 * `full/a/b/label` → `checks/a/b/label`; of a base backup, which is of no database,
 * `incremental/a/base/label` → `incremental/a/checks/label`.
 */
export function checksOf(folder: string): string {
  if (baseFolderPattern.test(folder)) return folder.replace(baseFolderPattern, '$1/checks');
  return `${checksFolder}${folder.slice(fullFolder.length)}`;
}

async function latestWhere(
  storage: Storage,
  folder: string,
  isMeant: (state: CheckState) => boolean,
): Promise<CheckState | null> {
  const names = await storage.children(checksOf(folder));
  for (const name of names.toReversed()) {
    const state = parseCheckName(name);
    if (state !== null && isMeant(state)) return state;
  }
  return null;
}

/** The latest check of the backup in a folder, or `null` when it was never checked. */
export function latestCheck(storage: Storage, folder: string): Promise<CheckState | null> {
  return latestWhere(storage, folder, () => true);
}

/** The latest check of one kind, whatever was found since. */
export function latestOfKind(
  storage: Storage,
  folder: string,
  kind: CheckKind,
): Promise<CheckState | null> {
  return latestWhere(storage, folder, (state) => state.kind === kind);
}

/**
 * Writes the result of a check. Two checks that end in the same millisecond get two files.
 *
 * @param facts what is worth knowing about it; never a secret
 */
export async function writeCheck(
  storage: Storage,
  folder: string,
  check: CheckState,
  facts: Readonly<Record<string, unknown>>,
): Promise<void> {
  for (let later = 0; later < sameMomentMax; later += 1) {
    const at = new Date(check.at.getTime() + later);
    const bytes = documentBytes({ format: 1, kind: check.kind, at: at.toISOString(), ...facts });
    try {
      await storage.put(`${checksOf(folder)}/${checkName(at, check.kind)}`, bytes);
      return;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'STORE_EXISTS') throw error;
    }
  }
  throw new HoldfastError('STORE_EXISTS', `too many checks of ${folder} at the same time`);
}
