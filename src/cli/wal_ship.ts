/** The command scripts/wal_ship.ts: how it runs, and what came of it. */

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import type { RunOutcome } from '../core/run_outcome.ts';
import { formatCount } from '../core/units.ts';
import { defaultJobs } from '../core/wal_queue.ts';
import {
  findShipCluster,
  type ShipRequest,
  type ShipResult,
  shipWal,
} from '../operations/archiving/wal_ship.ts';
import type { RepositoryContext } from '../operations/context.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { needRepository } from './open_context.ts';
import { projectDir } from './version.ts';

/** More only compete for the disk. */
const jobsMax = 8;
/** The indexes stand back for everything else on the machine. */
const indexNice = 19;

function jobsOf(flags: Flags): number {
  const { jobs } = flags;
  if (jobs === undefined) return defaultJobs(availableParallelism());
  if (Number.isInteger(jobs) && Number(jobs) >= 1 && Number(jobs) <= jobsMax) return Number(jobs);
  throw new HoldfastError('USAGE', `--jobs takes a number from 1 to ${jobsMax}`);
}

/** This command in a process of its own, which gives its memory back. */
function indexerOf(context: RepositoryContext, flags: Flags): ShipRequest['indexer'] {
  const settings = ['config', 'env-file'].flatMap((name) =>
    typeof flags[name] === 'string' ? [`--${name}`, flags[name]] : [],
  );
  const script = join(projectDir, 'scripts/wal_ship.ts');
  const { root } = context.repository;
  const own = ['--index', '--quiet', '--backup-dir', root, '--nice', String(indexNice)];
  return [process.execPath, script, ...own, ...settings];
}

async function indexOnly(context: RepositoryContext, cluster: string): Promise<CommandResult> {
  const { indexArchive } = await import('../operations/archiving/wal_ship_index.ts');
  const result = await indexArchive(context, cluster);
  for (const { message } of result.problems) context.log.warn(`not indexed: ${message}`);
  context.log.step(`indexed ${formatCount(result.indexed, 'segment')}`);
  const status = result.problems.length === 0 ? exitStatus.done : exitStatus.verification;
  return { status, json: { exit_status: status, ...result } };
}

/** What alerts are told of a run that carries what there is, and ends. */
function outcomeOf({ cluster, failures, stores, stored }: ShipResult): RunOutcome {
  const [failure] = failures;
  const lacking = stores.find(({ required, problem }) => required && problem !== null);
  const store = lacking === undefined ? null : printable(lacking.store);
  const text =
    failure === undefined
      ? `the store ${store} lacks WAL: ${lacking?.problem?.message}`
      : `${formatCount(failures.length, 'file')} of WAL not stored: ${failure.message}`;
  const isGood = failure === undefined && lacking === undefined;
  const error = isGood
    ? null
    : new HoldfastError('ARCHIVING_FAILED', text, {
        hint: 'Mend what it says: the next run carries what is missing.',
      });
  return { event: 'wal_ship', cluster, database: null, server: null, error, facts: { stored } };
}

/** Runs the command. Status 0 when it was told to end. */
export async function walShipCommand(invocation: Invocation): Promise<CommandResult> {
  const { flags, operands } = invocation;
  const context = needRepository(invocation.context);
  const [word] = operands;
  if (word !== undefined) {
    throw new HoldfastError('USAGE', `${JSON.stringify(word)} is one argument too many`, {
      hint: 'It is about the server of this host: name its cluster with CLUSTER.',
    });
  }
  const jobs = jobsOf(flags);
  const cluster = await findShipCluster(context);
  if (flags.index === true) return indexOnly(context, cluster);
  const indexer = indexerOf(context, flags);
  const once = flags.once === true;
  const result = await shipWal(context, cluster, { jobs, once, indexer });
  const { stored, already, failures } = result;
  context.log.step(
    `stored ${formatCount(stored, 'file')}, ${already} had been stored before` +
      (failures.length === 0 ? '' : `; ${formatCount(failures.length, 'file')} could not be`),
    { stored, already },
  );
  for (const { store, carried } of result.stores) {
    context.log.step(`carried ${formatCount(carried, 'file')} to ${printable(store)}`);
  }
  const lacks = result.stores.some(({ required, problem }) => required && problem !== null);
  const failed = failures.length > 0 ? exitStatus.failed : lacks ? exitStatus.store : null;
  const status = (once ? failed : null) ?? exitStatus.done;
  const outcomes = once ? [outcomeOf(result)] : [];
  return { status, json: { exit_status: status, ...result }, outcomes };
}
