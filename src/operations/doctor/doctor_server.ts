/** What the doctor asks of a server once, whichever of its databases it is connected to. */

import type { Client } from 'pg';
import { clockSkewSeconds, type Finding } from '../../core/doctor.ts';
import { dropLeftover } from '../../core/leftovers.ts';
import { quoteLiteral } from '../../core/quote.ts';
import { formatAge, formatBytes, formatDuration } from '../../core/units.ts';
import type { ServerFacts } from '../../postgres/facts.ts';
import { type Leftover, readLeftovers } from '../../postgres/leftovers.ts';
import { readIdleSlots, readServerClock } from '../../postgres/server_health.ts';
import type { Context } from '../context.ts';
import { attempt, finding } from './doctor_finding.ts';

/** The major versions that every release is tested with (PRODUCT.md, "For whom"). */
const majorMin = 14;
const majorMax = 18;
/** An idle slot that holds more WAL than this will fill the disk one day. */
const slotBytesMax = 1e9;

function versionFinding(subject: string, server: ServerFacts): Finding {
  const about = { check: 'server', subject } as const;
  const what = `PostgreSQL ${server.version}${server.in_recovery ? ', a standby' : ''}`;
  if (server.major >= majorMin && server.major <= majorMax) return finding(about, 'ok', what);
  const range = `${majorMin} to ${majorMax}`;
  return finding(about, 'warning', `${what}: Holdfast is made for and tested with ${range}`);
}

async function clockFinding(context: Context, client: Client, subject: string): Promise<Finding> {
  const about = { check: 'clock', subject } as const;
  const asked = context.clock();
  const server = await readServerClock(client);
  const skew = clockSkewSeconds(asked, context.clock(), server);
  if (skew === null) return finding(about, 'ok', "this host's clock and the server's agree");
  const how = skew > 0 ? 'ahead of' : 'behind';
  const message = `the server's clock is ${formatDuration(Math.abs(skew))} ${how} this host's`;
  return finding(about, 'warning', message, 'timedatectl set-ntp true');
}

async function slotFindings(client: Client, subject: string): Promise<Finding[]> {
  const about = { check: 'slots', subject } as const;
  const slots = await readIdleSlots(client);
  if (slots.length === 0) return [finding(about, 'ok', 'no replication slot is idle')];
  return slots.map(({ name, database, bytes }) => {
    const of = database === null ? '' : ` of database ${JSON.stringify(database)}`;
    const message =
      `the replication slot ${JSON.stringify(name)}${of} is idle ` +
      `and holds ${formatBytes(bytes)} of WAL`;
    const drop = `SELECT pg_catalog.pg_drop_replication_slot(${quoteLiteral(name)});`;
    const level = bytes > slotBytesMax ? 'warning' : 'note';
    return finding(about, level, message, `${drop} -- when nobody will read from it again`);
  });
}

function leftoverFinding(context: Context, subject: string, leftover: Leftover): Finding {
  const about = { check: 'leftovers', subject } as const;
  const { name, kind, target, bytes, createdAt, inUse } = leftover;
  const size = bytes === null ? '' : `, ${formatBytes(bytes)}`;
  const age = formatAge((context.clock().getTime() - createdAt.getTime()) / 1000);
  const of = target === null ? 'a database' : JSON.stringify(target);
  const what = kind === 'before' ? `${of} as it was before a restore` : `a restore of ${of}`;
  const message = `database ${JSON.stringify(name)} is ${what}${size}, age ${age}`;
  if (inUse) return finding(about, 'note', `${message}; it is in use now`);
  const mend = dropLeftover(leftover);
  return kind === 'before'
    ? finding(about, 'note', message, mend)
    : finding(about, 'warning', `${message}, that did not come to its end`, mend);
}

async function leftoverFindings(
  context: Context,
  client: Client,
  subject: string,
): Promise<Finding[]> {
  const leftovers = await readLeftovers(client);
  if (leftovers.length > 0) {
    return leftovers.map((leftover) => leftoverFinding(context, subject, leftover));
  }
  return [finding({ check: 'leftovers', subject }, 'ok', 'restores have left no database')];
}

/**
 * Looks at a server.
 *
 * @param subject how the server is called: where it listens
 */
export async function examineServer(
  context: Context,
  client: Client,
  server: ServerFacts,
  subject: string,
): Promise<Finding[]> {
  const findings = [versionFinding(subject, server)];
  const clock = { check: 'clock', subject } as const;
  findings.push(
    ...(await attempt(context, clock, async () => [await clockFinding(context, client, subject)])),
    ...(await attempt(context, { check: 'slots', subject }, () => slotFindings(client, subject))),
    ...(await attempt(context, { check: 'leftovers', subject }, () =>
      leftoverFindings(context, client, subject),
    )),
  );
  return findings;
}
