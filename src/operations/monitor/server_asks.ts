/** The servers that the settings name, asked one by one in a bounded time. */

import type { Client } from 'pg';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { ConnectionParameters, ResolvedTarget } from '../../postgres/connection.ts';
import { readServerFacts, type ServerFacts } from '../../postgres/facts.ts';
import { within } from '../../process/within.ts';
import { serverOf } from '../backup_targets.ts';
import type { Context } from '../context.ts';
import { connectMaintenance } from '../open_database.ts';
import { isAbsent, isConfigured, serversOf } from '../restore/list_leftovers.ts';

/** A server that answers at all answers sooner. */
const connectSecondsMax = 8;
const askSecondsMax = 15;

/** A session with a server that answers. */
export interface AskedServer {
  /** As the settings name it, before any of several addresses has answered. */
  readonly subject: string;
  /** In the repository: the setting, or the system identifier. */
  readonly cluster: string;
  readonly client: Client;
  readonly parameters: ConnectionParameters;
  readonly facts: ServerFacts;
}

/** What came of one server. */
export type ServerAnswer<T> = { readonly subject: string } & (
  | { readonly answer: T; readonly problem: null }
  | { readonly answer: null; readonly problem: HoldfastError }
);

function tooLate(subject: string, seconds: number): HoldfastError {
  const text = `${subject} did not answer within ${seconds} s`;
  return new HoldfastError('DATABASE_UNREACHABLE', text, {
    hint: 'Look whether it runs, at its load and locks, and at the network between.',
  });
}

async function connectInTime(context: Context, target: ResolvedTarget, subject: string) {
  const stop = new AbortController();
  const late = tooLate(subject, connectSecondsMax);
  const timer = setTimeout(() => stop.abort(late), connectSecondsMax * 1000);
  const signal = AbortSignal.any([context.signal, stop.signal]);
  try {
    return await connectMaintenance({ ...context, signal }, target, 'holdfast monitor');
  } catch (thrown) {
    throw stop.signal.aborted && !context.signal.aborted ? late : thrown;
  } finally {
    clearTimeout(timer);
  }
}

async function askOne<T>(
  context: Context,
  target: ResolvedTarget,
  ask: (server: AskedServer) => Promise<T>,
): Promise<ServerAnswer<T>> {
  const subject = serverOf(target);
  try {
    const { client, parameters } = await connectInTime(context, target, subject);
    try {
      const work = async () => {
        const facts = await readServerFacts(client);
        const cluster = context.config.settings.cluster ?? facts.system_identifier;
        return ask({ subject, cluster, client, parameters, facts });
      };
      const late = () => tooLate(subject, askSecondsMax);
      return { subject, answer: await within(askSecondsMax * 1000, work(), late), problem: null };
    } finally {
      await client.end().catch(() => undefined);
    }
  } catch (thrown) {
    if (context.signal.aborted) throw context.signal.reason;
    return { subject, answer: null, problem: toHoldfastError(thrown) };
  }
}

/**
 * Whether there is a server whose databases may be backed up from here: one that the settings name,
 * or the one that libpq would take. Elsewhere the repository is only watched.
 */
export async function hasServer(context: Context): Promise<boolean> {
  try {
    return isConfigured(context) || (await serversOf(context)).some((server) => !isAbsent(server));
  } catch {
    // Settings that cannot be resolved name something.
    return true;
  }
}

/**
 * Asks every server that the settings name, all at once, each in a session of its own. Where they
 * name none, the one that libpq would take is asked if it is there, and nothing is said of it if it
 * does not answer. One whose settings are wrong hides no other.
 *
 * @throws HoldfastError INTERRUPTED
 */
export async function askServers<T>(
  context: Context,
  ask: (server: AskedServer) => Promise<T>,
): Promise<readonly ServerAnswer<T>[]> {
  const isNamed = isConfigured(context);
  const wrong: ServerAnswer<T>[] = [];
  const servers = await serversOf(context, (subject, thrown) => {
    wrong.push({ subject, answer: null, problem: toHoldfastError(thrown) });
  });
  const present = isNamed ? servers : servers.filter((server) => !isAbsent(server));
  const answers = await Promise.all(present.map((server) => askOne(context, server, ask)));
  return isNamed ? [...wrong, ...answers] : answers.filter(({ problem }) => problem === null);
}
