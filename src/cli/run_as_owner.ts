/**
 * Everything runs as the user that owns the repository (PRODUCT.md, "Who runs it"): a command that
 * root starts becomes that user, so that no file of the repository ever belongs to the wrong one.
 */

import { closeSync, openSync, readdirSync, statSync } from 'node:fs';
import { chown, mkdir, rename } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import type { Config } from '../config/load.ts';
import { HoldfastError } from '../core/errors.ts';
import { shellQuote } from '../core/quote.ts';
import type { Log } from '../process/console.ts';
import { folderMode, temporaryPath } from '../process/durable.ts';
import {
  becomeUser,
  borrowUser,
  findUserById,
  findUserByName,
  isRoot,
  type OsUser,
} from '../process/user.ts';
import type { RootWish } from './command.ts';
import { projectDir } from './version.ts';

/** Who owns a new repository that root sets up, where nobody else is named. */
const usualOwner = 'postgres';

/** Whether the acting user may read a file: access(2) would ask for the real one. */
function mayRead(path: string): boolean {
  try {
    closeSync(openSync(path, 'r'));
    return true;
  } catch {
    return false;
  }
}

function wrongUser(fact: string, hint: string): HoldfastError {
  return new HoldfastError('WRONG_USER', fact, { hint });
}

/** Who owns a folder; `null` where it is not there. */
function ownerOf(root: string): number | null {
  return statSync(root, { throwIfNoEntry: false })?.uid ?? null;
}

/**
 * Whether nothing has been begun there, so that it can still be given to somebody. A new disk comes
 * with a folder.
 */
function isNew(root: string): boolean {
  const owner = ownerOf(root);
  if (owner !== 0) return owner === null;
  return readdirSync(root).every((name) => name === 'lost+found');
}

function chooseOwner(root: string, { owner }: RootWish): OsUser {
  const name = owner ?? usualOwner;
  const user = findUserByName(name);
  if (user !== null) return user;
  throw wrongUser(
    owner === null
      ? `nobody owns ${root} yet, and root does not run backups by itself`
      : `there is no user ${JSON.stringify(name)}`,
    'Name the user that runs everything: --run-as NAME.',
  );
}

/** Makes the folder of a new repository, which belongs to its owner before it has its name. */
async function makeRoot(root: string, { uid, gid }: OsUser): Promise<void> {
  if (ownerOf(root) !== null) return chown(root, uid, gid);
  await mkdir(dirname(root), { recursive: true });
  const temporary = temporaryPath(root);
  await mkdir(temporary, { mode: folderMode });
  await chown(temporary, uid, gid);
  await rename(temporary, root);
}

function existingOwner(root: string, uid: number): OsUser {
  const user = findUserById(uid);
  if (user !== null) return user;
  throw wrongUser(
    `${root} belongs to user ${uid}, who does not exist`,
    `Give it to an existing user: chown -R postgres ${root}.`,
  );
}

/** What is started later has to read what root has read now. */
function refuseUnreadable(config: Config, name: string): void {
  const files = new Set([...config.sources.values()].flatMap(({ file }) => file ?? []));
  for (const file of files) {
    if (mayRead(file)) continue;
    const hint = `Let that user read it: chown ${name} ${shellQuote(file)}.`;
    throw wrongUser(`${name} may not read ${file}`, hint);
  }
}

/** Who owns the repository that root works with; `null`: root, or nobody yet. */
async function findOwner(
  root: string,
  wish: RootWish | undefined,
  begins: boolean,
): Promise<{ readonly user: OsUser; readonly isNew: boolean } | null> {
  if (wish !== undefined && isNew(root)) {
    const user = chooseOwner(root, wish);
    if (begins) await makeRoot(root, user);
    return user.uid === 0 ? null : { user, isNew: true };
  }
  const uid = ownerOf(root);
  if (uid === null || uid === 0) return null;
  return { user: existingOwner(root, uid), isNew: false };
}

function refuseOther(root: string, wish: RootWish | undefined, name: string): void {
  const wanted = wish?.owner ?? name;
  if (wanted === name) return;
  throw wrongUser(
    `--run-as names ${JSON.stringify(wanted)}, and ${root} belongs to ${name}`,
    `Everything runs as its owner: chown -R ${wanted} ${shellQuote(root)}, or leave the flag out.`,
  );
}

/**
 * Becomes the owner of the repository where root started the command and the repository belongs to
 * somebody else.
 *
 * @param wish of a command that sets up a system: it also gives a new repository its owner
 * @param begins whether the folder of a new repository is made, or given to that owner
 * @returns what changes in the environment of children
 * @throws HoldfastError WRONG_USER when that user cannot read the checkout, or does not exist
 */
export async function runAsOwner(
  config: Config,
  log: Log,
  wish?: RootWish,
  begins = true,
): Promise<Readonly<Record<string, string>>> {
  const root = config.settings.backup_dir;
  if (!isRoot()) {
    if (wish !== undefined && wish.owner !== null) refuseOther(root, wish, userInfo().username);
    return {};
  }
  const owner = await findOwner(root, wish, begins);
  if (owner === null) {
    refuseOther(root, wish, 'root');
    return {};
  }
  const { user } = owner;
  refuseOther(root, wish, user.name);
  log.step(`running as ${user.name}, who ${owner.isNew ? 'will own' : 'owns'} ${root}`);
  const changed = wish?.keep === true ? borrowUser(user) : becomeUser(user);
  if (!mayRead(`${projectDir}/package.json`)) {
    throw wrongUser(
      `${user.name} may not read ${projectDir}`,
      'Put the checkout where everybody may read it, such as /opt/holdfast.',
    );
  }
  if (wish !== undefined && wish.handsOver !== true) refuseUnreadable(config, user.name);
  return changed;
}
