/** A bound on what others take: a channel that never answers must not keep a run from its end. */

import { HoldfastError } from '../../core/errors.ts';

/**
 * Waits for something so long and no longer, whether it listens to its signal or not.
 *
 * @param signal ends it earlier
 * @throws HoldfastError STORE_UNREACHABLE when the time is over; what `work` throws; what the
 *   signal was fired with
 */
export async function inTime<T>(
  timeoutMs: number,
  signal: AbortSignal,
  work: (limit: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const limit = new AbortController();
  const late = new HoldfastError('STORE_UNREACHABLE', `no answer within ${timeoutMs / 1000} s`, {
    hint: 'Look whether it is up; ALERT_TIMEOUT_SECONDS is how long it may take.',
  });
  const timer = setTimeout(() => limit.abort(late), timeoutMs);
  const end = () => limit.abort(signal.reason);
  signal.addEventListener('abort', end, { once: true });
  try {
    return await new Promise<T>((resolve, reject) => {
      limit.signal.addEventListener('abort', () => reject(limit.signal.reason), { once: true });
      work(limit.signal).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
  }
}
