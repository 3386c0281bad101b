import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { whilePruning, whileReading, whileRemoving } from '../../../src/catalog/in_use.ts';
import { failureOf } from '../../contract/storage.ts';

const label = '20261121T020000Z-daily-k3f9';
let stateDir: string;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'holdfast-in-use-'));
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

const remove = () => whileRemoving(stateDir, label, async () => 'removed');

describe('a backup in use', () => {
  it('is read by several at once, and removed by nobody meanwhile', async () => {
    await whileReading(stateDir, label, async () => {
      expect(await whileReading(stateDir, label, async () => 'read')).toBe('read');
      expect((await failureOf(remove())).code).toBe('LOCKED');
      const other = '20261122T020000Z-daily-k3f9';
      expect(await whileRemoving(stateDir, other, async () => 'removed')).toBe('removed');
    });
    expect(await remove()).toBe('removed');
    expect(await readdir(join(stateDir, 'in_use'))).toEqual([]);
  });

  it('is read after its removal has ended, not in the middle of it', async () => {
    const order: string[] = [];
    let reading: Promise<void> = Promise.resolve();
    await whileRemoving(stateDir, label, async () => {
      reading = whileReading(stateDir, label, async () => {
        order.push('read');
      });
      await new Promise((resolve) => setTimeout(resolve, 50));
      order.push('removed');
    });
    await reading;
    expect(order).toEqual(['removed', 'read']);
  });

  it('fails with what the work has failed with', async () => {
    const failing = () => Promise.reject(new Error('the work failed'));
    for (const during of [whileReading, whileRemoving]) {
      await expect(during(stateDir, label, failing)).rejects.toThrow('the work failed');
    }
    await expect(whilePruning(stateDir, failing)).rejects.toThrow('the work failed');
    expect(await remove()).toBe('removed');
  });

  it('is read and removed also where no lock can be written', async () => {
    // A file lies where the folder of the locks would be: not even root can write one there.
    const noFolder = join(stateDir, 'file');
    await writeFile(noFolder, '');
    expect(await whileReading(noFolder, label, async () => 'read')).toBe('read');
    expect(await whileRemoving(noFolder, label, async () => 'removed')).toBe('removed');
    expect(await whilePruning(noFolder, async () => 'pruned')).toBe('pruned');
  });
});
