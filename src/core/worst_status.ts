/** What a run over several databases ends with. */

import { type ExitStatus, exitStatus } from './errors.ts';

/**
 * From mild to bad. By their numbers "another run is at it" (6) would hide a dump that failed (3),
 * and a script that lets the first pass would never hear of the second.
 */
const byGravity: readonly ExitStatus[] = [
  exitStatus.done,
  // Another run is doing the work.
  exitStatus.locked,
  // It was asked for wrongly, or what it needs is not there: nothing was begun.
  exitStatus.usage,
  exitStatus.notFound,
  exitStatus.database,
  exitStatus.store,
  // It was begun and broke off.
  exitStatus.failed,
  // Wrong bytes: worse than none.
  exitStatus.verification,
  // A fault of ours: nobody knows what else it has spoilt.
  exitStatus.unexpected,
  // Whoever ended the run has to hear that it did not come to its end.
  exitStatus.interrupted,
];

/** The worst of several exit statuses, by what it means; 0 when there are none. */
export function worstStatus(statuses: readonly ExitStatus[]): ExitStatus {
  const gravity = Math.max(0, ...statuses.map((status) => byGravity.indexOf(status)));
  return byGravity[gravity] ?? exitStatus.unexpected;
}
