/**
 * The records of the WAL as pg_waldump prints them, a line for each. Texts of users stand in some
 * lines as they are (the names of restore points, of prepared transactions, of logical messages)
 * and may hold whole lines that look like another record: each record names the one before it, and
 * a line that is not next in this chain is text.
 */

import { HoldfastError } from './errors.ts';
import { type Lsn, parseLsn } from './lsn.ts';

/** One record. */
export interface WalRecord {
  /** The resource manager: `Transaction`, `XLOG`, `Heap`, … */
  readonly manager: string;
  readonly lsn: Lsn;
  /** The first position behind it; where it ends exactly at a page's end, that position. */
  readonly end: Lsn;
  /** 0 where it belongs to no transaction. */
  readonly xid: number;
  /** What it says, with all lines of a text in it. */
  readonly description: string;
}

/** The sizes that positions depend on, in bytes: of a segment, of a page. */
export interface WalSizes {
  readonly segmentBytes: number;
  readonly pageBytes: number;
}

/** Of a page, and of the first page of a segment (SizeOfXLogShortPHD, SizeOfXLogLongPHD). */
const shortHeaderBytes = 24n;
const longHeaderBytes = 40n;
/** Records begin at multiples of this (MAXALIGN). */
const alignBytes = 8n;

/**
 * Where a record ends that begins at `lsn` and has so many bytes: the headers of the pages that it
 * crosses are not among them.
 */
export function recordEnd(lsn: Lsn, bytes: number, { segmentBytes, pageBytes }: WalSizes): Lsn {
  const page = BigInt(pageBytes);
  let at = lsn;
  let left = BigInt(bytes);
  for (;;) {
    const room = page - (at % page);
    if (left <= room) break;
    left -= room;
    at += room;
    at += at % BigInt(segmentBytes) === 0n ? longHeaderBytes : shortHeaderBytes;
  }
  return (at + left + alignBytes - 1n) & ~(alignBytes - 1n);
}

const linePattern =
  /^rmgr: (\S+) +len \(rec\/tot\): +\d+\/ *(\d+), tx: +(\d+), lsn: (\S+), prev (\S+), desc: (.*)$/s;

interface Link {
  readonly record: WalRecord;
  /** As they are printed: both in one form, so that they are compared without being read. */
  readonly at: string;
  readonly previous: string;
}

function parseLine(line: string, sizes: WalSizes): Link | null {
  const match = linePattern.exec(line);
  if (match === null) return null;
  const [, manager = '', bytes = '', xid = '', at = '', previous = '', description = ''] = match;
  const lsn = parseLsn(at);
  if (lsn === null) return null;
  const plainEnd = recordEnd(lsn, Number(bytes), sizes);
  // The rest of its segment belongs to the record that ends it early.
  const isSwitch = manager === 'XLOG' && description.startsWith('SWITCH');
  const size = BigInt(sizes.segmentBytes);
  const end = isSwitch ? ((plainEnd + size - 1n) / size) * size : plainEnd;
  return { at, previous, record: { manager, lsn, end, xid: Number(xid), description } };
}

/** Takes what pg_waldump prints, line by line, and hands on whole records. */
export interface RecordReader {
  /** @throws HoldfastError DAMAGED when two lines claim to be the same record */
  addLine(line: string): void;
  /** After the last line: hands on the last record. */
  finish(): void;
}

/** Makes a reader. @param onRecord gets each record once, in the order of their positions */
export function createRecordReader(
  sizes: WalSizes,
  onRecord: (record: WalRecord) => void,
): RecordReader {
  let last: Link | null = null;
  let text: string[] = [];

  function finish(): void {
    if (last === null) return;
    const { record } = last;
    const description = [record.description, ...text].join('\n');
    onRecord(text.length === 0 ? record : { ...record, description });
    last = null;
    text = [];
  }

  return {
    addLine(line) {
      const link = parseLine(line, sizes);
      const isNext =
        link !== null &&
        (last === null || (link.previous === last.at && link.record.lsn >= last.record.end));
      if (isNext) {
        finish();
        last = link;
        return;
      }
      if (last === null) return;
      if (link !== null && link.previous === last.previous) {
        throw new HoldfastError(
          'DAMAGED',
          'a text in the WAL looks like a record of it: what it holds cannot be told',
        );
      }
      text.push(line);
    },
    finish,
  };
}
