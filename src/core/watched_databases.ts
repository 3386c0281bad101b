/**
 * Which databases the monitor expects backups of. Those that the settings name, always. Others that
 * lie in the catalog as long as the runs take them: one that was dropped from its server must not
 * alarm for ever, and one whose backups simply stop must alarm. Pure.
 */

/** What is known of a database. */
export interface KnownDatabase {
  /** The settings name it. */
  readonly isNamed: boolean;
  readonly cluster: string | null;
  /** When backups of it were begun, whether they succeeded or not; those of the future left out. */
  readonly attempts: readonly Date[];
}

/** What the settings say of databases in general. */
export interface WatchRule {
  /** The scheduled backups take every database of the server. */
  readonly takesAll: boolean;
  /** The settings name databases. */
  readonly namesSome: boolean;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** A run that takes every database has passed one over that it did not try for so long. */
const passedOverMs = 12 * hourMs;
/** A database that was not tried for so long while others were is nobody's business any more. */
const forgottenMs = 7 * dayMs;
/** One that the settings do not name is backed up regularly when it was on so many days of 7. */
const regularDays = 3;

function newest(attempts: readonly Date[]): number {
  return attempts.reduce((latest, at) => Math.max(latest, at.getTime()), Number.NEGATIVE_INFINITY);
}

/** On how many days of the week before the last attempt it was tried. */
function daysTried(attempts: readonly Date[]): number {
  const last = newest(attempts);
  const recent = attempts.filter((at) => last - at.getTime() < forgottenMs);
  return new Set(recent.map((at) => Math.floor(at.getTime() / dayMs))).size;
}

/**
 * Why no backups of a database are expected; `null`: they are.
 *
 * @param others the other databases of the repository
 */
export function notWatchedBecause(
  database: KnownDatabase,
  others: readonly KnownDatabase[],
  { takesAll, namesSome }: WatchRule,
): string | null {
  if (database.isNamed) return null;
  const own = newest(database.attempts);
  const ofCluster = others.filter(({ cluster }) => cluster === database.cluster);
  const behindCluster = newest(ofCluster.flatMap(({ attempts }) => attempts)) - own;
  if (takesAll && behindCluster > passedOverMs) {
    return 'the runs that take every database of its server take it no longer';
  }
  if (newest(others.flatMap(({ attempts }) => attempts)) - own > forgottenMs) {
    return 'no setting names it, and for 7 days no run has tried it while others were backed up';
  }
  if (namesSome && !takesAll && daysTried(database.attempts) < regularDays) {
    return 'no setting names it, and it is not backed up regularly';
  }
  return null;
}
