/** Reads what the check `integrity` is made of: the files of backups, as far as they are due. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { BaseEntry } from '../../catalog/base_catalog.ts';
import { headName } from '../../catalog/repository.ts';
import { toHoldfastError } from '../../core/errors.ts';
import type { HealthFinding } from '../../core/health.ts';
import { type DamagedBackup, storeIntegrity } from '../../core/health_integrity.ts';
import { shownFinding } from '../../core/health_words.ts';
import {
  type DueReason,
  type IntegrityState,
  integrityState,
  type RememberedBackup,
  takeTurns,
} from '../../core/integrity_plan.ts';
import { printable } from '../../core/printable.ts';
import { formatCount } from '../../core/units.ts';
import { errorNumber } from '../../process/durable.ts';
import { inspectBaseBackup } from '../base/base_verify.ts';
import type { RepositoryContext } from '../context.ts';
import type { BackupFacts } from '../full/list.ts';
import { inspectBackup } from '../full/verify.ts';
import type { ReadableListing } from './facts_backups.ts';
import {
  type IntegrityMemory,
  readIntegrityMemory,
  type StoreMemory,
  writeIntegrityMemory,
} from './integrity_memory.ts';
import { type ScannedBackup, scanBackups } from './integrity_scan.ts';
import {
  type CheckGroup,
  type MonitorContext,
  type StoreListing,
  unknownFinding,
} from './monitor_context.ts';

const bytesPerMb = 1_000_000;
/** In a run of every few minutes no further backup is begun after so long, … */
const changedSecondsMax = 60;
/** … and none whose turn it is after so long of reading: the rest waits for the next run. */
const turnsSecondsMax = 1;
/** And one that is not through by then is left to verify_backups.ts. */
const oneMsMax = 30_000;
/** Stands for what was never read: no files have these marks. */
const changedMarks = '';
/** So many things that are wrong with one backup are remembered. */
const damageMax = 5;

/** A backup in one store, full or of a whole cluster. */
interface Stored {
  readonly folder: string;
  readonly label: string;
  readonly cluster: string;
  readonly database: string | null;
  readonly takenMs: number;
  readonly isReadBack: boolean;
  readonly check: { readonly kind: string; readonly at: Date } | null;
  /** What is wrong with it by its manifest or its latest check. */
  readonly recorded: string | null;
  /** @returns what is wrong */
  readonly read: (
    context: RepositoryContext,
    onBytes: (bytes: number) => void,
  ) => Promise<readonly { readonly file: string; readonly message: string }[]>;
}

function recordedDamage(
  problem: { readonly message: string } | null,
  check: Stored['check'],
): string | null {
  if (problem !== null) return problem.message;
  if (check?.kind !== 'damaged') return null;
  return `verify_backups.ts found it damaged at ${check.at.toISOString()}`;
}

function fullBackup(backup: BackupFacts): Stored {
  const { folder, label, cluster, database, problem, details } = backup;
  const { check: found } = backup;
  const check = found === null ? null : { kind: found.kind, at: new Date(found.at) };
  return {
    folder,
    label,
    cluster,
    database,
    takenMs: details === null ? 0 : Date.parse(details.finishedAt),
    isReadBack: details !== null && details.readBack !== 'none',
    check,
    recorded: recordedDamage(problem, check),
    async read(context, onBytes) {
      const entry = { cluster, database, label, folder };
      const { storage } = context.repository;
      const options = { depth: 'stored', onBytes } as const;
      const { findings } = await inspectBackup(context, { storage, folder, entry }, options);
      // Whose signature counts is a question of the settings, not of the bytes.
      return findings.filter(({ check: which }) => which !== 'signature');
    },
  };
}

function baseBackup(entry: BaseEntry): Stored {
  const { folder, label, cluster, manifest, problem, check } = entry;
  return {
    folder,
    label,
    cluster,
    database: null,
    takenMs: manifest === null ? 0 : Date.parse(manifest.finished_at),
    isReadBack: manifest !== null && manifest.read_back.depth !== 'none',
    check,
    recorded: recordedDamage(problem, check),
    async read(context, onBytes) {
      const findings = await inspectBaseBackup(context, entry, onBytes);
      return findings.filter(({ check: which }) => which !== 'signature');
    },
  };
}

/** A backup that is to be read. */
interface Due {
  readonly backup: Stored;
  readonly seen: ScannedBackup;
  readonly bytes: number;
  readonly readMs: number;
  readonly due: DueReason | null;
}

/** The look at one store. */
class StoreLook {
  readonly known = new Map<string, RememberedBackup>();
  readonly #monitor: MonitorContext;
  readonly #listing: ReadableListing;
  readonly #startedSeconds: number;
  /** When the reading began. What came before (the listing) takes nothing from the turns. */
  #readingSeconds = 0;
  readonly #changed: Due[] = [];
  readonly #waiting: Due[] = [];
  /** What could not be read now, and may be read later. */
  readonly #failures: string[] = [];
  #creditBytes: number;
  #readBackups = 0;
  #readBytes = 0;

