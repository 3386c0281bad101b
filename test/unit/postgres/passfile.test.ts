import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findPassword, passwordFromFile } from '../../../src/postgres/passfile.ts';

const key = { hosts: ['h'], port: 5432, dbname: 'd', user: 'u' };
const escapeField = (text: string) => text.replaceAll(/[\\:]/g, '\\$&');

describe('findPassword', () => {
  it('takes the first line that matches', () => {
    const text = '# x\n\nother:*:*:*:no\nh:5432:d:u:yes\n*:*:*:*:late\n';
    expect(findPassword(text, key)).toEqual({ password: 'yes', line: 4 });
    expect(findPassword(text, { ...key, user: 'x' })).toEqual({ password: 'late', line: 5 });
    expect(findPassword('h:5432:d:u\n', key)).toBeNull();
  });

  it('takes an escaped star for a star, and ends the password at a bare colon', () => {
    expect(findPassword('\\*:*:*:*:p', key)).toBeNull();
    expect(findPassword('\\*:*:*:*:p', { ...key, hosts: ['*'] })?.password).toBe('p');
    expect(findPassword('*:*:*:*:a:b', key)?.password).toBe('a');
    expect(findPassword('*:*:*:*:*', key)?.password).toBe('*');
    expect(findPassword('a\\::*:*:*:p', { ...key, hosts: ['a:'] })?.password).toBe('p');
  });

  it('finds whatever was escaped by the rules', () => {
    const text = fc.string({ minLength: 1 }).filter((t) => !/[\n\r\0]/.test(t) && !/^[#*]/.test(t));
    fc.assert(
      fc.property(text, text, text, text, (host, dbname, user, password) => {
        const line = [host, '5432', dbname, user, password].map(escapeField).join(':');
        const wanted = { hosts: [host], port: 5432, dbname, user };
        expect(findPassword(`x:x:x:x:x\n${line}\n`, wanted)).toEqual({ password, line: 2 });
        expect(findPassword(`${line}\n`, { ...wanted, user: `${user}x` })).toBeNull();
      }),
    );
  });
});

describe('passwordFromFile', () => {
  it('needs no file, and refuses what is none', async () => {
    expect(await passwordFromFile('/nonexistent/x', key)).toMatchObject({ warning: null });
    expect((await passwordFromFile('/tmp', key)).warning).toContain('not a plain file');
  });
});
