/**
 * Brings stores the backups that they lack: what a store did not take when it was down, or what was
 * taken before it was set up. Which those are is read from the stores themselves, on every run.
 */

import { stalledError, stallMsOf } from '../catalog/copies_writer.ts';
import { type HoldfastError, toHoldfastError } from '../core/errors.ts';
import { lackingCopies, type StoreListing } from '../core/lacking_copies.ts';
import { formatBytes, formatCount } from '../core/units.ts';
import { within } from '../process/within.ts';
import { cleanUp } from './clean_up.ts';
import type { RepositoryContext } from './context.ts';
import { type CopyRequest, copyBackup, readCopySource, type SourceStore } from './copy_backup.ts';
import { openStores, type ReadyStore } from './ready_stores.ts';
import { isOfBackup } from './store_choice.ts';

/** A backup that a store was brought. */
export interface FinishedCopy {
  readonly store: string;
  readonly label: string;
  readonly bytes: number;
  readonly seconds: number;
}

/** What was done. */
export interface FinishedCopies {
  readonly copied: readonly FinishedCopy[];
  /** How many backups a store lacks now; one that lacks none, or did not answer, is not told. */
  readonly lacking: readonly { readonly store: string; readonly backups: number }[];
  readonly warnings: readonly string[];
}

export interface FinishOptions {
  /** The key of the folder that holds the backups of a database, or of a cluster. */
  readonly folder: string;
  /** Names of stores that have failed in this run: they are left in peace. */
  readonly failed: readonly string[];
  /**
   * Does the work while no backup of the same database, or cluster, is taken from whatever host;
   * not at all where one is.
   */
  readonly exclusively: (work: (signal: AbortSignal) => Promise<void>) => Promise<void>;
}

/** A run that has worked on it for so long begins no further copy. */
const secondsMax = 3600;
/** And not after so many. */
const copiesMax = 200;

/** A store, and what lies in it. */
interface Listed extends SourceStore {
  readonly ready: ReadyStore;
  readonly listing: StoreListing & { readonly labels: Set<string> };
}

/** One run of finishing. */
class Finishing {
  readonly copied: FinishedCopy[] = [];
  readonly warnings: string[] = [];
  readonly #context: RepositoryContext;
  readonly #options: FinishOptions;
  readonly #startedSeconds: number;
  #stores: readonly Listed[] = [];

  constructor(context: RepositoryContext, options: FinishOptions) {
    this.#context = context;
    this.#options = options;
    this.#startedSeconds = context.stopwatch();
  }

  /** Reads what lies where. A store that does not answer has nothing to give and gets nothing. */
  async list(opened: readonly ReadyStore[]): Promise<void> {
    const { folder, failed } = this.#options;
    const listed = opened.map(async (ready): Promise<Listed[]> => {
      const { spec, storage } = ready;
      if (storage === null || failed.includes(spec.name)) return [];
      try {
        const late = () => stalledError(spec, `reading ${folder}`);
        const names = await within(stallMsOf(spec), storage.children(folder), late);
        return [{ ready, spec, storage, listing: { name: spec.name, labels: new Set(names) } }];
      } catch (thrown) {
        this.#warn(toHoldfastError(thrown));
        return [];
      }
    });
    this.#stores = (await Promise.all(listed)).flat();
  }

