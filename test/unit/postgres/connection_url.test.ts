import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { looksLikeUrl, parseConnectionUrl } from '../../../src/postgres/connection_url.ts';

const values = (url: string) => Object.fromEntries(parseConnectionUrl(url).values);

describe('parseConnectionUrl reads what libpq reads', () => {
  it.each<[string, Record<string, string>]>([
    ['postgresql://', {}],
    ['postgresql:///db', { dbname: 'db' }],
    ['postgres://host', { host: 'host' }],
    ['postgresql://user@', { user: 'user' }],
    [
      'postgresql://u:p@h:5433/d?sslmode=require',
      { user: 'u', password: 'p', host: 'h', port: '5433', dbname: 'd', sslmode: 'require' },
    ],
    ['postgresql+psycopg2://u@h/d', { user: 'u', host: 'h', dbname: 'd' }],
    [
      'postgresql://u:p%40s%2Fs%3A@h/a%20b',
      { user: 'u', password: 'p@s/s:', host: 'h', dbname: 'a b' },
    ],
    ['postgresql://[2001:db8::1]:99/d', { host: '2001:db8::1', port: '99', dbname: 'd' }],
    ['postgresql://h1:1,h2,[::1]:3/d', { host: 'h1,h2,::1', port: '1,,3', dbname: 'd' }],
    ['postgresql:///db?host=/tmp&port=6000', { host: '/tmp', port: '6000', dbname: 'db' }],
    ['postgresql://%2Fvar%2Frun/db', { host: '/var/run', dbname: 'db' }],
    ['postgresql://h?user=x', { host: 'h', user: 'x' }],
    ['postgresql://h/d?ssl=true', { host: 'h', dbname: 'd', sslmode: 'require' }],
    ['postgresql://h/d?options=-c%20a%3Db+c', { host: 'h', dbname: 'd', options: '-c a=b+c' }],
    ['postgresql://:@h:/d', { host: 'h', dbname: 'd' }],
    ['postgresql://h/a/b', { host: 'h', dbname: 'a/b' }],
  ])('%s', (url, expected) => {
    expect(values(url)).toEqual(expected);
  });

  it('drops what belongs to other clients, and says so', () => {
    const { values: given, ignored } = parseConnectionUrl(
      'postgres://h/d?schema=public&pgbouncer=true',
    );
    expect([...given.keys()]).toEqual(['host', 'dbname']);
    expect(ignored).toEqual(['schema', 'pgbouncer']);
  });

  it('gives back whatever was percent-encoded', () => {
    const text = fc.string({ minLength: 1, unit: 'grapheme' }).filter((t) => !t.includes('\0'));
    fc.assert(
      fc.property(text, text, text, (user, password, dbname) => {
        const [u, p, d] = [user, password, dbname].map(encodeURIComponent);
        expect(values(`postgresql://${u}:${p}@h/${d}`)).toEqual({
          user,
          password,
          host: 'h',
          dbname,
        });
        expect(values(`postgresql://h?user=${u}&password=${p}&dbname=${d}`)).toEqual({
          user,
          password,
          host: 'h',
          dbname,
        });
      }),
    );
  });
});

describe('parseConnectionUrl refuses, and never shows a password', () => {
  it.each<[string, RegExp]>([
    ['postgresql://u:hunter2%zz@h/d', /the password in the URL has a %/],
    ['postgresql://u:hunter2%00@h/d', /NUL/],
    ['postgresql://u:hun@ter2@h/d', /second @/],
    ['postgresql://u:hunter2@[::1/d', /\[ without a \]/],
    ['postgresql://u:hunter2@[]/d', /empty IPv6/],
    ['postgresql://u:hunter2@[::1]x/d', /behind the \]/],
    ['postgresql://u:hunter2@h/d?sslmode', /name=value/],
    ['postgresql://h/d?password=hunter2=x', /name=value/],
    ['sqlite:///hunter.db', /SQLite/],
    ['mysql://u:hunter2@h/d', /no PostgreSQL URL/],
    ['jdbc:postgresql://h/d?password=hunter2', /JDBC/],
  ])('%s', (url, message) => {
    expect(looksLikeUrl(url)).toBe(true);
    expect(() => parseConnectionUrl(url)).toThrow(message);
    expect(() => parseConnectionUrl(url)).not.toThrow(/hunter2|ter2/);
  });

  it('and takes names with colons and equals signs for names', () => {
    for (const name of ['a:b', 'a=b', '$(x)', 'host=h dbname=d', 'a//b', '://']) {
      expect(looksLikeUrl(name)).toBe(false);
    }
  });
});
