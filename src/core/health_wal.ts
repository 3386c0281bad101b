/**
 * The monitor's checks of WAL archives: the newest point that a cluster can be recovered to, which
 * is the headline of the report, and the gaps on the way to it (PRODUCT.md, "The monitor's
 * checks"; REPOSITORY.md, "The recovery point is told per store"). Pure.
 */

import { type HealthFinding, type HealthLevel, levelAbove } from './health.ts';
import { type HealthAbout, healthFinding, secondsBetween } from './health_finding.ts';
import { databaseSubject } from './health_words.ts';
import { formatAge, formatCount, formatDuration } from './units.ts';

/** Segments that are missing, and what came before them. */
export interface OpenGap {
  readonly firstSegment: string;
  readonly lastSegment: string;
  readonly segments: number;
  /** When the segment before it came into the archive; `null` where nobody can tell. */
  readonly since: Date | null;
}

/** The WAL of one cluster in one store, with the base backups that it is replayed upon. */
export interface WalPointFacts {
  readonly cluster: string;
  /** `null`: the store that the run works with; else the name of another one. */
  readonly store: string | null;
  readonly isRequired: boolean;
  /** The newest good base backup on the way to the end of the newest timeline. */
  readonly base: { readonly label: string; readonly finishedAt: Date } | null;
  /** The newest commit that a recovery brings back; `null`: nothing can be recovered with WAL. */
  readonly recoverableAt: Date | null;
  /** The time of a commit; `false`: only the time is known at which the last segment came. */
  readonly isExact: boolean;
  readonly lastSegment: string | null;
  /** When the first segment came. */
  readonly firstAt: Date | null;
  /** The server says that it has committed nothing beyond what is archived. */
  readonly isComplete: boolean;
  /** Those that no base backup lies behind. */
  readonly gaps: readonly OpenGap[];
  /** Those that cost moments of the past and no new ones. */
  readonly pastGaps: number;
}

/** The newest full backup of a database of a cluster whose WAL is not archived. */
export interface FullPointFacts {
  readonly cluster: string;
  readonly database: string;
  readonly label: string;
  readonly startedAt: Date;
}

function subjectOf({ cluster, store }: Pick<WalPointFacts, 'cluster' | 'store'>): string {
  return store === null ? cluster : `${cluster} in ${store}`;
}

/** A cluster's point in another store has no line in the headline: it names no cluster. */
function aboutOf(check: 'recovery_point' | 'wal_gaps', facts: WalPointFacts): HealthAbout {
  const cluster = facts.store === null ? facts.cluster : null;
  return { check, subject: subjectOf(facts), cluster, database: null };
}

/** A store that a run can do without is never worse than a warning. */
function levelIn({ store, isRequired }: WalPointFacts, level: HealthLevel): HealthLevel {
  return level === 'critical' && store !== null && !isRequired ? 'warning' : level;
}

const mendHere =
  'scripts/setup_archiving.ts status says whether the WAL arrives; scripts/backup_incremental.ts ' +
  'moves the recovery point forward, or says why it cannot. A cluster that is gone for good is ' +
  'told of until its folder below incremental/ is moved out of the repository.';
const mendStore =
  'scripts/wal_ship.ts --once carries what the store lacks, or says why it cannot; keep ' +
  'scripts/wal_ship.ts running.';

/** There is WAL and nothing that it could be replayed upon. */
function withoutBase(facts: WalPointFacts, limitSeconds: number, now: Date): HealthFinding {
  const { firstAt, store } = facts;
  const age = firstAt === null ? 0 : Math.max(0, secondsBetween(firstAt, now));
  const level = levelIn(facts, levelAbove(age, limitSeconds, 2 * limitSeconds));
  return healthFinding(aboutOf('recovery_point', facts), {
    level,
    message: 'WAL is archived, and there is no good base backup that it could be replayed upon',
    expected: 'a base backup behind which the WAL is unbroken',
    found: `no base backup, WAL since ${firstAt?.toISOString() ?? 'an unknown time'}`,
    since: firstAt,
    mend: store === null ? 'scripts/backup_incremental.ts takes one.' : mendStore,
  });
}

