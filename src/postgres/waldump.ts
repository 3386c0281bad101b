/** Reads the records of WAL segments with pg_waldump. */

import { HoldfastError } from '../core/errors.ts';
import type { Lsn } from '../core/lsn.ts';
import { formatLsn } from '../core/lsn.ts';
import { createRecordReader, type WalRecord, type WalSizes } from '../core/wal_records.ts';
import { childFailure, startChild } from '../process/stream.ts';
import { type FindToolsOptions, findTool, type Tool } from './tools.ts';

/**
 * Finds the pg_waldump of a major version: each reads the WAL of its own version alone.
 *
 * @throws HoldfastError TOOL_TOO_OLD where it is not installed; CONFIG_INVALID like findTool
 */
export async function findWaldump(
  options: Pick<FindToolsOptions, 'environment' | 'pgBinDir' | 'signal'>,
  major: number,
): Promise<Tool> {
  const wish = { program: 'pg_waldump', serverMajor: major } as const;
  const tool = await findTool({ ...options, ...wish });
  if (tool.major === major) return tool;
  throw new HoldfastError(
    'TOOL_TOO_OLD',
    `pg_waldump ${major} is needed, and only that of ${tool.version} is there (${tool.path})`,
    { hint: `Install the server's package of PostgreSQL ${major}, or set pg_bin_dir.` },
  );
}

/** Segments that follow each other, as plain files in one folder, under names of one timeline. */
export interface WaldumpInput {
  readonly tool: Tool;
  readonly folder: string;
  /** Names of files; the same for one segment. */
  readonly first: string;
  readonly last: string;
  /** Where to begin, within the first one; at its first record unless told. */
  readonly start?: Lsn | undefined;
  readonly sizes: WalSizes;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** How far the records could be read. */
export interface WaldumpEnd {
  /** Why not to the end of the last segment, as pg_waldump says it; `null` where they could. */
  readonly problem: string | null;
  /** The problem is that nothing was written from there on. */
  readonly isUnwritten: boolean;
}

/** So begins what it says when it meets bytes that are no record. */
const endPatterns = [
  /error in WAL record at \S+: .*/,
  /could not find a valid record after .*/,
  /could not find any WAL .*/,
];
/** "wanted" up to 15, "expected at least" from 16 on. */
const unwrittenPattern = /invalid record length at \S+: (?:wanted|expected at least) \d+, got 0/;

/**
 * Reads records up to the end of the last segment, or to what is no record.
 *
 * @param onRecord gets each whole record, in the order of their positions
 * @throws HoldfastError CHILD_FAILED when pg_waldump fails for another reason; DAMAGED when a text
 *   in the WAL looks like a record
 */
export async function readWal(
  input: WaldumpInput,
  onRecord: (record: WalRecord) => void,
): Promise<WaldumpEnd> {
  const { tool, folder, first, last, start, sizes, signal } = input;
  const from = start === undefined ? [] : [`--start=${formatLsn(start)}`];
  const child = startChild(tool.path, [`--path=${folder}`, ...from, first, last], {
    // It prints times in the zone of its own process.
    environment: { ...input.environment, TZ: 'UTC', LC_ALL: 'C' },
    signal,
  });
  child.stdin.end();
  const reader = createRecordReader(sizes, onRecord);
  try {
    let rest = '';
    for await (const text of child.stdout.setEncoding('utf8')) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) reader.addLine(line);
    }
    reader.finish();
  } catch (error) {
    await child.end();
    throw error;
  }
  const exit = await child.exited;
  if (signal.aborted) throw new HoldfastError('INTERRUPTED', 'pg_waldump was interrupted');
  if (exit.status === 0) return { problem: null, isUnwritten: false };
  const said = child.stderrTail();
  const problem = endPatterns.map((pattern) => pattern.exec(said)?.[0]).find(Boolean);
  if (problem === undefined) throw childFailure(child, exit);
  return { problem, isUnwritten: unwrittenPattern.test(problem) };
}
