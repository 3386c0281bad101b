/** A limit of time for work that may hang, as what waits for a dead file server does. */

/** Node fires a longer timer at once. */
const timerMsMax = 2 ** 31 - 1;

/**
 * Waits for work, but not for ever. Work that comes too late is not ended by it; nobody hears of
 * its result or its failure any more.
 *
 * @param late makes the error of work that has not ended after so long
 * @throws what the work throws, or that error
 */
export async function within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), Math.min(ms, timerMsMax));
  // The one that loses the race may fail later.
  work.catch(() => undefined);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
