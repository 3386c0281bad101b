/** Reads what a server writes about its recovery while it writes it, in English. */

import { type FileHandle, open } from 'node:fs/promises';
import { errorNumber } from '../process/durable.ts';

/** Where a recovery has ended, in the server's own words. */
export interface RecoveryReport {
  /** The end of the last record that was replayed. */
  readonly lsn: string | null;
  /** Of the last transaction that was replayed. */
  readonly time: string | null;
  readonly timeline: number | null;
}

/** Reads what a server has logged in English about its recovery. */
export function readRecoveryLog(log: string): RecoveryReport {
  const last = (pattern: RegExp) => [...log.matchAll(pattern)].at(-1)?.[1] ?? null;
  const timeline = last(/selected new timeline ID: (\d+)/g);
  return {
    lsn: last(/redo done at ([0-9A-F]+\/[0-9A-F]+)/g),
    time: last(/last completed transaction was at log time (.*)/g),
    timeline: timeline === null ? null : Number(timeline),
  };
}

/** Lines that count later; all others are too many to be kept. */
const telling = new RegExp(
  [
    'redo done at|last completed transaction|selected new timeline',
    'ready to accept connections|shut down',
    '\\b(?:FATAL|PANIC|HINT|wal_fetch):? ',
  ].join('|'),
);
const restored = /restored log file "([0-9A-F]{24})" from archive/;
const keptLinesMax = 200;
const lastLinesMax = 6;
const chunkBytes = 256 * 1024;

/** What was read so far. */
export interface RecoveryWords {
  /** The lines that count. */
  readonly telling: readonly string[];
  /** The last lines, whatever they say. */
  readonly last: readonly string[];
  /** The segments that were restored, each once. */
  readonly segments: ReadonlySet<string>;
}

/** Takes in more of a log, line by line. */
export class RecoveryLog implements RecoveryWords {
  readonly telling: string[] = [];
  readonly last: string[] = [];
  readonly segments = new Set<string>();
  readonly #path: string;
  #handle: FileHandle | null = null;
  #line = '';

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads what was written since. @returns whether it was anything */
  async read(): Promise<boolean> {
    this.#handle ??= await open(this.#path).catch((error: unknown) => {
      if (errorNumber(error) === 'ENOENT') return null;
      throw error;
    });
    if (this.#handle === null) return false;
    for (let isNew = false; ; isNew = true) {
      const { buffer, bytesRead } = await this.#handle.read(Buffer.alloc(chunkBytes));
      if (bytesRead === 0) return isNew;
      this.take(buffer.toString('utf8', 0, bytesRead));
    }
  }

  /** The same for a text that is there. */
  take(text: string): void {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) this.#takeLine(line);
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = null;
  }

  /** Whether a line that counts says that. */
  says(pattern: RegExp): boolean {
    return this.telling.some((line) => pattern.test(line));
  }

  #takeLine(line: string): void {
    const segment = restored.exec(line)?.[1];
    if (segment !== undefined) this.segments.add(segment);
    if (telling.test(line)) this.telling.push(line);
    if (this.telling.length > keptLinesMax) this.telling.shift();
    this.last.push(line);
    if (this.last.length > lastLinesMax) this.last.shift();
  }
}
