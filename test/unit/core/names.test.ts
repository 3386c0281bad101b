import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  beforeName,
  decodeComponent,
  encodeComponent,
  identifierBytesMax,
  isRestoringNameOf,
  leftoverKind,
  restoringName,
} from '../../../src/core/names.ts';

const time = new Date('2026-11-21T02:00:00Z');
const databaseName = fc
  .string({ unit: 'binary', minLength: 1 })
  .filter((name) => !name.includes('\0') && Buffer.from(name).toString() === name);

describe('a name as a component of a path', () => {
  it('is left as it is where it is plain, and encoded by its bytes where it is not', () => {
    expect(encodeComponent('mastertrade_2-b.x')).toBe('mastertrade_2-b.x');
    expect(encodeComponent('a/b')).toBe('a%2Fb');
    expect(encodeComponent('Zürich "$(x)"\n')).toBe('Z%C3%BCrich%20%22%24%28x%29%22%0A');
    expect(encodeComponent('..')).toBe('%2E%2E');
    expect(encodeComponent('.')).toBe('%2E');
  });

  it('comes back, whatever it is', () => {
    fc.assert(
      fc.property(databaseName, (name) => {
        const component = encodeComponent(name);
        expect(component).toMatch(/^[A-Za-z0-9_.%-]+$/);
        expect(['.', '..']).not.toContain(component);
        expect(decodeComponent(component)).toBe(name);
      }),
    );
  });

  it('is none where nothing is encoded so', () => {
    for (const component of ['', '..', 'a b', '%', '%zz', '%41', '%2f', '%C3']) {
      expect(decodeComponent(component)).toBeNull();
    }
  });
});

describe("a database's relatives", () => {
  it('are named after it and the time', () => {
    expect(restoringName('app', time)).toBe('app__restoring_20261121T020000Z');
    expect(beforeName('app', time)).toBe('app__before_20261121T020000Z');
  });

  it('are told from other databases', () => {
    expect(leftoverKind('app__before_20261121T020000Z')).toBe('before');
    expect(leftoverKind('app__restoring_20261121T020000Z')).toBe('restoring');
    expect(leftoverKind('app__before_noon')).toBeNull();
    expect(leftoverKind('app')).toBeNull();
    const long = 'x'.repeat(63);
    for (const name of ['app', 'app "live"', long]) {
      expect(isRestoringNameOf(restoringName(name, time), name)).toBe(true);
      expect(isRestoringNameOf(beforeName(name, time), name)).toBe(false);
      expect(isRestoringNameOf(restoringName(name, time), `${name}1`)).toBe(false);
    }
  });

  it('never grow past what the server keeps, never end within a character, never meet', () => {
    fc.assert(
      fc.property(databaseName, databaseName, (one, other) => {
        const names = [one, other].map((name) => restoringName(name, time));
        for (const name of names) {
          expect(Buffer.byteLength(name)).toBeLessThanOrEqual(identifierBytesMax);
          expect(Buffer.from(name).toString()).toBe(name);
          expect(leftoverKind(name)).toBe('restoring');
        }
        if (one !== other) expect(names[0]).not.toBe(names[1]);
      }),
    );
  });

  it('keep two names of 63 bytes apart that differ only at their end', () => {
    const long = 'x'.repeat(62);
    expect(beforeName(`${long}a`, time)).not.toBe(beforeName(`${long}b`, time));
  });
});
