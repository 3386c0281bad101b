import { describe, expect, it } from 'vitest';
import {
  ageText,
  commandName,
  databaseSubject,
  hoursText,
  shownFinding,
  someNames,
  typedName,
} from '../../../src/core/health_words.ts';

const hourMs = 3_600_000;

describe('the words of findings', () => {
  it('tell ages in hours up to three days, rounded down: a limit is never told as passed', () => {
    expect(ageText(25 * hourMs + 1)).toBe('25 h');
    expect(ageText(71.9 * hourMs)).toBe('71 h');
    expect(ageText(72 * hourMs)).toBe('3 days');
    expect(ageText(hourMs)).toBe('60 min');
    expect(ageText(0)).toBe('0 s');
    expect(hoursText(0.5)).toBe('0.5 h');
    expect(hoursText(25)).toBe('25 h');
  });

  it('name a few, and how many more there are', () => {
    expect(someNames(['a'])).toBe('a');
    expect(someNames(['a', 'b', 'c', 'd', 'e'])).toBe('a, b, c and 2 more');
  });

  it('make different subjects of different names', () => {
    const pairs = [
      ['main', 'shop'],
      ['main', 'a/b'],
      ['main/a', 'b'],
      ['main', 'a\nb'],
      ['main', 'a b'],
      ['main', '"a/b"'],
    ] as const;
    const subjects = pairs.map(([cluster, database]) => databaseSubject(cluster, database));
    expect(new Set(subjects).size).toBe(pairs.length);
    for (const subject of subjects) expect(subject).not.toMatch(/\n/);
    expect(databaseSubject(null, 'shop')).toBe('?/shop');
  });

  it('give a name as it is typed, or none that would be another one', () => {
    expect(typedName('shop_2.x')).toBe('shop_2.x');
    expect(typedName("it's $(x)")).toBe(`'it'\\''s $(x)'`);
    expect(typedName('-x')).toBe(`'-x'`);
    expect(typedName('a\nb')).toBeNull();
    expect(typedName(' a')).toBeNull();
    expect(typedName('')).toBeNull();
  });

  it('are one line each, whatever they quote', () => {
    const text = 'a\nb\tc\u001b[31m\u202e';
    const parts = { check: 'size', subject: 's', level: 'warning' } as const;
    const finding = shownFinding({ ...parts, message: text, expected: text, mend: text });
    for (const told of [finding.message, finding.expected, finding.found, finding.mend]) {
      expect(told).toBe('a b c\\u001b[31m\\u202e');
    }
    expect(finding).toMatchObject({ cluster: null, database: null, since: null, values: {} });
  });

  it('call a command by its name, however a record has it', () => {
    expect(['backup_full.ts', 'backup_full', 'base backup'].map(commandName)).toEqual([
      'backup_full',
      'backup_full',
      'base backup',
    ]);
  });
});
