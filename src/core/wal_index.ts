/**
 * What a segment of the WAL holds: when transactions ended in it and which, restore points, where
 * it ends. A recovery target is proven reachable with it before a byte is written: PostgreSQL stops
 * at the end of a transaction (recoveryStopsBefore in its xlogrecovery.c), committed or not, so a
 * time after the last one, an identifier that is nowhere, a name that nobody gave are never met.
 */

import { assert } from './assert.ts';
import { formatLsn, type Lsn, requireLsn } from './lsn.ts';
import { type Static, Type } from './type_builder.ts';
import { documentBytes, documentReader } from './validate.ts';
import type { WalRecord } from './wal_records.ts';

/** The newest format of an index that this version reads and the one it writes. */
const indexFormat = 1;

const lsnText = Type.String({ pattern: '^[0-9A-F]{1,8}/[0-9A-F]{1,8}$' });
/** ISO 8601, UTC, with microseconds: texts sort as the times do. */
const timeText = Type.String({
  pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z$',
});
const count = Type.Integer({ minimum: 0 });
const transactionId = Type.Integer({ minimum: 0, maximum: 0xffff_ffff });

const commitSchema = Type.Object({
  at: timeText,
  xid: transactionId,
  lsn: lsnText,
  /** Where its record ends: a recovery that replays so far has the transaction. */
  end_lsn: lsnText,
});

const indexSchema = Type.Object({
  format: Type.Integer({ minimum: 1 }),
  /** As PostgreSQL names it, with `.partial` where it is one. */
  segment: Type.String({ pattern: '^[0-9A-F]{24}(\\.partial)?$' }),
  /** The last record that ends in it, and where that is; `null` when none ends in it. */
  last_record_lsn: Type.Union([lsnText, Type.Null()]),
  end_lsn: Type.Union([lsnText, Type.Null()]),
  commits: count,
  aborts: count,
  /** By position. */
  first_commit: Type.Union([commitSchema, Type.Null()]),
  last_commit: Type.Union([commitSchema, Type.Null()]),
  /** Of all transactions that ended, by time: clocks step back, and commits overtake each other. */
  earliest_at: Type.Union([timeText, Type.Null()]),
  latest_at: Type.Union([timeText, Type.Null()]),
  /** Of the same: pairs of first and last, sorted. Subtransactions are no targets. */
  xids: Type.Array(Type.Tuple([transactionId, transactionId])),
  restore_points: Type.Array(Type.Object({ name: Type.String(), lsn: lsnText })),
});

/**
 * The index of one segment. A record belongs to the segment in which it ends: with that segment it
 * can be replayed.
 */
export type WalIndex = Readonly<Static<typeof indexSchema>>;

/** The end of a transaction that was committed. */
export type IndexedCommit = Readonly<Static<typeof commitSchema>>;

const readDocument = documentReader(indexSchema, {
  name: 'the index of a WAL segment',
  format: indexFormat,
  code: 'DAMAGED',
});

/** Reads an index. @throws HoldfastError DAMAGED when the bytes are none */
export function parseIndex(bytes: Uint8Array): WalIndex {
  return readDocument(bytes);
}

/** The mirror of {@link parseIndex}. */
export function formatIndex(index: WalIndex): Uint8Array {
  const bytes = documentBytes(index);
  parseIndex(bytes);
  return bytes;
}

/** How a transaction ended. */
interface Ending {
  readonly kind: 'commit' | 'abort';
  readonly xid: number;
  readonly at: string;
}

const endingPattern =
  /^(COMMIT|ABORT)(?:_PREPARED (\d+):)? (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{6}) UTC/;
const restorePointPattern = /^RESTORE_POINT (.*)$/s;

/** What a record says of the end of a transaction, or `null` where it says nothing of one. */
function endingOf({ manager, xid, description }: WalRecord): Ending | null {
  if (manager !== 'Transaction') return null;
  const match = endingPattern.exec(description);
  if (match === null) return null;
  const [, word, prepared, day, time] = match;
  return {
    kind: word === 'COMMIT' ? 'commit' : 'abort',
    // A prepared transaction is ended by a record that belongs to none.
    xid: prepared === undefined ? xid : Number(prepared),
    at: `${day}T${time}Z`,
  };
}

/** Joins numbers into pairs of first and last. */
function rangesOf(numbers: readonly number[]): [number, number][] {
  const ranges: [number, number][] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && number <= last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

/** Gathers the index of one segment from the records that end in it, in their order. */
export interface IndexBuilder {
  add(record: WalRecord): void;
  build(): WalIndex;
}

/** Begins the index of a segment. @param segment its name */
export function createIndexBuilder(segment: string): IndexBuilder {
  const xids: number[] = [];
  const restorePoints: { name: string; lsn: string }[] = [];
  const counts = { commit: 0, abort: 0 };
  let last: WalRecord | null = null;
  let firstCommit: IndexedCommit | null = null;
  let lastCommit: IndexedCommit | null = null;
  let earliest: string | null = null;
  let latest: string | null = null;

  return {
    add(record) {
      assert(last === null || record.lsn > last.lsn, 'records come in their order');
      last = record;
      const point = record.manager === 'XLOG' ? restorePointPattern.exec(record.description) : null;
      const ending = endingOf(record);
      // Most records are of no interest: nothing more is spent on them.
      if (point === null && ending === null) return;
      const lsn = formatLsn(record.lsn);
      if (point !== null) restorePoints.push({ name: point[1] ?? '', lsn });
      if (ending === null) return;
      const { kind, xid, at } = ending;
      counts[kind] += 1;
      xids.push(xid);
      if (earliest === null || at < earliest) earliest = at;
      if (latest === null || at > latest) latest = at;
      if (kind === 'abort') return;
      lastCommit = { at, xid, lsn, end_lsn: formatLsn(record.end) };
      firstCommit ??= lastCommit;
    },
    build: () => ({
      format: indexFormat,
      segment,
      last_record_lsn: last === null ? null : formatLsn(last.lsn),
      end_lsn: last === null ? null : formatLsn(last.end),
      commits: counts.commit,
      aborts: counts.abort,
      first_commit: firstCommit,
      last_commit: lastCommit,
      earliest_at: earliest,
      latest_at: latest,
      xids: rangesOf(xids),
      restore_points: restorePoints,
    }),
  };
}

/** Whether a transaction ended in a segment. */
export function hasTransaction({ xids }: WalIndex, xid: number): boolean {
  return xids.some(([first, last]) => first <= xid && xid <= last);
}

/** Where the records of a segment end, or `null` where none does in it. */
export function endOfIndex({ end_lsn: end }: WalIndex): Lsn | null {
  return end === null ? null : requireLsn(end);
}
