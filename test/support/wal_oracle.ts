/**
 * What a recovery must bring back, told by PostgreSQL's own reading of the archived WAL and the
 * rules of recoveryStopsBefore and recoveryStopsAfter in its xlogrecovery.c, written down a second
 * time here: none of the code that is tested has a part in it.
 */

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { zstdDecompressSync } from 'node:zlib';
import { testEnvironment } from './cluster.ts';

/** One record of the WAL. */
export interface WalEvent {
  readonly kind: 'commit' | 'abort' | 'point' | 'other';
  /** Where it begins. */
  readonly lsn: bigint;
  readonly xid: number;
  /** Of the end of a transaction, in microseconds since 1970; 0 otherwise. */
  readonly at: bigint;
  /** Of a restore point. */
  readonly name: string;
}

/** Where a recovery shall stop; times in microseconds since 1970. */
export type Wish =
  | { readonly kind: 'time'; readonly at: bigint; readonly isInclusive: boolean }
  | { readonly kind: 'lsn'; readonly lsn: bigint; readonly isInclusive: boolean }
  | { readonly kind: 'xid'; readonly xid: number; readonly isInclusive: boolean }
  | { readonly kind: 'name'; readonly name: string };

export function lsnOf(text: string): bigint {
  const [high = '0', low = '0'] = text.split('/');
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
}

export function lsnText(lsn: bigint): string {
  const half = (number: bigint) => number.toString(16).toUpperCase();
  return `${half(lsn >> 32n)}/${half(lsn & 0xffff_ffffn)}`;
}

/** Microseconds since 1970 as PostgreSQL writes a time in UTC, without its zone. */
export function clockText(at: bigint): string {
  const text = new Date(Number(at / 1000n)).toISOString().replace('T', ' ').slice(0, -1);
  return `${text}${String(at % 1000n).padStart(3, '0')}`;
}

function microseconds(day: string, time: string): bigint {
  const [seconds = '', fraction = ''] = time.split('.');
  return BigInt(Date.parse(`${day}T${seconds}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0'));
}

const linePattern = /^rmgr: (\S+) .*, tx: +(\d+), lsn: (\S+), prev \S+, desc: (.*)$/;
const endPattern = /^(COMMIT|ABORT)(?:_PREPARED (\d+):)? (\S+) (\S+) UTC/;

function parseLine(line: string): WalEvent | null {
  const match = linePattern.exec(line);
  if (match === null) return null;
  const [, manager, tx = '', lsn = '', text = ''] = match;
  const event = { kind: 'other', lsn: lsnOf(lsn), xid: Number(tx), at: 0n, name: '' } as const;
  const end = manager === 'Transaction' ? endPattern.exec(text) : null;
  if (end !== null) {
    const [, word, prepared, day = '', time = ''] = end;
    const kind = word === 'COMMIT' ? 'commit' : 'abort';
    return { ...event, kind, xid: Number(prepared ?? tx), at: microseconds(day, time) };
  }
  const point = manager === 'XLOG' ? /^RESTORE_POINT (.*)$/.exec(text) : null;
  return point === null ? event : { ...event, kind: 'point', name: point[1] ?? '' };
}

/** All records of one timeline that an archive holds. @param archive its folder */
export async function readEvents(binDirectory: string, archive: string, timeline = '00000001') {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-oracle-'));
  try {
    const stored = await readdir(join(archive, timeline));
    const names = stored.filter((name) => /^[0-9A-F]{24}\.zst$/.test(name)).sort();
    for (const name of names) {
      const plain = zstdDecompressSync(await readFile(join(archive, timeline, name)));
      await writeFile(join(folder, name.slice(0, 24)), plain);
    }
    const [first = '', last = ''] = [names[0]?.slice(0, 24), names.at(-1)?.slice(0, 24)];
    const args = [`--path=${folder}`, first, last];
    const options = { env: { ...testEnvironment, TZ: 'UTC' }, maxBuffer: 256 * 1024 * 1024 };
    const program = join(binDirectory, 'pg_waldump');
    const { stdout } = await promisify(execFile)(program, args, options).catch((error) => {
      // The next record begins where nothing was written or was archived.
      if (/error in WAL record|could not find/.test(error.stderr)) return error as never;
      throw error;
    });
    const events = stdout.split('\n').map(parseLine);
    return events.filter((event: WalEvent | null) => event !== null) as WalEvent[];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whether the server stops before or behind a record; `null`: it goes on. */
function stopAt(event: WalEvent, wish: Wish): 'before' | 'behind' | null {
  if (wish.kind === 'name') {
    return event.kind === 'point' && event.name === wish.name ? 'behind' : null;
  }
  const at = wish.isInclusive ? 'behind' : 'before';
  if (wish.kind === 'lsn') return event.lsn >= wish.lsn ? at : null;
  if (event.kind !== 'commit' && event.kind !== 'abort') return null;
  if (wish.kind === 'xid') return event.xid === wish.xid ? at : null;
  const isBehind = wish.isInclusive ? event.at > wish.at : event.at >= wish.at;
  return isBehind ? 'before' : null;
}

/** Where a recovery stops: the record, and how many of all records have been replayed then. */
export interface Stop {
  readonly event: WalEvent;
  readonly replayed: number;
}

/** Replays from the first record on. @returns `null`: no record is the one to stop at */
export function findStop(events: readonly WalEvent[], wish: Wish): Stop | null {
  for (const [index, event] of events.entries()) {
    const where = stopAt(event, wish);
    if (where !== null) return { event, replayed: where === 'behind' ? index + 1 : index };
  }
  return null;
}

/** The transactions among the first so many records that were committed. */
export function committed(events: readonly WalEvent[], replayed: number): Set<number> {
  const done = events.slice(0, replayed).filter(({ kind }) => kind === 'commit');
  return new Set(done.map(({ xid }) => xid));
}
