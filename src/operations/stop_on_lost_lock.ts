/** Ends what a backup has started when its lock is lost. */

import type { DatabaseLock } from '../postgres/advisory_lock.ts';
import type { Context } from './context.ts';

/** What a signal, a lost lock or the failure of a sibling ends. */
export function stopOnLostLock(
  context: Pick<Context, 'signal'>,
  lock: Pick<DatabaseLock, 'lost'>,
): AbortController {
  const stop = new AbortController();
  void lock.lost.then((error) => stop.abort(error));
  context.signal.addEventListener('abort', () => stop.abort(context.signal.reason), { once: true });
  return stop;
}
