/** What every filter must do; a new one joins with one line in filters.test.ts. */

import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import type { Filter, KeySources } from '../../src/pipeline/filter.ts';
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

/** What a filter needs for its tests, where it needs more than itself. */
export interface FilterNeeds {
  readonly keys?: KeySources;
}

type Environment = Readonly<Record<string, string>>;

function contextOf(environment: Environment, keys: KeySources | undefined) {
  return { environment, threads: 2, signal: new AbortController().signal, keys };
}

async function forward(filter: Filter, plain: Buffer, environment: Environment, keys?: KeySources) {
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
    context: contextOf(environment, keys),
  });
  return { stored, measured };
}

const everyWay = [
  [withPrograms, withPrograms],
  [withPrograms, withoutPrograms],
  [withoutPrograms, withPrograms],
  [withoutPrograms, withoutPrograms],
] as const;

/**
 * Holds a filter against its contract.
 *
 * @param filterOf called in the tests, after everything that they need was made
 * @param needsProgram nothing but a program does it: there is no way through Node
 */
export function filterContract(
  name: string,
  filterOf: () => Filter,
  needsOf: () => FilterNeeds = () => ({}),
  needsProgram = false,
): void {
  describe(`the filter ${name}`, () => {
    for (const [what, plain] of contents) {
      for (const [there, back] of needsProgram ? everyWay.slice(0, 1) : everyWay) {
        const how = [there, back].map((end) => (end === withPrograms ? 'program' : 'Node'));
        it(`gives back ${what} (${how.join(' → ')})`, async () => {
          const filter = filterOf();
          const { keys } = needsOf();
          const { stored, measured } = await forward(filter, plain, there, keys);
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
            context: contextOf(back, keys),
          });
          expect(again.equals(plain)).toBe(true);
          expect(readings).toEqual(measured);
        });
      }
    }

    for (const environment of needsProgram ? [withPrograms] : [withPrograms, withoutPrograms]) {
      const by = environment === withPrograms ? 'the program' : 'Node';
      it(`refuses bytes that were cut, by ${by}`, async () => {
        const filter = filterOf();
        const { keys } = needsOf();
        const { stored } = await forward(filter, randomBytes(100_000), environment, keys);
        await expect(
          readBack({
            body: Readable.from([stored.subarray(0, stored.length - 9)]),
            filters: [filter.spec],
            context: contextOf(environment, keys),
          }),
        ).rejects.toMatchObject({ code: 'DAMAGED' });
      });

      it(`refuses bytes of another kind, by ${by}`, async () => {
        await expect(
          readBack({
            body: Readable.from([Buffer.from('this was never compressed, by nobody')]),
            filters: [filterOf().spec],
            context: contextOf(environment, needsOf().keys),
          }),
        ).rejects.toMatchObject({ code: 'DAMAGED' });
      });
    }
  });
}
