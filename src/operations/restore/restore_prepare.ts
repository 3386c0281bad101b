/**
 * What comes before a database is filled: the backup is read whole, the missing roles are created,
 * and there is an empty database beside the old one.
 */

import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { DatabaseName } from '../../postgres/admin.ts';
import { createRestoring } from './restore_build.ts';
import { dropFailed } from './restore_cleanup.ts';
import { unverified } from './restore_keep_going.ts';
import { type RestoredRoles, restoreRoles } from './restore_roles.ts';
import { planSql } from './restore_sql.ts';
import { type VerifiedSource, verifySource } from './restore_verify.ts';
import type { RestoreWork } from './restore_work.ts';
import { endedBy } from './trailing_digest.ts';

/** All that is needed to fill the new database. */
export interface PreparedRestore {
  /** Ends when the source turns out damaged after all. */
  readonly work: RestoreWork;
  readonly verified: VerifiedSource;
  /** Of a restore that keeps going. */
  readonly damage: HoldfastError | null;
  readonly restoredRoles: RestoredRoles;
  /** The new database, empty. */
  readonly created: DatabaseName;
  /** What reading the source took. */
  readonly seconds: number;
}

/**
 * Reads the backup whole. A damaged one ends the restore, unless that keeps going. Where what comes
 * next cannot be taken back, or depends on what was found, nothing is left to prove then.
 */
async function verify(
  work: RestoreWork,
): Promise<{ readonly verified: VerifiedSource; readonly damage: HoldfastError | null }> {
  const { context, request } = work;
  const { source, jobs, keepGoing = false, inPlace = false } = request;
  try {
    const verified = await verifySource(context, source, { jobs });
    if (keepGoing || inPlace) await requireProven(verified);
    return { verified, damage: null };
  } catch (error) {
    const isDamage = error instanceof HoldfastError && error.code === 'DAMAGED';
    if (!keepGoing || !isDamage) throw error;
    // A good copy in another store is better than what can be read of a damaged one.
    if ((await source.nextCopy?.(error)) != null) throw error;
    context.log.warn(`${error.message}; what can be read of it is restored, and not swapped in`);
    return { verified: unverified(work), damage: error };
  }
}

/** @throws HoldfastError DAMAGED; nothing that was unpacked is left then */
async function requireProven(verified: VerifiedSource): Promise<void> {
  try {
    await verified.proof;
  } catch (error) {
    await verified.remove();
    throw error;
  }
}

async function roles(
  work: RestoreWork,
  proof: Promise<void>,
  isDamaged: boolean,
): Promise<RestoredRoles> {
  const { context, request, admin } = work;
  try {
    return await restoreRoles(context, request.source, admin, proof);
  } catch (error) {
    if (!isDamaged || context.signal.aborted) throw error;
    const warning = `no roles were created: ${toHoldfastError(error).message}`;
    return { created: [], kept: [], warnings: [warning] };
  }
}

/**
 * Reads the source, and creates the empty database meanwhile where the source need not be known for
 * that: it costs the server some waiting for its disk. When anything fails it is dropped again, and
 * nothing is left of it.
 *
 * @throws HoldfastError DAMAGED, NOT_A_DUMP, NO_SPACE, and what the server says
 */
export async function prepareRestore(locked: RestoreWork): Promise<PreparedRestore> {
  const { context, request } = locked;
  const begun = context.stopwatch();
  const early = request.source.format === 'sql' ? null : createRestoring(locked);
  let verified: VerifiedSource | null = null;
  try {
    // Where it cannot be created nobody need read on.
    const reading = early === null ? locked : { ...locked, context: endedBy(context, early) };
    const read = await verify(reading);
    ({ verified } = read);
    const { damage } = read;
    const seconds = context.stopwatch() - begun;
    const guarded = endedBy(context, verified.proof);
    const work = { ...locked, context: guarded, sql: await planSql(locked, verified.sql) };
    const restoredRoles = await roles(work, verified.proof, damage !== null);
    const created = await (early ?? createRestoring(work));
    return { work, verified, damage, restoredRoles, created, seconds };
  } catch (error) {
    const created = (await early?.catch(() => null)) ?? null;
    if (created !== null) await dropFailed(locked, created);
    await verified?.remove();
    throw error;
  }
}
