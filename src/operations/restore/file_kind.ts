/** Recognises a file that is to be restored by its first bytes, not by its name. */

import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { HoldfastError } from '../../core/errors.ts';
import type { FilterSpec } from '../../core/manifest.ts';
import type { EncryptionSpec } from '../../core/recipients.ts';
import { encryptionFilter } from '../../pipeline/encrypt.ts';
import type { FlowContext } from '../../pipeline/flow.ts';
import type { DumpFormat } from '../backup_source.ts';

/** What a file is. */
export interface FileKind {
  readonly filters: readonly FilterSpec[];
  readonly format: DumpFormat;
}

/** Enough of a compressed file for its first block, and of what is in it for every mark. */
const storedBytes = 512 * 1024;
const plainBytes = 1024;

const compressions: readonly (readonly [Buffer, FilterSpec])[] = [
  [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), { name: 'zstd', level: 1 }],
  [Buffer.from([0x1f, 0x8b]), { name: 'gzip', level: 1 }],
];

const wanted =
  "Give a dump of pg_dump's custom format or its SQL, plain or compressed with zstd or gzip.";

interface Stranger {
  /** By the beginning of the file, as latin1. */
  readonly isIt: (head: string) => boolean;
  /** `shop.dump is …` */
  readonly what: string;
  readonly hint: string;
}

const begins =
  (...marks: readonly string[]) =>
  (head: string) =>
    marks.some((mark) => head.startsWith(mark));
const unpack = (program: string) => `Unpack it first: ${program}.`;
const decrypt = (program: string) => `Decrypt it first: ${program}.`;
const isAge = begins('age-encryption.org/', '-----BEGIN AGE ENCRYPTED FILE-----');

/** A binary OpenPGP message begins with a packet of a session key (RFC 9580, 4.2 and 5). */
function isOpenPgp(head: string): boolean {
  if (head.startsWith('-----BEGIN PGP MESSAGE-----')) return true;
  const first = head.charCodeAt(0);
  const isPacket = (first >= 0x84 && first <= 0x8f) || first === 0xc1 || first === 0xc3;
  return isPacket && !isUtf8(Buffer.from(head, 'latin1').subarray(0, 64));
}

/** What people have by mistake. */
const strangers: readonly Stranger[] = [
  {
    isIt: isAge,
    what: 'is encrypted with age',
    hint: decrypt('age --decrypt --identity KEY --output FILE.decrypted FILE'),
  },
  {
    isIt: isOpenPgp,
    what: 'is encrypted with OpenPGP',
    hint: decrypt('gpg --output FILE.decrypted --decrypt FILE'),
  },
  {
    isIt: begins('Salted__'),
    what: 'is encrypted with openssl',
    hint: decrypt('openssl enc -d, with the cipher that it was encrypted with'),
  },
  {
    isIt: begins('\xfd7zXZ\0'),
    what: 'is compressed with xz',
    hint: unpack('xz --decompress --keep FILE'),
  },
  {
    isIt: begins('BZh'),
    what: 'is compressed with bzip2',
    hint: unpack('bzip2 --decompress --keep FILE'),
  },
  { isIt: begins('\x04"M\x18'), what: 'is compressed with lz4', hint: unpack('lz4 -d FILE') },
  { isIt: begins('PK\x03\x04'), what: 'is a ZIP archive', hint: unpack('unzip FILE') },
  {
    isIt: (head) => head.startsWith('toc.dat\0') && head.slice(257, 262) === 'ustar',
    what: "is a dump of pg_dump's tar format",
    hint: 'Make SQL of it, and restore that: pg_restore --file=FILE.sql FILE.',
  },
  {
    isIt: (head) => head.slice(257, 262) === 'ustar',
    what: 'is a tar archive',
    hint: 'Unpack it, and name the dump in it.',
  },
  {
    isIt: begins('\xff\xfe', '\xfe\xff'),
    what: 'is text in UTF-16 (the > of PowerShell writes it so)',
    hint: 'Convert it first: iconv --from-code=UTF-16 --to-code=UTF-8 FILE > NEW.sql.',
  },
  { isIt: begins('SQLite format 3\0'), what: 'is a database of SQLite', hint: wanted },
  {
    isIt: (head) => /^\s*<(?:!doctype|html|\?xml)/i.test(head),
    what: 'is a page of HTML or XML',
    hint: wanted,
  },
];

function refused(what: string, hint = wanted): HoldfastError {
  return new HoldfastError('NOT_A_DUMP', what, { hint });
}

