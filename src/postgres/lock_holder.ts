/** Who holds a lock, written into application_name, which every role may read. Pure. */

import { compactTime } from '../core/label.ts';
import { identifierBytesMax } from '../core/names.ts';

/** A run of Holdfast that holds a lock. */
export interface LockHolder {
  /** `full`, `restore`: one word. */
  readonly operation: string;
  readonly startedAt: Date;
  readonly host: string;
  readonly pid: number;
}

/**
 * `holdfast full 20261121T020000Z db1:4711`. The time stands in it since pg_stat_activity shows the
 * start of a transaction only to members of the role. The server would cut it at 63 bytes and
 * replace what is not ASCII, so a long host is shortened here.
 */
export function formatLockHolder(holder: LockHolder): string {
  const front = `holdfast ${holder.operation} ${compactTime(holder.startedAt)} `;
  const end = `:${holder.pid}`;
  const host = holder.host.replaceAll(/[^\x21-\x7e]/g, '?');
  return `${front}${host.slice(0, identifierBytesMax - front.length - end.length)}${end}`;
}

/** The mirror of {@link formatLockHolder}; `null` for another application's name. */
export function parseLockHolder(applicationName: string): LockHolder | null {
  const match = /^holdfast (\w+) (\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z (.+):(\d+)$/.exec(
    applicationName,
  );
  if (match === null) return null;
  const [, operation = '', year, month, day, hour, minute, second, host = '', pid] = match;
  const startedAt = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`);
  if (Number.isNaN(startedAt.getTime())) return null;
  return { operation, startedAt, host, pid: Number(pid) };
}
