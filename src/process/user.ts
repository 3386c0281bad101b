/** The operating-system user that a command runs as (PRODUCT.md, "Who runs it"). */

import { readFileSync } from 'node:fs';

/** A user of the operating system, as /etc/passwd has it. */
export interface OsUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** Node has it on POSIX systems; its type declarations do not name it. */
type WithInitgroups = NodeJS.Process & { initgroups?: (user: string, group: number) => void };

/** All users that /etc/passwd lists. Directory services are not asked. */
function listUsers(): OsUser[] {
  const users: OsUser[] = [];
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name, , uid, gid, , home] = line.split(':');
    if (name === undefined || uid === undefined || gid === undefined || name === '') continue;
    users.push({ name, uid: Number(uid), gid: Number(gid), home: home ?? '/' });
  }
  return users;
}

/** The user of that name, or `null`. */
export function findUserByName(name: string): OsUser | null {
  return listUsers().find((user) => user.name === name) ?? null;
}

/** The user with that number, or `null`. */
export function findUserById(uid: number): OsUser | null {
  return listUsers().find((user) => user.uid === uid) ?? null;
}

/** Whether this process runs as root. */
export function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/**
 * Makes this process run as another user from here on, for good. Only root can.
 *
 * @returns what changes in the environment of children: HOME, USER, LOGNAME
 */
export function becomeUser(user: OsUser): Readonly<Record<string, string>> {
  const { initgroups } = process as WithInitgroups;
  initgroups?.(user.name, user.gid);
  process.setgid?.(user.gid);
  process.setuid?.(user.uid);
  return { HOME: user.home, USER: user.name, LOGNAME: user.name };
}
