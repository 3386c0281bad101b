/**
 * libpq's sslmode with Node's TLS (PostgreSQL manual, "SSL Support"): node-postgres reads the same
 * words differently, so it never sees them.
 */

import { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { ConnectionOptions, PeerCertificate, SecureVersion } from 'node:tls';
import { HoldfastError } from '../core/errors.ts';
import { type ConnectionParameters, isSocket } from './connection_parameters.ts';

async function readTlsFile(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new HoldfastError(
      'CONFIG_UNREADABLE',
      `cannot read the ${what}: ${(error as Error).message}`,
      { hint: 'Name a file that exists and that this user may read.', cause: error },
    );
  }
}

/** libpq's rule: nobody but the owner; a key that root owns may be readable by its group. */
async function requirePrivateKey(file: string): Promise<void> {
  const { mode, uid } = await stat(file);
  const forbidden = uid === 0 ? 0o037 : 0o077;
  if ((mode & forbidden) === 0) return;
  throw new HoldfastError('CONFIG_INVALID', `the private key ${file} is open to other users`, {
    hint: 'Run chmod 600 on it.',
  });
}

/**
 * The check of `verify-full`, as libpq makes it: a name against the DNS names of the certificate,
 * or its common name where it has none; an address also against the IP addresses.
 *
 * @returns an error where the certificate is for another server
 */
export function checkServerName(host: string, certificate: X509Certificate): Error | undefined {
  const byName = certificate.checkHost(host, { subject: 'default', partialWildcards: false });
  const byAddress = isIP(host) === 0 ? undefined : certificate.checkIP(host);
  if (byName !== undefined || byAddress !== undefined) return undefined;
  const names = [certificate.subjectAltName, certificate.subject.replaceAll('\n', ', ')];
  return new Error(
    `server certificate for "${names.filter((name) => name !== undefined).join('; ')}" ` +
      `does not match host name "${host}"`,
  );
}

async function verification(parameters: ConnectionParameters): Promise<ConnectionOptions> {
  const { sslmode, tls, host } = parameters;
  const explicit = sslmode === 'verify-ca' || sslmode === 'verify-full';
  if (tls.rootcert === null) {
    if (!explicit) return { rejectUnauthorized: false };
    throw new HoldfastError(
      'CONFIG_INVALID',
      `sslmode ${sslmode} needs the certificate of an authority, and there is none`,
      { hint: 'Set PGSSLROOTCERT to its file, or to "system" for those of the operating system.' },
    );
  }
  // libpq: where there is a root certificate every mode checks the chain, as "verify-ca" does.
  const ca =
    tls.rootcert === 'system'
      ? (await import('node:tls')).getCACertificates('system')
      : await readTlsFile(tls.rootcert, 'certificate of the authority');
  const crl = tls.crl === null ? {} : { crl: await readTlsFile(tls.crl, 'revocation list') };
  const checkServerIdentity = (_name: string, peer: PeerCertificate) =>
    sslmode === 'verify-full' ? checkServerName(host, new X509Certificate(peer.raw)) : undefined;
  return { rejectUnauthorized: true, ca, checkServerIdentity, ...crl };
}

/**
 * The options of Node's TLS for one attempt with TLS.
 *
 * @throws HoldfastError CONFIG_INVALID, CONFIG_UNREADABLE
 */
export async function tlsOptions(parameters: ConnectionParameters): Promise<ConnectionOptions> {
  const { tls, host } = parameters;
  const options: ConnectionOptions = {
    ...(await verification(parameters)),
    minVersion: (tls.minVersion ?? 'TLSv1.2') as SecureVersion,
    ...(tls.maxVersion === null ? {} : { maxVersion: tls.maxVersion as SecureVersion }),
    ...(tls.sni && isIP(host) === 0 ? { servername: host } : {}),
  };
  if (tls.cert !== null) {
    if (tls.key === null) {
      throw new HoldfastError('CONFIG_INVALID', `${tls.cert} has no private key beside it`, {
        hint: 'Set PGSSLKEY to the file of the private key.',
      });
    }
    await requirePrivateKey(tls.key);
    options.cert = await readTlsFile(tls.cert, "client's certificate");
    options.key = await readTlsFile(tls.key, "client's private key");
  }
  return options;
}

/** Whether the attempts use TLS, in the order in which libpq makes them. */
export function tlsAttempts(parameters: ConnectionParameters): readonly boolean[] {
  if (isSocket(parameters.host)) return [false];
  switch (parameters.sslmode) {
    case 'disable':
      return [false];
    case 'allow':
      return [false, true];
    case 'prefer':
      return [true, false];
    default:
      return [true];
  }
}
