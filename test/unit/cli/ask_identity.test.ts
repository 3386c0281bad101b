import { PassThrough, Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { askIdentity } from '../../../src/cli/ask_identity.ts';

const secret = `AGE-SECRET-KEY-1${'Q'.repeat(58)}`;

/** Types something on a terminal, or nothing where there is none. */
async function type(typed: string | null, signal = new AbortController().signal) {
  const stdin = Object.assign(Readable.from(typed === null ? [] : [typed]), {
    isTTY: typed !== null,
  });
  const stderr = new PassThrough();
  const told = Readable.prototype.toArray.call(stderr);
  const identity = await askIdentity({ stdin, stderr, signal }, ['age1one', 'age1two']);
  stderr.end();
  return { identity, told: Buffer.concat(await told).toString() };
}

describe('asking for an identity', () => {
  it('says for whom it is encrypted, and shows nothing of what is typed', async () => {
    const { identity, told } = await type(` ${secret}\r\n`);
    expect(identity?.reveal()).toBe(secret);
    expect(told).toContain('age1one, age1two');
    expect(told).not.toContain('QQQ');
  });

  it.each([
    ['without a terminal', null],
    ['at the end of the input', ''],
    ['for something else', 'yes\n'],
  ])('gives nothing %s', async (_when, typed) => {
    expect((await type(typed)).identity).toBeNull();
  });

  it('ends with the reason of an interruption', async () => {
    const stop = new AbortController();
    stop.abort(new Error('interrupted'));
    await expect(type('', stop.signal)).rejects.toThrow('interrupted');
  });
});
