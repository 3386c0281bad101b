/**
 * A lock between processes that share a folder. Node has no flock(2), and one file that everybody
 * creates and removes cannot be taken over without a race; so each who wants the lock has a file
 * of its own name in a folder, and has the lock while no other living process has one there.
 *
 * Everyone creates its file before it looks for others, so of two at the same time at least one
 * sees the other. The file of a dead process can be removed by anyone: no other has that name.
 */

import { randomBytes } from 'node:crypto';
import { open, readdir, rmdir, stat, unlink, utimes } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HoldfastError } from '../core/errors.ts';
import { errorNumber, fileMode, makeFolders } from '../process/durable.ts';
import {
  identityName,
  ownIdentity,
  type ProcessIdentity,
  parseIdentityName,
  processState,
} from '../process/identity.ts';

export interface LockOptions {
  /** How long to wait for whoever has the lock, in milliseconds; 0: not at all. */
  readonly waitMs: number;
  /** Lets in whoever shares it too, and keeps out who wants it alone. */
  readonly shared?: boolean;
}

interface Claim {
  readonly name: string;
  readonly holder: ProcessIdentity;
  readonly since: Date;
}

/** The claim of a process that cannot be asked counts as long as its file is kept fresh. */
const freshMs = 10 * 60_000;
const refreshMs = 60_000;
const pauseMs = 20;

/** Sorts after every other name, so that who wants the lock alone is not kept from it for ever. */
const sharedPrefix = 'shared-';

function claimName(identity: ProcessIdentity, shared: boolean): string {
  const prefix = shared ? sharedPrefix : '';
  return `${prefix}${randomBytes(6).toString('hex')}~${identityName(identity)}`;
}

function parseClaimName(name: string): ProcessIdentity | null {
  return parseIdentityName(name.slice(name.indexOf('~') + 1));
}

/** Whether a claim counts; one that does not is removed. */
async function countsStill(folder: string, claim: Claim, modifiedAt: Date): Promise<boolean> {
  const state = processState(claim.holder);
  if (state === 'alive') return true;
  if (state === 'unknown' && Date.now() - modifiedAt.getTime() < freshMs) return true;
  await unlink(join(folder, claim.name)).catch(() => undefined);
  return false;
}

/** The claims of living processes but one's own, and but those that it shares the lock with. */
async function otherClaims(folder: string, own: string | null, shared: boolean): Promise<Claim[]> {
  const claims: Claim[] = [];
  for (const name of await readdir(folder)) {
    const holder = parseClaimName(name);
    const isShared = name.startsWith(sharedPrefix);
    if (name === own || holder === null || (shared && isShared)) continue;
    const stats = await stat(join(folder, name)).catch(() => null);
    if (stats === null) continue;
    const claim = { name, holder, since: stats.birthtime };
    if (await countsStill(folder, claim, stats.mtime)) claims.push(claim);
  }
  return claims;
}

/** Creates a file of one's own; the folder may be removed by the last holder in between. */
async function createClaim(folder: string, shared: boolean): Promise<string> {
  const name = claimName(ownIdentity(), shared);
  for (;;) {
    try {
      await makeFolders(folder);
      await (await open(join(folder, name), 'wx', fileMode)).close();
      return name;
    } catch (error) {
      if (errorNumber(error) !== 'ENOENT') throw error;
    }
  }
}

async function dropClaim(folder: string, name: string): Promise<void> {
  await unlink(join(folder, name)).catch(() => undefined);
  // Fails while another claim is in it.
  await rmdir(folder).catch(() => undefined);
}

function lockedError(path: string, [claim]: readonly Claim[]): HoldfastError {
  const who = claim === undefined ? 'another run' : `process ${claim.holder.pid}`;
  const where = claim === undefined ? '' : ` on ${claim.holder.host}`;
  const since = claim === undefined ? '' : ` since ${claim.since.toISOString()}`;
  return new HoldfastError('LOCKED', `${who}${where} holds ${basename(path)}${since}`, {
    hint: 'Wait until it has ended and try again.',
  });
}

/** Waits until no other claim counts; gives one's own, or throws LOCKED. */
async function acquire(path: string, { waitMs, shared = false }: LockOptions): Promise<string> {
  const deadline = Date.now() + waitMs;
  let own: string | null = null;
  try {
    for (;;) {
      own ??= await createClaim(path, shared);
      const others = await otherClaims(path, own, shared);
      if (others.length === 0) return own;
      if (Date.now() >= deadline) throw lockedError(path, others);
      // Of all who wait the one with the smallest name stays in the line; the others stand back,
      // so that the lock is not kept from everyone by everyone.
      const mine: string = own;
      if (others.some((other) => other.name < mine)) {
        await dropClaim(path, mine);
        own = null;
      }
      await pause();
    }
  } catch (error) {
    if (own !== null) await dropClaim(path, own);
    throw error;
  }
}

function pause(): Promise<void> {
  const ms = pauseMs * (0.5 + Math.random());
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Whether anyone has or wants a lock, shared or alone: to be asked where no claim can be made. */
export async function isClaimed(path: string): Promise<boolean> {
  try {
    return (await otherClaims(path, null, false)).length > 0;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errorNumber(error) ?? '')) return false;
    throw error;
  }
}

/**
 * Does something while no other process does it under the same lock. The lock of a process that
 * has died is taken over.
 *
 * @param path the lock: a folder in `state/` that exists while someone wants it
 * @throws HoldfastError LOCKED, which says who holds it since when, after `waitMs`
 */
export async function withFileLock<T>(
  path: string,
  options: LockOptions,
  work: () => Promise<T>,
): Promise<T> {
  const own = await acquire(path, options);
  const refresh = setInterval(() => {
    const now = new Date();
    utimes(join(path, own), now, now).catch(() => undefined);
  }, refreshMs);
  refresh.unref();
  try {
    return await work();
  } finally {
    clearInterval(refresh);
    await dropClaim(path, own);
  }
}
