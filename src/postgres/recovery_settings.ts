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
  /** The server's major version. */
  readonly major: number;
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

const targetNames = [
  'recovery_target',
  'recovery_target_time',
  'recovery_target_lsn',
  'recovery_target_xid',
  'recovery_target_name',
] as const;
/** The first version without promote_trigger_file: it does not start with a setting of it. */
const withoutTriggerFile = 16;

/**
 * What is added to postgresql.auto.conf: the last line about a setting counts, so nothing that the
 * original had decides. A restored cluster never archives into the archive of the original, and
 * waits for no standby of it.
 *
 * The target comes last: one that is set to nothing behind it would be a second target to the
 * server (assign_recovery_target_time and its kin in guc_tables.c).
 */
export function recoverySettings(choice: RecoveryChoice): string {
  const target = targetSettings(choice.target);
  const others = targetNames.filter((name) => target[name] === undefined);
  return settingLines({
    archive_mode: 'off',
    restore_command: choice.restoreCommand,
    recovery_end_command: choice.recoveryEndCommand ?? '',
    archive_cleanup_command: '',
    recovery_min_apply_delay: '0',
    primary_conninfo: '',
    primary_slot_name: '',
    synchronous_standby_names: '',
    ...(choice.major < withoutTriggerFile ? { promote_trigger_file: '' } : {}),
    ...Object.fromEntries(others.map((name) => [name, ''])),
    ...target,
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

/** What a server takes that is not told otherwise (manual, "Server Configuration"). */
const defaultLimits: Readonly<Record<string, number>> = {
  max_connections: 100,
  max_worker_processes: 8,
  max_wal_senders: 10,
  max_prepared_transactions: 0,
  max_locks_per_transaction: 64,
};

/**
 * The limits that a configuration sets lower than the original ran with: it may have been given
 * them on its command line.
 *
 * @param output of pg_controldata
 * @param settings by their names, as the configuration has them
 */
export function raisedLimits(
  output: string,
  settings: ReadonlyMap<string, string>,
): Record<string, string> {
  const needed = Object.entries(originalLimits(output));
  return Object.fromEntries(
    needed.filter(([name, value]) => {
      const set = settings.get(name);
      return Number(value) > (set === undefined ? (defaultLimits[name] ?? 0) : Number(set));
    }),
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
