/** The sessions that make a new database: they need not wait for the disk at every commit. */

import type { ConnectionParameters } from '../../postgres/connection.ts';
import { sessionOption } from '../../postgres/copy_text.ts';

/**
 * The parameters for filling and analyzing: `synchronous_commit` off, so that the hundreds of
 * commits of a restore (one for each table, index, constraint, and table again that is analyzed)
 * wait for no disk.
 *
 * Nothing is less durable for it. WAL is flushed in its order, and every commit that is awaited
 * flushes all that was written before it (manual, "Asynchronous Commit"). The swap comes
 * last, in a session with the server's own setting: after a crash the swap is there and with it all
 * that was filled, or the swap is not there and the old database is in its place.
 *
 * @param parameters of the new database; what the operator has set in `options` counts more
 */
export function fillingSession(parameters: ConnectionParameters): ConnectionParameters {
  const own = sessionOption('synchronous_commit', 'off');
  // Of two values for one setting the last counts.
  const options = [own, parameters.options].filter((text) => text !== null).join(' ');
  return { ...parameters, options };
}
