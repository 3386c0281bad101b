/**
 * The pg_receivewal of a stream as a process: whoever starts it writes down which one it is, so
 * that the run after a kill ends what the killed one has left running.
 */

import { readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { encodeComponent } from '../../core/names.ts';
import { programEnvironment } from '../../postgres/program_environment.ts';
import { receiveArguments } from '../../postgres/receivewal.ts';
import { makeFolders, replaceFile } from '../../process/durable.ts';
import { endProcess } from '../../process/end_process.ts';
import { identityName, identityOf, parseIdentityName } from '../../process/identity.ts';
import { type DataChild, startChild } from '../../process/stream.ts';
import type { RepositoryContext } from '../context.ts';
import type { StreamStart } from './wal_stream_start.ts';

/** What a stream keeps of itself while it runs. */
function stateFile(context: RepositoryContext, cluster: string, what: 'lock' | 'child'): string {
  const { stateDir } = context.repository;
  return join(stateDir, 'wal_stream', `${encodeComponent(cluster)}.${what}`);
}

/** The lock of a cluster's stream, for withFileLock. */
export function streamLock(context: RepositoryContext, cluster: string): string {
  return stateFile(context, cluster, 'lock');
}

/** Ends the pg_receivewal that a killed run has left. Only who has the lock may do that. */
export async function endOrphan(context: RepositoryContext, cluster: string): Promise<void> {
  const path = stateFile(context, cluster, 'child');
  const text = await readFile(path, 'utf8').catch(() => null);
  const identity = text === null ? null : parseIdentityName(text.trim());
  if (identity !== null && (await endProcess(identity))) {
    context.log.detail(`ended the pg_receivewal that a killed run has left (${identity.pid})`);
  }
  await rm(path, { force: true });
}

/** A pg_receivewal that runs. */
export interface Receiver {
  readonly child: DataChild;
  /** To be called when it has ended. */
  forget(): Promise<void>;
}

/**
 * Starts pg_receivewal.
 *
 * @param end it ends when it has everything before this position; `null`: never by itself
 */
export async function startReceiver(
  context: RepositoryContext,
  cluster: string,
  start: StreamStart,
  end: bigint | null,
): Promise<Receiver> {
  const { tool, parameters, folder, slot } = start;
  const path = stateFile(context, cluster, 'child');
  await makeFolders(dirname(path));
  const child = startChild(tool.path, receiveArguments({ folder, slot, end }), {
    // Its words are read, so they are in English.
    environment: {
      ...programEnvironment(parameters, context.environment, 'holdfast wal_stream'),
      LC_ALL: 'C',
    },
    signal: context.signal,
  });
  child.stdin.end();
  child.stdout.resume();
  if (child.pid !== undefined) {
    await replaceFile(path, Buffer.from(identityName(identityOf(child.pid)), 'utf8'));
  }
  return { child, forget: () => rm(path, { force: true }) };
}
