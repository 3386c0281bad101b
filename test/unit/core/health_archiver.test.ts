import { describe, expect, it } from 'vitest';
import {
  type ArchiverHealth,
  checkArchiver,
  checkWaiting,
  checkWalSpace,
  idleBytesMax,
  secondsUntilWalFull,
  type WaitingFacts,
} from '../../../src/core/health_archiver.ts';

const now = new Date('2026-11-21T12:00:00Z');
const ago = (seconds: number) => new Date(now.getTime() - seconds * 1000);
const about = { check: 'archiver', subject: 'db:5432', cluster: 'main', database: null } as const;

const good: ArchiverHealth = {
  inRecovery: false,
  archiveMode: 'on',
  archiveCommand: '/srv/backups/hooks/main/wal_push %p %f || exit 1',
  isOurs: true,
  holdsWal: true,
  isStreamed: false,
  lastArchived: '000000010000000000000009',
  lastArchivedAt: ago(60),
  lastFailed: null,
  lastFailedAt: null,
  failedCount: 0,
  waiting: { count: 0, oldestAt: null },
  writtenBytes: 1e6,
  idleAt: null,
  startedAt: ago(90 * 86400),
};
const check = (facts: Partial<ArchiverHealth>) =>
  checkArchiver(about, { ...good, ...facts }, 90, now);

describe('the archiver', () => {
  it('is fine when it has archived something', () => {
    expect(check({})).toMatchObject({ level: 'ok', values: { age_seconds: 60, failures: 0 } });
  });

  it('is fine when a failure is over', () => {
    expect(check({ lastFailed: 'x', lastFailedAt: ago(61), failedCount: 3 }).level).toBe('ok');
    expect(check({ lastFailed: 'x', lastFailedAt: ago(60), failedCount: 3 }).level).toBe('ok');
    // The file that it failed on is gone, and nothing else waits.
    expect(check({ lastFailed: 'x', lastFailedAt: ago(1) }).level).toBe('ok');
  });

  it('fails: critical, with the segment, since when, and what to type', () => {
    const waiting = { count: 2, oldestAt: ago(30) };
    const failed = { lastFailed: '00000001000000000000000A', lastFailedAt: ago(20) };
    const finding = check({ ...failed, failedCount: 7, waiting });
    expect(finding).toMatchObject({ level: 'critical', since: ago(30).toISOString() });
    expect(finding.message).toBe('archiving 00000001000000000000000A fails: 7 failures so far');
    expect(finding.mend).toContain('scripts/setup_archiving.ts status');
    // Where the role may not see what waits, and where nothing was ever archived.
    expect(check({ ...failed, waiting: null }).level).toBe('critical');
    const never = { lastArchived: null, lastArchivedAt: null, waiting: null };
    expect(check({ ...failed, ...never }).level).toBe('critical');
  });

  it.each([
    [5400, 'ok'],
    [5401, 'warning'],
    [10800, 'warning'],
    [10801, 'critical'],
  ])('dies without a counted failure, and a file waits for %i s: %s', (age, level) => {
    const waiting = { count: 1, oldestAt: ago(age) };
    const finding = check({ lastArchivedAt: ago(20000), waiting });
    expect(finding.level).toBe(level);
    if (level !== 'ok') expect(finding.mend).toContain('above 125');
  });

  it('is only behind as long as it archives something', () => {
    expect(check({ waiting: { count: 900, oldestAt: ago(20000) } }).level).toBe('ok');
  });

  it('has archived nothing while the server writes: told also where no file waits', () => {
    const silent = check({ lastArchivedAt: ago(5401) });
    expect(silent).toMatchObject({ level: 'warning', since: ago(5401).toISOString() });
    expect(silent.mend).toContain('scripts/backup_incremental.ts');
    const never = check({ lastArchived: null, lastArchivedAt: null, startedAt: ago(10801) });
    expect(never).toMatchObject({ level: 'critical', values: {} });
  });

  it('has nothing to do on an idle server', () => {
    const idle = { lastArchivedAt: ago(30 * 86400) };
    expect(check({ ...idle, writtenBytes: idleBytesMax }).level).toBe('ok');
    expect(check({ ...idle, writtenBytes: idleBytesMax + 1 }).level).toBe('critical');
    expect(check({ ...idle, writtenBytes: null }).level).toBe('ok');
    // It writes again since it was last seen idle.
    expect(check({ ...idle, idleAt: ago(600) }).level).toBe('ok');
  });

  it('is no other thing where the repository holds WAL of this server', () => {
    expect(check({ isOurs: false, archiveCommand: 'cp %p /tmp\n' })).toMatchObject({
      level: 'warning',
      found: 'archive_command = "cp %p /tmp\\n"',
    });
    expect(check({ archiveMode: 'off' })).toMatchObject({ level: 'warning' });
    expect(check({ archiveMode: 'off' }).mend).toContain('scripts/setup_archiving.ts');
    const empty = check({ isOurs: false, archiveCommand: '' });
    expect(empty.message).toMatch(/^archive_command is empty, though/);
    // That it is dead, too, is worse.
    const dead = { lastArchivedAt: ago(20000), waiting: { count: 1, oldestAt: ago(20000) } };
    expect(check({ isOurs: false, ...dead })).toMatchObject({ level: 'critical' });
    // An old failure is no news where it is switched off.
    const old = { lastFailed: 'x', lastFailedAt: ago(1), waiting: null };
    expect(check({ archiveMode: 'off', ...old }).level).toBe('warning');
  });

  it('is not asked for where nothing is archived, on a standby, and with a stream', () => {
    expect(check({ archiveMode: 'off', holdsWal: false }).level).toBe('ok');
    expect(check({ archiveMode: 'off', isStreamed: true }).level).toBe('ok');
    expect(check({ inRecovery: true, lastArchivedAt: ago(90000) }).level).toBe('ok');
    expect(check({ isOurs: false, holdsWal: false }).level).toBe('ok');
  });
});

