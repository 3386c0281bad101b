import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PartBuffers, PartFiller } from '../../../src/storage/part_buffers.ts';

async function cut(chunks: readonly Uint8Array[], size: number): Promise<Buffer[]> {
  const filler = new PartFiller(
    (async function* () {
      yield* chunks;
    })(),
  );
  const parts: Buffer[] = [];
  do {
    const buffer = Buffer.alloc(size);
    parts.push(buffer.subarray(0, await filler.fill(buffer)));
  } while (!filler.isDone);
  return parts;
}

describe('cutting a stream into parts', () => {
  it('loses nothing, and every part but the last is full', async () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(chunks, fc.integer({ min: 1, max: 50 }), async (pieces, size) => {
        const parts = await cut(pieces, size);
        expect(Buffer.concat(parts).equals(Buffer.concat(pieces))).toBe(true);
        for (const part of parts.slice(0, -1)) expect(part.length).toBe(size);
        expect(parts.length).toBe(Math.max(1, Math.ceil(Buffer.concat(pieces).length / size)));
      }),
    );
  });
});

describe('memory for parts', () => {
  it('is used again as long as the size stays the same', () => {
    const buffers = new PartBuffers();
    const first = buffers.take(10);
    buffers.give(first);
    expect(buffers.take(10)).toBe(first);
    buffers.give(first);
    const larger = buffers.take(20);
    expect(larger.length).toBe(20);
    buffers.give(larger);
    buffers.give(first);
    expect(buffers.take(20)).toBe(larger);
    expect(buffers.take(20).length).toBe(20);
  });
});
