import { describe, expect, it } from 'vitest';
import { findTool, listTools } from '../../src/postgres/tools.ts';
import { installedServers, testEnvironment } from '../support/cluster.ts';

describe("PostgreSQL's programs on this machine", () => {
  it('are found beside the server, also under the empty environment of cron', async () => {
    const servers = await installedServers();
    expect(servers.length).toBeGreaterThan(0);
    for (const { major } of servers) {
      for (const program of ['pg_dump', 'pg_dumpall', 'pg_restore', 'psql'] as const) {
        const found = await findTool({ program, environment: {}, serverMajor: major });
        expect(found.major).toBe(major);
        expect(found.version).toMatch(new RegExp(`^${major}`));
      }
    }
  });

  it('are never too old for a server of the future', async () => {
    const wish = { program: 'pg_dump', environment: testEnvironment, serverMajor: 99 } as const;
    const found = await listTools(wish);
    const error = await findTool(wish).catch((thrown) => thrown);
    expect(error.code).toBe('TOOL_TOO_OLD');
    expect(error.message).toContain(found[0]?.version);
    expect(error.hint).toContain('99');
  });
});
