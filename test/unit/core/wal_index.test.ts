import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createIndexBuilder,
  endOfIndex,
  formatIndex,
  hasTransaction,
  parseIndex,
  type WalIndex,
} from '../../../src/core/wal_index.ts';
import type { WalRecord } from '../../../src/core/wal_records.ts';

const name = '000000010000000000000003';

function indexOf(descriptions: readonly (readonly [string, string, number?])[]): WalIndex {
  const builder = createIndexBuilder(name);
  for (const [place, [manager, description, xid = 0]] of descriptions.entries()) {
    const lsn = 0x3000028n + BigInt(place * 64);
    builder.add({ manager, description, xid, lsn, end: lsn + 64n } satisfies WalRecord);
  }
  return parseIndex(formatIndex(builder.build()));
}

describe('the index of a segment', () => {
  it('tells when transactions ended, prepared ones by their own identifier', () => {
    const index = indexOf([
      ['Heap', 'INSERT off 1', 700],
      ['Transaction', 'COMMIT 2026-11-21 13:17:23.308836 UTC; subxacts: 726', 725],
      ['Transaction', 'PREPARE gid x: COMMIT 2099: 2026-11-21 13:17:23.647968 UTC', 728],
      ['Transaction', 'COMMIT_PREPARED 728: 2026-11-21 13:17:23.648231 UTC', 0],
      // The clock was set back.
      ['Transaction', 'ABORT 2026-11-21 13:17:20.422410 UTC', 727],
      ['Transaction', 'ABORT_PREPARED 729: 2026-11-21 13:17:23.791685 UTC', 0],
      ['XLOG', 'CHECKPOINT_ONLINE redo 0/1500320; tli 1'],
    ]);
    expect(index).toEqual({
      format: 1,
      segment: name,
      last_record_lsn: '0/30001A8',
      end_lsn: '0/30001E8',
      commits: 2,
      aborts: 2,
      first_commit: {
        at: '2026-11-21T13:17:23.308836Z',
        xid: 725,
        lsn: '0/3000068',
        end_lsn: '0/30000A8',
      },
      last_commit: {
        at: '2026-11-21T13:17:23.648231Z',
        xid: 728,
        lsn: '0/30000E8',
        end_lsn: '0/3000128',
      },
      earliest_at: '2026-11-21T13:17:20.422410Z',
      latest_at: '2026-11-21T13:17:23.791685Z',
      xids: [
        [725, 725],
        [727, 729],
      ],
      restore_points: [],
    });
    expect(endOfIndex(index)).toBe(0x30001e8n);
  });

  it('knows nothing of an idle segment, and says so', () => {
    const index = indexOf([]);
    expect(index).toMatchObject({ end_lsn: null, last_commit: null, latest_at: null, xids: [] });
    expect(endOfIndex(index)).toBeNull();
  });

  it('keeps the names of restore points as they are', () => {
    const index = indexOf([['XLOG', 'RESTORE_POINT two\nlines "\\ $(x) é ']]);
    expect(index.restore_points).toEqual([{ name: 'two\nlines "\\ $(x) é ', lsn: '0/3000028' }]);
  });

  it('has exactly the transactions that ended', () => {
    const xids = fc.uniqueArray(fc.integer({ min: 3, max: 200 }));
    fc.assert(
      fc.property(xids, (ended) => {
        const index = indexOf(
          ended.map((xid) => ['Transaction', 'COMMIT 2026-11-21 13:17:23.308836 UTC', xid]),
        );
        const all = Array.from({ length: 210 }, (_, xid) => xid);
        expect(all.filter((xid) => hasTransaction(index, xid))).toEqual(
          ended.toSorted((a, b) => a - b),
        );
      }),
    );
  });

  it.each([
    ['no JSON', 'x'],
    ['another document', '{"format": 1}'],
    ['a newer format', '{"format": 2}'],
  ])('is refused when it is %s', (_, text) => {
    expect(() => parseIndex(Buffer.from(text))).toThrow('the index of a WAL segment');
  });
});
