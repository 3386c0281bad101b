import { describe, expect, it } from 'vitest';
import { estimateRecovery } from '../../../src/core/recovery_estimate.ts';

const mib = 1024 * 1024;
const work = { writtenBytes: 1000 * mib, walBytes: 800 * mib, readSeconds: 7 };
const rate = (unpack_seconds: number, replay_seconds: number, mibs = 100) => ({
  written_bytes: mibs * mib,
  unpack_seconds,
  wal_bytes: mibs * mib,
  replay_seconds,
});

describe('the estimate of a recovery', () => {
  it('is a guess before there was one', () => {
    expect(estimateRecovery([], work)).toEqual({
      unpackSeconds: 7,
      replaySeconds: 10,
      recoveries: 0,
    });
  });

  it('is the median of the last five, by the bytes, each part by itself', () => {
    const rates = [100, 1, 2, 3, 4, 5].map((seconds) => rate(seconds, 2 * seconds));
    const estimate = estimateRecovery(rates, work);
    expect(estimate.unpackSeconds).toBeCloseTo(30);
    expect(estimate.replaySeconds).toBeCloseTo(48);
    expect(estimate.recoveries).toBe(5);
  });

  it('does not listen to a recovery of next to nothing', () => {
    expect(estimateRecovery([rate(60, 60, 1)], work).recoveries).toBe(0);
    const onlyUnpacked = { ...rate(1, 0), wal_bytes: 0 };
    expect(estimateRecovery([onlyUnpacked], work)).toMatchObject({ replaySeconds: 10 });
  });
});
