/**
 * Which backups are kept, and why (PRODUCT.md, "Retention, so that it never hurts"). A tier keeps
 * by age and by number: what is older than its days goes only while at least that many younger good
 * ones of its tier stay. docs/guides/retention.md tells it to users.
 */

import type { Tier } from './label.ts';
import { formatCount } from './units.ts';

/** How long a tier is kept: a backup goes when both no longer hold it. */
export interface TierRule {
  /** Days of 24 h from the start of a backup. */
  readonly days: number;
  /** So many younger good ones of the tier stay. At least 1. */
  readonly count: number;
}

/** The rule of every tier. */
export type RetentionPolicy = Readonly<Record<Tier, TierRule>>;

/** The settings that a policy is made of. */
export interface RetentionSettings {
  /** Of manual backups, and the least age for every tier; `null`: not set. */
  readonly retention_days: number | null;
  readonly retention_daily: number;
  readonly retention_weekly: number;
  readonly retention_monthly: number;
}

/** One backup of a database, as far as retention asks. */
export interface RetentionBackup {
  readonly label: string;
  readonly tier: Tier;
  readonly startedAt: Date;
  /**
   * `good`: read back when it was taken or verified later, and not found damaged since; `unread`:
   * nobody has looked yet (`--read-back none`), so that it takes no other one's place.
   */
  readonly health: 'good' | 'unread' | 'damaged';
}

/** What becomes of one backup, with the reason in words. */
export interface RetentionDecision<Backup extends RetentionBackup = RetentionBackup> {
  readonly backup: Backup;
  readonly action: 'keep' | 'remove';
  readonly reason: string;
}

/** What becomes of the backups of one database. */
export interface RetentionPlan<Backup extends RetentionBackup = RetentionBackup> {
  /** Oldest first. */
  readonly decisions: readonly RetentionDecision<Backup>[];
  /** Why nothing of it may be done without a word from the operator; empty: go on. */
  readonly guards: readonly string[];
}

/** What must stay whatever the policy says: by label, why. */
export type RetentionPromises = ReadonlyMap<string, string>;

const dayMs = 86_400_000;
/** Clocks of several hosts differ a little; a backup further ahead has a wrong date. */
const aheadMs = 3_600_000;
/** A week is seven days; a month is 31, so that no calendar month is ever shorter. */
const weekDays = 7;
const monthDays = 31;
const manualDays = 30;
/** A plan that removes so few is never too large: it would be in the way of every small set. */
const unguardedMax = 3;

/** The policy that the settings say. */
export function retentionPolicy(settings: RetentionSettings): RetentionPolicy {
  const { retention_days, retention_daily, retention_weekly, retention_monthly } = settings;
  const days = (wanted: number) => Math.max(wanted, retention_days ?? 0);
  return {
    daily: { days: days(retention_daily), count: retention_daily },
    weekly: { days: days(retention_weekly * weekDays), count: retention_weekly },
    monthly: { days: days(retention_monthly * monthDays), count: retention_monthly },
    manual: { days: retention_days ?? manualDays, count: 1 },
  };
}

/** Whether the label of a backup says a time that has not come. */
export function isAhead({ startedAt }: Pick<RetentionBackup, 'startedAt'>, now: Date): boolean {
  return startedAt.getTime() - now.getTime() > aheadMs;
}

function ageDays({ startedAt }: RetentionBackup, now: Date): number {
  return (now.getTime() - startedAt.getTime()) / dayMs;
}

/** `9 days old`. Whole days that have passed: `7 days old` may be older than 7 days. */
function oldText(backup: RetentionBackup, now: Date): string {
  return `${formatCount(Math.max(0, Math.floor(ageDays(backup, now))), 'day')} old`;
}

/** What is known when a backup's turn comes, from the youngest to the oldest. */
interface Younger {
  /** The good ones that stay and are not dated in the future, by tier. */
  readonly byTier: ReadonlyMap<Tier, number>;
  readonly total: number;
}

type Verdict = Pick<RetentionDecision, 'action' | 'reason'>;

const keep = (reason: string): Verdict => ({ action: 'keep', reason });
const remove = (reason: string): Verdict => ({ action: 'remove', reason });