/**
 * The age of the newest point that a cluster can be recovered to. An idle server whose archive has
 * all that it has committed loses nothing, however old its last commit is.
 *
 * @param maxMinutes the setting max_recovery_age_minutes
 */
export function checkWalPoint(facts: WalPointFacts, maxMinutes: number, now: Date): HealthFinding {
  const limit = maxMinutes * 60;
  const { recoverableAt, isComplete, isExact, lastSegment, base, store } = facts;
  if (recoverableAt === null) return withoutBase(facts, limit, now);
  const age = isComplete ? 0 : Math.max(0, secondsBetween(recoverableAt, now));
  const level = levelIn(facts, levelAbove(age, limit, 2 * limit));
  const about = isExact ? '' : 'about ';
  const at = recoverableAt.toISOString();
  const fact = isComplete
    ? 'everything that the server has committed can be recovered: it has been idle since then'
    : `the newest recoverable point is ${about}${formatAge(age)} old`;
  return healthFinding(aboutOf('recovery_point', facts), {
    level,
    message: fact,
    expected: `a recoverable point of the last ${formatDuration(limit)}`,
    found: `${about}${at}, by ${lastSegment ?? 'no segment'} behind ${base?.label ?? 'nothing'}`,
    since: recoverableAt,
    mend: store === null ? mendHere : mendStore,
    // One series of a metric for each cluster: that of the store that the run works with.
    values: store === null ? { age_seconds: age } : { store_age_seconds: age },
  });
}

/** How old the newest full backup is where there is no WAL: backup_age judges it. */
export function tellFullPoint(facts: FullPointFacts, now: Date): HealthFinding {
  const { cluster, database, label, startedAt } = facts;
  const age = Math.max(0, secondsBetween(startedAt, now));
  const about = { check: 'recovery_point', subject: databaseSubject(cluster, database) } as const;
  return healthFinding(
    { ...about, cluster, database },
    {
      level: 'ok',
      message: `without archived WAL it is as old as its last full backup: ${formatAge(age)}`,
      expected: 'judged by backup_age',
      found: `${label} of ${startedAt.toISOString()}`,
      values: { full_age_seconds: age },
    },
  );
}

/** Whether the WAL behind the newest base backup is unbroken. */
export function checkWalGaps(facts: WalPointFacts): HealthFinding {
  const about = aboutOf('wal_gaps', facts);
  const { gaps, pastGaps, store } = facts;
  const expected = 'every segment of the WAL since the newest base backup';
  const values = store === null ? { gaps: gaps.length } : { store_gaps: gaps.length };
  const [first] = gaps;
  if (first === undefined) {
    const past = `; ${formatCount(pastGaps, 'gap')} before it ${pastGaps === 1 ? 'has' : 'have'}`;
    return healthFinding(about, {
      level: 'ok',
      message: `no segment is missing behind the newest base backup${
        pastGaps === 0 ? '' : `${past} cost moments of the past`
      }`,
      expected,
      values,
    });
  }
  const missing = gaps.reduce((sum, { segments }) => sum + segments, 0);
  const range =
    first.firstSegment === first.lastSegment
      ? first.firstSegment
      : `${first.firstSegment} to ${first.lastSegment}`;
  const more = gaps.length > 1 ? ` and ${formatCount(gaps.length - 1, 'more gap')}` : '';
  return healthFinding(about, {
    level: levelIn(facts, 'critical'),
    message:
      `${formatCount(missing, 'segment')} of the WAL ${missing === 1 ? 'is' : 'are'} missing: ` +
      'nothing behind can be recovered to',
    expected,
    found: `${range}${more}`,
    since: first.since,
    mend:
      store === null
        ? 'scripts/backup_incremental.ts --base now takes a base backup, from which on every ' +
          'point can be recovered to again.'
        : mendStore,
    values,
  });
}
