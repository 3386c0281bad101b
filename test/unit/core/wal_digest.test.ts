import { describe, expect, it } from 'vitest';
import { formatDigests, parseDigests } from '../../../src/core/wal_digest.ts';

const name = '000000010000000000000002';
const [plain, stored] = ['a'.repeat(64), 'b'.repeat(64)];

describe('the digests beside a file of the WAL', () => {
  it('are that of the plain bytes, and of an encrypted one that of the stored bytes too', () => {
    const text = formatDigests(name, `${name}.zst`, { plain, stored: null });
    expect(text).toBe(`${plain}  ${name}\n`);
    expect(parseDigests(text, name)).toEqual({ plain, stored: null });
    const both = formatDigests(name, `${name}.zst.age`, { plain, stored });
    expect(both).toBe(`${plain}  ${name}\n${stored}  ${name}.zst.age\n`);
    expect(parseDigests(both, name)).toEqual({ plain, stored });
  });

  it.each([
    ['of another file', `${plain}  000000010000000000000003\n`],
    ['of another stored file', `${plain}  ${name}\n${stored}  x.zst\n`],
    ['of one more', `${plain}  ${name}\n${stored}  ${name}.zst.age\n${stored}  ${name}.zst\n`],
    ['cut', `${plain}  ${name}`],
    ['empty', ''],
  ])('are refused where they are %s', (_, text) => {
    expect(() => parseDigests(text, name)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
  });
});
