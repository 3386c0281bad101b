import { describe, expect, it } from 'vitest';
import { verifyBackupFindings } from '../../../src/postgres/verify_backup.ts';

describe('what pg_verifybackup says', () => {
  it('is told without its name', () => {
    const stderr =
      '/usr/lib/postgresql/18/bin/pg_verifybackup: error: "x" is present on disk but not in the manifest\n' +
      'pg_waldump: error: could not find a valid record after 0/5000028\n' +
      'pg_verifybackup: error: WAL parsing failed for timeline 1\n';
    expect(verifyBackupFindings(stderr)).toEqual([
      '"x" is present on disk but not in the manifest',
      'could not find a valid record after 0/5000028',
      'WAL parsing failed for timeline 1',
    ]);
  });

  it('ends after twenty sentences', () => {
    const line = 'pg_verifybackup: error: "x" has size 1 on disk but size 2 in the manifest\n';
    expect(verifyBackupFindings(line.repeat(50))).toHaveLength(20);
    expect(verifyBackupFindings('')).toEqual([]);
  });
});
