import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../../src/core/errors.ts';
import { sha256Of } from '../../../../src/core/sums.ts';
import type { Context } from '../../../../src/operations/context.ts';
import { endedBy, patchAndDigest } from '../../../../src/operations/restore/trailing_digest.ts';

let folder: string;
let path: string;
const never = new AbortController().signal;
/** More than one piece of what is read at once. */
const plain = Buffer.from(Array.from({ length: 400_000 }, (_, n) => `row ${n}\n`).join(''));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-trailing-'));
  path = join(folder, 'plain');
  await writeFile(path, plain);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the digest of an unpacked dump', () => {
  it.each([
    ['without patches', []],
    ['with patches', [9, 1_100_000, 5]],
  ])('is that of what was unpacked, %s', async (_, positions) => {
    const patches = positions.map((position) => ({ position, bytes: Buffer.from('PATCH') }));
    const { measured, stop } = await patchAndDigest(path, patches, never);
    const patched = Buffer.from(plain);
    for (const { position, bytes } of patches) bytes.copy(patched, position);
    expect((await readFile(path)).equals(patched)).toBe(true);
    expect(await measured).toEqual({ bytes: plain.length, sha256: sha256Of(plain) });
    await stop();
  });

  it('ends when it is stopped, and with the reason of the signal', async () => {
    const stopped = await patchAndDigest(path, [], never);
    await stopped.stop();
    await expect(stopped.measured).rejects.toThrow(/abort/);
    const controller = new AbortController();
    const { measured } = await patchAndDigest(path, [], controller.signal);
    controller.abort(new Error('enough'));
    await expect(measured).rejects.toThrow('enough');
  });

  it('fails where there is no such file', async () => {
    await expect(patchAndDigest(join(folder, 'none'), [], never)).rejects.toThrow(/ENOENT/);
  });
});

describe('a context that ends with a proof', () => {
  const controller = new AbortController();
  const context = { signal: controller.signal } as Context;

  it('ends with the error of a proof that fails', async () => {
    const damage = new HoldfastError('DAMAGED', 'other bytes');
    const { signal } = endedBy(context, Promise.reject(damage));
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    expect(signal.reason).toBe(damage);
  });

  it('goes on with one that holds, and ends as it would have ended', async () => {
    const { signal } = endedBy(context, Promise.resolve());
    expect(signal.aborted).toBe(false);
    controller.abort(new Error('interrupted'));
    expect(signal.reason).toEqual(new Error('interrupted'));
  });
});
