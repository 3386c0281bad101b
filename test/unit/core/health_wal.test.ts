import { describe, expect, it } from 'vitest';
import {
  checkWalGaps,
  checkWalPoint,
  tellFullPoint,
  type WalPointFacts,
} from '../../../src/core/health_wal.ts';

const now = new Date('2026-11-21T12:00:00Z');
const ago = (seconds: number) => new Date(now.getTime() - seconds * 1000);
const maxMinutes = 120;

const good: WalPointFacts = {
  cluster: 'main',
  store: null,
  isRequired: true,
  base: { label: '20261120T020000Z-base-k3f9', finishedAt: ago(34 * 3600) },
  recoverableAt: ago(600),
  isExact: true,
  lastSegment: '000000010000000000000009',
  firstAt: ago(40 * 3600),
  isComplete: false,
  gaps: [],
  pastGaps: 0,
};

describe('the newest recoverable point of a cluster', () => {
  it('is fine while it is young: its age is the headline', () => {
    const finding = checkWalPoint(good, maxMinutes, now);
    expect(finding).toMatchObject({ level: 'ok', subject: 'main', cluster: 'main', mend: null });
    expect(finding.values).toEqual({ age_seconds: 600 });
  });

  it.each([
    [7200, 'ok'],
    [7200.001, 'warning'],
    [14400, 'warning'],
    [14400.001, 'critical'],
  ])('is %f seconds old: %s', (age, level) => {
    expect(checkWalPoint({ ...good, recoverableAt: ago(age) }, maxMinutes, now).level).toBe(level);
  });

  it('says since when nothing can be recovered, and what to type', () => {
    const finding = checkWalPoint({ ...good, recoverableAt: ago(86400) }, maxMinutes, now);
    expect(finding).toMatchObject({ level: 'critical', since: ago(86400).toISOString() });
    expect(finding.mend).toContain('scripts/backup_incremental.ts');
    expect(finding.found).toContain('000000010000000000000009');
  });

  it('is as young as can be on an idle server whose archive is complete', () => {
    const idle = { ...good, recoverableAt: ago(30 * 86400), isComplete: true };
    const finding = checkWalPoint(idle, maxMinutes, now);
    expect(finding).toMatchObject({ level: 'ok', values: { age_seconds: 0 } });
  });

  it('is not of the future where a clock is off', () => {
    const finding = checkWalPoint({ ...good, recoverableAt: ago(-60) }, maxMinutes, now);
    expect(finding).toMatchObject({ level: 'ok', values: { age_seconds: 0 } });
  });

  it.each([
    [600, 'ok'],
    [7201, 'warning'],
    [14401, 'critical'],
  ])('is none without a base backup: %i seconds after the first WAL that is %s', (age, level) => {
    const none = { ...good, base: null, recoverableAt: null, firstAt: ago(age) };
    const finding = checkWalPoint(none, maxMinutes, now);
    expect(finding).toMatchObject({ level, values: {} });
  });

  it('is told for each other store, which has no line in the headline', () => {
    const late = { ...good, store: 'cloud', recoverableAt: ago(86400) };
    const finding = checkWalPoint(late, maxMinutes, now);
    expect(finding).toMatchObject({ level: 'critical', subject: 'main in cloud', cluster: null });
    expect(finding.values).toEqual({ store_age_seconds: 86400 });
    expect(finding.mend).toContain('scripts/wal_ship.ts');
    expect(checkWalPoint({ ...late, isRequired: false }, maxMinutes, now).level).toBe('warning');
  });

  it('is told of a database without WAL, and judged by another check', () => {
    const full = { cluster: 'main', database: 'app', label: 'l', startedAt: ago(90 * 86400) };
    const finding = tellFullPoint(full, now);
    expect(finding).toMatchObject({ level: 'ok', subject: 'main/app', database: 'app' });
    expect(finding.values).toEqual({ full_age_seconds: 90 * 86400 });
  });
});

describe('the gaps of an archive', () => {
  const gap = {
    firstSegment: '000000010000000000000005',
    lastSegment: '000000010000000000000006',
    segments: 2,
    since: ago(3600),
  };

  it('are none, or cost moments of the past alone: fine', () => {
    expect(checkWalGaps(good)).toMatchObject({ level: 'ok', values: { gaps: 0 } });
    const past = checkWalGaps({ ...good, pastGaps: 1 });
    expect(past).toMatchObject({ level: 'ok', values: { gaps: 0 } });
    expect(past.message).toContain('1 gap before it has cost moments of the past');
  });

  it('are critical behind the newest base backup', () => {
    const finding = checkWalGaps({ ...good, gaps: [gap] });
    expect(finding).toMatchObject({
      level: 'critical',
      found: '000000010000000000000005 to 000000010000000000000006',
      since: ago(3600).toISOString(),
      values: { gaps: 1 },
    });
    expect(finding.message).toContain('2 segments');
    expect(finding.mend).toContain('scripts/backup_incremental.ts --base now');
  });

  it('of a store that a run can do without are a warning', () => {
    const store = { ...good, store: 'cloud', isRequired: false, gaps: [gap] };
    expect(checkWalGaps(store)).toMatchObject({ level: 'warning', values: { store_gaps: 1 } });
  });
});
