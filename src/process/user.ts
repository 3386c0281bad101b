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

/** What changes in the environment of children of another user. */
export type UserEnvironment = Readonly<Record<'HOME' | 'USER' | 'LOGNAME', string>>;

/** Whom this process stands in for until {@link asRoot} is asked for; `null`: nobody. */
let borrowed: OsUser | null = null;

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

function environmentOf({ home, name }: OsUser): UserEnvironment {
  return { HOME: home, USER: name, LOGNAME: name };
}

/**
 * Makes this process run as another user from here on, for good. Only root can.
 *
 * @returns what changes in the environment of children: HOME, USER, LOGNAME
 */
export function becomeUser(user: OsUser): UserEnvironment {
  const { initgroups } = process as WithInitgroups;
  initgroups?.(user.name, user.gid);
  process.setgid?.(user.gid);
  process.setuid?.(user.uid);
  return environmentOf(user);
}

/**
 * Makes this process act as another user, root being at hand again in {@link asRoot}: what it
 * writes belongs to that user. Only root can. A child that is started meanwhile could become root
 * again: children are started in {@link asRoot}, with the user that they run as.
 *
 * @returns what changes in the environment of children: HOME, USER, LOGNAME
 */
export function borrowUser(user: OsUser): UserEnvironment {
  const { initgroups } = process as WithInitgroups;
  initgroups?.(user.name, user.gid);
  process.setegid?.(user.gid);
  process.seteuid?.(user.uid);
  borrowed = user;
  return environmentOf(user);
}

/**
 * Works as root where {@link borrowUser} has kept it at hand; otherwise as who this process is.
 * Nothing else may write meanwhile.
 */
export async function asRoot<Result>(work: () => Promise<Result>): Promise<Result> {
  if (borrowed === null || isRoot()) return work();
  const { uid, gid } = borrowed;
  process.seteuid?.(0);
  process.setegid?.(0);
  try {
    return await work();
  } finally {
    process.setegid?.(gid);
    process.seteuid?.(uid);
  }
}
