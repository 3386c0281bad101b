import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatLsn, requireLsn } from '../../../src/core/lsn.ts';
import { createRecordReader, recordEnd, type WalRecord } from '../../../src/core/wal_records.ts';

const mb = 1024 * 1024;
const sizes = { segmentBytes: 16 * mb, pageBytes: 8192 };

describe('the end of a record', () => {
  // As `prev` and `lsn` of pg_waldump 15 tell them for real segments.
  it.each([
    ['0/03000030', 59, '0/3000070'],
    ['0/02FFE690', 6515, '0/3000030'],
    ['0/03000070', 6515, '0/30019E8'],
    ['0/64EDD08', 50, '0/64EDD40'],
    ['0/5FFFFE0', 34, '0/6000030'],
  ])('at %s with %d bytes is %s', (lsn, bytes, end) => {
    expect(formatLsn(recordEnd(requireLsn(lsn), bytes, sizes))).toBe(end);
  });

  it('is where a walk over each byte ends', () => {
    const mostBytes = 40_000;
    const segmentBytes = fc.constantFrom(mb, 2 * mb);
    fc.assert(
      fc.property(
        segmentBytes,
        fc.integer({ min: 0, max: 300 }),
        fc.integer({ min: 3, max: 1023 }),
        fc.integer({ min: 24, max: mostBytes }),
        (bytes, page, slot, total) => {
          const pageBytes = 8192;
          const headerOf = (at: number) => (at % bytes === 0 ? 40 : 24);
          const start = page * pageBytes + Math.max(slot * 8, headerOf(page * pageBytes));
          let at = start;
          for (let left = total; left > 0; left -= 1) {
            if (at % pageBytes === 0) at += headerOf(at);
            at += 1;
          }
          const aligned = Math.ceil(at / 8) * 8;
          const end = recordEnd(BigInt(start), total, { segmentBytes: bytes, pageBytes });
          expect(end).toBe(BigInt(aligned));
        },
      ),
    );
  });
});

const line = (lsn: string, prev: string, rest: string, bytes = 34, manager = 'Transaction') =>
  `rmgr: ${manager.padEnd(11)} len (rec/tot): ${String(bytes).padStart(6)}/${String(bytes).padStart(6)}, ` +
  `tx: ${'727'.padStart(10)}, lsn: ${lsn}, prev ${prev}, desc: ${rest}`;

function read(lines: readonly string[]): WalRecord[] {
  const records: WalRecord[] = [];
  const reader = createRecordReader(sizes, (record) => records.push(record));
  for (const each of lines) reader.addLine(each);
  reader.finish();
  return records;
}

describe('the records that pg_waldump prints', () => {
  it('are read with their positions', () => {
    const records = read([
      'first record is after 0/1000000, at 0/1000030, skipping over 8 bytes',
      line('0/01000030', '0/00FFFFA0', 'ABORT 2026-11-21 13:17:23.422410 UTC'),
      line('0/01000058', '0/01000030', 'COMMIT 2026-11-21 13:17:23.647968 UTC; sync'),
      line('0/01000080', '0/01000058', 'SWITCH ', 24, 'XLOG'),
    ]);
    expect(
      records.map(({ manager, lsn, end }) => [manager, formatLsn(lsn), formatLsn(end)]),
    ).toEqual([
      ['Transaction', '0/1000030', '0/1000058'],
      ['Transaction', '0/1000058', '0/1000080'],
      ['XLOG', '0/1000080', '0/2000000'],
    ]);
    expect(records[0]).toMatchObject({
      xid: 727,
      description: 'ABORT 2026-11-21 13:17:23.422410 UTC',
    });
  });

  it('keep the lines of a text that a user gave', () => {
    const records = read([
      line('0/01000030', '0/00FFFFA0', 'RESTORE_POINT two', 98, 'XLOG'),
      'lines',
      '',
      line('0/01000098', '0/01000030', 'COMMIT 2026-11-21 13:17:23.647968 UTC'),
    ]);
    expect(records.map(({ description }) => description)).toEqual([
      'RESTORE_POINT two\nlines\n',
      'COMMIT 2026-11-21 13:17:23.647968 UTC',
    ]);
  });

  it('are not made up by a text that looks like one', () => {
    const forged = line('0/01000098', '0/0', 'COMMIT 2099-01-01 00:00:00.000000 UTC');
    const records = read([
      line('0/01000030', '0/00FFFFA0', 'RESTORE_POINT x', 98, 'XLOG'),
      forged,
      line('0/01000098', '0/01000030', 'COMMIT 2026-11-21 13:17:23.647968 UTC'),
    ]);
    expect(records.map(({ description }) => description)).toEqual([
      `RESTORE_POINT x\n${forged}`,
      'COMMIT 2026-11-21 13:17:23.647968 UTC',
    ]);
  });

  it('are refused where a text forges its place in the chain as well', () => {
    expect(() =>
      read([
        line('0/01000030', '0/00FFFFA0', 'RESTORE_POINT x', 98, 'XLOG'),
        line('0/01000098', '0/01000030', 'COMMIT 2099-01-01 00:00:00.000000 UTC'),
        line('0/01000098', '0/01000030', 'COMMIT 2026-11-21 13:17:23.647968 UTC'),
      ]),
    ).toThrow('looks like a record');
  });
});
