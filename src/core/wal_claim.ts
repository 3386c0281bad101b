/**
 * The claim of a WAL archive: which server may write there (REPOSITORY.md, "The WAL archive"). A
 * clone of a server has the same system identifier, so the host and the data directory count too.
 */

import { printable } from './printable.ts';
import { type Static, Type } from './type_builder.ts';
import { documentReader } from './validate.ts';

/** The name of the claim in the archive. */
export const claimName = 'claim.json';

const claimSchema = Type.Object({
  /** Decimal digits, as pg_control_system() tells it. */
  system_identifier: Type.String({ pattern: '^[0-9]{1,20}$' }),
  /** As `uname -n` names it where the server runs. */
  host: Type.String({ minLength: 1 }),
  /** Absolute, without symbolic links. */
  data_directory: Type.String({ pattern: '^/' }),
  /** ISO 8601, UTC. */
  claimed_at: Type.String({ minLength: 1 }),
  /** Tells this claim from every other. */
  claim_id: Type.String({ minLength: 1 }),
});

/** Which server may write into an archive. */
export type WalClaim = Readonly<Static<typeof claimSchema>>;

const readDocument = documentReader(claimSchema, {
  name: 'the claim of the WAL archive',
  format: 1,
  code: 'DAMAGED',
});

/**
 * A claim as one line, without the end of the line: wal_push compares the whole line with its own,
 * so the order of the keys is always the same. {@link parseClaim} is its mirror.
 */
export function formatClaim(claim: WalClaim): string {
  const { system_identifier, host, data_directory, claimed_at, claim_id } = claim;
  return JSON.stringify({ system_identifier, host, data_directory, claimed_at, claim_id });
}

/** Reads a claim. @throws HoldfastError DAMAGED when the bytes are none */
export function parseClaim(bytes: Uint8Array): WalClaim {
  return readDocument(bytes);
}

/** Whether a claim is about this server, whenever it was made. */
export function isClaimOf(
  claim: WalClaim,
  server: Pick<WalClaim, 'system_identifier' | 'host' | 'data_directory'>,
): boolean {
  return (
    claim.system_identifier === server.system_identifier &&
    claim.host === server.host &&
    claim.data_directory === server.data_directory
  );
}

/** Begins the identifier of a claim that is a stream's: no archiver's hook has it. */
const streamMark = 'stream-';

/** The identifier for the claim of an archive that only a stream writes into. */
export function streamClaimId(random: Uint8Array): string {
  return `${streamMark}${Buffer.from(random).toString('hex')}`;
}

/** Whether a claim of an archive is a stream's own, and no archiver's. */
export function isClaimOfStream({ claim_id: id }: Pick<WalClaim, 'claim_id'>): boolean {
  return id.startsWith(streamMark);
}

/** `host db1, data directory /var/lib/postgresql/15/main`, to be printed. */
export function describeClaim(claim: WalClaim): string {
  const { host, data_directory: directory } = claim;
  if (isClaimOfStream(claim)) return `the stream of ${printable(host)}`;
  return `host ${printable(host)}, data directory ${printable(directory)}`;
}
