/** How long recoveries have taken: the plan of the next one tells from it how long it will take. */

import { type Static, Type } from '../../core/type_builder.ts';
import { ratesFile } from '../rates_file.ts';

const Bytes = Type.Integer({ minimum: 0 });
const Seconds = Type.Number({ minimum: 0 });
const RecordedRecovery = Type.Object({
  finished_at: Type.String(),
  cluster: Type.String(),
  written_bytes: Bytes,
  unpack_seconds: Seconds,
  wal_bytes: Bytes,
  replay_seconds: Seconds,
});

/** A recovery as it is remembered. */
export type RecordedRecovery = Static<typeof RecordedRecovery>;

/** The recoveries that were recorded here: those whose server was started. */
export const recoveryRates = ratesFile(
  'recovery_rates',
  'recoveries',
  'recovery',
  RecordedRecovery,
);
