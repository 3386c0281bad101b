import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  leftoversOf,
  leftoverTarget,
  parseLeftoverName,
  putAsideAt,
  restoringComment,
  restoringCommentTarget,
} from '../../../src/core/leftovers.ts';
import { beforeName, restoringName } from '../../../src/core/names.ts';

const time = new Date('2026-11-21T02:00:00Z');

describe('the name of a leftover', () => {
  it('says what it is and since when', () => {
    expect(parseLeftoverName('app__before_20261121T020000Z')).toEqual({
      kind: 'before',
      front: 'app',
      createdAt: time,
    });
    expect(parseLeftoverName('a__before_"b"\nc__restoring_20261121T020000Z')).toMatchObject({
      kind: 'restoring',
      front: 'a__before_"b"\nc',
    });
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

describe('the leftovers of a database', () => {
  const at = (seconds: number) => new Date(time.getTime() + seconds * 1000);
  const make = (oid: number, seconds: number, target: string | null = 'app') => {
    const createdAt = at(seconds);
    const name = beforeName(target ?? 'x', createdAt);
    return { name, oid, kind: 'before' as const, target, createdAt };
  };

  it('come youngest first, without those of others and those that may be of others', () => {
    const all = [make(4, 5), make(2, 7), make(3, 6, 'other'), make(9, 8, null)];
    expect(leftoversOf(all, 'before', 'app').map(({ oid }) => oid)).toEqual([2, 4]);
    expect(leftoversOf(all, 'restoring', 'app')).toEqual([]);
  });

  it('get a younger one whatever the clock says', () => {
    expect(putAsideAt(time, [])).toEqual(time);
    expect(putAsideAt(time, [make(1, -60)])).toEqual(time);
    for (const seconds of [0, 1, 31_000_000]) {
      expect(putAsideAt(time, [make(1, seconds), make(2, -5)])).toEqual(at(seconds + 1));
    }
  });
});
