/**
 * Gathers what servers say of their archiver, their slots, what restores have left, and their clock
 * (PRODUCT.md, "The monitor's checks"). A role with pg_monitor is allowed all of it; what a role is
 * not allowed is told with the GRANT that mends it.
 */

import { join } from 'node:path';
import { toHoldfastError } from '../../core/errors.ts';
import type { HealthCheck, HealthFinding } from '../../core/health.ts';
import {
  type ArchiverHealth,
  checkArchiver,
  checkWaiting,
  checkWalSpace,
  idleBytesMax,
  type WaitingWal,
} from '../../core/health_archiver.ts';
import { checkClock, sureSkewSeconds } from '../../core/health_clock.ts';
import { type HealthAbout, secondsBetween } from '../../core/health_finding.ts';
import { checkLeftovers, checkSlots, unaskedServer } from '../../core/health_server.ts';
import { parseSegmentName, requireLsn, segmentNumber, segmentStart } from '../../core/lsn.ts';
import { encodeComponent } from '../../core/names.ts';
import { shownIdentifier } from '../../core/quote.ts';
import { isSocket } from '../../postgres/connection.ts';
import { readLeftovers } from '../../postgres/leftovers.ts';
import { readServerClock } from '../../postgres/server_health.ts';
import {
  readArchiverCounts,
  readSlots,
  readWaiting,
  readWalServer,
  type WalServer,
} from '../../postgres/wal_health.ts';
import type { Context } from '../context.ts';
import { type CatalogWal, catalogWalOf, diskOfWal, waitingIn } from './catalog_wal.ts';
import { type BareMonitorContext, type CheckGroup, unknownFinding } from './monitor_context.ts';
import { type AskedServer, askServers } from './server_asks.ts';
import { keepWalMemory, readWalMemory, type SeenServer } from './wal_memory.ts';

const soonSeconds = 60;

/** What is known of a server while it is asked. */
interface Asking extends AskedServer {
  readonly context: Context;
  readonly now: Date;
  readonly before: SeenServer | undefined;
}

/** What a server has told. */
interface Told {
  readonly findings: readonly HealthFinding[];
  readonly seen: SeenServer;
}

function aboutOf({ subject, cluster }: Asking, check: HealthCheck): HealthAbout {
  return { check, subject, cluster, database: null };
}

/** What one question gives, or why it cannot be asked; a session that broke is no answer. */
async function attempt(
  asking: Asking,
  check: HealthCheck,
  work: () => Promise<readonly HealthFinding[]>,
): Promise<readonly HealthFinding[]> {
  try {
    return await work();
  } catch (thrown) {
    const error = toHoldfastError(thrown);
    if (asking.context.signal.aborted || error.code === 'DATABASE_UNREACHABLE') throw error;
    const { subject, cluster, parameters } = asking;
    const finding = unknownFinding({ check, subject }, error, { cluster });
    if (error.code !== 'DATABASE_PRIVILEGE') return [finding];
    return [{ ...finding, mend: `GRANT pg_monitor TO ${shownIdentifier(parameters.user)};` }];
  }
}

/** What was written since everything that was ended was archived; `null`: nobody can tell. */
function writtenBytes(
  { facts }: Asking,
  lastArchived: string | null,
  waiting: WaitingWal | null,
): number | null {
  const { wal_segment_bytes: segmentBytes } = facts;
  const lsn = requireLsn(facts.lsn);
  const here = segmentNumber(lsn, segmentBytes);
  if (waiting !== null) return Number(lsn - segmentStart(here, segmentBytes));
  const last = lastArchived === null ? null : parseSegmentName(lastArchived, segmentBytes);
  if (last === null) return null;
  return Math.max(0, Number(lsn - segmentStart(last.number + 1n, segmentBytes)));
}

/** What waits for the archiver: by the server, or where its role may not see it by its files. */
async function waitingOf(
  asking: Asking,
  pgWal: string | null,
): Promise<{ readonly waiting: WaitingWal | null; readonly problem: unknown }> {
  try {
    return { waiting: await readWaiting(asking.client), problem: null };
  } catch (problem) {
    const waiting = pgWal === null ? null : await waitingIn(pgWal);
    return { waiting, problem: waiting === null ? problem : null };
  }
}

/** The folder of the WAL where it lies on this machine; `null`: elsewhere, or nobody knows. */
function pgWalOf(
  { parameters, context }: Asking,
  { dataDirectory }: WalServer,
  { claim }: CatalogWal,
): string | null {
  if (!isSocket(parameters.host)) return null;
  const claimed = claim?.host === context.host ? claim.data_directory : null;
  const folder = dataDirectory ?? claimed;
  return folder === null ? null : join(folder, 'pg_wal');
}

