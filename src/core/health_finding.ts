/** Puts a finding of the monitor together, with what follows from the rest left out. Pure. */

import type { HealthFinding, HealthLevel } from './health.ts';

/** What a finding is about. */
export type HealthAbout = Pick<HealthFinding, 'check' | 'subject' | 'cluster' | 'database'>;

/** What a check says; what is left out follows. */
export interface HealthWords {
  readonly level: HealthLevel;
  readonly message: string;
  readonly expected: string;
  /** The message, unless told. */
  readonly found?: string;
  readonly since?: Date | null;
  readonly mend?: string;
  readonly values?: Readonly<Record<string, number>>;
}

/** One finding. Where all is well there is nothing to mend, and no time since when it is bad. */
export function healthFinding(about: HealthAbout, words: HealthWords): HealthFinding {
  const { level, message, expected, found = message, since = null, mend = null } = words;
  const isWell = level === 'ok';
  return {
    check: about.check,
    subject: about.subject,
    cluster: about.cluster,
    database: about.database,
    level,
    message,
    expected,
    found,
    since: isWell || since === null ? null : since.toISOString(),
    mend: isWell ? null : mend,
    values: words.values ?? {},
  };
}

/** So many seconds lie between two times; negative when the second is the earlier one. */
export function secondsBetween(earlier: Date, later: Date): number {
  return (later.getTime() - earlier.getTime()) / 1000;
}
