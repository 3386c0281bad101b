/** The end of `npm test` names what failed, however little of its output is kept. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { countsOf, coverageLine, failureLines, tapFailures, vitestFailures } from './summary.ts';
import { projectDir } from './support/source_tree.ts';

const file = (name: string) => join(projectDir, 'test', name);
const ancestorTitles = ['a restore'];
const report = {
  numPassedTests: 1,
  numTotalTests: 4,
  testResults: [
    {
      name: file('unit/a.test.ts'),
      status: 'failed',
      assertionResults: [
        { ancestorTitles, title: 'works', status: 'passed', failureMessages: [] },
        {
          ancestorTitles,
          title: 'says "why"',
          status: 'failed',
          failureMessages: ['\u001b[31mAssertionError: expected 1 to be 2\u001b[39m\n    at x'],
        },
        { ancestorTitles, title: 'is left out', status: 'skipped', failureMessages: null },
      ],
    },
    {
      name: file('unit/b.test.ts'),
      status: 'failed',
      message: 'Error: no such module\n    at y',
      assertionResults: [{ ancestorTitles, title: 'never ran', status: 'skipped' }],
    },
  ],
};

describe('a report of vitest', () => {
  it('tells each test that did not pass, by file and name, with its first line', () => {
    const [first, second] = vitestFailures(report);
    expect(first).toEqual({
      test: 'test/unit/a.test.ts > a restore > says "why"',
      message: 'AssertionError: expected 1 to be 2',
    });
    expect(second).toEqual({
      test: 'test/unit/a.test.ts > a restore > is left out',
      message: 'skipped',
    });
    expect(countsOf(report)).toEqual([1, 3]);
  });

  it('tells a file that failed outside of its tests', () => {
    expect(vitestFailures(report)).toContainEqual({
      test: 'test/unit/b.test.ts, outside of its tests',
      message: 'Error: no such module',
    });
  });
});

describe('a report of bats', () => {
  it('tells the place and the command', () => {
    const tap = [
      '1..3',
      'ok 1 a segment is stored',
      'not ok 2 other content is refused # in 3 ms',
      '# (in test file test/shell/wal_push.bats, line 12)',
      '#   `[ "$status" -eq 1 ]\' failed',
      'ok 3 as root # skip no root',
    ];
    expect(tapFailures(tap.join('\n'))).toEqual([
      {
        test: 'other content is refused # in 3 ms',
        message: '(in test file test/shell/wal_push.bats, line 12) `[ "$status" -eq 1 ]\' failed',
      },
      { test: 'as root # skip no root', message: '' },
    ]);
  });
});

describe('the summary', () => {
  it('has an end, whatever fails', () => {
    const many = Array.from({ length: 1000 }, (_, i) => ({ test: `test ${i}`, message: 'bad' }));
    const lines = failureLines('host', many);
    expect(lines).toHaveLength(81);
    expect(lines[0]).toBe('  host: test 0');
    expect(lines.at(-1)).toBe('  host: and 960 more');
  });

  it('says in words that too little is covered', () => {
    expect(coverageLine(84.32, 90)).toContain('84.32 %: TOO LITTLE, at least 90 % are demanded');
    expect(coverageLine(90, 90)).not.toContain('TOO LITTLE');
    expect(coverageLine(null, 90)).toContain('unknown');
  });

  it('is made of all the reports in a folder, also of one that is cut off', () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-summary-'));
    try {
      writeFileSync(join(folder, 'host.json'), JSON.stringify(report));
      writeFileSync(join(folder, 'container.json'), '{"numPassed');
      writeFileSync(join(folder, 'dash.tap'), '1..1\nnot ok 1 a test\n');
      const program = join(projectDir, 'test/summary.ts');
      const printed = execFileSync(process.execPath, [program, 'failures', folder]).toString();
      expect(printed).toContain('  container: the report cannot be read\n');
      expect(printed).toContain('  dash: a test\n');
      expect(printed).toContain('  host: test/unit/a.test.ts > a restore > says "why"\n');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
