import { describe, expect, it } from 'vitest';
import { editDistance, nearest } from '../../../src/config/nearest.ts';

describe('nearest', () => {
  it('counts edits, and swapped neighbours as one', () => {
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('kitten', 'sitting')).toBe(3);
    expect(editDistance('prot', 'port')).toBe(1);
  });

  it('finds what was meant, whatever its case and dashes', () => {
    const known = ['BACKUP_DIR', 'COMPRESSION', 'THREADS'];
    expect(nearest('BACKUP_DRI', known)).toBe('BACKUP_DIR');
    expect(nearest('backup-dir', known)).toBe('BACKUP_DIR');
    expect(nearest('COMPRESION', known)).toBe('COMPRESSION');
    expect(nearest('WEATHER_FORECAST', known)).toBeNull();
  });
});