function decideDamaged(backup: RetentionBackup, rule: TierRule, now: Date, younger: Younger) {
  const old = oldText(backup, now);
  if (younger.total === 0) return keep('damaged, but no younger good backup of the database stays');
  if (ageDays(backup, now) <= rule.days) {
    return keep(`damaged; ${old}, kept for ${formatCount(rule.days, 'day')}`);
  }
  return remove(`damaged, ${old}, and a younger good backup stays`);
}

/** Also of one that was never read back: it goes by the same rule, and counts for no other one. */
function decideGood(backup: RetentionBackup, rule: TierRule, now: Date, younger: Younger) {
  const { tier } = backup;
  const old = oldText(backup, now);
  const inTier = younger.byTier.get(tier) ?? 0;
  if (younger.total === 0) {
    return keep(
      backup.health === 'good'
        ? 'the youngest good backup of the database'
        : 'never read back, and no younger good backup of the database stays',
    );
  }
  if (ageDays(backup, now) <= rule.days) {
    return keep(`${old}, kept for ${formatCount(rule.days, 'day')}`);
  }
  if (inTier < rule.count) {
    return keep(
      rule.count === 1 ? `the last ${tier} one` : `one of the last ${rule.count} ${tier}`,
    );
  }
  return remove(`${old}, and ${inTier} younger good ${tier} ${inTier === 1 ? 'one' : 'ones'} stay`);
}

function decide(
  backup: RetentionBackup,
  policy: RetentionPolicy,
  now: Date,
  promises: RetentionPromises,
  younger: Younger,
): Verdict {
  if (isAhead(backup, now)) return keep('dated in the future');
  const promise = promises.get(backup.label);
  if (promise !== undefined) return keep(promise);
  const rule = policy[backup.tier];
  return backup.health === 'damaged'
    ? decideDamaged(backup, rule, now, younger)
    : decideGood(backup, rule, now, younger);
}

/** Why a plan is not carried out without a word from the operator. */
function guardsOf(decisions: readonly RetentionDecision[], now: Date): string[] {
  const removed = decisions.filter(({ action }) => action === 'remove').length;
  if (removed === 0) return [];
  const guards: string[] = [];
  const ahead = decisions.filter(({ backup }) => isAhead(backup, now));
  const [first] = ahead;
  if (first !== undefined) {
    const more = ahead.length > 1 ? ` and ${ahead.length - 1} more` : '';
    const are = ahead.length > 1 ? 'are' : 'is';
    guards.push(
      `${first.backup.label}${more} ${are} dated in the future (now: ${now.toISOString()}): ` +
        'a clock is or was wrong',
    );
  }
  if (removed > unguardedMax && removed * 2 > decisions.length) {
    guards.push(
      `${removed} of ${formatCount(decisions.length, 'backup')} would go: more than half`,
    );
  }
  return guards;
}

/**
 * Decides about the backups of one database. The order in which they are given does not matter;
 * after the plan was carried out the same question removes nothing more.
 *
 * @param backups of one database of one cluster; no label stands twice
 * @param promises what must stay: a base that an increment needs, a folder that holds more
 */
export function planRetention<Backup extends RetentionBackup>(
  backups: readonly Backup[],
  policy: RetentionPolicy,
  now: Date,
  promises: RetentionPromises = new Map(),
): RetentionPlan<Backup> {
  const byTier = new Map<Tier, number>();
  let total = 0;
  const decisions: RetentionDecision<Backup>[] = [];
  // Labels sort by time (REPOSITORY.md, "Label").
  for (const backup of backups.toSorted((a, b) => (a.label < b.label ? 1 : -1))) {
    const verdict = decide(backup, policy, now, promises, { byTier, total });
    decisions.push({ backup, ...verdict });
    // What is dated in the future says nothing about what is young: it stays and does not count.
    if (verdict.action === 'remove' || backup.health !== 'good' || isAhead(backup, now)) continue;
    byTier.set(backup.tier, (byTier.get(backup.tier) ?? 0) + 1);
    total += 1;
  }
  return { decisions: decisions.reverse(), guards: guardsOf(decisions, now) };
}
