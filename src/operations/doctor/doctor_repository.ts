/** What the doctor looks at in the repository: nothing is written, and nothing is created. */

import { access, constants, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type CatalogEntry, createCatalog } from '../../catalog/catalog.ts';
import { fullFolder, openRepository, type Repository } from '../../catalog/repository.ts';
import { deadRuns } from '../../catalog/runs.ts';
import type { Finding } from '../../core/doctor.ts';
import { HoldfastError } from '../../core/errors.ts';
import { parseLabel } from '../../core/label.ts';
import { shellQuote } from '../../core/quote.ts';
import { formatAge, formatBytes, formatCount } from '../../core/units.ts';
import { partialSuffix } from '../../process/durable.ts';
import { freeBytesAt, inspectTree, nearestExisting } from '../../process/file_facts.ts';
import { findUserById } from '../../process/user.ts';
import type { Context } from '../context.ts';
import { attempt, finding } from './doctor_finding.ts';

/** What is known of the repository, for the checks of single databases. */
export interface RepositoryFacts {
  readonly findings: readonly Finding[];
  readonly freeBytes: number | null;
  /** Empty where there is no repository; `null` where it cannot be read. */
  readonly entries: readonly CatalogEntry[] | null;
}

/** So many files and folders are looked at for their owners and modes. */
const entriesMax = 20_000;
/** A backup may be dated so far ahead: two hosts never agree wholly. */
const futureSecondsMax = 300;

function userName(uid: number): string {
  return findUserById(uid)?.name ?? `user ${uid}`;
}

