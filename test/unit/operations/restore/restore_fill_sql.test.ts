/** What psql is not given. */

import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createCut } from '../../../../src/operations/restore/restore_fill_sql.ts';

async function cut(chunks: readonly Buffer[], ranges: { start: number; end: number }[]) {
  return text(Readable.from(chunks).pipe(createCut(ranges)));
}

it('leaves out ranges but for their newlines, wherever the chunks are cut', async () => {
  const lines = fc.string({ unit: fc.constantFrom('a', 'b', '\n'), maxLength: 60 });
  const places = fc.array(fc.nat(70), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(lines, places, places, async (whole, cuts, marks) => {
      const bytes = Buffer.from(whole);
      const sorted = marks.toSorted((a, b) => a - b);
      const ranges = sorted.flatMap((start, index) => {
        const end = sorted[index + 1];
        return index % 2 === 0 && end !== undefined ? [{ start, end }] : [];
      });
      const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
      const chunks = at.flatMap((start, index) => {
        const part = bytes.subarray(start, at[index + 1] ?? bytes.length);
        return part.length === 0 || start > bytes.length ? [] : [part];
      });
      const expected = [...whole].filter(
        (each, place) =>
          each === '\n' || !ranges.some(({ start, end }) => start <= place && place < end),
      );
      expect(await cut(chunks, ranges)).toBe(expected.join(''));
    }),
    { numRuns: 300 },
  );
});
