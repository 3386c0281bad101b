import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hookTrouble } from '../../../src/operations/hook_file.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-ho'ok-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, mode: number): string {
  const path = join(folder, name);
  writeFileSync(path, '#!/bin/sh\n');
  chmodSync(path, mode);
  return path;
}

describe('the file of a hook', () => {
  it('is fine where its owner alone may write it', async () => {
    expect(await hookTrouble(file('good', 0o755))).toBeNull();
    expect(await hookTrouble(file('group', 0o775))).toBeNull();
  });

  it.each([
    ['nothing', () => join(folder, 'nothing'), 'it is not there'],
    ['something below a file', () => join(file('below', 0o755), 'x'), 'it is not there'],
    ['a folder', () => folder, 'it is no file'],
    ['a device', () => '/dev/null', 'it is no file'],
    ['no program', () => file('plain', 0o644), 'this user may not execute it'],
    ['a name that is too long', () => join(folder, 'x'.repeat(300)), 'ENAMETOOLONG'],
  ])('cannot run where it is %s', async (_what, make, words) => {
    const trouble = await hookTrouble(make());
    expect(trouble?.kind).toBe('fatal');
    expect(trouble?.message).toContain(words);
    expect(trouble?.hint).toMatch(/\.$/);
  });

  it('is a risk where everybody may write it, with what to type', async () => {
    const path = file('open', 0o777);
    const trouble = await hookTrouble(path);
    expect(trouble?.kind).toBe('risky');
    expect(trouble?.command).toBe(`chmod o-w '${path.replace("'", "'\\''")}'`);
  });
});
