import { describe, expect, it } from 'vitest';
import {
  combineArguments,
  combineFailure,
  combineWarnings,
} from '../../../src/postgres/combine_backup.ts';

const plain = { platform: 'linux', inputs: ['/w/0', '/w/1'], output: '/w/out', tablespaces: [] };

describe('the arguments of pg_combinebackup', () => {
  it('name the whole backup first, and save copies as each version can', () => {
    expect(combineArguments({ ...plain, major: 18 })).toEqual([
      '--no-sync',
      '--manifest-checksums=SHA256',
      '--link',
      '--output=/w/out',
      '/w/0',
      '/w/1',
    ]);
    expect(combineArguments({ ...plain, major: 17 })).toContain('--copy-file-range');
    const elsewhere = combineArguments({ ...plain, major: 17, platform: 'darwin' });
    expect(elsewhere.join(' ')).not.toMatch(/--(?:link|copy|clone)/);
  });

  it('keep the = of a folder apart from that between two folders', () => {
    const tablespaces = [{ from: '/a=b\\', to: '/c=\\=' }];
    const args = combineArguments({ ...plain, major: 18, tablespaces });
    expect(args).toContain('--tablespace-mapping=/a\\=b\\=/c\\=\\\\=');
  });
});

describe('what pg_combinebackup says', () => {
  const stderr =
    'pg_combinebackup: warning: --link mode was used; any modifications might …\n' +
    '/usr/lib/postgresql/18/bin/pg_combinebackup: warning: only some backups have checksums enabled\n' +
    'pg_combinebackup: hint: Disable, and optionally reenable, checksums.\n' +
    'pg_combinebackup: error: could not write file "x": No space left on device\n' +
    'pg_combinebackup: removing output directory "x"\n';

  it('is told as warnings, but for that about links', () => {
    expect(combineWarnings(stderr)).toEqual(['only some backups have checksums enabled']);
  });

  it('is told as the reason of a failure', () => {
    const reason = 'could not write file "x": No space left on device';
    expect(combineFailure(stderr)).toBe(reason);
    expect(combineFailure('Killed\n')).toBe('Killed');
  });
});
