import { describe, expect, it } from 'vitest';
import { segmentName } from '../../../src/core/lsn.ts';
import {
  brokenPartials,
  nextStart,
  sortStream,
  startMarker,
  superfluous,
  withStream,
} from '../../../src/core/stream_files.ts';
import { sortArchive } from '../../../src/core/wal_listing.ts';

const segmentBytes = 1024 * 1024;
const name = (timeline: number, number: number) =>
  segmentName(timeline, BigInt(number), segmentBytes);
const file = (text: string, bytes = segmentBytes) => ({ name: text, bytes });
const partial = (timeline: number, number: number) => `${name(timeline, number)}.partial`;
const sorted = (...names: string[]) =>
  sortStream(
    names.map((each) => file(each)),
    segmentBytes,
  );
const archiveOf = (files: readonly string[], top: readonly string[] = []) => {
  const folders = new Set(files.map((each) => each.slice(0, 8)));
  const timelines = new Map(
    [...folders].map((folder) => [folder, files.filter((each) => each.startsWith(folder))]),
  );
  return sortArchive({ top, timelines }, segmentBytes);
};

describe('sortStream', () => {
  it('takes what pg_receivewal takes, in its order, and leaves the rest alone', () => {
    const files = sortStream(
      [
        file(partial(2, 7)),
        file(name(1, 7)),
        file(name(1, 6)),
        file(name(1, 5), 8192),
        file(partial(1, 4), 0),
        file('claim.json'),
        file('0a1b2c.partial'),
        file('00000002.history', 40),
      ],
      segmentBytes,
    );
    expect(files.segments.map((each) => each.name)).toEqual([
      partial(1, 4),
      name(1, 6),
      name(1, 7),
      partial(2, 7),
    ]);
    expect(files.histories.map((each) => each.name)).toEqual(['00000002.history']);
  });
});

describe('nextStart', () => {
  it('is the unfinished segment, or the one behind the last complete one', () => {
    expect(nextStart(sorted())).toBeNull();
    expect(nextStart(sorted(name(1, 5)))).toEqual({ timeline: 1, number: 6n });
    expect(nextStart(sorted(name(1, 5), partial(1, 6)))).toEqual({ timeline: 1, number: 6n });
    expect(nextStart(sorted(partial(1, 6), partial(2, 6)))).toEqual({ timeline: 2, number: 6n });
    // A complete one beats the unfinished one of its own number.
    expect(nextStart(sorted(name(1, 6), partial(1, 6)))).toEqual({ timeline: 1, number: 7n });
  });

  it('is what an empty file says that was made for it', () => {
    const marker = startMarker(3, 9n, segmentBytes);
    expect(nextStart(sorted(name(1, 5), marker))).toEqual({ timeline: 3, number: 9n });
  });
});

describe('superfluous', () => {
  it('is what the archive has, never the newest file', () => {
    const files = sorted(name(1, 4), name(1, 5), name(1, 6));
    const names = (archived: string[]) =>
      superfluous(files, new Set(archived)).map((each) => each.name);
    expect(names([name(1, 4), name(1, 5), name(1, 6)])).toEqual([name(1, 4), name(1, 5)]);
    expect(names([name(1, 5)])).toEqual([name(1, 5)]);
    expect(names([])).toEqual([]);
  });

  it('is an unfinished one only where the archive has the complete one', () => {
    const files = sorted(partial(1, 4), partial(1, 5), partial(2, 5));
    expect(superfluous(files, new Set([name(1, 4)])).map((each) => each.name)).toEqual([
      partial(1, 4),
    ]);
  });
});

describe('brokenPartials', () => {
  it('are those of a size that pg_receivewal refuses', () => {
    const files = sortStream(
      [file(partial(1, 1), 0), file(partial(1, 2)), file(partial(1, 3), 8192), file(name(1, 4), 8)],
      segmentBytes,
    );
    expect(brokenPartials(files, segmentBytes).map((each) => each.name)).toEqual([partial(1, 3)]);
  });
});

describe('withStream', () => {
  it('adds what the archive does not have, complete or not', () => {
    const listing = archiveOf([`${name(1, 1)}.zst`, `${name(1, 2)}.zst`]);
    const stream = sorted(name(1, 2), name(1, 3), partial(1, 4));
    const found = withStream(listing, { segments: stream.segments, histories: [] });
    expect(found.listing.segments.map((each) => each.name)).toEqual([
      name(1, 1),
      name(1, 2),
      name(1, 3),
      partial(1, 4),
    ]);
    expect([...found.streamed]).toEqual([name(1, 3), partial(1, 4)]);
    expect(found.contested).toEqual([]);
  });

  it('passes over unfinished segments whose complete form is there', () => {
    const listing = archiveOf([`${name(1, 1)}.zst`]);
    const stream = sorted(partial(1, 1), partial(1, 2), name(1, 2));
    const found = withStream(listing, { segments: stream.segments, histories: [] });
    expect([...found.streamed]).toEqual([name(1, 2)]);
  });

  it('leaves open which unfinished form holds more', () => {
    const listing = archiveOf([`${partial(1, 5)}.zst`]);
    const found = withStream(listing, { segments: sorted(partial(1, 5)).segments, histories: [] });
    expect(found.contested.map((each) => each.name)).toEqual([partial(1, 5)]);
    expect(found.streamed.size).toBe(0);
    expect(found.listing.segments).toHaveLength(1);
  });

  it('knows the timelines that only the stream has heard of', () => {
    const history = (timeline: number) => ({
      name: `0000000${timeline}.history`,
      timeline,
      hasDigest: false,
      ancestors: [],
      problem: null,
    });
    const listing = { ...archiveOf([]), histories: [{ ...history(2), hasDigest: true }] };
    const found = withStream(listing, { segments: [], histories: [history(2), history(3)] });
    expect(found.listing.histories.map(({ timeline, hasDigest }) => [timeline, hasDigest])).toEqual(
      [
        [2, true],
        [3, false],
      ],
    );
  });
});
