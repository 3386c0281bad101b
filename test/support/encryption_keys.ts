/** Keys of age and of gpg for tests, made by the programs themselves. */

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A pair of keys of age. */
export interface AgeKey {
  readonly recipient: string;
  /** The file with the private key. */
  readonly identity: string;
}

/** Makes a pair of keys, the private one in a file of this folder. */
export async function makeAgeKey(folder: string, name: string): Promise<AgeKey> {
  const identity = join(folder, `${name}.txt`);
  await run('age-keygen', ['--output', identity]);
  const recipient = /age1[0-9a-z]+/.exec(await readFile(identity, 'utf8'))?.[0];
  if (recipient === undefined) throw new Error('age-keygen has printed no public key');
  return { recipient, identity };
}

/** A keyring of gpg, and the fingerprint of the key that was made in it. */
export interface GpgKeyring {
  readonly home: string;
  readonly fingerprint: string;
  /** Its public key, as another keyring imports it. */
  readonly publicKey: string;
}

/** Every call of gpg in tests: nothing asks, nothing stays. */
export async function gpg(home: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run('gpg', ['--homedir', home, '--batch', '--quiet', ...args], {
    env: { PATH: process.env.PATH ?? '', LC_ALL: 'C' },
  });
  return stdout;
}

async function makeHome(folder: string, name: string): Promise<string> {
  const home = join(folder, name);
  await mkdir(home, { mode: 0o700 });
  return home;
}

/** Makes a keyring with one pair of keys that needs no passphrase. */
export async function makeGpgKeyring(
  folder: string,
  name: string,
  expires = 'never',
): Promise<GpgKeyring> {
  const home = await makeHome(folder, name);
  const args = ['--passphrase', '', '--quick-generate-key', `${name}@example.org`];
  await gpg(home, ...args, 'future-default', 'default', expires);
  const listed = await gpg(home, '--with-colons', '--list-keys');
  const fingerprint = /^fpr:+([0-9A-F]{40})/m.exec(listed)?.[1];
  if (fingerprint === undefined) throw new Error('gpg has listed no fingerprint');
  const publicKey = join(folder, `${name}.asc`);
  await gpg(home, '--armor', '--output', publicKey, '--export', fingerprint);
  return { home, fingerprint, publicKey };
}

/** Makes a keyring that has only public keys in it. */
export async function makePublicKeyring(
  folder: string,
  name: string,
  keyrings: readonly GpgKeyring[],
): Promise<string> {
  const home = await makeHome(folder, name);
  for (const { publicKey } of keyrings) await gpg(home, '--import', publicKey);
  return home;
}

/**
 * A folder for keys, with a name so short that gpg's agent can make its socket in it.
 *
 * @returns also what removes it and ends the agents in it
 */
export async function makeKeyFolder() {
  const path = await mkdtemp(join(tmpdir(), 'hk-'));
  const remove = async (homes: readonly string[]) => {
    for (const home of homes) {
      await run('gpgconf', ['--homedir', home, '--kill', 'gpg-agent']).catch(() => undefined);
    }
    await rm(path, { recursive: true, force: true });
  };
  return { path, remove };
}
