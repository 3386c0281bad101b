import { describe, expect, it } from 'vitest';
import { recoveryFailure } from '../../../src/postgres/recovery_cluster.ts';
import { RecoveryLog, readRecoveryLog } from '../../../src/postgres/recovery_log.ts';

describe('the log of a recovery', () => {
  it('tells where it has ended', () => {
    const log = [
      'LOG:  redo done at 0/5000148 system usage: CPU: user: 0.00 s',
      'LOG:  last completed transaction was at log time 2026-11-21 13:55:50.277682+00',
      'LOG:  selected new timeline ID: 3',
    ].join('\n');
    expect(readRecoveryLog(log)).toEqual({
      lsn: '0/5000148',
      time: '2026-11-21 13:55:50.277682+00',
      timeline: 3,
    });
    expect(readRecoveryLog('')).toEqual({ lsn: null, time: null, timeline: null });
  });

  it('is read piece by piece, and only what counts is kept', () => {
    const log = new RecoveryLog('/nowhere');
    const segment = (name: string) => `LOG:  restored log file "${name}" from archive\n`;
    log.take(segment('000000010000000000000001') + segment('000000010000000000000001'));
    log.take('LOG:  redo done');
    log.take(' at 0/5000148 system usage\nLOG:  checkpoint starting\n');
    expect([...log.segments]).toEqual(['000000010000000000000001']);
    expect(log.telling).toEqual(['LOG:  redo done at 0/5000148 system usage']);
    expect(log.last.at(-1)).toBe('LOG:  checkpoint starting');
  });
});

describe('a server that has ended', () => {
  let freeBytes: number | null = null;
  const tool = { path: '/bin/pg_ctl', directory: '/bin', version: '15.1', major: 15 };
  const cluster = { pgdata: "/srv/it's", tool };
  const failureOf = (...lines: string[]) => {
    const log = new RecoveryLog('/nowhere');
    log.take(`${lines.join('\n')}\n`);
    return recoveryFailure('the recovery failed', log, cluster, freeBytes);
  };

  it('tells the segment that is damaged or missing, and how to go on', () => {
    const name = '00000001000000000000000A';
    for (const why of ['x.zst cannot be read or is damaged', `is missing, and B is there: a gap`]) {
      const error = failureOf(`wal_fetch: ${name}: ${why}`, 'FATAL:  could not restore file');
      expect([error.code, error.details]).toEqual(['DAMAGED', { segment: name }]);
      expect(error.hint).toMatch(/cd '\/srv\/it'\\''s' && '?\/bin\/pg_ctl'? --pgdata \. start/);
    }
  });

  it('tells a full disk, and anything else in its own words', () => {
    expect(failureOf('PANIC:  could not write: No space left on device').code).toBe('NO_SPACE');
    freeBytes = 1000;
    const fetch = 'wal_fetch: 00000001000000000000000A: x is damaged, or y cannot be written';
    expect(failureOf(fetch, 'FATAL:  x').code).toBe('NO_SPACE');
    freeBytes = 1e9;
    expect(failureOf(fetch, 'FATAL:  x').code).toBe('DAMAGED');
    const error = failureOf('LOG:  nothing', 'FATAL:  something else');
    expect([error.code, error.message]).toEqual([
      'RESTORE_FAILED',
      'the recovery failed: FATAL:  something else',
    ]);
  });
});
