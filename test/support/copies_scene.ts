/** Stores in folders beside BACKUP_DIR, and what lies in them. */

import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256Of } from '../../src/core/sums.ts';

/** One store of holdfast.yaml. */
export interface StoreWish {
  readonly path?: string;
  readonly bucket?: string;
  readonly required?: boolean;
  readonly stall_seconds?: number;
  readonly max_rate_mb?: number;
  readonly retention_daily?: number;
}

/** Writes a holdfast.yaml with these stores. JSON is YAML. */
export async function writeStores(
  file: string,
  stores: Readonly<Record<string, StoreWish>>,
  more: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await writeFile(file, JSON.stringify({ ...more, stores }), { mode: 0o644 });
}

/** Every file below a folder with its digest; nothing where there is no folder. */
export function digestsBelow(folder: string): Readonly<Record<string, string>> {
  let entries: string[];
  try {
    entries = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  } catch {
    return {};
  }
  const digests: Record<string, string> = {};
  for (const name of entries.sort()) {
    try {
      digests[name] = sha256Of(readFileSync(join(folder, name)));
    } catch {
      // A folder.
    }
  }
  return digests;
}

/** What a store did with a backup, as the commands tell it. */
export interface ToldStore {
  readonly name: string;
  readonly status: 'stored' | 'missing';
  readonly required: boolean;
  readonly bytes: number;
  readonly seconds: number;
  readonly error?: { readonly code: string; readonly message: string };
}

/** One database in the JSON of scripts/backup_full.ts. */
export interface ToldBackup {
  readonly status: string;
  readonly label: string;
  readonly folder: string;
  readonly stores: readonly ToldStore[];
  readonly warnings: readonly string[];
  readonly retention: object | null;
  readonly error?: { readonly code: string; readonly message: string };
  readonly older_copies: {
    readonly copied: readonly { readonly store: string; readonly label: string }[];
    readonly lacking: readonly { readonly store: string; readonly backups: number }[];
    readonly warnings: readonly string[];
  };
}
