/**
 * Whether the stores beside BACKUP_DIR do all that a backup asks of them: each thing is tried by
 * itself, with objects of its own that are removed again.
 */

import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { isDeepStrictEqual } from 'node:util';
import { headName, probeFolder } from '../../catalog/repository.ts';
import { createStores, type Store } from '../../catalog/stores.ts';
import { localName, type StoreSpec, storesOf } from '../../config/stores.ts';
import type { Finding } from '../../core/doctor.ts';
import { HoldfastError } from '../../core/errors.ts';
import { formatBytes, formatDuration } from '../../core/units.ts';
import { createMeasure } from '../../pipeline/measure.ts';
import { within } from '../../process/within.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Context } from '../context.ts';
import { attempt, failureFinding, finding } from './doctor_finding.ts';

const mebibyte = 1024 * 1024;
/** A store that takes longer for one probe than this does not answer; or for all of them. */
const probeMsMax = 60_000;
const storeMsMax = 300_000;
/** More than this, and a store may refuse signatures soon (S3 does after 15 minutes). */
const skewMsMax = 60_000;
const smallBytes = 1000;

/** One thing that is asked of a store. */
interface Probe {
  /** In the words of S3, which people find in their policies. */
  readonly name: string;
  /** Whether a backup can do without it. */
  readonly level: 'problem' | 'warning';
  /** @returns what is wrong, or `null` */
  run(): Promise<string | null>;
}

/** So many bytes a piece at a time, and then the end or an error. */
function body(bytes: number, end?: Error): Readable {
  const piece = Buffer.alloc(mebibyte, 'holdfast doctor ');
  return Readable.from(
    (function* () {
      for (let left = bytes; left > 0; left -= piece.length) yield piece.subarray(0, left);
      if (end !== undefined) throw end;
    })(),
  );
}

/** More than one part of an upload; a folder has no parts. */
function largeBytes(spec: StoreSpec): number {
  return spec.kind === 's3' ? spec.s3.part_mb * mebibyte + 1 : mebibyte + 1;
}

/** Whether an object is that body, to the last byte. */
async function givesBack(storage: Storage, key: string, bytes: number): Promise<boolean> {
  const [wanted, given] = [createMeasure(), createMeasure()];
  for await (const piece of body(bytes) as AsyncIterable<Buffer>) wanted.update(piece);
  for await (const piece of (await storage.get(key)) as AsyncIterable<Buffer>) given.update(piece);
  return isDeepStrictEqual(given.result(), wanted.result());
}

async function isListed(storage: Storage, key: string): Promise<boolean> {
  for await (const page of storage.list(probeFolder)) {
    if (page.some((object) => object.key === key)) return true;
  }
  return false;
}

/** Fails as a store does for a key that is taken. */
async function refusesSecond(storage: Storage, key: string): Promise<boolean> {
  try {
    await storage.put(key, Buffer.from('second'));
    return false;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'STORE_EXISTS') return true;
    throw error;
  }
}

/** An upload that breaks off must leave nothing, seen or unseen. */
async function breaksOffCleanly(storage: Storage, key: string, bytes: number) {
  const broken = new Error('broken off on purpose');
  await storage.put(key, body(bytes, broken)).catch((error: unknown) => {
    const isOurs = error === broken || (error as Error).cause === broken;
    if (!isOurs && !String((error as Error).message).includes(broken.message)) throw error;
  });
  if ((await storage.stat(key)) !== null) return 'an upload that broke off is there as if whole';
  const left = await storage.unfinishedObjects(probeFolder);
  return left.some((object) => object.key === key) ? 'an upload that broke off stays there' : null;
}

/** The keys of the probes. */
interface ProbeKeys {
  readonly small: string;
  readonly large: string;
  readonly broken: string;
}

type Ask = (storage: Storage, keys: ProbeKeys, spec: StoreSpec) => Promise<string | null>;

const smallObject = Buffer.alloc(smallBytes, 'holdfast doctor ');

const asks: readonly (readonly [name: string, level: Probe['level'], ask: Ask])[] = [
  [
    'put',
    'problem',
    async (storage, { small }) => {
      await storage.put(small, smallObject);
      return null;
    },
  ],
  [
    'head',
    'problem',
    async (storage, { small }) =>
      (await storage.stat(small))?.bytes === smallBytes ? null : 'lost what was put',
  ],
  [
    'get',
    'problem',
    async (storage, { small }) =>
      (await buffer(await storage.get(small))).equals(smallObject) ? null : 'gives other bytes',
  ],
  [
    'list',
    'problem',
    async (storage, { small }) =>
      (await isListed(storage, small)) ? null : 'does not list what it holds',
  ],
  [
    'condition',
    'problem',
    async (storage, { small }) =>
      (await refusesSecond(storage, small)) ? null : 'overwrites what is there',
  ],
  [
    'multipart',
    'problem',
    async (storage, { large }, spec) => {
      const bytes = largeBytes(spec);
      await storage.put(large, body(bytes));
      return (await givesBack(storage, large, bytes))
        ? null
        : 'gives back other bytes than it took';
    },
  ],
  [
    'abort',
    'warning',
    (storage, { broken }, spec) => breaksOffCleanly(storage, broken, largeBytes(spec)),
  ],
];

