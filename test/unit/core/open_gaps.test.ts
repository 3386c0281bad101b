import { describe, expect, it } from 'vitest';
import { openGaps } from '../../../src/core/open_gaps.ts';

const server = { wal_segment_bytes: 16 * 1024 * 1024 } as never;
const gap = { last_segment: '0000000200000000000000FF' };

function base(start_lsn: string, start_timeline: number, kind = 'verified') {
  const manifest = { parent: null, server, damaged_pages: [], start_lsn, start_timeline };
  return { label: start_lsn, manifest, check: { kind } };
}

describe('a gap in the WAL', () => {
  it('is open until a base backup lies behind it', () => {
    expect(openGaps([gap], [base('0/FF000028', 2)], 2)).toEqual([gap]);
    expect(openGaps([gap], [base('1/28', 2), base('0/1000028', 2)], 2)).toEqual([]);
  });

  it('is not closed by a damaged one, by one of another timeline, or by none', () => {
    expect(openGaps([gap], [base('1/28', 2, 'damaged')], 2)).toEqual([gap]);
    expect(openGaps([gap], [base('1/28', 1)], 2)).toEqual([gap]);
    expect(openGaps([gap], [{ label: 'x', manifest: null, check: null }], 2)).toEqual([gap]);
  });
});
