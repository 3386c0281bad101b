import { describe, expect, it } from 'vitest';
import {
  formatStreamClaim,
  parseStreamClaim,
  type StreamedServer,
  type StreamGround,
  streamObstacle,
} from '../../../src/core/stream_claim.ts';
import { describeClaim, isClaimOfStream, streamClaimId } from '../../../src/core/wal_claim.ts';

const server: StreamedServer = {
  systemIdentifier: '7423456789012345678',
  address: 'db1.example.com:5432',
  dataDirectory: '/var/lib/postgresql/15/main',
  host: null,
  timeline: 2,
};
const archiver = {
  system_identifier: server.systemIdentifier,
  host: 'db1',
  data_directory: '/var/lib/postgresql/15/main',
  claimed_at: '2026-11-21T02:00:00.000Z',
  claim_id: 'k3f9',
};
const stream = {
  format: 1,
  system_identifier: server.systemIdentifier,
  server: server.address,
  data_directory: server.dataDirectory,
  slot: 'holdfast_main',
  archive_claim_id: 'k3f9',
  claimed_at: '2026-11-21T02:00:00.000Z',
};
const ground: StreamGround = { stream, archive: archiver, newestTimeline: 2 };

const obstacle = (changes: Partial<StreamedServer>, found: Partial<StreamGround> = {}) =>
  streamObstacle({ ...ground, ...found }, { ...server, ...changes });

describe('streamObstacle', () => {
  it('lets the server go on that was streamed, and a new one begin', () => {
    expect(obstacle({})).toBeNull();
    expect(obstacle({ timeline: 3 })).toBeNull();
    expect(obstacle({}, { stream: null, archive: null })).toBeNull();
    expect(obstacle({}, { stream: null })).toBeNull();
    // A role that may not see the data directory is no other server.
    expect(obstacle({ dataDirectory: null })).toBeNull();
  });

  it('lets no other cluster in, whatever is typed', () => {
    const other = { systemIdentifier: '7423456789012345679' };
    expect(obstacle(other)).toMatchObject({ mayTakeOver: false });
    expect(obstacle(other, { stream: null })?.message).toContain('7423456789012345679');
    expect(obstacle(other, { stream: null, archive: null })).toBeNull();
  });

  it('keeps a clone out until it is told to take over', () => {
    for (const changes of [{ address: 'db2.example.com:5432' }, { dataDirectory: '/srv/clone' }]) {
      expect(obstacle(changes)?.mayTakeOver).toBe(true);
    }
    // The old primary after a failover: what it writes belongs nowhere.
    expect(obstacle({ timeline: 1 })?.mayTakeOver).toBe(false);
  });

  it('stops when the archive went to another server', () => {
    const moved = { ...archiver, host: 'db2', claim_id: 'other' };
    expect(obstacle({}, { archive: moved })?.message).toContain('host db2');
    expect(obstacle({}, { archive: null })?.message).toContain('by nobody');
  });

  it('joins an archiver only where it can be the same server', () => {
    const begin = { stream: null };
    expect(obstacle({ dataDirectory: '/srv/clone' }, begin)?.message).toContain('host db1');
    expect(obstacle({ host: 'db2' }, begin)?.mayTakeOver).toBe(true);
    expect(obstacle({ host: 'db1' }, begin)).toBeNull();
    const ofStream = { ...archiver, claim_id: streamClaimId(new Uint8Array([1, 2])), host: 'x:1' };
    expect(obstacle({ host: 'db2' }, { stream: null, archive: ofStream })).toBeNull();
    expect(isClaimOfStream(ofStream)).toBe(true);
    expect(describeClaim(ofStream)).toBe('the stream of x:1');
    expect(isClaimOfStream(archiver)).toBe(false);
  });
});

describe('the claim of a stream', () => {
  it('is read as it was written, and nothing else is taken for one', () => {
    const { format, ...claim } = stream;
    expect(parseStreamClaim(formatStreamClaim(claim))).toEqual({ format, ...claim });
    for (const text of ['', '{}', JSON.stringify({ ...stream, format: 2 })]) {
      expect(() => parseStreamClaim(Buffer.from(text))).toThrow(/claim of the stream/);
    }
  });
});
