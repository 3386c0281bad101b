import { describe, expect, it } from 'vitest';
import { advanceMarks, archivePaths, filesToCarry, mayLeave } from '../../../src/core/wal_carry.ts';

const folder = '00000001';
const name = (number: number) => `0000000100000000000000${String(number).padStart(2, '0')}`;

/** A segment with what lies beside it. */
function files(number: number, suffix = '.zst', beside = ['.sha256']): string[] {
  return [suffix, ...beside].map((end) => `${name(number)}${end}`);
}

function archive(names: readonly string[], top: readonly string[] = []) {
  return { top: ['claim.json', folder, ...top], timelines: new Map([[folder, names]]) };
}

const none = new Map<string, string>();
const pathsOf = (groups: ReturnType<typeof filesToCarry>) => groups.flatMap(({ paths }) => paths);

describe('what is carried to another store', () => {
  it('begins with histories, and each segment goes before what lies beside it', () => {
    const local = archive(
      [...files(2, '.zst.age'), ...files(1, '.zst', ['.sha256', '.index.json'])],
      [
        `${name(1)}.00000028.backup`,
        `${name(1)}.00000028.backup.sha256`,
        '00000002.history',
        '00000002.history.sha256',
        'README',
      ],
    );
    expect(pathsOf(filesToCarry(local, new Set(), none))).toEqual([
      '00000002.history',
      '00000002.history.sha256',
      `${name(1)}.00000028.backup`,
      `${name(1)}.00000028.backup.sha256`,
      `${folder}/${name(1)}.zst`,
      `${folder}/${name(1)}.sha256`,
      `${folder}/${name(1)}.index.json`,
      `${folder}/${name(2)}.zst.age`,
      `${folder}/${name(2)}.sha256`,
    ]);
  });

  it('waits for the digest: without it the segment is still being stored', () => {
    const local = archive([`${name(1)}.zst`, `.${name(2)}.7.data.tmp`], ['00000002.history']);
    expect(filesToCarry(local, new Set(), none)).toEqual([]);
  });

  it('is what a killed run has left out, and an index that was made since', () => {
    const local = archive([...files(1), ...files(2, '.zst', ['.sha256', '.index.json'])]);
    const present = archivePaths(archive([`${name(1)}.zst`, ...files(2)]));
    expect(pathsOf(filesToCarry(local, present, none))).toEqual([
      `${folder}/${name(1)}.sha256`,
      `${folder}/${name(2)}.index.json`,
    ]);
  });

  it('is nothing twice, in whichever form the store has it', () => {
    const local = archive(files(1));
    const present = archivePaths(archive(files(1, '.zst.gpg')));
    expect(filesToCarry(local, present, none)).toEqual([]);
  });

  it("is nothing that the store's own retention has removed, and all that it never had", () => {
    const local = archive([1, 2, 3, 4].flatMap((number) => files(number)));
    const present = archivePaths(archive(files(3)));
    const marks = new Map([[folder, name(2)]]);
    const groups = filesToCarry(local, present, marks);
    expect(groups.map((group) => group.name)).toEqual([name(4)]);
  });
});

describe('how far a store has got', () => {
  const local = archive([1, 2, 3].flatMap((number) => files(number)));

  it('is up to the first segment that waits, whatever was carried behind it', () => {
    const present = archivePaths(archive([...files(1), `${name(2)}.zst`, ...files(3)]));
    expect(advanceMarks(local, present, none)).toEqual(new Map([[folder, name(1)]]));
  });

  it('never goes back', () => {
    const marks = new Map([
      [folder, name(3)],
      ['00000002', `00000002${name(9).slice(8)}`],
    ]);
    expect(advanceMarks(local, new Set(), marks)).toEqual(marks);
  });
});

describe('what may leave an archive that is no store', () => {
  it('is acknowledged and not waited for by the server; the segment goes first', () => {
    const local = archive(
      [
        ...files(1, '.zst.age', ['.sha256', '.index.json']),
        `${name(2)}.zst`,
        ...files(3),
        ...files(4),
      ],
      ['00000002.history', '00000002.history.sha256'],
    );
    expect(mayLeave(local, new Set([name(3)])).map(({ paths }) => paths)).toEqual([
      [
        `${folder}/${name(1)}.zst.age`,
        `${folder}/${name(1)}.sha256`,
        `${folder}/${name(1)}.index.json`,
      ],
      [`${folder}/${name(4)}.zst`, `${folder}/${name(4)}.sha256`],
    ]);
  });
});
