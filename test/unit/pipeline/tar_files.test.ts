import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256Of } from '../../../src/core/sums.ts';
import { createTarFiles } from '../../../src/pipeline/tar_files.ts';

let scratch: string;
let archive: Buffer;
let place: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'holdfast-tar-'));
  const tree = join(scratch, 'tree');
  mkdirSync(join(tree, 'in', 'ner'), { recursive: true });
  writeFileSync(join(tree, 'in', 'ner', "odd '\n name"), 'inner', { mode: 0o640 });
  writeFileSync(join(tree, 'empty'), '');
  writeFileSync(join(tree, 'kept'), 'from the backup');
  utimesSync(join(tree, 'empty'), 1000, 1000);
  archive = execFileSync('tar', ['-C', tree, '-cf', '-', '.'], { maxBuffer: 1e8 });
  place = join(scratch, 'place');
  mkdirSync(place);
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

function write(options: Partial<Parameters<typeof createTarFiles>[0]> = {}) {
  const files = createTarFiles({
    folder: place,
    placeOf: (path) => path,
    expected: () => undefined,
    ...options,
  });
  try {
    // In pieces that fit no block.
    for (let at = 0; at < archive.length; at += 777) files.update(archive.subarray(at, at + 777));
    files.finish();
  } finally {
    files.abandon();
  }
  return files;
}

describe('the files of an archive', () => {
  it('are written with their modes and times, whatever their names', () => {
    expect(write().writtenBytes()).toBe('inner'.length + 'from the backup'.length);
    const inner = join(place, 'in', 'ner', "odd '\n name");
    expect(readFileSync(inner, 'utf8')).toBe('inner');
    expect(statSync(inner).mode & 0o777).toBe(0o640);
    expect(statSync(join(place, 'empty')).mtimeMs).toBe(1_000_000);
  });

  it('are written only where they are wanted, and where they are wanted', () => {
    writeFileSync(join(place, 'kept'), 'mine');
    write({ placeOf: (path) => (path === 'kept' ? null : path.replace('empty', 'elsewhere')) });
    expect(readFileSync(join(place, 'kept'), 'utf8')).toBe('mine');
    expect(readdirSync(place).sort()).toEqual(['elsewhere', 'in', 'kept']);
  });

  it('follow no link that lies in their place', () => {
    const outside = join(scratch, 'outside');
    writeFileSync(outside, 'mine');
    symlinkSync(outside, join(place, 'kept'));
    expect(() => write()).toThrow(/EEXIST/);
    expect(readFileSync(outside, 'utf8')).toBe('mine');
  });

  it('have to be what was listed', () => {
    const sha256 = sha256Of(Buffer.from('something else'));
    expect(() => write({ expected: (path) => (path === 'kept' ? { sha256 } : undefined) })).toThrow(
      '"kept" differs',
    );
  });

  it('stay within their folder', () => {
    const evil = join(scratch, 'evil');
    mkdirSync(evil);
    writeFileSync(join(evil, 'x'), '');
    const flags = ['-C', evil, '-P', '--transform', 's,x,../x,', '-cf', '-', 'x'];
    archive = execFileSync('tar', flags);
    expect(() => write()).toThrow('leads out');
    expect(readdirSync(scratch)).not.toContain('x');
  });

  it('are not whole where the archive is cut', () => {
    archive = archive.subarray(0, 1000);
    expect(() => write()).toThrow('it is cut');
  });
});
