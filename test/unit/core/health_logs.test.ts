import { describe, expect, it } from 'vitest';
import { type LoggedError, loggedErrors, undelivered } from '../../../src/core/health_logs.ts';

const hourMs = 3_600_000;
const now = new Date('2026-11-21T12:00:00.000Z');
const ago = (ms: number) => new Date(now.getTime() - ms);
const error = (parts: Partial<LoggedError> = {}): LoggedError => ({
  at: ago(hourMs),
  command: 'backup_full',
  code: 'NO_SPACE',
  exitStatus: 3,
  message: 'the disk is full',
  runId: 'r1',
  ...parts,
});
const look = (...errors: LoggedError[]) => loggedErrors(errors, 24, false, now);

describe('errors in the logs', () => {
  it('are told by command and code, with how many, since when, and the last one', () => {
    const findings = look(
      error({ at: ago(3 * hourMs) }),
      error({ message: 'the disk\nis full', runId: 'r2' }),
      error({ code: 'DATABASE_AUTH' }),
    );
    expect(findings.map(({ subject, level }) => [subject, level])).toEqual([
      ['backup_full/NO_SPACE', 'warning'],
      ['backup_full/DATABASE_AUTH', 'warning'],
    ]);
    expect(findings[0]).toMatchObject({
      message: '2 errors NO_SPACE of backup_full',
      since: ago(3 * hourMs).toISOString(),
      found: 'the last at 2026-11-21T11:00:00.000Z: the disk is full',
      mend: 'Type grep r2 logs/*.jsonl, which shows that run whole.',
      values: { errors: 2 },
    });
  });

  it('end when they are older than the hours of the setting, to the millisecond', () => {
    expect(look(error({ at: ago(24 * hourMs) }))[0]?.level).toBe('warning');
    expect(look(error({ at: ago(24 * hourMs + 1) }))[0]).toMatchObject({
      level: 'ok',
      subject: 'logs',
      values: { errors: 0 },
    });
  });

  it('are no errors that a person has made, nor what the monitor says of others', () => {
    const ofPersons = [2, 5, 130].map((exitStatus) => error({ exitStatus }));
    expect(look(...ofPersons, error({ command: 'monitor_backups' }))[0]?.level).toBe('ok');
  });

  it('are bounded, however many kinds there are; cut files are told', () => {
    const many = Array.from({ length: 100 }, (_, at) => error({ code: `CODE_${at}` }));
    expect(look(...many)).toHaveLength(20);
    expect(loggedErrors([], 24, true, now)[0]?.found).toContain('the files are large');
  });
});

describe('alerts that wait', () => {
  const waiting = (ageMs: number, dropped = 0) =>
    undelivered(
      { waiting: 2, oldestAt: ago(ageMs), channels: ['endpoint', 'slack'], dropped },
      now,
    );

  it('are fine where none waits, or none for long', () => {
    const none = { waiting: 0, oldestAt: null, channels: [], dropped: 0 };
    expect(undelivered(none, now)).toMatchObject({ level: 'ok', found: 'none' });
    expect(waiting(15 * 60_000).level).toBe('ok');
  });

  it('are a warning after a quarter of an hour, critical after a day', () => {
    const finding = waiting(15 * 60_000 + 1);
    expect(finding).toMatchObject({ level: 'warning', found: '2 for endpoint, slack' });
    expect(finding.mend).toContain('alert --test');
    expect(waiting(24 * hourMs).level).toBe('warning');
    expect(waiting(24 * hourMs + 1).level).toBe('critical');
  });

  it('are a warning where some were dropped', () => {
    expect(waiting(0, 3).level).toBe('warning');
    expect(waiting(0, 3).message).toContain('3 were dropped');
  });
});
