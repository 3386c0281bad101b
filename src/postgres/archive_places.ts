/**
 * Finds where the blocks of data lie in a custom-format archive that streams by. pg_dump cannot
 * write that into the table of contents of what it sends into a pipe. Without it each job of
 * pg_restore looks for every table from the beginning of the file, and does not know the largest
 * ones, which it begins with (`_PrintTocData`, `_PrepParallelRestore` of pg_backup_custom.c).
 */

import { blockData, blockLargeObjects, passChunks } from './archive_data.ts';
import { ArchiveInput, driveReading, type Reading } from './archive_input.ts';
import { type Layout, placeTold, readHeader, readTableOfContents } from './archive_toc.ts';

/** Bytes that belong into the archive in place of those that are there. */
export interface ArchivePatch {
  /** Bytes before it. */
  readonly position: number;
  readonly bytes: Buffer;
}

/** Consumes a custom-format archive chunk by chunk; its data may be compressed inside. */
export interface PlaceFinder {
  /** Takes the next bytes; keeps no hold on `chunk`, and never throws for what they are. */
  update(chunk: Buffer): void;
  /**
   * After the last chunk: what makes the archive one whose places are told, as pg_dump would have
   * written it into a file. Nothing where they are told already, and where it was not understood
   * to its end.
   */
  finish(): readonly ArchivePatch[];
}

/** `WriteOffset` of pg_backup_archiver.c: that it is told, then the offset, lowest byte first. */
function toldPlace({ offsetBytes }: Layout, place: number): Buffer {
  const bytes = Buffer.alloc(1 + offsetBytes);
  bytes.writeUInt8(placeTold, 0);
  if (offsetBytes === 8) bytes.writeBigUInt64LE(BigInt(place), 1);
  else bytes.writeUInt32LE(place, 1);
  return bytes;
}

/** Follows the archive to its end; the patches are only whole when it comes to that. */
function* findPlaces(input: ArchiveInput, patches: ArchivePatch[]): Reading<void> {
  const { layout } = yield* readHeader(input);
  const { data } = yield* readTableOfContents(input, layout, false);
  input.place = 'the blocks of data';
  while (!(yield* input.atEnd())) {
    const place = input.position;
    const type = yield* input.byte();
    const dumpId = yield* input.int();
    const entry = data.get(dumpId);
    if (entry === undefined) throw input.malformed(`the unknown dump id ${dumpId}`);
    const { untoldAt } = entry;
    if (untoldAt !== null) patches.push({ position: untoldAt, bytes: toldPlace(layout, place) });
    if (type === blockData) {
      yield* passChunks(input);
    } else if (type === blockLargeObjects) {
      while ((yield* input.int()) !== 0) yield* passChunks(input);
    } else {
      throw input.malformed(`the unknown type ${type}`);
    }
  }
}

/** A finder for one archive. Its memory grows with the number of tables, never with their rows. */
export function createPlaceFinder(): PlaceFinder {
  const input = new ArchiveInput();
  const patches: ArchivePatch[] = [];
  const finding = driveReading(input, findPlaces(input, patches));
  return {
    update: finding.update,
    finish: () => (finding.finish() === null ? patches : []),
  };
}