describe('the WAL that waits', () => {
  const facts: WaitingFacts = {
    waiting: { count: 0, oldestAt: null },
    before: null,
    segmentBytes: 16e6,
    freeBytes: 16e9,
  };
  const waits = (count: number) => ({ ...facts, waiting: { count, oldestAt: ago(60) } });

  it.each([
    [0, 'ok'],
    [32, 'ok'],
    [33, 'warning'],
    [128, 'warning'],
    [129, 'critical'],
  ])('%i segments: %s', (count, level) => {
    const finding = checkWaiting(about, waits(count), 32, now);
    expect(finding).toMatchObject({ level, values: { segments: count } });
  });

  it('fills the disk in a time that is told, by what came since the last run', () => {
    // 10 segments in 900 s, and room for 1000 of them.
    const growing = { ...waits(20), before: { at: ago(900), count: 10 } };
    expect(secondsUntilWalFull(growing, now)).toBe(90_000);
    expect(checkWaiting(about, growing, 32, now).level).toBe('ok');
    const day = { ...growing, freeBytes: 16e6 * 959 };
    expect(checkWaiting(about, day, 32, now).level).toBe('warning');
    const soon = checkWaiting(about, { ...growing, freeBytes: 16e6 * 100 }, 32, now);
    expect(soon).toMatchObject({ level: 'critical', values: { full_in_seconds: 9000 } });
    expect(soon.message).toContain('the disk of pg_wal is full in 2 h 30 min at this rate');
  });

  it('fills nothing when it shrinks, and is not foretold from a moment or from afar', () => {
    expect(
      secondsUntilWalFull({ ...waits(9), before: { at: ago(900), count: 9 } }, now),
    ).toBeNull();
    expect(secondsUntilWalFull({ ...waits(9), before: { at: ago(59), count: 1 } }, now)).toBeNull();
    const afar = { ...waits(9), freeBytes: null, before: { at: ago(900), count: 1 } };
    expect(secondsUntilWalFull(afar, now)).toBeNull();
  });
});

describe('the disk of pg_wal', () => {
  const disk = (free: number) => ({ freeBytes: free, usedBytes: 1000 - free, totalBytes: 1000 });

  it.each([
    [100, 'ok'],
    [99, 'warning'],
    [50, 'warning'],
    [49, 'critical'],
  ])('has %i of 1000 bytes free: %s', (free, level) => {
    expect(checkWalSpace(about, disk(free), 1, 90).level).toBe(level);
  });

  it('holds four segments more at least', () => {
    expect(checkWalSpace(about, disk(400), 100, 90).level).toBe('ok');
    const full = checkWalSpace(about, disk(399), 100, 90);
    expect(full).toMatchObject({ level: 'critical', values: { free_bytes: 399 } });
    expect(full.mend).toContain('never remove files from pg_wal');
  });
});
