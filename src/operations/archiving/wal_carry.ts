/**
 * Carries the WAL archive of the hooks to one other store: what is not there yet, histories first,
 * several files at a time. Nothing there is ever written twice, so that whoever is killed begins
 * again where it was; the store itself tells how far that is.
 */

import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { mapBounded } from '../../catalog/map_bounded.ts';
import { openToWrite } from '../../catalog/repository.ts';
import type { Store } from '../../catalog/stores.ts';
import { openWalArchive, type WalArchive } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import { encodeComponent } from '../../core/names.ts';
import {
  advanceMarks,
  archivePaths,
  type CarryGroup,
  filesToCarry,
  heldAs,
} from '../../core/wal_carry.ts';
import type { WalClaim } from '../../core/wal_claim.ts';
import {
  type ArchiveNames,
  digestSuffix,
  indexSuffix,
  isTimelineFolder,
  pathBeside,
  suffixOf,
} from '../../core/wal_listing.ts';
import { errorNumber, folderMode, replaceFile } from '../../process/durable.ts';
import type { RepositoryContext } from '../context.ts';
import { ensureStoreClaim } from './store_claims.ts';
import { currentClaim } from './wal_put.ts';

/** So many files are carried between two looks at what is there to carry. */
const batchMax = 256;
/** A folder that was changed so long ago has another time when it is changed again. */
const settledMs = 1_000;
/** A listing is a walk over a folder of each timeline: so many at the same time. */
const listsMax = 4;

/** The names in an archive, by one listing of each timeline's folder. */
async function readArchiveNames({ storage, folder }: WalArchive): Promise<ArchiveNames> {
  const top = await storage.children(folder);
  const timelines = await mapBounded(top.filter(isTimelineFolder), listsMax, async (name) => {
    return [name, await storage.children(`${folder}/${name}`)] as const;
  });
  return { top, timelines: new Map(timelines) };
}

/** What one look has done. */
export interface CarryLook {
  /** Segments, histories and marks of base backups that are in the store now and were not. */
  readonly carried: number;
  /** More waits. */
  readonly hasMore: boolean;
  /** Why some files stay where they are though the store takes others; `null`: none do. */
  readonly refused: HoldfastError | null;
}

/**
 * The names in an archive on this machine: folders that have not changed are not read again.
 */
export class LocalNames {
  readonly archive: WalArchive;
  readonly #root: string;
  readonly #clock: RepositoryContext['clock'];
  readonly #folders = new Map<string, { readonly at: bigint; readonly names: readonly string[] }>();

  constructor({ repository, clock }: RepositoryContext, cluster: string) {
    this.#clock = clock;
    this.archive = openWalArchive(repository.local, cluster);
    this.#root = repository.root;
  }