/** There is none yet: whether the first backup can make it. */
async function missingFindings(context: Context, root: string): Promise<Finding[]> {
  const about = { check: 'repository', subject: root } as const;
  const above = await nearestExisting(root);
  const mayCreate = await access(above, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
  const uid = process.geteuid?.() ?? 0;
  if (mayCreate) {
    const message = 'there is no repository yet: the first backup creates it';
    const { databases, connection } = context.config.settings;
    const hasNames = Object.keys(databases).length > 0 || connection.dbname !== null;
    const mend = `scripts/backup_full.ts${hasNames ? '' : ' --all'}`;
    return [finding(about, 'note', message, mend)];
  }
  return [
    finding(
      about,
      'problem',
      `there is no repository yet, and ${userName(uid)} may not create it in ${above}`,
      `sudo install --directory --owner=${uid} --mode=0700 ${shellQuote(root)}`,
    ),
  ];
}

/** Whether this user may write it, and nobody else may use it. */
async function ownershipFindings(root: string): Promise<Finding[]> {
  const about = { check: 'repository', subject: root } as const;
  const { uid: owner } = await stat(root);
  const uid = process.geteuid?.() ?? owner;
  const findings: Finding[] = [];
  const refusal = await access(root, constants.W_OK | constants.X_OK).then(
    () => null,
    (error: NodeJS.ErrnoException) => error.code ?? 'refused',
  );
  const mayWrite = refusal === null;
  if (refusal === 'EROFS') {
    const message = 'its file system is read-only, maybe since an error of the disk: see dmesg';
    const where = `"$(findmnt --noheadings --output TARGET --target ${shellQuote(root)})"`;
    findings.push(finding(about, 'problem', message, `sudo mount -o remount,rw ${where}`));
  } else if (uid !== owner) {
    const message = `it belongs to ${userName(owner)}, and this is ${userName(uid)}`;
    const mend = `sudo -u ${shellQuote(userName(owner))} scripts/doctor.ts`;
    findings.push(finding(about, mayWrite ? 'warning' : 'problem', message, mend));
  } else if (!mayWrite) {
    const message = 'it cannot be written: its mode';
    findings.push(finding(about, 'problem', message, `chmod u+rwx ${shellQuote(root)}`));
  }
  const tree = await inspectTree(root, owner, entriesMax);
  const [foreign] = tree.foreign;
  if (foreign !== undefined) {
    const message = `${foreign} and maybe others do not belong to ${userName(owner)}`;
    const mend = `sudo chown -R ${owner} ${shellQuote(root)}`;
    findings.push(finding(about, 'problem', message, mend));
  }
  const [open] = tree.open;
  if (open !== undefined) {
    const message = `other users may use ${open} and maybe others: backups hold all data`;
    findings.push(finding(about, 'warning', message, `chmod -R go= ${shellQuote(root)}`));
  }
  const [closed] = tree.closed;
  if (closed !== undefined) {
    const message = `${closed} and maybe others cannot be read by ${userName(uid)}`;
    findings.push(finding(about, 'problem', message, `sudo chmod -R u+rwX ${shellQuote(root)}`));
  }
  const part = tree.isCut ? `, of which the first ${entriesMax} entries were looked at` : '';
  const fact = `${formatBytes(tree.bytes)} in ${tree.entries} files and folders${part}`;
  return [finding(about, 'ok', fact), ...findings];
}

/** What killed runs have left. */
async function leftoverFindings(
  context: Context,
  { storage, stateDir, root }: Repository,
): Promise<Finding[]> {
  const dead = await deadRuns(stateDir);
  const findings: Finding[] = [];
  for (const { folder, modifiedAt } of await storage.unfinishedFolders(fullFolder)) {
    const path = join(root, `${folder}${partialSuffix}`);
    const { bytes } = await inspectTree(path, 0, entriesMax);
    const ageSeconds = (context.clock().getTime() - modifiedAt.getTime()) / 1000;
    const isDead = dead.some((run) => run.folder === folder);
    const what = isDead ? 'was left by a run that was killed' : 'is being written, or was left';
    const age = formatAge(ageSeconds);
    const message = `${folder} ${what}: ${formatBytes(bytes)}, last changed ${age} ago`;
    const mend = 'The next backup of that database removes it when nobody writes it any more.';
    findings.push(
      finding({ check: 'backups', subject: root }, isDead ? 'warning' : 'note', message, mend),
    );
  }
  return findings;
}

/** Backups that are damaged, or older than their date says. */
async function backupFindings(
  context: Context,
  root: string,
  entries: readonly CatalogEntry[],
): Promise<Finding[]> {
  const about = { check: 'backups', subject: root } as const;
  const findings: Finding[] = [];
  const damaged = entries.filter((each) => each.problem !== null || each.check?.kind === 'damaged');
  for (const { folder, label } of damaged.slice(0, 10)) {
    const message = `${folder} is damaged`;
    const which = parseLabel(label) === null ? '--all' : label;
    findings.push(finding(about, 'warning', message, `scripts/verify_backups.ts ${which}`));
  }
  const latestMs = context.clock().getTime() + futureSecondsMax * 1000;
  const future = entries.filter(
    ({ label }) => (parseLabel(label)?.startedAt.getTime() ?? 0) > latestMs,
  );
  for (const { folder } of future.slice(0, 10)) {
    const message = `${folder} is dated in the future: a clock was wrong then, or is now`;
    findings.push(finding(about, 'warning', message, 'timedatectl set-ntp true'));
  }
  findings.push(
    finding(
      about,
      'ok',
      `${formatCount(entries.length, 'backup')}, ${damaged.length} of them damaged`,
    ),
  );
  return findings;
}

/** Looks at the repository and what lies in it. */
export async function examineRepository(context: Context): Promise<RepositoryFacts> {
  const root = context.config.settings.backup_dir;
  const about = { check: 'repository', subject: root } as const;
  const findings: Finding[] = [];
  let entries: readonly CatalogEntry[] | null = null;
  const add = async (work: () => Promise<readonly Finding[]>) => {
    findings.push(...(await attempt(context, about, work)));
  };
  await add(async () => {
    let repository: Repository;
    try {
      repository = await openRepository(root, { create: false, now: context.clock() });
    } catch (error) {
      const isMissing = error instanceof HoldfastError && error.code === 'BACKUP_NOT_FOUND';
      if (isMissing) {
        entries = [];
        return missingFindings(context, root);
      }
      throw error;
    }
    await add(() => leftoverFindings(context, repository));
    await add(async () => {
      const listed = await createCatalog(repository.storage).listBackups();
      entries = listed;
      return backupFindings(context, root, listed);
    });
    return [];
  });
  if ((await stat(root).catch(() => null)) !== null) await add(() => ownershipFindings(root));
  return { findings, freeBytes: await freeBytesAt(root), entries };
}
