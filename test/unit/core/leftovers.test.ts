import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  leftoverTarget,
  parseLeftoverName,
  restoringComment,
  restoringCommentTarget,
} from '../../../src/core/leftovers.ts';
import { beforeName, restoringName } from '../../../src/core/names.ts';

const time = new Date('2026-11-21T02:00:00Z');

describe('the name of a leftover', () => {
  it('says what it is and since when', () => {
    expect(parseLeftoverName('app__before_20261121T020000Z')).toEqual({
      kind: 'before',
      createdAt: time,
    });
    expect(parseLeftoverName('a "b"\nc__restoring_20261121T020000Z')?.kind).toBe('restoring');
  });

  it('is none where no restore would have chosen it', () => {
    for (const name of [
      'app',
      'app__before_20261321T020000Z',
      'app__before_20261121T020000Z\n',
      'app__before_20261121T020000Z_old',
      'app_before_20261121T020000Z',
    ]) {
      expect(parseLeftoverName(name), name).toBeNull();
    }
  });
});

describe('the comment of a database that is being restored', () => {
  it('tells its target, whatever that is called', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        expect(restoringCommentTarget(restoringComment(name))).toBe(name);
      }),
    );
  });

  it('is no other one', () => {
    for (const comment of [null, '', 'mine', 'holdfast: being restored as app', '"app"']) {
      expect(restoringCommentTarget(comment)).toBeNull();
    }
    expect(restoringCommentTarget('holdfast: being restored as 7')).toBeNull();
  });
});

describe('the database that a leftover was made for', () => {
  const long = `${'ü'.repeat(25)} the "live" one`;
  const other = `${long.slice(0, -3)}two`;

  it('is what stands before the suffix, also where that database is gone', () => {
    expect(leftoverTarget('app__before_20261121T020000Z', [], null)).toBe('app');
    expect(leftoverTarget('__before_20261121T020000Z', [], null)).toBeNull();
    expect(leftoverTarget('app', ['app'], null)).toBeNull();
  });

  it('is found by the hash where the name was shortened, and not told without it', () => {
    const name = beforeName(long, time);
    expect(leftoverTarget(name, [other, 'app', long, name], null)).toBe(long);
    expect(leftoverTarget(beforeName(other, time), [other, long], null)).toBe(other);
    expect(leftoverTarget(name, [other, name], null)).toBeNull();
  });

  it('is told by the comment of one that is being built', () => {
    const name = restoringName(long, time);
    expect(leftoverTarget(name, [], restoringComment(long))).toBe(long);
    expect(leftoverTarget(name, [], restoringComment(other))).toBeNull();
    expect(leftoverTarget(beforeName(long, time), [], restoringComment(long))).toBeNull();
  });

  it('stays open where a database is called like the shortened front of another', () => {
    const name = beforeName(long, time);
    const literal = name.slice(0, -'__before_20261121T020000Z'.length);
    expect(beforeName(literal, time)).toBe(name);
    expect(leftoverTarget(name, [literal, long], null)).toBeNull();
    expect(leftoverTarget(name, [literal], null)).toBeNull();
  });

  it('is never another one, for any two names', () => {
    const database = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 63 })
      .filter((text) => Buffer.byteLength(text) <= 63 && Buffer.from(text).toString() === text);
    fc.assert(
      fc.property(database, database, (one, two) => {
        const target = leftoverTarget(beforeName(one, time), [one, two], null);
        expect([one, null]).toContain(target);
      }),
    );
  });
});
