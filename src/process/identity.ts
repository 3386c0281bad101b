/**
 * Which process is meant by a number: process numbers are used again, and every container counts
 * its own. So a process is its number and start time, on a host, since a boot, in a name space.
 */

import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { decodeComponent, encodeComponent } from '../core/names.ts';
import { Type } from '../core/type_builder.ts';

/** How a process is written down in a record. */
export const identitySchema = Type.Object({
  pid: Type.Integer(),
  started: Type.String(),
  host: Type.String(),
  boot: Type.String(),
});

/** One process, told from every other one that has or had its number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since the boot (`/proc/<pid>/stat`, field 22); `''` where there is no /proc. */
  readonly started: string;
  readonly host: string;
  /** Of the boot and of the process name space; `''` where there is no /proc. */
  readonly boot: string;
}

/** `unknown`: it ran on another host or in another container, which cannot be asked from here. */
export type ProcessState = 'alive' | 'dead' | 'unknown';

/** When a process started, `null` when there is none, `''` where the system does not tell. */
function startOf(pid: number): string | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return processExists(pid) ? '' : null;
  }
  // The second field, the program's name in parentheses, may hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie has ended: nobody has asked for its status yet.
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? '');
}

/** Whether a signal could be sent to a process (kill(2) with the signal 0). */
export function processExists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function bootOf(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return `${boot}.${readlinkSync('/proc/self/ns/pid').replaceAll(/\D/g, '')}`;
  } catch {
    return '';
  }
}

/** Who this process is. */
export function ownIdentity(): ProcessIdentity {
  return identityOf(process.pid);
}

/** Who a process of this host is, for as long as it runs. */
export function identityOf(pid: number): ProcessIdentity {
  return { pid, started: startOf(pid) ?? '', host: hostname(), boot: bootOf() };
}

/** A process as a part of a file's name; {@link parseIdentityName} reads it. */
export function identityName({ pid, started, boot, host }: ProcessIdentity): string {
  return [pid, started, boot, encodeComponent(host)].join('~');
}

/** Reads what {@link identityName} wrote, whatever follows after another `~`; else `null`. */
export function parseIdentityName(text: string): ProcessIdentity | null {
  const [pid, started, boot, host] = text.split('~');
  if (started === undefined || boot === undefined || host === undefined) return null;
  return { pid: Number(pid), started, boot, host: decodeComponent(host) ?? host };
}

/** Whether it is known for sure that a process ran here: no two machines have the same boot. */
export function isOfThisBoot({ boot }: ProcessIdentity): boolean {
  return boot !== '' && boot === bootOf();
}

/** Whether two identities are of one process. */
export function isSameProcess(a: ProcessIdentity, b: ProcessIdentity): boolean {
  return identityName(a) === identityName(b);
}

/** Whether that process still runs. */
export function processState(identity: ProcessIdentity): ProcessState {
  const own = ownIdentity();
  if (identity.host !== own.host) return 'unknown';
  const [boot, space] = identity.boot.split('.');
  const [ownBoot, ownSpace] = own.boot.split('.');
  if (boot !== ownBoot) return 'dead';
  if (space !== ownSpace) return 'unknown';
  const started = startOf(identity.pid);
  if (started === null) return 'dead';
  return started === '' || identity.started === '' || started === identity.started
    ? 'alive'
    : 'dead';
}
