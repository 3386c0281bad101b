/**
 * What the monitor remembers of the files that it has read: one compact record in `state/monitor/`.
 * Where it is lost or damaged, every backup has its turn anew.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { RememberedBackup } from '../../core/integrity_plan.ts';
import { sealed, unsealed } from '../../core/sealed.ts';
import { makeFolders, replaceFile } from '../../process/durable.ts';

/** Another number whenever the record means something else. */
const memoryFormat = 1;
/** So many backups are remembered in each store. */
const backupsMax = 200_000;

/** Folder, marks, when it was read, what is wrong, whether it is left to verify_backups.ts. */
type Row = readonly [string, string, number, readonly string[], RememberedBackup['left']];

interface Document {
  readonly format: number;
  readonly repository_id: string;
  readonly stores: Readonly<
    Record<string, { readonly credit_bytes: number; readonly backups: readonly Row[] }>
  >;
}

/** What is remembered of one store. */
export interface StoreMemory {
  /** What the runs before have left of their budgets. */
  readonly creditBytes: number;
  /** By the key of the folder. */
  readonly backups: ReadonlyMap<string, RememberedBackup>;
}

/** What is remembered of every store, by its name. */
export type IntegrityMemory = ReadonlyMap<string, StoreMemory>;

function memoryPath(stateDir: string): string {
  return join(stateDir, 'monitor', 'integrity.json');
}

function parseRows(rows: readonly Row[]): Map<string, RememberedBackup> {
  return new Map(
    rows.map(([folder, marks, readMs, damage, left]) => [folder, { marks, readMs, damage, left }]),
  );
}

/** What is there and can be believed; nothing, where it is of another repository. */
export async function readIntegrityMemory(
  stateDir: string,
  repositoryId: string,
): Promise<IntegrityMemory> {
  try {
    const body = unsealed(await readFile(memoryPath(stateDir)));
    // What is under our seal we have written: it is not held against a schema at every start.
    const document = body === null ? null : (JSON.parse(body.toString('utf8')) as Document);
    if (document?.format !== memoryFormat || document.repository_id !== repositoryId) {
      return new Map();
    }
    return new Map(
      Object.entries(document.stores).map(([name, { credit_bytes: creditBytes, backups }]) => [
        name,
        { creditBytes, backups: parseRows(backups) },
      ]),
    );
  } catch {
    // Not there, not allowed, not ours: the backups have their turns anew.
    return new Map();
  }
}

/**
 * Keeps it, whole or not at all.
 *
 * @returns why it could not be kept; else `null`
 */
export async function writeIntegrityMemory(
  stateDir: string,
  repositoryId: string,
  memory: IntegrityMemory,
): Promise<HoldfastError | null> {
  const stores = Object.fromEntries(
    [...memory].map(([name, { creditBytes, backups }]) => {
      const rows = [...backups].slice(0, backupsMax).map(([folder, known]): Row => {
        return [folder, known.marks, known.readMs, known.damage, known.left];
      });
      return [name, { credit_bytes: creditBytes, backups: rows }];
    }),
  );
  const document: Document = { format: memoryFormat, repository_id: repositoryId, stores };
  try {
    await makeFolders(join(stateDir, 'monitor'));
    await replaceFile(memoryPath(stateDir), sealed(Buffer.from(JSON.stringify(document))));
    return null;
  } catch (error) {
    return toHoldfastError(error, 'remembering what was read');
  }
}
