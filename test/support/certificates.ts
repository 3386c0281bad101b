/** Certificates for servers and clients that a test starts. */

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const newKey = ['-newkey', 'rsa:2048', '-nodes'];
const signed = ['-CA', 'root.crt', '-CAkey', 'root.key', '-CAcreateserial', '-days', '2'];

/**
 * Makes `root.crt`, another authority's `other.crt`, and `server.crt` with `server.key` for
 * db.example.com, *.example.com and localhost, signed by the first.
 */
export async function makeServerCertificate(folder: string): Promise<void> {
  const openssl = (...args: string[]) => run('openssl', args, { cwd: folder });
  for (const name of ['root', 'other']) {
    const files = ['-keyout', `${name}.key`, '-out', `${name}.crt`];
    const subject = ['-subj', `/CN=${name} authority`];
    await openssl('req', '-x509', ...newKey, ...subject, '-days', '2', ...files);
  }
  const files = ['-keyout', 'server.key', '-out', 'server.csr'];
  await openssl('req', ...newKey, '-subj', '/CN=db.example.com', ...files);
  await writeFile(join(folder, 'names'), 'subjectAltName=DNS:localhost,DNS:*.example.com\n');
  const output = ['-extfile', 'names', '-out', 'server.crt'];
  await openssl('x509', '-req', '-in', 'server.csr', ...signed, ...output);
}

/** Makes `client.crt` with `client.key` for the role with_certificate, signed by `root.crt`. */
export async function makeClientCertificate(folder: string): Promise<void> {
  const openssl = (...args: string[]) => run('openssl', args, { cwd: folder });
  const files = ['-keyout', 'client.key', '-out', 'client.csr'];
  await openssl('req', ...newKey, '-subj', '/CN=with_certificate', ...files);
  await openssl('x509', '-req', '-in', 'client.csr', ...signed, '-out', 'client.crt');
}
