import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ArchivePatch, createPlaceFinder } from '../../../src/postgres/archive_places.ts';
import { type ArchivePlan, buildArchive } from '../../support/archive_builder.ts';

/** What is found in an archive that comes in pieces of this size. */
function find(archive: Buffer, pieceBytes = archive.length + 1): readonly ArchivePatch[] {
  const finder = createPlaceFinder();
  for (let at = 0; at < archive.length; at += pieceBytes) {
    const piece = Buffer.from(archive.subarray(at, at + pieceBytes));
    finder.update(piece);
    piece.fill(0xee); // a caller may use its buffer again
  }
  return finder.finish();
}

function patched(archive: Buffer): Buffer {
  const whole = Buffer.from(archive);
  for (const { position, bytes } of find(archive)) bytes.copy(whole, position);
  return whole;
}

/** The places that the patches tell, and whether a block of data begins there. */
function toldPlaces(archive: Buffer): number[] {
  return find(archive).map(({ position, bytes }) => {
    expect(archive.readUInt8(position)).toBe(1);
    expect(bytes.readUInt8(0)).toBe(2);
    return Number(bytes.readBigUInt64LE(1));
  });
}

const rows = fc.array(fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)));
const plans: fc.Arbitrary<ArchivePlan> = fc.record({
  minor: fc.constantFrom(12, 13, 14, 15, 16),
  tables: fc.array(
    fc.record({
      oid: fc.integer({ min: 1, max: 0xffff_ffff }),
      schema: fc.constantFrom('public', 'a "b"'),
      name: fc.string({ maxLength: 63 }),
      chunks: rows,
    }),
    { maxLength: 6 },
  ),
  largeObjects: fc.array(
    fc.record({ oid: fc.integer({ min: 1, max: 0xffff_ffff }), chunks: rows }),
    { maxLength: 3 },
  ),
});

describe('the places of the data in an archive', () => {
  it('are found one after the other, however the archive comes in pieces', () => {
    fc.assert(
      fc.property(plans, fc.integer({ min: 1, max: 300 }), (plan, pieceBytes) => {
        const { archive, dataStart } = buildArchive(plan);
        const places = toldPlaces(archive);
        expect(places).toHaveLength(plan.tables.length + 1);
        expect(places[0]).toBe(dataStart);
        for (const [index, place] of places.entries()) {
          expect(archive.readUInt8(place)).toBe(index < plan.tables.length ? 1 : 3);
        }
        expect(find(archive, pieceBytes)).toEqual(find(archive));
      }),
      { numRuns: 300 },
    );
  });

  it('are not told again where they are told already', () => {
    const { archive } = buildArchive({
      minor: 14,
      tables: [{ oid: 1, schema: 's', name: 't', chunks: [Buffer.from('x\n')] }],
    });
    expect(find(archive)).toHaveLength(1);
    expect(find(patched(archive))).toEqual([]);
  });

  it.each(['archive_1_14', 'archive_1_16'])('are found in %s, which pg_dump wrote', (name) => {
    const archive = readFileSync(new URL(`../../support/fixtures/${name}.dump`, import.meta.url));
    expect(toldPlaces(archive).length).toBeGreaterThan(3);
  });

  it('are left alone in an archive that is cut, damaged, of another kind or no archive', () => {
    const { archive, dataStart } = buildArchive({
      minor: 15,
      tables: ['a', 'b'].map((text, index) => ({
        ...{ oid: index + 1, schema: 'public', name: text },
        chunks: [Buffer.from(`${text}\n`)],
      })),
    });
    const inserts = buildArchive({ minor: 15, copyStatement: null, tables: [] });
    for (let bytes = 0; bytes < archive.length; bytes += 1) {
      if (bytes > dataStart && find(archive.subarray(0, bytes)).length === 1) continue;
      expect(find(archive.subarray(0, bytes))).toEqual([]);
    }
    const unknownType = Buffer.from(archive);
    unknownType.writeUInt8(7, dataStart);
    const unknownId = Buffer.from(archive);
    unknownId.writeUInt8(99, dataStart + 2);
    for (const bytes of [unknownType, unknownId, inserts.archive, Buffer.from('CREATE TABLE t')]) {
      expect(find(bytes)).toEqual([]);
    }
  });
});
