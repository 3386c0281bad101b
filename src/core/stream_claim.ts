/**
 * The claim of a stream: which server pg_receivewal takes WAL from, and as whom it may be carried
 * into the archive. The server runs elsewhere, so it is told by what can be asked over its
 * connection: the system identifier, the address, the data directory where the role may see it,
 * and the replication slot, which neither a base backup nor a promoted standby brings along.
 */

import { printable } from './printable.ts';
import { type Static, Type } from './type_builder.ts';
import { documentBytes, documentReader } from './validate.ts';
import { describeClaim, isClaimOfStream, type WalClaim } from './wal_claim.ts';

/** The name of the claim in the stream's folder. */
export const streamClaimName = 'claim.json';

const streamClaimFormat = 1;

const streamClaimSchema = Type.Object({
  format: Type.Integer({ minimum: 1 }),
  /** Decimal digits, as pg_control_system() tells it. */
  system_identifier: Type.String({ pattern: '^[0-9]{1,20}$' }),
  /** Where it was connected to: host and port, or the socket; neither user nor password. */
  server: Type.String({ minLength: 1 }),
  /** `null` where the role may not see it. */
  data_directory: Type.Union([Type.String(), Type.Null()]),
  slot: Type.String({ minLength: 1 }),
  /** Of the claim of the archive that this stream carries into. */
  archive_claim_id: Type.String({ minLength: 1 }),
  /** ISO 8601, UTC. */
  claimed_at: Type.String({ minLength: 1 }),
});

/** Which server is streamed. */
export type StreamClaim = Readonly<Static<typeof streamClaimSchema>>;

const readDocument = documentReader(streamClaimSchema, {
  name: 'the claim of the stream',
  format: streamClaimFormat,
  code: 'DAMAGED',
});

/** Reads a claim. @throws HoldfastError DAMAGED when the bytes are none */
export function parseStreamClaim(bytes: Uint8Array): StreamClaim {
  return readDocument(bytes);
}

/** The mirror of {@link parseStreamClaim}. */
export function formatStreamClaim(claim: Omit<StreamClaim, 'format'>): Uint8Array {
  const bytes = documentBytes({ format: streamClaimFormat, ...claim });
  parseStreamClaim(bytes);
  return bytes;
}

/** The server that a stream would take WAL from. */
export interface StreamedServer {
  readonly systemIdentifier: string;
  /** As {@link StreamClaim.server}. */
  readonly address: string;
  readonly dataDirectory: string | null;
  /** This host where the connection is a socket; `null`: it may run anywhere. */
  readonly host: string | null;
  readonly timeline: number;
}

/** What a stream finds in the repository. */
export interface StreamGround {
  /** Of the stream, `null` when it was never begun. */
  readonly stream: StreamClaim | null;
  /** Of the archive, `null` when nobody has claimed it. */
  readonly archive: WalClaim | null;
  /** The newest timeline that the archive or the stream knows; 1 where there is none. */
  readonly newestTimeline: number;
}

/** Why a server may not be streamed. */
export interface StreamObstacle {
  /** In words, to be read as a message. */
  readonly message: string;
  /** Whether taking over mends it. */
  readonly mayTakeOver: boolean;
}

const foreign = (message: string): StreamObstacle => ({ message, mayTakeOver: true });

/** Whether two data directories are known to be different ones. */
function differs(one: string | null, other: string | null): boolean {
  return one !== null && other !== null && one !== other;
}

/** What stands against joining an archive that somebody else has claimed. */
function archiveObstacle(claim: WalClaim, server: StreamedServer): StreamObstacle | null {
  const { host, data_directory: directory } = claim;
  const isElsewhere =
    !isClaimOfStream(claim) &&
    (differs(server.host, host) || differs(server.dataDirectory, directory));
  return isElsewhere
    ? foreign(`another server writes into this archive: ${describeClaim(claim)}`)
    : null;
}

/**
 * Whether a server may be streamed into an archive: `null` when nothing speaks against it.
 *
 * @param server what was asked over its connection
 */
export function streamObstacle(
  { stream, archive, newestTimeline }: StreamGround,
  server: StreamedServer,
): StreamObstacle | null {
  const { systemIdentifier, address, timeline } = server;
  const known = stream?.system_identifier ?? archive?.system_identifier ?? systemIdentifier;
  if (known !== systemIdentifier) {
    const message =
      `the archive holds the WAL of the system ${known}, ` +
      `and the server at ${address} is ${systemIdentifier}`;
    return { message, mayTakeOver: false };
  }
  if (timeline < newestTimeline) {
    const message =
      `the archive knows timeline ${newestTimeline}, and the server at ${address} is on ` +
      `timeline ${timeline}: it is an older state of the cluster`;
    return { message, mayTakeOver: false };
  }
  if (stream === null) return archive === null ? null : archiveObstacle(archive, server);
  if (stream.server !== address) {
    return foreign(
      `the stream is of the server at ${printable(stream.server)}, and not of ${address}`,
    );
  }
  if (differs(stream.data_directory, server.dataDirectory)) {
    return foreign(
      `the server at ${address} has another data directory than the one that was streamed: ` +
        printable(server.dataDirectory ?? ''),
    );
  }
  if (archive?.claim_id !== stream.archive_claim_id) {
    const by = archive === null ? 'by nobody' : `by ${describeClaim(archive)}`;
    return foreign(`the archive is not claimed as it was when the stream began, but ${by}`);
  }
  return null;
}
