/**
 * How large the parts of an upload to S3 are. An object has at most 10,000 parts of at most 5 GiB
 * (Amazon S3's user guide, "Multipart upload limits"), and how long the object will be is not known
 * when its first part goes. Parts are held in memory until the store has them, so they stay small
 * as long as they can.
 */

import { assert } from './assert.ts';

const mib = 1024 * 1024;

/** The most parts that an object can have. */
export const partsMax = 10_000;

/** After so many parts of one size the next ones are twice as large. */
const partsOfOneSize = 800;
const firstBytes = 8 * mib;
/** 10,000 parts that grow up to this hold 5 TiB. */
const grownBytesMax = 1024 * mib;

/**
 * The size of one part.
 *
 * @param number from 1 to {@link partsMax}
 * @param bytesMin what parts have at least, and the first ones have exactly
 * @param areEqual whether the store wants all of them alike
 */
export function partBytes(number: number, bytesMin: number, areEqual: boolean): number {
  assert(number >= 1 && number <= partsMax, 'an upload has from 1 to 10,000 parts');
  const doublings = Math.floor((number - 1) / partsOfOneSize);
  if (areEqual || doublings === 0) return bytesMin;
  return Math.max(bytesMin, Math.min(firstBytes * 2 ** doublings, grownBytesMax));
}

/** How many bytes an object of that many parts can have at the most. */
export function objectBytesMax(bytesMin: number, areEqual: boolean): number {
  let bytes = 0;
  for (let number = 1; number <= partsMax; number += 1) {
    bytes += partBytes(number, bytesMin, areEqual);
  }
  return bytes;
}

/** What the parts that are on their way may take together, unless a single one is larger. */
const flightBytesMax = 96 * mib;

/** How many parts of a size may be on their way at once: at least one, at most `connections`. */
export function partsInFlight(bytesOfPart: number, connections: number): number {
  return Math.max(1, Math.min(connections, Math.floor(flightBytesMax / bytesOfPart)));
}