  constructor(monitor: MonitorContext, listing: ReadableListing, creditBytes: number) {
    this.#monitor = monitor;
    this.#listing = listing;
    this.#startedSeconds = monitor.context.stopwatch();
    this.#creditBytes = creditBytes;
  }

  get store(): string {
    return this.#listing.store.spec.name;
  }

  get memory(): StoreMemory {
    return { creditBytes: this.#creditBytes, backups: this.known };
  }

  /** Compares what is seen with what was remembered. */
  compare(
    backups: readonly Stored[],
    scanned: ReadonlyMap<string, ScannedBackup | null>,
    before: ReadonlyMap<string, RememberedBackup>,
  ): void {
    for (const backup of backups) {
      const seen = scanned.get(backup.folder) ?? null;
      // What is known as damaged is told without reading it; what is gone is gone.
      if (backup.recorded !== null || seen === null) continue;
      const { takenMs, isReadBack, check } = backup;
      const verifiedMs = check?.kind === 'verified' ? check.at.getTime() : null;
      const state = integrityState(
        before.get(backup.folder) ?? null,
        { ...seen, takenMs, isReadBack, verifiedMs },
        this.#monitor.now,
      );
      this.#queue(backup, seen, state);
    }
  }

  #queue(backup: Stored, seen: ScannedBackup, { known, due }: IntegrityState): void {
    const entry = { backup, seen, bytes: seen.bytes, readMs: known.readMs, due };
    this.known.set(backup.folder, known);
    if (due === 'changed') {
      // Until it was read it stays one that has changed, whatever becomes of this run.
      this.known.set(backup.folder, { ...known, marks: changedMarks });
      this.#changed.push(entry);
    } else if (due === 'turn' || !this.#monitor.isQuick) this.#waiting.push(entry);
  }

  /** Reads what is due, as far as this run may. */
  async read(budgetBytes: number): Promise<void> {
    const turns = this.#monitor.isQuick
      ? takeTurns(this.#waiting, budgetBytes, this.#creditBytes)
      : { read: this.#waiting, creditBytes: 0 };
    this.#creditBytes = turns.creditBytes;
    this.#readingSeconds = this.#monitor.context.stopwatch();
    for (const due of [...this.#changed, ...turns.read]) {
      if (!this.#hasTime(due)) return;
      await this.#readOne(due);
    }
  }

  #hasTime({ due }: Due): boolean {
    const { context, isQuick } = this.#monitor;
    context.signal.throwIfAborted();
    const now = context.stopwatch();
    if (!isQuick) return true;
    return due === 'changed'
      ? now - this.#startedSeconds < changedSecondsMax
      : now - this.#readingSeconds < turnsSecondsMax;
  }

  /** Reads one backup whole, and remembers how it is. */
  async #readOne({ backup, seen, due }: Due): Promise<void> {
    const { context, isQuick, now } = this.#monitor;
    const { folder } = backup;
    const late = isQuick ? AbortSignal.timeout(oneMsMax) : new AbortController().signal;
    const signal = AbortSignal.any([context.signal, late]);
    const count = (bytes: number) => {
      this.#readBytes += bytes;
    };
    const done = (damage: readonly string[], { marks }: Pick<ScannedBackup, 'marks'>) => {
      this.#readBackups += 1;
      this.known.set(folder, { marks, readMs: now.getTime(), damage, left: null });
    };
    try {
      const found = await backup.read({ ...this.#listing.view, signal }, count);
      const damage = found.slice(0, damageMax).map(({ file, message }) => `${file} ${message}`);
      done(damage, seen);
    } catch (thrown) {
      if (context.signal.aborted) throw context.signal.reason;
      const error = toHoldfastError(thrown);
      const known = this.known.get(folder);
      if (late.aborted && known !== undefined) {
        // One that is only large has had its turn, and has another one tomorrow.
        const [left, readMs] =
          due === 'changed' ? (['changed', known.readMs] as const) : (['large', +now] as const);
        this.known.set(folder, { ...known, marks: seen.marks, readMs, left });
      } else if (error.code === 'BACKUP_NOT_FOUND') {
        this.known.delete(folder);
      } else if (error.code === 'STORE_UNREACHABLE' && errorNumber(error.cause) !== 'EIO') {
        this.#failures.push(`${backup.label}: ${error.message}`);
      } else {
        // A disk that fails, or a file that was taken from us: the next run tries it again.
        done([`it cannot be read: ${error.message}`], { marks: changedMarks });
      }
    }
  }

  /** What is damaged, by a record beside it or by what was read here. */
  #damaged(backups: readonly Stored[]): DamagedBackup[] {
    const { store } = this;
    return backups.flatMap((backup): DamagedBackup[] => {
      const { cluster, database, label, recorded, check, folder } = backup;
      const place = { store, cluster, database, label };
      if (recorded !== null) {
        const since = check?.kind === 'damaged' ? check.at : null;
        return [{ ...place, damage: [recorded], since, isRecorded: true }];
      }
      const { damage = [], readMs = 0 } = this.known.get(folder) ?? {};
      const since = new Date(readMs);
      return damage.length === 0 ? [] : [{ ...place, damage, since, isRecorded: false }];
    });
  }

  findings(backups: readonly Stored[], isFolder: boolean, notRemembered: string | null) {
    const { now } = this.#monitor;
    const states = [...backups].flatMap(({ folder, label }) => {
      const known = this.known.get(folder);
      return known === undefined ? [] : [{ label, ...known }];
    });
    const oldestMs = states.reduce((oldest, { readMs }) => Math.min(oldest, readMs), Infinity);
    const hasChanged = ({ marks, left, damage }: RememberedBackup) =>
      damage.length === 0 && (marks === changedMarks || left === 'changed');
    return storeIntegrity({
      store: this.store,
      isFolder,
      backups: backups.length,
      damaged: this.#damaged(backups),
      changed: states.filter(hasChanged).map(({ label }) => label),
      left: states.filter(({ left }) => left === 'large').map(({ label }) => label),
      failures: this.#failures,
      readBackups: this.#readBackups,
      readBytes: this.#readBytes,
      unreadSeconds: oldestMs === Infinity ? null : (now.getTime() - oldestMs) / 1000,
      notRemembered,
    });
  }
}

function storedIn({ full, bases }: ReadableListing): Stored[] {
  return [...full.backups.map(fullBackup), ...bases.map(baseBackup)];
}

/** One store, looked at. */
interface Looked {
  readonly look: StoreLook;
  readonly backups: readonly Stored[];
  /** On this machine; `null`: it is a bucket. */
  readonly root: string | null;
}

function begin(
  monitor: MonitorContext,
  listings: readonly StoreListing[],
  remembered: IntegrityMemory,
): Looked[] {
  return listings.flatMap((listing) => {
    if (listing.error !== null) return [];
    const { spec } = listing.store;
    const look = new StoreLook(monitor, listing, remembered.get(spec.name)?.creditBytes ?? 0);
    const root = spec.kind === 'folder' ? spec.path : null;
    return [{ look, backups: storedIn(listing), root }];
  });
}

/** Nothing is there any more: what was damaged there has not ended, and nobody can look at it. */
function lostFinding(store: string, backups: number): HealthFinding {
  return shownFinding({
    check: 'integrity',
    subject: printable(store),
    level: 'unknown',
    message: `the store ${JSON.stringify(printable(store))} is empty`,
    expected: `the ${formatCount(backups, 'backup')} that lay there`,
    found: 'none of them',
    mend: 'Look whether its file system is mounted: type df and ls in its folder.',
  });
}

/** Looks at every store that is a folder, and reads there what is due. */
async function checkIntegrity(monitor: MonitorContext): Promise<readonly HealthFinding[]> {
  const { context } = monitor;
  const { stateDir, id } = context.repository;
  const remembered = await readIntegrityMemory(stateDir, id);
  const listings = await monitor.listing();
  const looks = begin(monitor, listings, remembered);
  const folders = looks.filter(({ root }) => root !== null).length;
  const budget = (context.config.settings.monitor.integrity_mb * bytesPerMb) / folders;
  const memory = new Map<string, StoreMemory>();
  for (const { store } of listings) {
    const before = remembered.get(store.spec.name);
    if (before !== undefined) memory.set(store.spec.name, before);
  }
  const lost: HealthFinding[] = [];
  try {
    for (const { look, backups, root } of looks) {
      if (root === null) continue;
      const before = remembered.get(look.store)?.backups ?? new Map();
      if (backups.length === 0 && before.size > 0 && !existsSync(join(root, headName))) {
        lost.push(lostFinding(look.store, before.size));
        continue;
      }
      const keys = backups.map(({ folder }) => folder);
      const scanned = await scanBackups(root, keys, context.signal);
      look.compare(backups, scanned, before);
      memory.set(look.store, look.memory);
      await look.read(budget);
      memory.set(look.store, look.memory);
    }
  } catch (error) {
    // What was read until then was not read in vain.
    await writeIntegrityMemory(stateDir, id, memory);
    throw error;
  }
  const notKept = await writeIntegrityMemory(stateDir, id, memory);
  const unasked = listings.flatMap(({ store, error }) =>
    error === null
      ? []
      : [unknownFinding({ check: 'integrity', subject: printable(store.spec.name) }, error)],
  );
  const found = looks.flatMap(({ look, backups, root }) =>
    lost.some(({ subject }) => subject === printable(look.store))
      ? []
      : look.findings(backups, root !== null, notKept?.message ?? null),
  );
  return [...unasked, ...lost, ...found];
}

/** Whether what is stored is still what was written. */
export const integrityGroup: CheckGroup = {
  name: 'integrity',
  checks: ['integrity'],
  needs: 'repository',
  run: checkIntegrity,
};
