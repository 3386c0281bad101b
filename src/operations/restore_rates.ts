/**
 * How long restores have taken, kept in the repository's `state/`: the plan of the next one tells
 * from it how long it will take. Nothing depends on it; damaged, it begins anew.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { withFileLock } from '../catalog/lock.ts';
import { toHoldfastError } from '../core/errors.ts';
import { documentBytes, documentReader } from '../core/validate.ts';
import { errorNumber, replaceFile } from '../process/durable.ts';
import type { RepositoryContext } from './context.ts';

const ratesName = 'restore_rates.json';
const ratesFormat = 1;
/** So many restores are remembered. */
const ratesMax = 100;
const lockWaitMs = 5_000;

const Seconds = Type.Number({ minimum: 0 });
const RecordedRestore = Type.Object({
  finished_at: Type.String(),
  database: Type.String(),
  dump_bytes: Type.Integer({ minimum: 0 }),
  jobs: Type.Integer({ minimum: 1 }),
  compare: Type.String(),
  seconds: Type.Object({
    verifying: Seconds,
    filling: Seconds,
    comparing: Seconds,
    analyzing: Seconds,
  }),
});
const ratesSchema = Type.Object({
  format: Type.Literal(ratesFormat),
  restores: Type.Array(RecordedRestore, { maxItems: ratesMax }),
});

/** A restore as it is remembered. */
export type RecordedRestore = Static<typeof RecordedRestore>;

const parseRates = documentReader(ratesSchema, {
  name: ratesName,
  format: ratesFormat,
  code: 'DAMAGED',
});

async function readRates(stateDir: string): Promise<RecordedRestore[]> {
  try {
    return parseRates(await readFile(join(stateDir, ratesName))).restores;
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return [];
    throw toHoldfastError(error, `reading ${ratesName}`);
  }
}

/** The restores that were recorded here, oldest first. What cannot be read is told, and is none. */
export async function recordedRestores(
  context: RepositoryContext | null,
): Promise<RecordedRestore[]> {
  if (context === null) return [];
  try {
    return await readRates(context.repository.stateDir);
  } catch (error) {
    context.log.warn(`how long restores take is not known: ${toHoldfastError(error).message}`);
    return [];
  }
}

/** Remembers a restore. What cannot be written is told, and fails no restore. */
export async function recordRestore(
  context: RepositoryContext,
  restore: RecordedRestore,
): Promise<void> {
  const { stateDir } = context.repository;
  try {
    const lock = join(stateDir, 'restore_rates.lock');
    await withFileLock(lock, { waitMs: lockWaitMs }, async () => {
      const before = await readRates(stateDir).catch(() => []);
      const restores = [...before, restore].slice(-ratesMax);
      await replaceFile(
        join(stateDir, ratesName),
        documentBytes({ format: ratesFormat, restores }),
      );
    });
  } catch (error) {
    context.log.warn(
      `how long this restore took is not recorded: ${toHoldfastError(error).message}`,
    );
  }
}