  async read(): Promise<ArchiveNames> {
    const { folder } = this.archive;
    const top = await this.#children(folder);
    const timelines = new Map<string, readonly string[]>();
    for (const name of top.filter(isTimelineFolder)) {
      timelines.set(name, await this.#children(`${folder}/${name}`));
    }
    return { top, timelines };
  }

  async #children(folder: string): Promise<readonly string[]> {
    const stats = await stat(join(this.#root, folder), { bigint: true }).catch(() => null);
    const kept = this.#folders.get(folder);
    if (stats !== null && kept?.at === stats.mtimeNs) return kept.names;
    const names = await this.archive.storage.children(folder);
    // What changed just now may change again within one tick of that clock.
    const isSettled = stats !== null && this.#clock().getTime() - Number(stats.mtimeMs) > settledMs;
    if (isSettled) this.#folders.set(folder, { at: stats.mtimeNs, names });
    else this.#folders.delete(folder);
    return names;
  }
}

/** Where it is remembered how far a store has got: it spares what its retention has removed. */
function marksPath({ repository }: RepositoryContext, cluster: string, store: string): string {
  const folder = join(repository.stateDir, 'wal_carry', encodeComponent(cluster));
  return join(folder, `${encodeComponent(store)}.json`);
}

async function readMarks(path: string): Promise<Map<string, string>> {
  try {
    const entries = Object.entries(JSON.parse(await readFile(path, 'utf8')) as object);
    return new Map(
      entries.filter(([folder, name]) => {
        return isTimelineFolder(folder) && typeof name === 'string' && name.startsWith(folder);
      }),
    );
  } catch (error) {
    if (errorNumber(error) === 'ENOENT' || error instanceof SyntaxError) return new Map();
    throw error;
  }
}

function isRefused(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && error.code === 'STORE_EXISTS';
}

/** Carries to one store, look by look. */
export class WalCarrier {
  readonly store: Store;
  readonly #context: RepositoryContext;
  readonly #names: LocalNames;
  readonly #local: WalArchive;
  readonly #jobs: number;
  readonly #marksPath: string;
  #archive: WalArchive | null = null;
  /** Paths within the archive; `null`: not listed yet. */
  #present: Set<string> | null = null;
  #marks = new Map<string, string>();
  /** Segments whose digest there is that of here. */
  readonly #same = new Set<string>();
  /** What the store holds under the same name and with other bytes. */
  readonly #refused = new Map<string, HoldfastError>();

  /** @param names of the archive of the hooks */
  constructor(context: RepositoryContext, names: LocalNames, store: Store, jobs: number) {
    this.store = store;
    this.#context = context;
    this.#names = names;
    this.#local = names.archive;
    this.#jobs = jobs;
    this.#marksPath = marksPath(context, names.archive.cluster, store.spec.name);
  }

  /**
   * Carries what is there to carry, at the most a few hundred files.
   *
   * @param claim of the archive of the hooks
   * @throws HoldfastError ARCHIVE_CLAIMED when the archive in the store is another server's; what
   *   the stores throw
   */
  async look(claim: WalClaim, signal: AbortSignal): Promise<CarryLook> {
    const names = await this.#names.read();
    const known = this.#present;
    // A store is not asked for anything while there is nothing for it.
    if (known !== null && this.#waiting(names, known).length === 0) {
      return { carried: 0, hasMore: false, refused: this.#refusal() };
    }
    const { archive, present } = await this.#open(claim);
    const groups = this.#waiting(names, present);
    const batch = groups.slice(0, batchMax);
    let carried = 0;
    const failures: unknown[] = [];
    const work = async (group: CarryGroup) => {
      if (failures.length > 0 || signal.aborted) return;
      try {
        if (await this.#carry(archive, present, group)) carried += 1;
      } catch (error) {
        if (isRefused(error)) this.#refused.set(group.name, error);
        else failures.push(error);
      }
    };
    const [documents, segments] = [false, true].map((isSegment) => {
      return batch.filter((group) => group.isSegment === isSegment);
    });
    await mapBounded(documents ?? [], 1, work);
    await mapBounded(segments ?? [], this.#jobs, work);
    await this.#remember(advanceMarks(names, present, this.#marks));
    if (failures.length > 0) throw failures[0];
    return { carried, hasMore: groups.length > batch.length, refused: this.#refusal() };
  }

  #waiting(names: ArchiveNames, present: ReadonlySet<string>): CarryGroup[] {
    const groups = filesToCarry(names, present, this.#marks);
    return groups.filter(({ name }) => !this.#refused.has(name));
  }

  #refusal(): HoldfastError | null {
    const [first = null] = this.#refused.values();
    return first;
  }

  /** Whether the store has a segment with its digest, and is known to have the same. */
  async holds(name: string, withIndex: boolean): Promise<boolean> {
    const [archive, present] = [this.#archive, this.#present];
    if (archive === null || present === null || heldAs(present, name) === null) return false;
    const beside = [digestSuffix, ...(withIndex ? [indexSuffix] : [])];
    if (!beside.every((suffix) => present.has(pathBeside(name, suffix)))) return false;
    if (this.#same.has(name)) return true;
    const [own, there] = [await this.#local.digest(name), await archive.digest(name)];
    if (own === null || own !== there) return false;
    this.#same.add(name);
    return true;
  }

  /** The store answers and its archive is ours. */
  async #open(claim: WalClaim): Promise<{ archive: WalArchive; present: Set<string> }> {
    const { repository } = this.#context;
    const { cluster } = this.#local;
    const archive =
      this.#archive ?? openWalArchive(await openToWrite(repository, this.store), cluster);
    const found = await currentClaim(archive);
    const isNew = await ensureStoreClaim(archive, this.store.spec.name, claim, found);
    let present = this.#present;
    if (present === null || isNew) {
      present = archivePaths(await readArchiveNames(archive));
      this.#marks = isNew ? new Map() : await readMarks(this.#marksPath);
      this.#same.clear();
    }
    this.#archive = archive;
    this.#present = present;
    return { archive, present };
  }

  /** @returns whether the file itself is new there; not where only what lies beside it was */
  async #carry(
    archive: WalArchive,
    present: Set<string>,
    { name, paths, isSegment }: CarryGroup,
  ): Promise<boolean> {
    let isNew = false;
    for (const path of paths) {
      const outcome = await this.#put(archive, path);
      // Retention has removed it here meanwhile.
      if (outcome === 'gone') return isNew;
      present.add(path);
      const isItself = isSegment ? suffixOf(path.slice(9)) !== null : path === name;
      if (isItself && outcome === 'stored') isNew = true;
      if (isItself && outcome === 'there') await this.#requireSame(archive, name);
    }
    if (isNew) this.#same.add(name);
    return isNew;
  }

  async #put(archive: WalArchive, path: string): Promise<'stored' | 'there' | 'gone'> {
    const { storage, folder } = this.#local;
    try {
      const body = await storage.get(`${folder}/${path}`);
      // Small ones are given whole: a store need not ask how long they are.
      const isLarge = suffixOf(path.slice(9)) !== null;
      await archive.storage.put(`${folder}/${path}`, isLarge ? body : await buffer(body));
      return 'stored';
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (error.code === 'STORE_EXISTS') return 'there';
      if (error.code !== 'BACKUP_NOT_FOUND') throw error;
      if ((await storage.stat(`${folder}/${path}`)) !== null) throw error;
      return 'gone';
    }
  }

  /** Somebody else has carried it, or this process before it was killed. */
  async #requireSame(archive: WalArchive, name: string): Promise<void> {
    const [own, there] = [await this.#local.digest(name), await archive.digest(name)];
    if (there === null || own === there) return;
    throw new HoldfastError(
      'STORE_EXISTS',
      `the store ${this.store.spec.name} holds other bytes under the name ${name}; nothing was ` +
        'overwritten',
      { hint: 'Two servers write into it, or a file was changed: find out which one is right.' },
    );
  }

  async #remember(marks: Map<string, string>): Promise<void> {
    const isSame = [...marks].every(([folder, name]) => this.#marks.get(folder) === name);
    this.#marks = marks;
    if (isSame) return;
    await mkdir(dirname(this.#marksPath), { recursive: true, mode: folderMode });
    const text = `${JSON.stringify(Object.fromEntries(marks))}\n`;
    await replaceFile(this.#marksPath, Buffer.from(text, 'utf8'));
  }
}
