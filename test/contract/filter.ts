/** What every filter must do; a new one joins with one line in filters.test.ts. */

import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import type { Filter } from '../../src/pipeline/filter.ts';
import { store } from '../../src/pipeline/pipeline.ts';
import { readBack } from '../../src/pipeline/read_back.ts';

const withPrograms = { PATH: process.env.PATH ?? '' };
const withoutPrograms = { PATH: '' };

const contents: readonly (readonly [string, Buffer])[] = [
  ['nothing at all', Buffer.alloc(0)],
  ['one byte', Buffer.from('x')],
  ['a text that repeats', Buffer.from('holdfast '.repeat(100_000))],
  ['3 MB that cannot be compressed', randomBytes(3_000_000)],
];

function contextOf(environment: Readonly<Record<string, string>>) {
  return { environment, threads: 2, signal: new AbortController().signal };
}

async function forward(filter: Filter, plain: Buffer, environment: Record<string, string>) {
  let stored = Buffer.alloc(0);
  const measured = await store({
    source: Readable.from(plain.length === 0 ? [] : [plain]),
    filters: [filter],
    observers: [],
    sinks: [
      async (body) => {
        stored = await buffer(body);
      },
    ],
    context: contextOf(environment),
  });
  return { stored, measured };
}

/** Holds a filter against its contract. */
export function filterContract(name: string, filter: Filter): void {
  describe(`the filter ${name}`, () => {
    for (const [what, plain] of contents) {
      for (const [there, back] of [
        [withPrograms, withPrograms],
        [withPrograms, withoutPrograms],
        [withoutPrograms, withPrograms],
        [withoutPrograms, withoutPrograms],
      ] as const) {
        const how = [there, back].map((end) => (end === withPrograms ? 'program' : 'Node'));
        it(`gives back ${what} (${how.join(' → ')})`, async () => {
          const { stored, measured } = await forward(filter, plain, there);
          expect(measured.stored.bytes).toBe(stored.length);
          let again = Buffer.alloc(0);
          const readings = await readBack({
            body: Readable.from([stored]),
            filters: [filter.spec],
            sinks: [
              async (body) => {
                again = await buffer(body);
              },
            ],
            context: contextOf(back),
          });
          expect(again.equals(plain)).toBe(true);
          expect(readings).toEqual(measured);
        });
      }
    }

    for (const environment of [withPrograms, withoutPrograms]) {
      const by = environment === withPrograms ? 'the program' : 'Node';
      it(`refuses bytes that were cut, by ${by}`, async () => {
        const { stored } = await forward(filter, randomBytes(100_000), environment);
        await expect(
          readBack({
            body: Readable.from([stored.subarray(0, stored.length - 9)]),
            filters: [filter.spec],
            context: contextOf(environment),
          }),
        ).rejects.toMatchObject({ code: 'DAMAGED' });
      });

      it(`refuses bytes of another kind, by ${by}`, async () => {
        await expect(
          readBack({
            body: Readable.from([Buffer.from('this was never compressed, by nobody')]),
            filters: [filter.spec],
            context: contextOf(environment),
          }),
        ).rejects.toMatchObject({ code: 'DAMAGED' });
      });
    }
  });
}
