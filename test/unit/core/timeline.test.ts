import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatLsn } from '../../../src/core/lsn.ts';
import { parseHistory, stretchesOf } from '../../../src/core/timeline.ts';

describe('the history of a timeline', () => {
  it('tells its ancestors, oldest first', () => {
    const text =
      '# kept by hand\n1\t0/6529410\tno recovery target specified\n\n' +
      '3\t0/9000028\tbefore 2026-11-21 13:17:23+00\n';
    expect(parseHistory(text, 4)).toEqual([
      { timeline: 1, switchLsn: 0x6529410n, reason: 'no recovery target specified' },
      { timeline: 3, switchLsn: 0x9000028n, reason: 'before 2026-11-21 13:17:23+00' },
    ]);
  });

  it('comes back from the lines that a server writes', () => {
    const step = fc.record({
      skip: fc.integer({ min: 1, max: 5 }),
      bytes: fc.bigInt({ min: 0n, max: 2n ** 40n }),
      reason: fc.constantFrom('no recovery target specified', 'at restore point "a b"'),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 20 }), (steps) => {
        let [timeline, switchLsn] = [0, 0n];
        const ancestors = steps.map(({ skip, bytes, reason }) => {
          timeline += skip;
          switchLsn += bytes;
          return { timeline, switchLsn, reason };
        });
        const text = ancestors
          .map((each) => `${each.timeline}\t${formatLsn(each.switchLsn)}\t${each.reason}\n`)
          .join('\n');
        expect(parseHistory(text, timeline + 1)).toEqual(ancestors);
      }),
    );
  });

  it.each([
    ['nothing', '', 'names no ancestor'],
    ['only a comment', '# 1 0/5000028 x\n', 'names no ancestor'],
    ['no LSN', '1\tx\tno recovery target specified\n', 'is no line of one'],
    ['no timeline', '0\t0/5000028\tx\n', 'is no line of one'],
    ['itself', '4\t0/5000028\tx\n', 'out of order'],
    ['a younger one', '5\t0/5000028\tx\n', 'out of order'],
    ['one twice', '1\t0/5000028\tx\n1\t0/6000028\tx\n', 'out of order'],
    ['positions that go back', '1\t0/5000028\tx\n2\t0/4000028\tx\n', 'out of order'],
  ])('is refused when it tells %s', (_, text, why) => {
    expect(() => parseHistory(text, 4)).toThrow(why);
  });
});

describe('the way to a timeline', () => {
  it('goes along its ancestors up to where each was left', () => {
    const history = parseHistory('1\t0/5000028\tx\n2\t0/6000028\tx\n', 3);
    expect(stretchesOf(3, history)).toEqual([
      { timeline: 1, begin: 0n, end: 0x5000028n },
      { timeline: 2, begin: 0x5000028n, end: 0x6000028n },
      { timeline: 3, begin: 0x6000028n, end: null },
    ]);
    expect(stretchesOf(1, [])).toEqual([{ timeline: 1, begin: 0n, end: null }]);
  });
});
