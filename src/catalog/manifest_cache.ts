/**
 * The cache of manifests' facts in `state/`, which makes the list of ten thousand backups a matter
 * of looking at files in place of reading them. It is for showing alone: nothing that restores or
 * removes ever asks it (the catalog gives those the manifests themselves).
 *
 * It may be deleted, old, damaged or of another repository: then the manifests are read. Whoever
 * may not write it does without. Of two who write at once the later one's is there, whole.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { localName } from '../config/stores.ts';
import { type HoldfastError, toHoldfastError } from '../core/errors.ts';
import { type ManifestFacts, manifestFactsSchema } from '../core/manifest_facts.ts';
import { encodeComponent } from '../core/names.ts';
import { sealed, unsealed } from '../core/sealed.ts';
import { Type } from '../core/type_builder.ts';
import { documentReader } from '../core/validate.ts';
import { makeFolders, replaceFile } from '../process/durable.ts';

/** The store in BACKUP_DIR has the short name. */
function cacheNameOf(store: string): string {
  return store === localName
    ? 'manifest_cache.json'
    : `manifest_cache_${encodeComponent(store)}.json`;
}

/** Another number whenever the facts mean something else. */
const cacheFormat = 2;
/** So many entries are kept; of more, those that were seen first. */
const entriesMax = 100_000;
/** Facts that are larger, by their warnings, are not worth keeping. */
const factsBytesMax = 4096;
/** Fewer manifests than this are read faster than the file is written. */
const newEntriesMin = 32;

const closed = { additionalProperties: false } as const;
const cacheSchema = Type.Object(
  {
    format: Type.Literal(cacheFormat),
    repository_id: Type.String(),
    entries: Type.Array(
      Type.Object(
        { folder: Type.String(), identity: Type.String(), facts: manifestFactsSchema },
        closed,
      ),
      { maxItems: entriesMax },
    ),
  },
  closed,
);

const parseCache = documentReader(cacheSchema, {
  name: 'the cache of manifests',
  format: cacheFormat,
  code: 'DAMAGED',
});

interface Entry {
  readonly identity: string;
  readonly facts: ManifestFacts;
}

/** Facts of manifests by their folder, and by what tells one file from any other. */
export interface ManifestCache {
  /** @param identity of the manifest as it lies there now; see `Storage.identity` */
  get(folder: string, identity: string): ManifestFacts | null;
  put(folder: string, identity: string, facts: ManifestFacts): void;
  /**
   * Keeps what has been learnt, where that is worth it.
   *
   * @param everything the whole repository was listed: what nobody asked for is gone, and forgotten
   * @returns why it could not be kept, which is no failure of whoever lists; else `null`
   */
  save(everything: boolean): Promise<HoldfastError | null>;
}

/** What is there and can be believed. */
async function readEntries(path: string, repositoryId: string): Promise<Map<string, Entry>> {
  try {
    const body = unsealed(await readFile(path));
    const cache = body === null ? null : parseCache(body);
    if (cache?.repository_id !== repositoryId) return new Map();
    return new Map(cache.entries.map(({ folder, ...entry }) => [folder, entry]));
  } catch {
    // Not there, not allowed, not valid: whatever it is, the manifests themselves are read.
    return new Map();
  }
}

/**
 * Opens the cache of what lies in one store of a repository. A cache that cannot be used is empty.
 *
 * @param stateDir the repository's folder for what is local
 * @param store the name of the store
 */
export async function openManifestCache(
  stateDir: string,
  repositoryId: string,
  store: string = localName,
): Promise<ManifestCache> {
  const cacheName = cacheNameOf(store);
  const path = join(stateDir, cacheName);
  const known = await readEntries(path, repositoryId);
  const asked = new Map<string, Entry>();
  let added = 0;
  return {
    get(folder, identity) {
      const entry = known.get(folder);
      if (entry?.identity !== identity) return null;
      asked.set(folder, entry);
      return entry.facts;
    },
    put(folder, identity, facts) {
      if (Buffer.byteLength(JSON.stringify(facts)) > factsBytesMax) return;
      asked.set(folder, { identity, facts });
      added += 1;
    },
    async save(everything) {
      if (added < newEntriesMin) return null;
      const kept = everything ? asked : new Map([...known, ...asked]);
      const entries = [...kept].map(([folder, entry]) => ({ folder, ...entry }));
      const body = Buffer.from(
        JSON.stringify({
          format: cacheFormat,
          repository_id: repositoryId,
          entries: entries.slice(0, entriesMax),
        }),
      );
      try {
        await makeFolders(stateDir);
        await replaceFile(path, sealed(body));
        return null;
      } catch (error) {
        return toHoldfastError(error, `writing ${cacheName}`);
      }
    },
  };
}
