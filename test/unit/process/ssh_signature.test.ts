import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signerOf, signText } from '../../../src/process/ssh_signature.ts';

const run = promisify(execFile);
const around = { environment: { PATH: process.env.PATH ?? '' } };
const text = '{"label":"ä $(id) \'x"}\n';

let folder: string;
let key: string;
let stranger: string;
let allowed: string;

const signer = (signature: string, file = allowed, signed = text) =>
  signerOf(signed, signature, file, folder, around);

async function makeKey(name: string): Promise<string> {
  const file = join(folder, name);
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'x', '-f', file]);
  return file;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast sign '"));
  key = await makeKey('key $(id)');
  stranger = await makeKey('stranger');
  allowed = join(folder, 'allowed');
  await writeFile(allowed, `backup@host,*@office ${await readFile(`${key}.pub`, 'utf8')}`);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('a signature', () => {
  it('tells who has signed, as OpenSSH itself does', async () => {
    const signature = await signText(text, key, around);
    expect(await signer(signature)).toEqual({ name: 'backup@host' });
    const file = join(folder, 'signed');
    await writeFile(file, text);
    await run('ssh-keygen', ['-Y', 'sign', '-q', '-n', 'holdfast-manifest', '-f', key, file]);
    expect(await signer(await readFile(`${file}.sig`, 'utf8'))).toEqual({ name: 'backup@host' });
  });

  it('of a stranger, of other bytes, for another purpose, or no signature, is none', async () => {
    const own = await signText(text, key, around);
    const file = join(folder, 'other purpose');
    await writeFile(file, text);
    await run('ssh-keygen', ['-Y', 'sign', '-q', '-n', 'git', '-f', key, file]);
    const cases = [
      await signer(await signText(text, stranger, around)),
      await signer(own, allowed, `${text} `),
      await signer(await readFile(`${file}.sig`, 'utf8')),
      await signer('nonsense'),
      await signer(''),
    ];
    for (const each of cases) expect(each).toEqual({ problem: expect.any(String) });
  });

  it('of a key that was allowed for something else only is none', async () => {
    const file = join(folder, 'narrow');
    await writeFile(file, `backup@host namespaces="git" ${await readFile(`${key}.pub`, 'utf8')}`);
    const problem = expect.stringContaining('not permitted');
    expect(await signer(await signText(text, key, around), file)).toEqual({ problem });
  });

  it('needs files that can be used, and leaves none', async () => {
    await expect(signText(text, join(folder, 'nowhere'), around)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('nowhere'),
    });
    const signature = await signText(text, key, around);
    await expect(signer(signature, join(folder, 'nowhere'))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    expect((await readdir(folder)).filter((name) => name.startsWith('holdfast-'))).toEqual([]);
  });

  it('with a passphrase asks nobody: that is refused', async () => {
    const locked = join(folder, 'locked');
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'secret', '-f', locked]);
    await expect(signText(text, locked, around)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('needs the program', async () => {
    const none = { environment: { PATH: folder } };
    await expect(signText(text, key, none)).rejects.toMatchObject({ code: 'PROGRAM_MISSING' });
  });
});
