/**
 * What the monitor remembers of servers from one run to the next, in `state/monitor/`: how much WAL
 * waited, so that it can tell when a disk is full, and when nothing had been written. Nothing
 * depends on it; damaged, it begins anew.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toHoldfastError } from '../../core/errors.ts';
import { type Static, Type } from '../../core/type_builder.ts';
import { documentBytes, documentReader } from '../../core/validate.ts';
import { errorNumber, makeFolders, replaceFile } from '../../process/durable.ts';
import type { Context } from '../context.ts';

const memoryFormat = 1;
const fileName = 'servers.json';
/** So many servers are remembered: those that were seen last. */
const serversMax = 200;

const serverSchema = Type.Object({
  server: Type.String(),
  /** When it was seen, ISO 8601 UTC. */
  at: Type.String({ minLength: 1 }),
  /** How many segments waited then; `null`: nobody could tell. */
  waiting: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]),
  /** When it had last written nothing since its archiver was done; `null`: never seen. */
  idle_at: Type.Union([Type.String({ minLength: 1 }), Type.Null()]),
});

const memorySchema = Type.Object({
  format: Type.Integer({ minimum: 1 }),
  servers: Type.Array(serverSchema, { maxItems: serversMax }),
});

const parseMemory = documentReader(memorySchema, {
  name: fileName,
  format: memoryFormat,
  code: 'DAMAGED',
});

/** One server, as a run has seen it. */
export type SeenServer = Readonly<Static<typeof serverSchema>>;

/** What an earlier run has seen, by the server's name. */
export type WalMemory = ReadonlyMap<string, SeenServer>;

function folderOf({ config }: Context): string {
  return join(config.settings.backup_dir, 'state', 'monitor');
}

/** Reads it. What cannot be read is told, and is none. */
export async function readWalMemory(context: Context): Promise<WalMemory> {
  try {
    const { servers } = parseMemory(await readFile(join(folderOf(context), fileName)));
    return new Map(servers.map((each) => [each.server, each]));
  } catch (error) {
    if (errorNumber(error) !== 'ENOENT') {
      const { message } = toHoldfastError(error);
      context.log.detail(`what was known of the servers is forgotten: ${message}`);
    }
    return new Map();
  }
}

/** Remembers what was seen besides what is known. What cannot be written fails nothing. */
export async function keepWalMemory(
  context: Context,
  known: WalMemory,
  seen: readonly SeenServer[],
): Promise<void> {
  // Where the repository's disk is not mounted nothing is begun in its place.
  if (seen.length === 0 || !('repository' in context)) return;
  const merged = new Map([...known, ...seen.map((each) => [each.server, each] as const)]);
  const servers = [...merged.values()].sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, serversMax);
  try {
    const folder = folderOf(context);
    await makeFolders(folder);
    await replaceFile(join(folder, fileName), documentBytes({ format: memoryFormat, servers }));
  } catch (error) {
    const { message } = toHoldfastError(error);
    context.log.detail(`what was seen of the servers cannot be kept: ${message}`);
  }
}