/** Only where the settings want objects to be locked. */
const askLock: Ask = async (storage, { small }) => {
  const until = (await storage.retainedUntil?.(small)) ?? null;
  return until === null ? 'does not lock what is put, though object_lock_mode is set' : null;
};

/** What a store has to do, in this order. */
function probesOf(spec: StoreSpec, storage: Storage, keys: ProbeKeys): Probe[] {
  const isLocked = spec.kind === 's3' && spec.s3.object_lock_mode !== null;
  const all = isLocked ? [...asks, ['lock', 'problem', askLock] as const] : asks;
  return all.map(([name, level, ask]) => ({ name, level, run: () => ask(storage, keys, spec) }));
}

/** Takes the probes away, which a key that may not delete cannot. */
async function removeProbes(
  about: { readonly check: 'store'; readonly subject: string },
  storage: Storage,
  keys: Iterable<string>,
): Promise<readonly Finding[]> {
  for (const key of keys) {
    try {
      const until = (await storage.retainedUntil?.(key)) ?? null;
      if (until !== null) {
        const message = `the probes in ${probeFolder}/ are locked until ${until.toISOString()}`;
        return [finding(about, 'note', message)];
      }
      await storage.remove(key);
      await storage.removeIfEmpty(probeFolder);
    } catch (error) {
      const failed = failureFinding(about, error);
      const message =
        `delete: ${failed.message}; retention cannot remove backups here, which is as it ` +
        'should be where somebody else does it';
      return [{ ...failed, level: 'warning', message }];
    }
  }
  return [];
}

async function clockFindings(
  about: { readonly check: 'store'; readonly subject: string },
  storage: Storage,
): Promise<readonly Finding[]> {
  const aheadMs = (await storage.clockAheadMs?.()) ?? null;
  if (aheadMs === null || Math.abs(aheadMs) <= skewMsMax) return [];
  const off = formatDuration(Math.abs(aheadMs) / 1000);
  const side = aheadMs > 0 ? 'ahead of' : 'behind';
  const message = `this machine's clock is ${off} ${side} the store's`;
  return [finding(about, 'problem', message, 'timedatectl set-ntp true')];
}

function tooLate(ms: number): HoldfastError {
  return new HoldfastError('STORE_UNREACHABLE', `it has not answered in ${ms / 1000} s`, {
    hint: 'Look at the network between, and at the server of the store.',
  });
}

async function examineStore(context: Context, store: Store): Promise<readonly Finding[]> {
  const { spec } = store;
  const about = { check: 'store', subject: spec.name } as const;
  const storage = await store.open();
  const head = await storage.stat(headName);
  const name = `${probeFolder}/${context.runId}`;
  const keys = { small: `${name}-small`, large: `${name}-large`, broken: `${name}-broken` };
  const findings: Finding[] = [];
  const passed: string[] = [];
  try {
    for (const { name, level, run } of probesOf(spec, storage, keys)) {
      const found = await attempt(context, about, async () => {
        const wrong = await within(probeMsMax, run(), () => tooLate(probeMsMax));
        return wrong === null ? [] : [finding(about, level, wrong)];
      });
      if (found.length === 0) passed.push(name);
      findings.push(...found.map((each) => ({ ...each, message: `${name}: ${each.message}` })));
      // Whatever comes next needs what was put.
      if (name === 'put' && found.length > 0) break;
    }
  } finally {
    // What was never put is no proof that it may be removed.
    const isPut = passed.includes('put');
    const removed = await removeProbes(about, storage, Object.values(keys));
    if (removed.length === 0 && isPut) passed.push('delete');
    findings.push(...removed);
  }
  findings.push(...(await clockFindings(about, storage)));
  if (passed.length === 0) return findings;
  const free = await storage.freeBytes();
  const room = free === null ? '' : `, ${formatBytes(free)} free`;
  const begun = head === null ? 'no repository yet: the first backup begins it; ' : '';
  const told = `the ${storage.description}: ${begun}${passed.join(', ')} work${room}`;
  return [finding(about, 'ok', told), ...findings];
}

/** Tries every store beside BACKUP_DIR, all at once. */
export async function examineStores(context: Context): Promise<readonly Finding[]> {
  const others = storesOf(context.config.settings).filter(({ name }) => name !== localName);
  const examined = createStores(others).map((store) => {
    const about = { check: 'store', subject: store.spec.name } as const;
    const late = () => tooLate(storeMsMax);
    return attempt(context, about, () => within(storeMsMax, examineStore(context, store), late));
  });
  return (await Promise.all(examined)).flat();
}
