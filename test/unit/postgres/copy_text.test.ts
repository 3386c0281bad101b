import { describe, expect, it } from 'vitest';
import type { ConnectionParameters } from '../../../src/postgres/connection.ts';
import { sessionOption, withOptions } from '../../../src/postgres/copy_text.ts';

describe('options of the server process', () => {
  it('keep blanks and backslashes in their values, which would else part them', () => {
    expect(sessionOption('lc_monetary', 'de_DE.UTF-8')).toBe('-c lc_monetary=de_DE.UTF-8');
    expect(sessionOption('lc_monetary', 'German, a\\b\tc')).toBe(
      '-c lc_monetary=German,\\ a\\\\b\\\tc',
    );
  });

  it('come after those of the user, which stay', () => {
    const given = { options: '-c work_mem=9MB' } as ConnectionParameters;
    const none = { options: null } as ConnectionParameters;
    expect(withOptions(given, ['-c a=b']).options).toBe('-c work_mem=9MB -c a=b');
    expect(withOptions(none, ['-c a=b', '-c c=d']).options).toBe('-c a=b -c c=d');
    expect(withOptions(given, []).options).toBe('-c work_mem=9MB');
    expect(withOptions(none, []).options).toBeNull();
  });
});
