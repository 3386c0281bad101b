import { describe, expect, it } from 'vitest';
import { logFilesToRemove, nextLogFile, parseLogFile } from '../../../src/core/log_files.ts';

const now = new Date('2026-11-21T23:59:59Z');
const files = (...names: string[]) => names.flatMap((name) => parseLogFile(name) ?? []);

describe('the log file of a run', () => {
  it("is the day's", () => {
    expect(nextLogFile([], now, () => true)).toBe('holdfast-20261121.jsonl');
    expect(nextLogFile(files('holdfast-20261120.jsonl'), now, () => true)).toBe(
      'holdfast-20261121.jsonl',
    );
  });

  it('is the next one when the last one of the day is full', () => {
    const today = files(
      'holdfast-20261121.jsonl',
      'holdfast-20261121.10.jsonl',
      'holdfast-20261121.9.jsonl',
    );
    expect(nextLogFile(today, now, () => false)).toBe('holdfast-20261121.10.jsonl');
    expect(nextLogFile(today, now, () => true)).toBe('holdfast-20261121.11.jsonl');
  });
});

describe('old log files', () => {
  it('go when they have outlived their days; those of the future and of others stay', () => {
    const all = files(
      'holdfast-20261021.jsonl',
      'holdfast-20261022.jsonl',
      'holdfast-20261121.jsonl',
      'holdfast-20991231.jsonl',
    );
    expect(logFilesToRemove(all, now, 30).map((file) => file.name)).toEqual([
      'holdfast-20261021.jsonl',
    ]);
    expect(files('cron.log', 'holdfast-2026.jsonl', 'holdfast-20261121.jsonl.gz')).toEqual([]);
  });
});
