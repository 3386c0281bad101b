import { describe, expect, it } from 'vitest';
import {
  backupAge,
  type WatchedBackup,
  type WatchedDatabase,
} from '../../../src/core/health_backups.ts';

const hourMs = 3_600_000;
const now = new Date('2026-11-21T12:00:00.000Z');
const maxHours = 25;

function backup(ageMs: number, parts: Partial<WatchedBackup> = {}): WatchedBackup {
  const startedAt = new Date(now.getTime() - ageMs);
  return {
    label: `${startedAt.toISOString()}-daily`,
    tier: 'daily',
    startedAt,
    finishedAt: startedAt,
    isGood: true,
    isSafety: false,
    isUnread: false,
    storedBytes: 100,
    dumpBytes: 1000,
    dumpKind: 'plain',
    warnings: [],
    ...parts,
  };
}

function database(backups: WatchedBackup[], parts: Partial<WatchedDatabase> = {}): WatchedDatabase {
  const sorted = backups.toSorted((a, b) => a.startedAt.getTime() - b.startedAt.getTime());
  const names = { cluster: 'main', database: 'shop' };
  return { ...names, backups: sorted, failure: null, notWatched: null, ...parts };
}

const look = (backups: WatchedBackup[], parts: Partial<WatchedDatabase> = {}) =>
  backupAge(database(backups, parts), maxHours, now);

describe('the age of the last full backup', () => {
  it.each([
    [25 * hourMs, 'ok'],
    [25 * hourMs + 1, 'warning'],
    [50 * hourMs, 'warning'],
    [50 * hourMs + 1, 'critical'],
  ] as const)('of %d ms is %s', (ageMs, level) => {
    const finding = look([backup(100 * hourMs), backup(ageMs)]);
    expect(finding.level).toBe(level);
    expect(finding.subject).toBe('main/shop');
    expect(finding.values.age_seconds).toBe(ageMs / 1000);
    const due = new Date(now.getTime() - ageMs + 25 * hourMs).toISOString();
    expect(finding.since).toBe(level === 'ok' ? null : due);
    expect(finding.mend === null).toBe(level === 'ok');
  });

  it('lets a backup take its time, and tells how much work would be lost', () => {
    const finishedAt = new Date(now.getTime() - 25 * hourMs);
    const finding = look([backup(28 * hourMs, { finishedAt })]);
    expect(finding).toMatchObject({ level: 'ok', values: { age_seconds: 28 * 3600 } });
    const late = new Date(finishedAt.getTime() - 1);
    expect(look([backup(28 * hourMs, { finishedAt: late })]).level).toBe('warning');
  });

  it('says what was expected, what is, and what to type', () => {
    const failure = { at: now, code: 'NO_SPACE', message: 'the disk\nis full' };
    const finding = look([backup(31 * hourMs)], { failure });
    expect(finding.message).toBe('the last good full backup of "shop" is 31 h old');
    expect(finding.expected).toBe('a full backup that ended at most 25 h ago');
    expect(finding.found).toContain('the last run failed at 2026-11-21T12:00:00.000Z: NO_SPACE');
    expect(finding.found).not.toContain('\n');
    expect(finding.mend).toContain('scripts/backup_full.ts shop');
  });

  it('counts none that is damaged, dated in the future, or the safety of a restore', () => {
    for (const parts of [{ isGood: false }, { isSafety: true }]) {
      expect(look([backup(60 * hourMs), backup(hourMs, parts)]).level).toBe('critical');
    }
    const ahead = look([backup(60 * hourMs), backup(-hourMs - 1)]);
    expect(ahead.level).toBe('critical');
    expect(ahead.found).toContain('1 backup dated in the future');
    expect(look([backup(-hourMs)]).values.age_seconds, 'clocks differ a little').toBe(0);
  });

  it('counts one that nobody has read back, and says so', () => {
    const finding = look([backup(hourMs, { isUnread: true })]);
    expect(finding.level).toBe('ok');
    expect(finding.found).toContain('never read back');
  });

  it('is critical where there is none at all, unless none is expected', () => {
    expect(look([])).toMatchObject({ level: 'critical', since: null, found: 'none' });
    expect(look([], { notWatched: 'it is gone' }).level).toBe('ok');
    const gone = look([backup(1000 * hourMs)], { notWatched: 'it is gone' });
    expect(gone).toMatchObject({ level: 'ok', mend: null });
    expect(gone.message).toContain('it is gone');
  });

  it('keeps a name on one line, and never makes a command of what cannot be shown', () => {
    const name = 'a/"b"\n$(rm -rf /)\u202e';
    const finding = look([], { database: name });
    for (const text of [finding.subject, finding.message, finding.mend ?? '']) {
      expect(text).not.toMatch(/[\n\u202e]/u);
    }
    expect(finding.mend).not.toContain('rm -rf');
    expect(finding.database).toBe(name);
    const quoted = look([], { database: "it's $(x)" });
    expect(quoted.mend).toContain(`backup_full.ts 'it'\\''s $(x)'`);
    const other = look([], { cluster: 'main/a', database: 'b' });
    expect(other.subject).not.toBe(look([], { cluster: 'main', database: 'a/b' }).subject);
  });
});