  /** What a store lacks, oldest first. */
  #lackingIn({ spec, listing }: Listed): string[] {
    const others = this.#stores.flatMap((other) =>
      other.spec.name === spec.name ? [] : [other.listing],
    );
    return lackingCopies(listing, others, spec.retention, this.#context.clock());
  }

  lacking(): FinishedCopies['lacking'] {
    const counted = this.#stores.map((store) => {
      return { store: store.spec.name, backups: this.#lackingIn(store).length };
    });
    return counted.filter(({ backups }) => backups > 0);
  }

  /** Copies what is lacking into every store; one that fails does not stop the others. */
  async copyAll(signal: AbortSignal): Promise<void> {
    for (const store of this.#stores) {
      for (const label of this.#lackingIn(store)) {
        if (this.#isEnough()) return;
        signal.throwIfAborted();
        // With one that an increment builds upon the increment has come, or failed, already.
        if (store.listing.labels.has(label)) continue;
        const goesOn = await this.#bring(store, label, signal);
        if (!goesOn) break;
      }
    }
  }

  #isEnough(): boolean {
    const seconds = this.#context.stopwatch() - this.#startedSeconds;
    return seconds > secondsMax || this.copied.length >= copiesMax;
  }

  /** Brings one backup from the first store that has it whole. @returns whether to go on */
  async #bring(to: Listed, label: string, signal: AbortSignal): Promise<boolean> {
    const sources = this.#stores.filter(({ spec, listing }) => {
      return spec.name !== to.spec.name && listing.labels.has(label);
    });
    for (const from of sources) {
      const folder = `${this.#options.folder}/${label}`;
      const request = { label, folder, from, to: to.ready, signal };
      const failure = await this.#copy(to, request);
      if (failure === null) return true;
      if (signal.aborted) throw signal.reason;
      this.#warn(failure);
      // Whatever else it is, the store that should take it has had its chance.
      if (!isOfBackup(failure)) return false;
    }
    return true;
  }

  /** Copies from one store. @returns why it failed, or `null` */
  async #copy(to: Listed, request: CopyRequest): Promise<HoldfastError | null> {
    const { label, signal } = request;
    const { log, stopwatch } = this.#context;
    const store = to.spec.name;
    const startedSeconds = stopwatch();
    try {
      const source = await readCopySource(request);
      const { parent } = source;
      if (parent !== null && !to.listing.labels.has(parent)) {
        await this.#bring(to, parent, signal);
        // Without what it builds upon nobody can use it.
        if (!to.listing.labels.has(parent)) return null;
      }
      const bytes = await copyBackup(this.#context, request, source);
      to.listing.labels.add(label);
      const seconds = Math.round((stopwatch() - startedSeconds) * 1000) / 1000;
      this.copied.push({ store, label, bytes, seconds });
      const way = `from ${JSON.stringify(request.from.spec.name)} to ${JSON.stringify(store)}`;
      log.step(`copied ${label} (${formatBytes(bytes)}) ${way}`, { label, store, bytes, seconds });
      return null;
    } catch (thrown) {
      return toHoldfastError(thrown, `copying ${label} to the store ${JSON.stringify(store)}`);
    }
  }

  #warn({ message }: HoldfastError): void {
    if (!this.warnings.includes(message)) this.warnings.push(message);
  }
}

/**
 * Brings every store what it lacks of one database's backups, or of one cluster's base backups. It
 * never throws: the backup of this run is taken, whatever becomes of older copies.
 */
export async function finishCopies(
  context: RepositoryContext,
  options: FinishOptions,
): Promise<FinishedCopies> {
  const finishing = new Finishing(context, options);
  if (context.repository.stores.length < 2) return { copied: [], lacking: [], warnings: [] };
  try {
    const opened = await openStores(context);
    await finishing.list(opened);
    if (finishing.lacking().length > 0) {
      await options.exclusively(async (signal) => {
        await cleanUp(context, opened, options.folder);
        await finishing.list(opened);
        await finishing.copyAll(signal);
      });
    }
  } catch (thrown) {
    if (!context.signal.aborted) finishing.warnings.push(toHoldfastError(thrown).message);
  }
  const lacking = finishing.lacking();
  const late = lacking.map(({ store, backups }) => {
    const what = formatCount(backups, 'backup');
    return `the store ${JSON.stringify(store)} still lacks ${what}: the next run goes on with it`;
  });
  const warnings = [...finishing.warnings, ...late];
  for (const text of warnings) context.log.warn(text);
  return { copied: finishing.copied, lacking, warnings };
}
