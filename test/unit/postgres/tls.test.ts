import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { checkServerName } from '../../../src/postgres/tls.ts';

function certificate(subject: string, names?: string): X509Certificate {
  const extension = names === undefined ? [] : ['-addext', `subjectAltName=${names}`];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const rest = ['-subj', subject, '-days', '2', '-keyout', '/dev/null'];
  const args = ['req', '-x509', ...key, ...rest, ...extension];
  return new X509Certificate(
    execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] }),
  );
}

describe('checkServerName, the check of verify-full', () => {
  it('looks at the names, and at the common name only where there are none', () => {
    const plain = certificate('/CN=db.example.com');
    expect(checkServerName('db.example.com', plain)).toBeUndefined();
    expect(checkServerName('DB.EXAMPLE.COM', plain)).toBeUndefined();
    expect(checkServerName('x.example.com', plain)?.message).toContain('"x.example.com"');
    const named = certificate('/CN=db.example.com', 'DNS:*.example.org,IP:192.0.2.1');
    expect(checkServerName('db.example.com', named)).toBeInstanceOf(Error);
    expect(checkServerName('db.example.org', named)).toBeUndefined();
    expect(checkServerName('a.db.example.org', named)).toBeInstanceOf(Error);
    expect(checkServerName('192.0.2.1', named)).toBeUndefined();
    expect(checkServerName('192.0.2.2', named)).toBeInstanceOf(Error);
  });
});
