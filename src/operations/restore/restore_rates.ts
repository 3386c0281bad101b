/** How long restores have taken: the plan of the next one tells from it how long it will take. */

import { type Static, Type } from '../../core/type_builder.ts';
import type { RepositoryContext } from '../context.ts';
import { ratesFile } from '../rates_file.ts';

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
const file = ratesFile('restore_rates', 'restores', 'restore', RecordedRestore);

/** A restore as it is remembered. */
export type RecordedRestore = Static<typeof RecordedRestore>;

/** The restores that were recorded here, oldest first. What cannot be read is told, and is none. */
export async function recordedRestores(
  context: RepositoryContext | null,
): Promise<RecordedRestore[]> {
  return context === null ? [] : file.read(context);
}

/** Remembers a restore. What cannot be written is told, and fails no restore. */
export async function recordRestore(
  context: RepositoryContext,
  restore: RecordedRestore,
): Promise<void> {
  await file.record(context, restore);
}
