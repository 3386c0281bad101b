/** Writes the small files of a base backup: encrypted where its archives are. */

import { Readable } from 'node:stream';
import type { BaseConfigFile, BaseManifestFile } from '../../core/base_manifest.ts';
import type { FilterSpec } from '../../core/manifest.ts';
import { encryptionOf } from '../../core/recipients.ts';
import { encryptionFilter } from '../../pipeline/encrypt.ts';
import { store } from '../../pipeline/pipeline.ts';
import type { FolderWriter } from '../../storage/storage.ts';
import { type Context, flowContext } from '../context.ts';
import type { SavedConfig } from './base_config.ts';

/** Where small files go. */
export interface SmallFiles {
  readonly context: Context;
  readonly folder: FolderWriter;
  readonly signal: AbortSignal;
  /** Those of the archives. */
  readonly filters: readonly FilterSpec[];
}

/** A small file before it is written. */
export interface SmallFile {
  readonly name: string;
  readonly role: BaseManifestFile['role'];
  readonly bytes: Uint8Array;
  /** Everybody may read it, as a script that says how to decrypt the others. */
  readonly isPublic?: true;
}

/** Writes one small file; its stored name tells how it is encrypted. */
export async function putSmallFile(
  { context, folder, signal, filters: all }: SmallFiles,
  file: SmallFile,
): Promise<BaseManifestFile> {
  const spec = file.isPublic === true ? null : encryptionOf(all);
  const filters = spec === null ? [] : [encryptionFilter(spec)];
  const name = `${file.name}${filters.map(({ extension }) => extension).join('')}`;
  const measured = await store({
    source: Readable.from([file.bytes]),
    filters,
    observers: [],
    sinks: [(body) => folder.put(name, body)],
    context: flowContext(context, signal),
  });
  const specs = filters.map((filter) => filter.spec);
  const { stored, plain } = measured;
  return { name, role: file.role, filters: specs, stored, plain: plain ?? stored };
}

/** The saved configuration: its files, and what each is. */
export interface WrittenConfig {
  readonly files: readonly BaseManifestFile[];
  readonly entries: readonly BaseConfigFile[];
}

/** Writes the configuration that lies outside the data directory. */
export async function putConfig(
  to: SmallFiles,
  saved: readonly SavedConfig[],
): Promise<WrittenConfig> {
  const files: BaseManifestFile[] = [];
  const entries: BaseConfigFile[] = [];
  for (const { entry, bytes } of saved) {
    const file = await putSmallFile(to, { name: entry.file, role: 'config', bytes });
    files.push(file);
    entries.push({ ...entry, file: file.name });
  }
  return { files, entries };
}
