/**
 * A marker: one line in state/ that wal_ship.ts and wal_push leave each other for a file of the WAL
 * that waits to be archived. wal_push (templates/wal_push.sh) compares it with what stat(1) says.
 */

/** Tells a file, in the state in which it was read, from any other file and any later state. */
export interface FileIdentity {
  readonly bytes: bigint;
  readonly device: bigint;
  readonly inode: bigint;
  /** Nanoseconds since 1970. */
  readonly modifiedNs: bigint;
  /** It moves with whatever happens to the file, and nobody can set it back. */
  readonly changedNs: bigint;
}

/** What is said of a file. */
export type WalMarker =
  /** A process works on it. */
  | { readonly kind: 'working'; readonly pid: number }
  /** It is in the archive, durably, with its digest, as it was read in that state. */
  | { readonly kind: 'stored'; readonly file: FileIdentity };

const storedPattern = /^stored (\d+) (\d+) (\d+) (\d+)\.(\d{9}) (\d+)\.(\d{9})\n$/;
const workingPattern = /^working ([1-9]\d{0,9})\n$/;
const perSecond = 1_000_000_000n;

/** The identity of a file by its status (fs.BigIntStats). */
export function fileIdentity(stats: {
  readonly size: bigint;
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}): FileIdentity {
  const { size, dev, ino, mtimeNs, ctimeNs } = stats;
  return { bytes: size, device: dev, inode: ino, modifiedNs: mtimeNs, changedNs: ctimeNs };
}

/** Whether nothing has happened to a file between two looks at it. */
export function isSameFile(one: FileIdentity, other: FileIdentity): boolean {
  return (
    one.bytes === other.bytes &&
    one.device === other.device &&
    one.inode === other.inode &&
    one.modifiedNs === other.modifiedNs &&
    one.changedNs === other.changedNs
  );
}

/** `1763738.000000001`, as stat(1) prints `%.9Y`. */
function seconds(ns: bigint): string {
  return `${ns / perSecond}.${String(ns % perSecond).padStart(9, '0')}`;
}

/** A marker as one line: what follows `stored` is `stat --format='%s %d %i %.9Y %.9Z'`. */
export function formatMarker(marker: WalMarker): string {
  if (marker.kind === 'working') return `working ${marker.pid}\n`;
  const { bytes, device, inode, modifiedNs, changedNs } = marker.file;
  return `stored ${bytes} ${device} ${inode} ${seconds(modifiedNs)} ${seconds(changedNs)}\n`;
}

/** The mirror of {@link formatMarker}; `null` for anything else. */
export function parseMarker(text: string): WalMarker | null {
  const working = workingPattern.exec(text);
  if (working !== null) return { kind: 'working', pid: Number(working[1]) };
  const stored = storedPattern.exec(text)?.slice(1).map(BigInt);
  if (stored === undefined) return null;
  const [bytes = 0n, device = 0n, inode = 0n, ...times] = stored;
  const [mtime = 0n, mtimeNs = 0n, ctime = 0n, ctimeNs = 0n] = times;
  const modifiedNs = mtime * perSecond + mtimeNs;
  const changedNs = ctime * perSecond + ctimeNs;
  return { kind: 'stored', file: { bytes, device, inode, modifiedNs, changedNs } };
}
