/** Switches the archiving of a server's WAL on and off, and says how it is (PRODUCT.md). */

import { access } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { openWalArchive, type WalArchive } from '../../catalog/wal_archive.ts';
import {
  type ArchivingPlan,
  isArchiving,
  planArchiving,
  type SettingFact,
} from '../../core/archiving.ts';
import { HoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { shellQuote } from '../../core/quote.ts';
import type { WalClaim } from '../../core/wal_claim.ts';
import {
  type ArchiverFacts,
  alterSystem,
  readArchiver,
  readArchivingSettings,
  reloadConfiguration,
  switchSegment,
  wordsFromServer,
} from '../../postgres/archiving.ts';
import type { RepositoryContext } from '../context.ts';
import { claimArchive, claimedError, foreignClaim, proveHook } from './archiving_claim.ts';
import {
  forgetPrevious,
  type PreviousSetting,
  readPrevious,
  rememberPrevious,
} from './archiving_previous.ts';
import type { ArchivingServer } from './archiving_server.ts';
import {
  claimedInStore,
  foreignStoreClaim,
  newestTimeline,
  otherStores,
  replaceStoreClaims,
} from './store_claims.ts';

/** How long the archiver may make no progress before it is asked what is wrong. */
const arrivalSeconds = 60;
/** The archiver tries three times before it rests for a minute. */
const failuresMax = 3;
const pollMs = 50;
/** A configuration takes a moment to reach every process of the server. */
const reloadPolls = 200;

/** What an installation is about to do. */
export interface InstallPlan extends ArchivingPlan {
  readonly facts: readonly SettingFact[];
  /** Who has the archive now and would lose it; `null`: nobody else. */
  readonly foreignClaim: WalClaim | null;
  readonly place: Pick<WalClaim, 'system_identifier' | 'host' | 'data_directory'>;
  /** The archive is taken from whoever has it, in every store. */
  readonly takeOver: boolean;
}

/** What came of it. */
export interface InstallResult {
  readonly claim: WalClaim;
  /** Settings that wait for a restart; then nothing is archived yet. */
  readonly restart: readonly string[];
  /** The segment that has arrived in the archive, `null` before the restart. */
  readonly arrived: string | null;
}

function refuseStandby({ facts, description }: ArchivingServer): void {
  if (!facts.in_recovery) return;
  throw new HoldfastError('ARCHIVING_FAILED', `the server at ${description} is a standby`, {
    hint: 'Run it on the primary; after a failover, setup_archiving.ts take-over on the new one.',
  });
}

/** Another thing archives the WAL already: that is replaced only on request. */
function refuseForeign({ foreign, fixed }: ArchivingPlan, force: boolean): void {
  const [held] = fixed;
  if (held !== undefined) {
    throw new HoldfastError(
      'ARCHIVING_FAILED',
      `${held.name} is set to ${printable(held.current)} on the command line of the server`,
      { hint: `Take ${held.name} out of the options that the server is started with.` },
    );
  }
  if (force || foreign.length === 0) return;
  const told = foreign.map(({ name, coming }) => `${name} = ${printable(coming)}`).join(', ');
  throw new HoldfastError('CONFIRMATION_NEEDED', `the WAL is archived already: ${told}`, {
    hint: 'Add --force to replace it; uninstall gives it back.',
  });
}

/**
 * Looks at everything that an installation needs, and proves from the server that the hook runs
 * there. Nothing of the server is changed.
 *
 * @param takeOver whether the archive may be taken from another server
 * @throws HoldfastError ARCHIVING_FAILED, ARCHIVE_CLAIMED, CONFIRMATION_NEEDED for what is foreign
 */
export async function planInstall(
  context: RepositoryContext,
  server: ArchivingServer,
  { force, takeOver }: { readonly force: boolean; readonly takeOver: boolean },
): Promise<InstallPlan> {
  refuseStandby(server);
  const facts = await readArchivingSettings(server.client);
  const plan = planArchiving(facts, server.command);
  refuseForeign(plan, force);
  const place = await proveHook(context, server);
  const claim = await foreignClaim(context, server, place);
  if (claim !== null && !takeOver) throw claimedError(claim);
  const elsewhere = await foreignStoreClaim(context, server.cluster, place);
  if (elsewhere !== null && !takeOver) throw claimedInStore(elsewhere.store, elsewhere.claim);
  if (takeOver) await refuseOlderTimeline(context, server, force);
  return { ...plan, facts, place, foreignClaim: claim ?? elsewhere?.claim ?? null, takeOver };
}

/** After a failover the new server is on the newest timeline; a clone of an older state is not. */
async function refuseOlderTimeline(
  context: RepositoryContext,
  { cluster, facts }: ArchivingServer,
  force: boolean,
): Promise<void> {
  if (force) return;
  const archives = [openWalArchive(context.repository.local, cluster)];
  for (const store of otherStores(context)) {
    archives.push(openWalArchive(await store.open(), cluster));
  }
  const newest = Math.max(...(await Promise.all(archives.map(newestTimeline))));
  if (newest <= facts.timeline) return;
  throw new HoldfastError(
    'ARCHIVE_CLAIMED',
    `the archive knows timeline ${newest}, and this server is on timeline ${facts.timeline}`,
    { hint: 'It is an older state of the cluster: take over from the newest server, or --force.' },
  );
}

/**
 * Carries the plan out: claims the archive, sets what is missing, and, where no restart is needed,
 * waits until a segment has arrived.
 *
 * @throws HoldfastError ARCHIVING_FAILED with what the hook says
 */
export async function install(
  context: RepositoryContext,
  server: ArchivingServer,
  plan: InstallPlan,
): Promise<InstallResult> {
  const { client, command } = server;
  const { claim } = await claimArchive(context, server, plan.place);
  const problems = plan.takeOver ? await replaceStoreClaims(context, server.cluster, claim) : [];
  for (const problem of problems) context.log.warn(problem);
  if (plan.changes.length > 0) {
    await rememberPrevious(server, plan.facts, plan.changes);
    for (const { name, value } of plan.changes) await alterSystem(client, name, value);
    await reloadConfiguration(client);
  }
  if (plan.restart.length > 0) return { claim, restart: plan.restart, arrived: null };
  for (let poll = 0; poll < reloadPolls; poll += 1) {
    if (isArchiving(await readArchivingSettings(client), command)) break;
    await sleep(pollMs, undefined, { signal: context.signal });
  }
  return { claim, restart: [], arrived: await awaitArrival(context, server) };
}

/**
 * What the hook says of a file that the archiver could not archive, asked on the server; `null`
 * when it could be archived now, which the archiver finds within a minute.
 */
async function explainFailure(server: ArchivingServer, file: string): Promise<string | null> {
  const name = shellQuote(file);
  const command = `${shellQuote(server.hook)} ${shellQuote(`pg_wal/${file}`)} ${name}`;
  const words = await wordsFromServer(server.client, command);
  return words === '' ? null : words.trim().replaceAll('\n', '; ');
}

/** Whether one of them has a segment. */
async function isInOne(archives: readonly WalArchive[], segment: string): Promise<boolean> {
  for (const archive of archives) if ((await archive.stat(segment)) !== null) return true;
  return false;
}

/**
 * Ends a segment and waits until it lies in the archive.
 *
 * @returns its name
 * @throws HoldfastError ARCHIVING_FAILED with what the hook says
 */
export async function awaitArrival(
  context: RepositoryContext,
  server: ArchivingServer,
): Promise<string> {
  const { client, cluster } = server;
  let last = await readArchiver(client);
  const before = last;
  const segment = await switchSegment(client, 'holdfast setup_archiving');
  // Where no backups are kept here, it may have gone on to the first store already.
  const { local, storage } = context.repository;
  const archives = [...new Set([local, storage])].map((each) => openWalArchive(each, cluster));
  let sinceSeconds = context.stopwatch();
  while (!(await isInOne(archives, segment))) {
    const now = await readArchiver(client);
    if (now.archivedCount !== last.archivedCount) sinceSeconds = context.stopwatch();
    last = now;
    const failures = now.failedCount - before.failedCount;
    const isStuck = context.stopwatch() - sinceSeconds > arrivalSeconds;
    if (failures >= failuresMax || isStuck) {
      const file = (failures > 0 ? now.lastFailed : null) ?? segment;
      const words = (await explainFailure(server, file)) ?? 'now it could be archived';
      throw new HoldfastError(
        'ARCHIVING_FAILED',
        `${file} does not arrive in the archive (${failures} failures): ${words}`,
        { hint: 'Mend what it says; the server tries again by itself: setup_archiving.ts status.' },
      );
    }
    await sleep(pollMs, undefined, { signal: context.signal });
  }
  return segment;
}

/** How archiving is. */
export interface ArchivingStatus {
  /** The server archives into this archive, and nothing is wrong. */
  readonly isWorking: boolean;
  readonly facts: readonly SettingFact[];
  readonly plan: ArchivingPlan;
  readonly claim: WalClaim | null;
  readonly archiver: ArchiverFacts;
  /** Why the last file could not be archived, where that is the last that was heard. */
  readonly failure: string | null;
}

/** Why the hook cannot be called whatever the archiver has told so far; `null`: it is there. */
async function hookProblem({ hook }: ArchivingServer): Promise<string | null> {
  const isThere = await access(hook).then(
    () => true,
    () => false,
  );
  return isThere ? null : `${printable(hook)} is not there: setup_archiving.ts writes it again`;
}

/** Reads how archiving is; asks the hook itself where it has failed. */
export async function readStatus(
  context: RepositoryContext,
  server: ArchivingServer,
): Promise<ArchivingStatus> {
  const { client, command, cluster } = server;
  const facts = await readArchivingSettings(client);
  const plan = planArchiving(facts, command);
  const archiver = await readArchiver(client);
  const claim = await openWalArchive(context.repository.local, cluster).claim();
  const isActive = isArchiving(facts, command);
  const { lastFailed, lastFailedAt, lastArchivedAt } = archiver;
  const hasFailed = lastFailedAt !== null && lastFailedAt > (lastArchivedAt ?? new Date(0));
  const said =
    isActive && hasFailed && lastFailed !== null ? await explainFailure(server, lastFailed) : null;
  const failure = isActive ? ((await hookProblem(server)) ?? said) : null;
  const isWorking = isActive && failure === null && claim !== null;
  return { isWorking, facts, plan, claim, archiver, failure };
}

/** What is given back, and what somebody else has changed since. */
export interface Uninstalled {
  readonly restored: readonly PreviousSetting[];
  readonly kept: readonly PreviousSetting[];
  /** Settings that wait for a restart; until then the server keeps its WAL. */
  readonly restart: readonly string[];
}

/** What an uninstallation would give back. */
export async function planUninstall(server: ArchivingServer): Promise<Uninstalled> {
  const previous = await readPrevious(server);
  const facts = await readArchivingSettings(server.client);
  const isOurs = ({ name, ours }: PreviousSetting) =>
    facts.find((fact) => fact.name === name)?.own === ours;
  const restored = previous.filter(isOurs);
  return {
    restored,
    kept: previous.filter((each) => !isOurs(each)),
    restart: restored
      .filter(({ name }) => name === 'archive_mode' || name === 'wal_level')
      .map(({ name }) => name),
  };
}

/** Gives back what was before. The archive, its claim and its hooks stay. */
export async function uninstall(server: ArchivingServer, plan: Uninstalled): Promise<void> {
  const { client } = server;
  for (const { name, before } of plan.restored) await alterSystem(client, name, before);
  await reloadConfiguration(client);
  await forgetPrevious(server);
}
