/** What the doctor finds, and which exit status it means. Pure. */

import { type ExitStatus, exitStatus } from './errors.ts';
import { worstStatus } from './worst_status.ts';

/**
 * What is looked at, with the exit status that a problem there means: 2 what was configured, 7 the
 * repository, 8 the database, 3 anything else that a backup or a restore needs.
 */
const checkStatuses = {
  settings: exitStatus.usage,
  files: exitStatus.usage,
  node: exitStatus.failed,
  compressor: exitStatus.failed,
  temporary: exitStatus.failed,
  space: exitStatus.failed,
  clock: exitStatus.failed,
  repository: exitStatus.store,
  backups: exitStatus.store,
  store: exitStatus.store,
  encryption: exitStatus.failed,
  hooks: exitStatus.failed,
  connection: exitStatus.database,
  programs: exitStatus.database,
  server: exitStatus.database,
  pooler: exitStatus.database,
  read: exitStatus.database,
  restore: exitStatus.database,
  leftovers: exitStatus.database,
  slots: exitStatus.database,
} as const satisfies Record<string, ExitStatus>;

/** What a finding is about. */
export type CheckName = keyof typeof checkStatuses;

/** From what is as it should be to what a backup or a restore will fail on. */
export const findingLevels = ['ok', 'note', 'warning', 'problem'] as const;
export type FindingLevel = (typeof findingLevels)[number];

/** One thing that the doctor has looked at. */
export interface Finding {
  readonly check: CheckName;
  /** A database, a server, a file; `''` for this machine as a whole. */
  readonly subject: string;
  readonly level: FindingLevel;
  /** The fact, in lower case without a full stop; never a secret. */
  readonly message: string;
  /** What to type into a shell or psql, or what to do; `null` where there is nothing to do. */
  readonly mend: string | null;
}

/** The order in which findings are told: what is wrong comes last, where eyes are. */
export function inOrder(findings: readonly Finding[]): Finding[] {
  return findingLevels.flatMap((level) => findings.filter((each) => each.level === level));
}

/** 0 without a problem, else the worst of what the problems mean. */
export function doctorStatus(findings: readonly Finding[]): ExitStatus {
  return worstStatus(
    findings.filter(({ level }) => level === 'problem').map(({ check }) => checkStatuses[check]),
  );
}

/** A larger difference between two clocks is told. */
const skewSecondsMax = 5;

/**
 * How far the server's clock is from ours, in seconds: positive when it is ahead. The answer was
 * made somewhere between question and arrival, so half of that time is taken for its age.
 *
 * @returns `null` when the difference is no more than {@link skewSecondsMax} beyond what the round
 * trip leaves open
 */
export function clockSkewSeconds(asked: Date, answered: Date, server: Date): number | null {
  const roundTripMs = Math.max(0, answered.getTime() - asked.getTime());
  const skewMs = server.getTime() - (asked.getTime() + roundTripMs / 2);
  const sureMs = Math.abs(skewMs) - roundTripMs / 2;
  return sureMs > skewSecondsMax * 1000 ? skewMs / 1000 : null;
}

/** What a server's lock table holds (manual, "Lock Management": max_locks_per_transaction). */
export interface LockTable {
  readonly locksPerTransaction: number;
  readonly connections: number;
  readonly preparedTransactions: number;
}

/** The part of the lock table that a dump may fill: others need locks, too. */
const lockPartMax = 0.8;

/**
 * The max_locks_per_transaction that a dump needs, which locks every table at once; `null` when
 * there is room enough.
 */
export function neededLocksPerTransaction(tables: number, table: LockTable): number | null {
  const owners = table.connections + table.preparedTransactions;
  if (owners <= 0 || tables <= table.locksPerTransaction * owners * lockPartMax) return null;
  return Math.ceil((tables * 1.5) / owners);
}