/** The archiver, what waits for it, and the disk below. */
async function archiverFindings(asking: Asking, server: WalServer, catalog: CatalogWal) {
  const { context, now, before, facts, client, cluster } = asking;
  const { monitor } = context.config.settings;
  const pgWal = pgWalOf(asking, server, catalog);
  const disk = pgWal === null ? null : await diskOfWal(pgWal);
  const counts = await readArchiverCounts(client);
  const { waiting, problem } = await waitingOf(asking, pgWal);
  const written = writtenBytes(asking, counts.lastArchived, waiting);
  // Wherever the repository lies for the server: it may be mounted elsewhere than here.
  const hook = `/hooks/${encodeComponent(cluster)}/wal_push`.replaceAll('%', '%%');
  const isForeign = server.archiveLibrary !== '' || !server.archiveCommand.includes(hook);
  const health: ArchiverHealth = {
    ...counts,
    inRecovery: facts.in_recovery,
    archiveMode: server.archiveMode,
    archiveCommand: server.archiveLibrary || server.archiveCommand,
    isOurs: !isForeign,
    holdsWal: catalog.claim !== null,
    isStreamed: catalog.stream !== null,
    waiting,
    writtenBytes: written,
    idleAt: before?.idle_at == null ? null : new Date(before.idle_at),
    startedAt: server.startedAt,
  };
  const { max_archive_age_minutes: maxMinutes, max_wal_waiting: maxWaiting } = monitor;
  const findings = [checkArchiver(aboutOf(asking, 'archiver'), health, maxMinutes, now)];
  if (waiting !== null) {
    const was = before?.waiting == null ? null : { at: new Date(before.at), count: before.waiting };
    const segmentBytes = facts.wal_segment_bytes;
    const pending = { waiting, before: was, segmentBytes, freeBytes: disk?.freeBytes ?? null };
    findings.push(checkWaiting(aboutOf(asking, 'wal_waiting'), pending, maxWaiting, now));
  } else {
    const told = await attempt(asking, 'wal_waiting', () => Promise.reject(problem));
    findings.push(...told);
  }
  if (disk !== null) {
    const about = aboutOf(asking, 'wal_space');
    const { max_disk_used_percent: maxPercent } = monitor;
    findings.push(checkWalSpace(about, disk, facts.wal_segment_bytes, maxPercent));
  }
  const isIdle = waiting?.count === 0 && written !== null && written <= idleBytesMax;
  return { findings, waiting: waiting?.count ?? null, isIdle };
}

async function slotFindings(asking: Asking, server: WalServer, { stream }: CatalogWal) {
  const { context, client } = asking;
  const limits = {
    bytesMax: context.config.settings.monitor.max_slot_wal_gb * 1e9,
    ours: stream?.slot ?? null,
    isUncapped: server.isUncapped,
  };
  return checkSlots(aboutOf(asking, 'slots'), await readSlots(client), limits);
}

async function clockFindings(asking: Asking): Promise<HealthFinding[]> {
  const { context, client } = asking;
  const asked = context.clock();
  const other = await readServerClock(client);
  const ahead = sureSkewSeconds({ asked, answered: context.clock(), other });
  const { max_clock_skew_seconds: max } = context.config.settings.monitor;
  return [checkClock(aboutOf(asking, 'clock'), ahead, max)];
}

/** Asks one server everything. */
async function examine(asking: Asking): Promise<Told> {
  const { context, now, client, cluster, facts, subject, before } = asking;
  const server = await readWalServer(client);
  const catalog = await catalogWalOf(context, cluster, facts.system_identifier);
  let memory = { waiting: before?.waiting ?? null, isIdle: false };
  const findings = [
    await attempt(asking, 'archiver', async () => {
      const { findings: found, ...seen } = await archiverFindings(asking, server, catalog);
      memory = seen;
      return found;
    }),
    await attempt(asking, 'slots', () => slotFindings(asking, server, catalog)),
    await attempt(asking, 'leftovers', async () =>
      checkLeftovers(aboutOf(asking, 'leftovers'), await readLeftovers(client), now),
    ),
    await attempt(asking, 'clock', () => clockFindings(asking)),
  ].flat();
  const idle_at = memory.isIdle ? now.toISOString() : (before?.idle_at ?? null);
  // A run right behind another one leaves what the next one measures a rate by.
  const isSoon = before !== undefined && secondsBetween(new Date(before.at), now) < soonSeconds;
  const counted = isSoon ? before : { at: now.toISOString(), waiting: memory.waiting };
  return { findings, seen: { server: subject, at: counted.at, waiting: counted.waiting, idle_at } };
}

/** What was seen at a time that has not come tells of a clock, and of no server. */
function ofThePast(seen: SeenServer | undefined, now: Date): SeenServer | undefined {
  const isLater = (time: string | null) => time !== null && new Date(time) > now;
  return seen === undefined || isLater(seen.at) || isLater(seen.idle_at) ? undefined : seen;
}

async function checkServers({ context, now }: BareMonitorContext) {
  const known = await readWalMemory(context);
  const answers = await askServers(context, (server) =>
    examine({ ...server, context, now, before: ofThePast(known.get(server.subject), now) }),
  );
  await keepWalMemory(
    context,
    known,
    answers.flatMap(({ answer }) => answer?.seen ?? []),
  );
  return answers.flatMap(({ subject, answer, problem }) => {
    if (problem === null) return answer.findings;
    const { cluster } = context.config.settings;
    return [unaskedServer({ check: 'archiver', subject, cluster, database: null }, problem)];
  });
}

/** What the servers that the settings name tell of themselves. */
export const serversGroup: CheckGroup = {
  name: 'servers',
  checks: ['archiver', 'wal_waiting', 'wal_space', 'slots', 'leftovers', 'clock'],
  needs: 'nothing',
  run: checkServers,
};
