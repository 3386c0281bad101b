/** What a connection needs, resolved: the same for PostgreSQL's programs and for node-postgres. */

import type { Secret } from '../core/secret.ts';

/** libpq's `sslmode` (PostgreSQL manual, "SSL Support"). */
export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

/** One server, one role, one database: what a connection needs, nothing left to be guessed. */
export interface ConnectionParameters {
  /** A host name, an address, or the folder of a Unix socket (begins with `/` or `@`). */
  readonly host: string;
  /** The numeric address to connect to instead of looking up `host`. */
  readonly hostaddr: string | null;
  readonly port: number;
  readonly user: string;
  readonly password: Secret | null;
  /** Where the password was found, for messages: `PGPASSWORD`, `~/.pgpass line 3`; or `null`. */
  readonly passwordFrom: string | null;
  /** The password file that is asked where nothing else gives a password. */
  readonly passfile: string;
  readonly dbname: string;
  readonly sslmode: SslMode;
  /** 0 waits for ever. */
  readonly connectTimeoutSeconds: number;
  /** Options for the server process (libpq's `options`). */
  readonly options: string | null;
  /** libpq's `client_encoding`; the server's own choice unless told. */
  readonly clientEncoding?: string | undefined;
  readonly tls: TlsParameters;
}

/** libpq's `ssl…` parameters; a file is named only where it was named or exists by default. */
export interface TlsParameters {
  /** A file, or `system` for the operating system's. */
  readonly rootcert: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  readonly crl: string | null;
  readonly sni: boolean;
  readonly negotiation: 'postgres' | 'direct';
  readonly minVersion: string | null;
  readonly maxVersion: string | null;
  readonly channelBinding: 'disable' | 'prefer' | 'require';
}

/** libpq's `target_session_attrs` (PostgreSQL manual, "Parameter Key Words"). */
export type TargetSessionAttrs =
  | 'any'
  | 'read-write'
  | 'read-only'
  | 'primary'
  | 'standby'
  | 'prefer-standby';

/** What the user meant by a name, a URL or a key. */
export interface ResolvedTarget {
  /** The database's name on the server. */
  readonly database: string;
  /** The key under `databases:`, where the target was one. */
  readonly key: string | null;
  /** The servers to try, in this order; never empty, mostly one. */
  readonly candidates: readonly [ConnectionParameters, ...ConnectionParameters[]];
  readonly targetSessionAttrs: TargetSessionAttrs;
  /** Such as a password file that was ignored; the caller shows them. */
  readonly warnings: readonly string[];
}

/** Whether a host is the folder of a Unix socket, or one in the abstract name space. */
export function isSocket(host: string): boolean {
  return host.startsWith('/') || host.startsWith('@');
}
