/**
 * What a restored cluster is told before it starts: where to take WAL from, where to stop, and,
 * where the original has its configuration elsewhere, enough of one to start with (PostgreSQL
 * manual, "Recovery Target", "Hot Standby: Administrator's Overview").
 */

import { HoldfastError } from '../core/errors.ts';
import { formatLsn } from '../core/lsn.ts';
import { type RecoveryTarget, serverTime } from '../core/recovery_target.ts';
import { settingLines } from './setting_lines.ts';

/** What the server does when the target is reached. */
export type TargetAction = 'pause' | 'promote' | 'shutdown';

/** How a cluster recovers. */
export interface RecoveryChoice {
  readonly target: RecoveryTarget;
  readonly isInclusive: boolean;
  /** Which is followed; `null`: that of the base backup. */
  readonly timeline: number | null;
  readonly action: TargetAction;
  readonly restoreCommand: string;
  /** Removes what restore_command has laid by; `null`: nothing to remove. */
  readonly recoveryEndCommand: string | null;
}

function targetSettings(target: RecoveryTarget): Record<string, string> {
  switch (target.kind) {
    case 'time':
      return { recovery_target_time: serverTime(target.at) };
    case 'lsn':
      return { recovery_target_lsn: formatLsn(target.lsn) };
    case 'xid':
      return { recovery_target_xid: String(target.xid) };
    case 'name':
      return { recovery_target_name: target.name };
    case 'immediate':
      return { recovery_target: 'immediate' };
    case 'newest':
      return {};
  }
}

/**
 * A postgresql.auto.conf without the targets that the original had: the server takes no second
 * one, and an empty one that follows would be a second one to it.
 */
export function withoutTargets(text: string): string {
  return text
    .split('\n')
    .filter((line) => !/^\s*recovery_target(?:_\w+)?\s*=/i.test(line))
    .join('\n');
}

/**
 * What is added to postgresql.auto.conf: the last line about a setting counts. A restored cluster
 * never archives into the archive of the original.
 */
export function recoverySettings(choice: RecoveryChoice): string {
  return settingLines({
    archive_mode: 'off',
    restore_command: choice.restoreCommand,
    recovery_end_command: choice.recoveryEndCommand ?? '',
    archive_cleanup_command: '',
    primary_conninfo: '',
    ...targetSettings(choice.target),
    recovery_target_inclusive: choice.isInclusive ? 'on' : 'off',
    recovery_target_timeline: choice.timeline === null ? 'current' : String(choice.timeline),
    recovery_target_action: choice.action,
  });
}

/** A server that answers queries while it recovers needs at least what the original had. */
const limits = [
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_xacts',
  'max_locks_per_xact',
] as const;
const settingOf: Readonly<Record<string, string>> = {
  max_prepared_xacts: 'max_prepared_transactions',
  max_locks_per_xact: 'max_locks_per_transaction',
};

/** Reads a line of what pg_controldata prints in the C locale. @throws HoldfastError DAMAGED */
export function controlValue(output: string, title: string): string {
  const line = output.split('\n').find((each) => each.startsWith(`${title}:`));
  if (line !== undefined) return line.slice(title.length + 1).trim();
  throw new HoldfastError('DAMAGED', `pg_controldata does not tell ${JSON.stringify(title)}`);
}

/** The limits that the original ran with, by the names of the settings. */
function originalLimits(output: string): Record<string, string> {
  return Object.fromEntries(
    limits.map((name) => [settingOf[name] ?? name, controlValue(output, `${name} setting`)]),
  );
}

/**
 * A postgresql.conf for a cluster whose own lies elsewhere.
 *
 * @param output of pg_controldata
 */
export function minimalConfiguration(output: string, action: TargetAction): string {
  return [
    '# Written by restore_pitr.ts: the configuration of the original lies outside of its data\n',
    '# directory. These limits are those of the original.\n',
    settingLines({
      ...originalLimits(output),
      listen_addresses: 'localhost',
      // A limit that was raised meanwhile would stop a server that answers queries.
      hot_standby: action === 'pause' ? 'on' : 'off',
    }),
  ].join('');
}

/** Where a recovery has ended, in the server's own words. */
export interface RecoveryReport {
  /** The end of the last record that was replayed. */
  readonly lsn: string | null;
  /** Of the last transaction that was replayed. */
  readonly time: string | null;
  readonly timeline: number | null;
}

/** Reads what a server has logged in English about its recovery. */
export function readRecoveryLog(log: string): RecoveryReport {
  const last = (pattern: RegExp) => [...log.matchAll(pattern)].at(-1)?.[1] ?? null;
  const timeline = last(/selected new timeline ID: (\d+)/g);
  return {
    lsn: last(/redo done at ([0-9A-F]+\/[0-9A-F]+)/g),
    time: last(/last completed transaction was at log time (.*)/g),
    timeline: timeline === null ? null : Number(timeline),
  };
}
