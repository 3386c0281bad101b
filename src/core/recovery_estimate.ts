/** How long a recovery will take, told from how long recoveries have taken here. */

import { median } from './size_history.ts';

/** What a recovery that reached its target has taken. */
export interface RecoveryRate {
  /** Of files that were written. */
  readonly written_bytes: number;
  readonly unpack_seconds: number;
  /** Of WAL that was replayed. */
  readonly wal_bytes: number;
  readonly replay_seconds: number;
}

/** What is going to be done. */
export interface RecoveryWork {
  readonly writtenBytes: number;
  readonly walBytes: number;
  /** What reading the backup has taken when it was made: an estimate where nothing else is. */
  readonly readSeconds: number;
}

/** What a recovery is expected to take. */
export interface RecoveryEstimate {
  readonly unpackSeconds: number;
  readonly replaySeconds: number;
  /** How many recoveries say so; 0: it is a guess. */
  readonly recoveries: number;
}

/** Only the latest count: the machine may have changed since. */
const recoveriesMax = 5;
/** Less says nothing: starting a server takes longer. */
const bytesMin = 16 * 1024 * 1024;
/**
 * What a server replays where nobody has measured it. pgbench's WAL, from the archive, on a busy
 * machine with two processors: 68 MiB a second (measured). It depends on what is in it.
 */
const replayBytesPerSecond = 80 * 1024 * 1024;

/** The median of what a byte has taken, or `null` where nothing was measured. */
function secondsPerByte(pairs: readonly (readonly [seconds: number, bytes: number])[]) {
  const telling = pairs.filter(([, bytes]) => bytes >= bytesMin).slice(-recoveriesMax);
  if (telling.length === 0) return null;
  return median(telling.map(([seconds, bytes]) => seconds / bytes));
}

/** Estimates a recovery by the last ones, each part by itself. @param rates oldest first */
export function estimateRecovery(
  rates: readonly RecoveryRate[],
  { writtenBytes, walBytes, readSeconds }: RecoveryWork,
): RecoveryEstimate {
  const unpack = secondsPerByte(rates.map((rate) => [rate.unpack_seconds, rate.written_bytes]));
  const replay = secondsPerByte(rates.map((rate) => [rate.replay_seconds, rate.wal_bytes]));
  return {
    unpackSeconds: unpack === null ? readSeconds : unpack * writtenBytes,
    replaySeconds: replay === null ? walBytes / replayBytesPerSecond : replay * walBytes,
    recoveries: unpack === null && replay === null ? 0 : rates.slice(-recoveriesMax).length,
  };
}
