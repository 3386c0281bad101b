import { expect, it } from 'vitest';
import { nextRun } from '../../../src/schedule/next_run.ts';

const after = new Date('2026-03-28T01:00:00Z');

it('tells when a job runs next, in its time zone', async () => {
  expect(await nextRun('0 2 * * *', after, 'UTC')).toEqual(new Date('2026-03-28T02:00:00Z'));
  // That night there is no 02:30 in Berlin: the clocks go from 2 to 3.
  expect(await nextRun('0 4 * * 0', after, 'Europe/Berlin')).toEqual(
    new Date('2026-03-29T02:00:00Z'),
  );
  expect(await nextRun('0 1 * * *', after, 'UTC')).toEqual(new Date('2026-03-29T01:00:00Z'));
});

it('tells of lines that say no time that they never run', async () => {
  for (const when of ['x', '0 0 30 2 *', '60 * * * *']) {
    expect(await nextRun(when, after, 'UTC'), when).toBeNull();
  }
});