/** The beginning of what a compressed file holds; shorter where it is cut, empty for garbage. */
async function beginningInside(stored: Buffer, name: FilterSpec['name']): Promise<Buffer> {
  const stream = name === 'gzip' ? createGunzip() : createZstdDecompress();
  const parts: Buffer[] = [];
  let bytes = 0;
  await new Promise<void>((resolve) => {
    // What cannot be read at all is told when the whole file is read.
    stream.once('error', () => resolve()).once('end', resolve);
    stream.on('data', (part: Buffer) => {
      parts.push(part);
      bytes += part.length;
      if (bytes >= plainBytes) resolve();
    });
    stream.end(stored);
  });
  stream.destroy();
  return Buffer.concat(parts).subarray(0, plainBytes);
}

async function readBeginning(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(storedBytes), 0, storedBytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function formatOf(beginning: Buffer, inside: string): DumpFormat {
  const text = beginning.toString('latin1');
  if (text.startsWith('PGDMP')) return 'archive';
  const stranger = strangers.find(({ isIt }) => isIt(text));
  if (stranger !== undefined) throw refused(`${inside}${stranger.what}`, stranger.hint);
  const again = compressions.find(([magic]) => beginning.subarray(0, magic.length).equals(magic));
  if (again !== undefined) {
    const [, { name }] = again;
    throw refused(`${inside}is compressed twice`, unpack(`${name} --decompress FILE`));
  }
  if (text.includes('\0')) throw refused(`${inside}is neither a dump nor text`);
  return 'sql';
}

/** What encrypted a file, by its beginning; whom for it does not say. */
function encryptionOf(stored: Buffer): EncryptionSpec | null {
  const head = stored.subarray(0, plainBytes).toString('latin1');
  if (isAge(head)) return { name: 'age', recipients: [] };
  return isOpenPgp(head) ? { name: 'gpg', recipients: [] } : null;
}

/** The beginning of what an encrypted file holds. @throws HoldfastError WRONG_KEY, DAMAGED */
async function beginningDecrypted(
  path: string,
  spec: EncryptionSpec,
  flow: FlowContext,
): Promise<Buffer> {
  const stage = await encryptionFilter(spec).backward(flow);
  if (stage.kind !== 'child') throw refused(`is encrypted with ${spec.name}`);
  const { child, explain } = stage;
  const parts: Buffer[] = [];
  let bytes = 0;
  const body = createReadStream(path);
  // The program is ended as soon as it has said enough.
  const fed = pipeline(body, child.stdin).catch(() => undefined);
  try {
    for await (const part of child.stdout as AsyncIterable<Buffer>) {
      parts.push(part);
      bytes += part.length;
      if (bytes >= storedBytes) break;
    }
    if (bytes < storedBytes) {
      const { status } = await child.exited;
      const failed = status === null || status === 0 ? null : explain?.(child.stderrTail());
      if (failed !== null && failed !== undefined) throw failed;
    }
    return Buffer.concat(parts).subarray(0, storedBytes);
  } finally {
    body.destroy();
    await child.end();
    await fed;
  }
}

function kindOf(stored: Buffer): FilterSpec | null {
  const found = compressions.find(([magic]) => stored.subarray(0, magic.length).equals(magic));
  return found?.[1] ?? null;
}

/**
 * @param path a regular file
 * @param flow decrypts it, where it is encrypted; without it no such file is taken
 * @throws HoldfastError NOT_A_DUMP, without the name of the file: what it is, and what to do;
 *   WRONG_KEY, DAMAGED, USAGE where its beginning cannot be decrypted
 */
export async function recogniseFile(path: string, flow?: FlowContext): Promise<FileKind> {
  const encrypted = await readBeginning(path);
  if (encrypted.length === 0) throw refused('is empty');
  const encryption = flow === undefined ? null : encryptionOf(encrypted);
  const stored =
    encryption === null || flow === undefined
      ? encrypted
      : await beginningDecrypted(path, encryption, flow);
  const outer = encryption === null ? [] : [encryption as FilterSpec];
  const within = encryption === null ? '' : `decrypted (${encryption.name}) `;
  const filter = kindOf(stored);
  if (filter === null) {
    return { filters: outer, format: formatOf(stored.subarray(0, plainBytes), within) };
  }
  const beginning = await beginningInside(stored, filter.name);
  const format = formatOf(beginning, `${within}unpacked (${filter.name}) `);
  return { filters: [filter, ...outer], format };
}
